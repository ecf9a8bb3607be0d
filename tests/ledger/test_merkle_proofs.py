"""Every leaf, every run of leaves and every earlier tree can be proved, and nothing else can."""

from collections.abc import Callable, Sequence
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.errors import VerificationError
from ledger.merkle import EMPTY_ROOT, leaf_hash, merkle_root
from ledger.merkle_proofs import (
    SubtreeRoot,
    check_consistency,
    consistency_path,
    inclusion_path,
    range_path,
    root_from_path,
    root_from_range,
)

# From the reference implementation of Certificate Transparency (transparency-dev/merkle, testonly): proofs over the
# eight entries of `test_merkle`, as (leaf, size, path) and (old size, size, path).
ENTRIES = [
    bytes.fromhex(entry)
    for entry in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
]
INCLUSION = [
    (0, 1, []),
    (
        0,
        8,
        [
            "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
        ],
    ),
    (
        5,
        8,
        [
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ],
    ),
    (2, 3, ["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"]),
]
CONSISTENCY = [
    (1, 1, []),
    (
        1,
        8,
        [
            "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
        ],
    ),
    (
        6,
        8,
        [
            "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ],
    ),
]


def _leaves(count: int) -> list[bytes]:
    return [leaf_hash(number.to_bytes(4, "big")) for number in range(count)]


def _roots(leaves: Sequence[bytes]) -> SubtreeRoot:
    return lambda start, stop: merkle_root(leaves[start:stop])


def _proves(root: bytes, leads_to: Callable[[], bytes]) -> bool:
    """Whether a proof leads to ``root``: it may lead elsewhere, or be refused."""
    try:
        return leads_to() == root
    except VerificationError:
        return False


@pytest.mark.parametrize(("index", "size", "path"), INCLUSION)
def test_inclusion_paths_are_those_of_the_reference_data(index: int, size: int, path: list[str]) -> None:
    leaves = [leaf_hash(entry) for entry in ENTRIES[:size]]
    assert [one.hex() for one in inclusion_path(index, size, _roots(leaves))] == path


@pytest.mark.parametrize(("old", "size", "path"), CONSISTENCY)
def test_consistency_paths_are_those_of_the_reference_data(old: int, size: int, path: list[str]) -> None:
    leaves = [leaf_hash(entry) for entry in ENTRIES[:size]]
    assert [one.hex() for one in consistency_path(old, size, _roots(leaves))] == path


@given(st.integers(1, 70).flatmap(lambda size: st.tuples(st.just(size), st.integers(0, size - 1))))
def test_every_leaf_is_proved_in_its_place_and_in_no_other(case: tuple[int, int]) -> None:
    size, index = case
    leaves = _leaves(size)
    path = inclusion_path(index, size, _roots(leaves))
    root = merkle_root(leaves)
    assert root_from_path(leaves[index], index, size, path) == root
    for other in range(size):
        if other != index:
            assert not _proves(root, partial(root_from_path, leaves[other], other, size, path))


@given(
    st.integers(1, 70).flatmap(lambda size: st.tuples(st.just(size), st.integers(0, size - 1), st.integers(1, size)))
)
def test_every_run_of_leaves_is_proved(case: tuple[int, int, int]) -> None:
    size, start, length = case
    stop = min(size, start + length)
    leaves = _leaves(size)
    path = range_path(start, stop, size, _roots(leaves))
    assert root_from_range(leaves[start:stop], start, size, path) == merkle_root(leaves)


@given(st.integers(2, 70).flatmap(lambda size: st.tuples(st.just(size), st.integers(0, size - 2))), st.data())
def test_a_run_without_one_of_its_leaves_or_elsewhere_is_refused(case: tuple[int, int], data: st.DataObject) -> None:
    size, start = case
    leaves = _leaves(size)
    stop = data.draw(st.integers(start + 2, size))
    path = range_path(start, stop, size, _roots(leaves))
    missing = data.draw(st.integers(start, stop - 1))
    kept = [leaf for number, leaf in enumerate(leaves) if start <= number < stop and number != missing]
    root = merkle_root(leaves)
    for first in (start, start + 1):
        assert not _proves(root, partial(root_from_range, kept, first, size, path))


@given(st.integers(0, 70).flatmap(lambda size: st.tuples(st.integers(0, size), st.just(size))))
def test_every_tree_continues_every_earlier_one(case: tuple[int, int]) -> None:
    old, size = case
    leaves = _leaves(size)
    path = consistency_path(old, size, _roots(leaves))
    check_consistency(old, merkle_root(leaves[:old]), size, merkle_root(leaves), path)


@given(st.integers(2, 70).flatmap(lambda size: st.tuples(st.integers(1, size - 1), st.just(size))), st.data())
def test_a_tree_that_changed_an_earlier_leaf_continues_nothing(case: tuple[int, int], data: st.DataObject) -> None:
    old, size = case
    leaves = _leaves(size)
    changed = list(leaves)
    changed[data.draw(st.integers(0, old - 1))] = leaf_hash(b"another")
    path = consistency_path(old, size, _roots(changed))
    with pytest.raises(VerificationError):
        check_consistency(old, merkle_root(leaves[:old]), size, merkle_root(changed), path)


_HASHES = st.lists(st.binary(min_size=32, max_size=32) | st.binary(max_size=40), max_size=9)


@given(st.integers(-2, 70), st.integers(-2, 70), _HASHES, st.binary(min_size=32, max_size=32))
def test_invented_proofs_are_refused_and_raise_nothing_else(
    index: int, size: int, path: list[bytes], one: bytes
) -> None:
    root = merkle_root(_leaves(max(size, 0)))
    assert not _proves(root, partial(root_from_path, one, index, size, path))
    assert not _proves(root, partial(root_from_range, [one], index, size, path))
    if index != 0:
        with pytest.raises(VerificationError):
            check_consistency(index, one, size, root, path)


def test_the_empty_tree_is_continued_by_all_and_proves_nothing() -> None:
    check_consistency(0, EMPTY_ROOT, 5, merkle_root(_leaves(5)), [])
    with pytest.raises(VerificationError):
        check_consistency(0, leaf_hash(b""), 5, merkle_root(_leaves(5)), [])
    with pytest.raises(ValueError, match="leaf 0 is not in a tree of 0 leaves"):
        inclusion_path(0, 0, _roots([]))
    with pytest.raises(ValueError, match="not a range"):
        range_path(3, 3, 5, _roots(_leaves(5)))
    with pytest.raises(ValueError, match="does not continue"):
        consistency_path(6, 5, _roots(_leaves(6)))
