"""Leaf hashes in files: written one after the other, 32 bytes each, and compared whatever their order.

Months are larger than memory, so a side of a comparison is a list of files in the spool.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import numpy.typing as npt

from ledger.merkle import HASH_BYTES
from storage.hashing import Hashes

_PART_LEAVES = 2_000_000  # about 250 MB of both sides and their order
_BLOCK_LEAVES = 1 << 17
_PREFIX = np.dtype(">u8")


def read_leaves(file: Path) -> Hashes:
    """All leaves of a file, mapped and not read. Raises ValueError for a file that is cut within a hash."""
    if not file.stat().st_size:
        return np.empty((0, HASH_BYTES), np.uint8)
    return np.memmap(file, np.uint8, "r").reshape(-1, HASH_BYTES)


def leaf_slices(files: Sequence[Path], rows: int) -> Iterator[Hashes]:
    """The leaves of the files one after the other, at most ``rows`` at once. They are read, so that none stays mapped.

    Raises ValueError for a file that is cut within a hash.
    """
    for file in files:
        with file.open("rb") as content:
            while block := content.read(rows * HASH_BYTES):
                yield np.frombuffer(block, np.uint8).reshape(-1, HASH_BYTES)


def only_on_one_side(here: Sequence[Path], there: Sequence[Path]) -> tuple[int, int]:
    """How many leaves only the files ``here`` have, and only those ``there``; a leaf that occurs twice counts twice.

    Memory does not grow with the number of leaves: they are compared in parts, by their first bits. Where there are
    several, both sides are written once more beside the first file, so the time grows with the leaves alone.
    """
    count = max(sum(file.stat().st_size for file in files) // HASH_BYTES for files in (here, there))
    parts = max(1, -(-count // _PART_LEAVES))
    if parts == 1:
        return _differences_of(here, there)
    only_here = only_there = 0
    with TemporaryDirectory(dir=(*here, *there)[0].parent, prefix="leaves-") as folder:
        spread = (_spread(files, parts, Path(folder) / name) for name, files in (("here", here), ("there", there)))
        for ours, theirs in zip(*spread, strict=True):
            missing, extra = _differences_of([ours], [theirs])
            only_here, only_there = only_here + missing, only_there + extra
    return only_here, only_there


def _spread(files: Sequence[Path], parts: int, folder: Path) -> list[Path]:
    """Write the leaves into a file for each part, and return these."""
    folder.mkdir()
    paths = [folder / str(number) for number in range(parts)]
    with ExitStack() as stack:
        targets = [stack.enter_context(path.open("wb")) for path in paths]
        for leaves in leaf_slices(files, _BLOCK_LEAVES):
            numbers = _part_of(leaves, parts)
            order = np.argsort(numbers.astype(np.uint16), kind="stable")  # by radix: some times as fast
            ends = np.cumsum(np.bincount(numbers, minlength=parts))
            for target, share in zip(targets, np.split(leaves[order], ends[:-1]), strict=True):
                target.write(share.tobytes())
    return paths


def _differences_of(here: Sequence[Path], there: Sequence[Path]) -> tuple[int, int]:
    ours, theirs = (_sorted(files) for files in (here, there))
    return (0, 0) if len(ours) == len(theirs) and (ours == theirs).all() else _differences(ours, theirs)


def _sorted(files: Sequence[Path]) -> Hashes:
    """All leaves of the files, sorted."""
    together = np.concatenate([np.empty((0, HASH_BYTES), np.uint8), *leaf_slices(files, _BLOCK_LEAVES)])
    prefixes = _prefixes(together)
    order = np.argsort(prefixes)
    prefixes = prefixes[order]
    if (prefixes[1:] == prefixes[:-1]).any():  # one leaf twice, or two that begin alike
        order = np.lexsort(together.view(_PREFIX).reshape(-1, HASH_BYTES // _PREFIX.itemsize).T[::-1])
    # Whole leaves of four words each: ten times as fast as by their bytes.
    return np.take(together.view(np.uint64), order, axis=0).view(np.uint8)


def _part_of(leaves: Hashes, parts: int) -> npt.NDArray[np.int64]:
    """The part that each leaf is compared in: its first 32 bits, cut into equal shares."""
    return ((_prefixes(leaves) >> np.uint64(32)) * np.uint64(parts) >> np.uint64(32)).astype(np.int64)


def _prefixes(leaves: Hashes) -> npt.NDArray[np.uint64]:
    """The first 64 bits of each leaf."""
    return np.ascontiguousarray(leaves[:, : _PREFIX.itemsize]).view(_PREFIX).reshape(-1).astype(np.uint64)


def _differences(ours: Hashes, theirs: Hashes) -> tuple[int, int]:
    """How many of two sorted sides are on one of them alone."""
    whole = np.dtype((np.void, HASH_BYTES))
    here, counts_here = np.unique(np.ascontiguousarray(ours).view(whole).reshape(-1), return_counts=True)
    there, counts_there = np.unique(np.ascontiguousarray(theirs).view(whole).reshape(-1), return_counts=True)
    known = dict(zip((leaf.tobytes() for leaf in there), counts_there.tolist(), strict=True))
    common = 0
    for leaf, count in zip((leaf.tobytes() for leaf in here), counts_here.tolist(), strict=True):
        common += min(count, known.get(leaf, 0))
    return len(ours) - common, len(theirs) - common
