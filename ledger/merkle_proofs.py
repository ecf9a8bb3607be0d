"""Proofs in a Merkle tree by RFC 6962. They show that a leaf or a run of leaves is in it, and that it continues an
earlier tree.

Proofs are made from the roots of subtrees, which the caller looks up (`SubtreeRoot`), so nobody needs all the leaves.
Checking one needs no tree at all. Paths are lists of 32-byte hashes. Every function that checks raises
VerificationError; a proof from a stranger's hands never raises anything else.
"""

from collections.abc import Callable, Iterator, Sequence

from ledger.errors import VerificationError
from ledger.merkle import EMPTY_ROOT, HASH_BYTES, fold, node_hash

SubtreeRoot = Callable[[int, int], bytes]
"""The root over the leaves ``[start, stop)``. Only subtrees of RFC 6962 are asked for. Where ``stop`` is not the size
of the tree, ``stop - start`` is a power of two and divides ``start``.
"""


def inclusion_path(index: int, size: int, root_of: SubtreeRoot) -> list[bytes]:
    """PATH(m, D[n]) of RFC 6962, 2.1.1: the siblings from leaf ``index`` up to the root of ``size`` leaves.

    Raises ValueError for an index outside the tree.
    """
    if not 0 <= index < size:
        raise ValueError(f"leaf {index} is not in a tree of {size} leaves")
    path: list[bytes] = []
    start, stop = 0, size
    while stop - start > 1:
        middle = start + _left_leaves(stop - start)
        if index < middle:
            path.append(root_of(middle, stop))
            stop = middle
        else:
            path.append(root_of(start, middle))
            start = middle
    return path[::-1]


def root_from_path(leaf: bytes, index: int, size: int, path: Sequence[bytes]) -> bytes:
    """The root that an inclusion path leads to (RFC 9162, 2.1.3.2).

    Raises VerificationError for a path that is not one of this leaf in a tree of this size.
    """
    if not 0 <= index < size:
        raise VerificationError(f"the proof names leaf {index} of a tree of {size} leaves")
    _require_hashes(leaf, *path)
    root, place, last = leaf, index, size - 1
    for sibling in path:
        if last == 0:
            raise VerificationError(f"the path of leaf {index} is longer than a tree of {size} leaves is high")
        if place % 2 or place == last:
            root = node_hash(sibling, root)
            while place % 2 == 0 and place:
                place, last = place >> 1, last >> 1
        else:
            root = node_hash(root, sibling)
        place, last = place >> 1, last >> 1
    if last:
        raise VerificationError(f"the path of leaf {index} is shorter than a tree of {size} leaves is high")
    return root


def range_path(start: int, stop: int, size: int, root_of: SubtreeRoot) -> list[bytes]:
    """The roots of the largest subtrees left and right of the leaves ``[start, stop)``, from left to right.

    With those leaves they give the root. Raises ValueError for a range that is empty or outside the tree.
    """
    if not 0 <= start < stop <= size:
        raise ValueError(f"leaves {start} to {stop} are not a range of a tree of {size} leaves")

    def outside(first: int, last: int) -> Iterator[bytes]:
        if last <= start or first >= stop:
            yield root_of(first, last)
        elif first < start or last > stop:
            middle = first + _left_leaves(last - first)
            yield from outside(first, middle)
            yield from outside(middle, last)

    return list(outside(0, size))


def root_from_range(leaves: Sequence[bytes], start: int, size: int, path: Sequence[bytes]) -> bytes:
    """The root that the leaves ``[start, start + len(leaves))`` and their `range_path` lead to.

    Raises VerificationError for a range outside the tree and for a path of another length.
    """
    stop = start + len(leaves)
    if not 0 <= start < stop <= size:
        raise VerificationError(f"the proof names leaves {start} to {stop} of a tree of {size} leaves")
    _require_hashes(*leaves, *path)
    remaining = iter(path)

    def root_of(first: int, last: int) -> bytes:
        if last <= start or first >= stop:
            root = next(remaining, None)
            if root is None:
                raise VerificationError(f"the path of leaves {start} to {stop} is too short")
            return root
        if start <= first and last <= stop:
            return fold(b"".join(leaves[first - start : last - start]))
        middle = first + _left_leaves(last - first)
        return node_hash(root_of(first, middle), root_of(middle, last))

    root = root_of(0, size)
    if next(remaining, None) is not None:
        raise VerificationError(f"the path of leaves {start} to {stop} is too long")
    return root


def consistency_path(old_size: int, size: int, root_of: SubtreeRoot) -> list[bytes]:
    """PROOF(m, D[n]) of RFC 6962, 2.1.2: that the tree of ``size`` leaves continues that of its first ``old_size``.

    Empty where the sizes are equal or the old one is 0. Raises ValueError where the old tree is the larger one.
    """
    if not 0 <= old_size <= size:
        raise ValueError(f"a tree of {size} leaves does not continue one of {old_size}")
    if old_size in (0, size):
        return []

    def proof(start: int, stop: int, old_stop: int, is_old_root: bool) -> Iterator[bytes]:
        if old_stop == stop:
            if not is_old_root:
                yield root_of(start, stop)
            return
        middle = start + _left_leaves(stop - start)
        if old_stop <= middle:
            yield from proof(start, middle, old_stop, is_old_root)
            yield root_of(middle, stop)
        else:
            yield from proof(middle, stop, old_stop, False)
            yield root_of(start, middle)

    return list(proof(0, size, old_size, True))


def check_consistency(old_size: int, old_root: bytes, size: int, root: bytes, path: Sequence[bytes]) -> None:
    """Raise VerificationError unless ``path`` proves that the new tree continues the old one (RFC 9162, 2.1.4.2)."""
    _require_hashes(old_root, root, *path)
    if not 0 <= old_size <= size:
        raise VerificationError(f"a tree of {size} leaves does not continue one of {old_size}")
    if old_size in (0, size):
        expected = EMPTY_ROOT if old_size == 0 else root
        if path or old_root != expected:
            raise VerificationError(f"the trees of {old_size} and of {size} leaves do not agree")
        return
    roots = _roots_from(old_size, old_root, size, path)
    if roots != (old_root, root):
        raise VerificationError(f"the tree of {size} leaves does not continue that of {old_size}")


def _roots_from(old_size: int, old_root: bytes, size: int, path: Sequence[bytes]) -> tuple[bytes, bytes]:
    """The old and the new root that a consistency path leads to."""
    remaining = list(path)
    if old_size & (old_size - 1) == 0:  # a complete tree is a node of the new one, and is not in its own proof
        remaining.insert(0, old_root)
    if not remaining:
        raise VerificationError(f"the path from {old_size} to {size} leaves is too short")
    place, last = old_size - 1, size - 1
    while place % 2:
        place, last = place >> 1, last >> 1
    old = new = remaining[0]
    for sibling in remaining[1:]:
        if last == 0:
            raise VerificationError(f"the path from {old_size} to {size} leaves is too long")
        if place % 2 or place == last:
            old, new = node_hash(sibling, old), node_hash(sibling, new)
            while place % 2 == 0 and place:
                place, last = place >> 1, last >> 1
        else:
            new = node_hash(new, sibling)
        place, last = place >> 1, last >> 1
    if last:
        raise VerificationError(f"the path from {old_size} to {size} leaves is too short")
    return old, new


def _left_leaves(size: int) -> int:
    """The leaves of the left subtree: the largest power of two below ``size``."""
    return 1 << (size - 1).bit_length() - 1


def _require_hashes(*hashes: bytes) -> None:
    if any(len(digest) != HASH_BYTES for digest in hashes):
        raise VerificationError(f"a hash of the proof is not {HASH_BYTES} bytes long")
