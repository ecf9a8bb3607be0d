"""Tiles by https://c2sp.org/tlog-tiles: which objects a log of a size consists of, their content, and trees from them.

A tile is up to 256 consecutive hashes of one level. The hashes of level 0 are the leaves, and one of level L + 1 is the
root of a full tile of level L. A bundle of entries has the number and the width of a tile of level 0.
"""

import re
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from ledger.errors import VerificationError
from ledger.merkle import EMPTY_ROOT, HASH_BYTES, fold, leaf_hash, node_hash
from ledger.merkle_proofs import SubtreeRoot

WIDTH = 256
_HEIGHT = 8
MOST_ENTRY_BYTES = 65_535
_LENGTH = struct.Struct(">H")
_PATH = re.compile(r"tile/(?P<level>entries|[0-9]{1,2})/(?P<index>(x[0-9]{3}/)*[0-9]{3})(\.p/(?P<width>[0-9]{1,3}))?")


@dataclass(frozen=True, slots=True, order=True)
class Tile:
    """The tile ``index`` of ``level``, or a bundle of entries where ``level`` is None; ``width`` 1 to 256."""

    level: int | None
    index: int
    width: int = WIDTH

    @property
    def path(self) -> str:
        """The object's name below the log's prefix, such as ``tile/0/x001/234`` or ``tile/entries/000.p/7``."""
        level = "entries" if self.level is None else str(self.level)
        partial = "" if self.width == WIDTH else f".p/{self.width}"
        return f"tile/{level}/{_number(self.index)}{partial}"

    @classmethod
    def parse(cls, path: str) -> "Tile | None":
        """The tile of an object's name below the log's prefix; None for a name that is none."""
        match = _PATH.fullmatch(path)
        if match is None:
            return None
        level = None if match["level"] == "entries" else int(match["level"])
        tile = cls(level, int(match["index"].replace("/", "").replace("x", "")), int(match["width"] or WIDTH))
        return tile if tile.path == path and 0 < tile.width <= WIDTH else None

    @property
    def stop(self) -> int:
        """The size from which on a log has this tile: the end of the entries under it."""
        return (self.index * WIDTH + self.width) << (_HEIGHT * (self.level or 0))

    @property
    def whole(self) -> "Tile":
        """The full tile of the same place: what a partial one is the beginning of."""
        return Tile(self.level, self.index)


def _number(index: int) -> str:
    groups = []
    while True:
        index, last = divmod(index, 1000)
        groups.append(f"{last:03d}")
        if not index:
            break
    return "/".join([f"x{group}" for group in reversed(groups[1:])] + groups[:1])


def tiles_of(size: int) -> Iterator[Tile]:
    """The tiles and bundles of a log of ``size`` entries: the full ones, and on each level the partial one."""
    yield from _level(None, size)
    level, hashes = 0, size
    while hashes:
        yield from _level(level, hashes)
        level, hashes = level + 1, hashes // WIDTH


def _level(level: int | None, hashes: int) -> Iterator[Tile]:
    full, rest = divmod(hashes, WIDTH)
    for index in range(full):
        yield Tile(level, index)
    if rest:
        yield Tile(level, full, rest)


def new_tiles(old_size: int, size: int) -> list[Tile]:
    """The tiles and bundles that a log of ``size`` entries has and one of ``old_size`` did not have."""
    had = set(tiles_of(old_size))
    return [tile for tile in tiles_of(size) if tile not in had]


def encode_bundle(entries: Sequence[bytes]) -> bytes:
    """Entries one after the other, each behind its length in two bytes. Raises ValueError for one that is too long."""
    if any(len(entry) > MOST_ENTRY_BYTES for entry in entries):
        raise ValueError(f"an entry has at most {MOST_ENTRY_BYTES} bytes")
    return b"".join(_LENGTH.pack(len(entry)) + entry for entry in entries)


def decode_bundle(content: bytes, width: int) -> list[bytes]:
    """The entries of a bundle. Raises VerificationError unless they are ``width`` and nothing is left over."""
    entries, place = [], 0
    while place < len(content):
        if place + _LENGTH.size > len(content):
            raise VerificationError("the bundle of entries ends within a length")
        (length,) = _LENGTH.unpack_from(content, place)
        place += _LENGTH.size
        if place + length > len(content):
            raise VerificationError("the bundle of entries ends within an entry")
        entries.append(content[place : place + length])
        place += length
    if len(entries) != width:
        raise VerificationError(f"the bundle holds {len(entries)} entries, not {width}")
    return entries


class Tree:
    """The tree over all entries of a log in memory: its tiles, its roots at any size, and the roots of its subtrees."""

    def __init__(self, entries: Sequence[bytes], leaves: bytes | None = None) -> None:
        """The tree over ``entries``, or over their ``leaves`` alone (32 bytes each): it then has no bundles."""
        self._entries = entries
        self._levels = [b"".join(leaf_hash(entry) for entry in entries) if leaves is None else leaves]
        while len(self._levels[-1]) >= WIDTH * HASH_BYTES:
            below, step = self._levels[-1], WIDTH * HASH_BYTES
            full = range(0, len(below) - len(below) % step, step)
            self._levels.append(b"".join(fold(below[start : start + step]) for start in full))

    @property
    def size(self) -> int:
        """The number of entries."""
        return len(self._levels[0]) // HASH_BYTES

    @property
    def has_entries(self) -> bool:
        """Whether the entries are at hand, and not their leaves alone."""
        return len(self._entries) == self.size

    def content(self, tile: Tile) -> bytes:
        """The bytes of a tile or a bundle. Raises ValueError for one that the tree does not have."""
        start = tile.index * WIDTH
        if tile.level is None:
            entries = self._entries[start : start + tile.width]
            content, width = encode_bundle(entries), len(entries)
        else:
            hashes = self._levels[tile.level] if tile.level < len(self._levels) else b""
            content = hashes[start * HASH_BYTES : (start + tile.width) * HASH_BYTES]
            width = len(content) // HASH_BYTES
        if width != tile.width:
            raise ValueError(f"a tree of {self.size} entries has no {tile.path}")
        return content

    def root(self, size: int) -> bytes:
        """The root over the first ``size`` entries."""
        if not 0 <= size <= self.size:
            raise ValueError(f"a tree of {self.size} entries has no root of {size}")
        return root_of_size(size, self.root_of) if size else EMPTY_ROOT

    def root_of(self, start: int, stop: int) -> bytes:
        """The root over the entries ``[start, stop)`` (a `SubtreeRoot`)."""
        return subtree_root(start, stop, self.content, self.size)


def root_of_size(size: int, root_of: SubtreeRoot) -> bytes:
    """The root over the first ``size`` leaves, from the complete subtrees that it consists of."""
    parts, start = [], 0
    for bit in reversed(range(size.bit_length())):
        if size >> bit & 1:
            parts.append(root_of(start, start + (1 << bit)))
            start += 1 << bit
    root = parts.pop() if parts else EMPTY_ROOT
    while parts:
        root = node_hash(parts.pop(), root)
    return root


def subtree_root(start: int, stop: int, read: Callable[[Tile], bytes], size: int) -> bytes:
    """The root over the leaves ``[start, stop)`` of a log of ``size`` entries, from its tiles.

    ``read`` gives the content of a tile of level 0 or above, as wide as the log of that size has it.
    """
    leaves = stop - start
    if leaves & (leaves - 1):
        return root_of_size(leaves, lambda first, last: subtree_root(start + first, start + last, read, size))
    level, height = divmod(leaves.bit_length() - 1, _HEIGHT)
    first, count = start >> (level * _HEIGHT), 1 << height
    index, place = divmod(first, WIDTH)
    width = min(WIDTH, (size >> (level * _HEIGHT)) - index * WIDTH)
    content = read(Tile(level, index, width))
    if len(content) != width * HASH_BYTES:
        raise VerificationError(f"{Tile(level, index, width).path} is not {width * HASH_BYTES} bytes long")
    return fold(content[place * HASH_BYTES : (place + count) * HASH_BYTES])


def roots_from(read: Callable[[Tile], bytes], size: int) -> SubtreeRoot:
    """A `SubtreeRoot` over the tiles of a log of ``size`` entries; each tile is read once.

    Raises VerificationError for a tile of another length. Whether the tiles are the log's, the root decides: compare
    `root_of_size` with the checkpoint's before a proof is made from them.
    """
    known: dict[Tile, bytes] = {}

    def once(tile: Tile) -> bytes:
        if tile not in known:
            known[tile] = read(tile)
        return known[tile]

    return lambda start, stop: subtree_root(start, stop, once, size)
