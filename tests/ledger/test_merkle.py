"""The digest is the tree hash of RFC 6962, 2.1, however the leaves arrive."""

import hashlib
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.merkle import CHUNK_LEAVES, EMPTY_ROOT, HASH_BYTES, MerkleTree, leaf_hash, merkle_root, node_hash

# The reference data of Certificate Transparency: eight entries, and the root over the first 1 to 8 of them.
ENTRIES = [
    bytes.fromhex(entry)
    for entry in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


def _leaves(count: int) -> list[bytes]:
    return [leaf_hash(number.to_bytes(4, "big")) for number in range(count)]


def _by_definition(leaves: Sequence[bytes]) -> bytes:
    """MTH of RFC 6962, 2.1, word for word: split at the largest power of two below n."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    split = 1 << (len(leaves) - 1).bit_length() - 1
    return hashlib.sha256(b"\x01" + _by_definition(leaves[:split]) + _by_definition(leaves[split:])).digest()


@pytest.mark.parametrize("size", range(1, 9))
def test_the_roots_are_those_of_the_reference_data(size: int) -> None:
    assert merkle_root(leaf_hash(entry) for entry in ENTRIES[:size]).hex() == ROOTS[size - 1]


def test_the_root_of_nothing_is_the_hash_of_nothing() -> None:
    assert merkle_root([]) == EMPTY_ROOT == MerkleTree().root() == hashlib.sha256(b"").digest()


@given(st.integers(0, 300))
def test_the_root_equals_the_recursive_definition(count: int) -> None:
    leaves = _leaves(count)
    assert merkle_root(leaves) == _by_definition(leaves)


@pytest.mark.parametrize("count", [*range(8), 4095, 4096, 4097, 8191, 8192, 8193, 12_288, 12_289, 20_481])
def test_the_root_equals_the_recursive_definition_where_chunks_begin_and_end(count: int) -> None:
    leaves = _leaves(count)
    assert merkle_root(leaves) == _by_definition(leaves)


@given(st.integers(0, 3 * CHUNK_LEAVES + 5), st.data())
def test_any_split_of_the_stream_gives_the_same_root(count: int, data: st.DataObject) -> None:
    stream = b"".join(_leaves(count))
    cuts = sorted(data.draw(st.lists(st.integers(0, count), max_size=8)))
    tree = MerkleTree()
    for start, stop in zip([0, *cuts], [*cuts, count], strict=True):
        tree.add(stream[start * HASH_BYTES : stop * HASH_BYTES])
    whole = MerkleTree()
    whole.add(stream)
    assert (tree.root(), tree.leaves) == (whole.root(), count)


def test_asking_for_the_root_changes_nothing_and_leaves_may_follow() -> None:
    leaves = _leaves(CHUNK_LEAVES + 3)
    tree = MerkleTree()
    for number, leaf in enumerate(leaves):
        tree.add(leaf)
        if number % 1000 == 0:
            assert tree.root() == tree.root() == _by_definition(leaves[: number + 1])
    assert tree.root() == _by_definition(leaves)


@given(st.integers(2, 64), st.data())
def test_the_root_tells_apart_order_omission_and_repetition(count: int, data: st.DataObject) -> None:
    leaves = _leaves(count)
    place = data.draw(st.integers(0, count - 2))
    swapped = [*leaves[:place], leaves[place + 1], leaves[place], *leaves[place + 2 :]]
    changed = (swapped, leaves[:place] + leaves[place + 1 :], [*leaves, leaves[-1]])
    assert merkle_root(leaves) not in {merkle_root(other) for other in changed}


def test_a_leaf_can_never_pass_for_an_inner_node() -> None:
    left, right = _leaves(2)
    assert leaf_hash(left + right) != node_hash(left, right)


@pytest.mark.parametrize("length", [1, 31, 33, 65])
def test_a_broken_stream_of_hashes_is_refused_before_it_is_taken(length: int) -> None:
    tree = MerkleTree()
    with pytest.raises(ValueError, match=f"{length} bytes"):
        tree.add(bytes(length))
    assert tree.root() == EMPTY_ROOT
