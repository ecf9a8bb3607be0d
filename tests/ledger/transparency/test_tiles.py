"""Tiles: the examples of the specification, and a tree of any size is rebuilt from its tiles alone."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger.errors import VerificationError
from ledger.merkle import HASH_BYTES, leaf_hash, merkle_root
from ledger.merkle_proofs import check_consistency, consistency_path, inclusion_path, root_from_path
from ledger.transparency.tiles import (
    Tile,
    Tree,
    decode_bundle,
    encode_bundle,
    new_tiles,
    root_of_size,
    roots_from,
    tiles_of,
)

MOST = 700
ENTRIES = [f"entry {number}".encode() for number in range(MOST)]
TREE = Tree(ENTRIES)


@pytest.mark.parametrize(
    ("tile", "path"),
    [
        (Tile(0, 1234067), "tile/0/x001/x234/067"),  # c2sp.org/tlog-tiles, "Merkle Tree"
        (Tile(0, 0, 1), "tile/0/000.p/1"),
        (Tile(1, 1000), "tile/1/x001/000"),
        (Tile(63, 999_999, 255), "tile/63/x999/999.p/255"),
        (Tile(None, 5, 70), "tile/entries/005.p/70"),
    ],
)
def test_a_tile_is_at_the_path_of_the_specification(tile: Tile, path: str) -> None:
    assert tile.path == path


def test_the_examples_of_the_specification_have_the_tiles_that_it_says() -> None:
    """c2sp.org/tlog-tiles, "Partial Tiles": sizes 70,000 and 256."""
    hashes = [tile for tile in tiles_of(70_000) if tile.level is not None]
    assert sum(tile.level == 0 and tile.width == 256 for tile in hashes) == 273
    partial = {(tile.level, tile.width) for tile in hashes if tile.width < 256}
    assert partial == {(0, 112), (1, 17), (2, 1)}
    assert sum(tile.level == 1 and tile.width == 256 for tile in hashes) == 1
    assert {tile.path for tile in tiles_of(256)} == {"tile/0/000", "tile/1/000.p/1", "tile/entries/000"}


@settings(max_examples=60)
@given(st.integers(1, MOST), st.data())
def test_a_tree_of_any_size_is_rebuilt_from_its_tiles(size: int, data: st.DataObject) -> None:
    tree = Tree(ENTRIES[:size])
    objects = {tile: tree.content(tile) for tile in tiles_of(size)}
    roots = roots_from(objects.__getitem__, size)
    root = root_of_size(size, roots)
    assert root == merkle_root(map(leaf_hash, ENTRIES[:size])) == tree.root(size)
    index = data.draw(st.integers(0, size - 1))
    path = inclusion_path(index, size, roots)
    assert root_from_path(leaf_hash(ENTRIES[index]), index, size, path) == root
    old = data.draw(st.integers(0, size))
    check_consistency(old, tree.root(old), size, root, consistency_path(old, size, roots))


def test_a_tree_of_three_levels_has_the_root_of_its_leaves() -> None:
    entries = [number.to_bytes(4, "big") for number in range(70_000)]
    tree = Tree(entries)
    assert tree.root(70_000) == merkle_root(map(leaf_hash, entries))
    roots = roots_from({tile: tree.content(tile) for tile in tiles_of(70_000) if tile.level is not None}.get, 70_000)  # type: ignore[arg-type]
    assert root_from_path(
        leaf_hash(entries[65_540]), 65_540, 70_000, inclusion_path(65_540, 70_000, roots)
    ) == tree.root(70_000)


@given(st.integers(0, MOST), st.integers(0, MOST))
def test_the_new_tiles_complete_those_of_the_smaller_log(one: int, other: int) -> None:
    old, new = sorted((one, other))
    assert {*tiles_of(old), *new_tiles(old, new)} >= set(tiles_of(new))
    assert not set(tiles_of(old)) & set(new_tiles(old, new))


@given(st.lists(st.binary(max_size=70), max_size=300))
def test_a_bundle_gives_its_entries_back(entries: list[bytes]) -> None:
    assert decode_bundle(encode_bundle(entries), len(entries)) == entries


def test_the_longest_entry_fits_and_a_longer_one_is_refused() -> None:
    assert decode_bundle(encode_bundle([bytes(65_535)]), 1) == [bytes(65_535)]
    with pytest.raises(ValueError, match="at most 65535 bytes"):
        encode_bundle([bytes(65_536)])


@given(st.integers(1, 400))
def test_a_bundle_that_was_cut_is_refused(cut: int) -> None:
    content = encode_bundle(ENTRIES[:40])
    with pytest.raises(VerificationError):
        decode_bundle(content[: max(0, len(content) - cut)], 40)


@given(st.integers(0, 299), st.integers(0, 8 * HASH_BYTES - 1))
def test_a_tile_with_a_flipped_bit_gives_another_root(place: int, bit: int) -> None:
    tree = Tree(ENTRIES[:300])

    def read(tile: Tile) -> bytes:
        content = bytearray(tree.content(tile))
        start = place * HASH_BYTES - tile.index * 256 * HASH_BYTES
        if tile.level == 0 and 0 <= start < len(content):
            content[start + bit // 8] ^= 1 << bit % 8
        return bytes(content)

    if place >= 256:  # below that the full tile's root stands in the tile above
        assert root_of_size(300, roots_from(read, 300)) != tree.root(300)
    else:
        path = inclusion_path(place, 300, roots_from(read, 300))
        leaf = read(Tile(0, 0))[place * HASH_BYTES : (place + 1) * HASH_BYTES]
        assert leaf != leaf_hash(ENTRIES[place])
        assert root_from_path(leaf, place, 300, path) != tree.root(300)


def test_a_tile_of_another_length_is_refused() -> None:
    roots = roots_from(lambda tile: TREE.content(tile)[:-1], MOST)
    with pytest.raises(VerificationError, match=r"tile/0/002.p/188 is not 6016 bytes long"):
        roots(696, 700)
