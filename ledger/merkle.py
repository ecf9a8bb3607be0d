"""The digest of a month: a Merkle tree by RFC 6962, section 2.1, over its rows in the order of their ids.

The leaves come as one stream, so memory stays at one chunk plus one hash per level whatever the month's size.
"""

import hashlib
from collections.abc import Iterable

HASH_BYTES = 32
LEAF_PREFIX = b"\x00"
NODE_PREFIX = b"\x01"
EMPTY_ROOT = hashlib.sha256(b"").digest()

_CHUNK_LEVEL = 12
CHUNK_LEAVES = 1 << _CHUNK_LEVEL
_CHUNK_BYTES = CHUNK_LEAVES * HASH_BYTES


def leaf_hash(row: bytes) -> bytes:
    """SHA-256(0x00 || row). The reference implementation: PostgreSQL and DuckDB hash rows, and tests compare them."""
    return hashlib.sha256(LEAF_PREFIX + row).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """SHA-256(0x01 || left || right)."""
    return hashlib.sha256(NODE_PREFIX + left + right).digest()


def fold(hashes: bytes) -> bytes:
    """The root of a tree over concatenated 32-byte hashes, level by level; an odd last hash moves up unchanged.

    For a tree of RFC 6962 this gives the same root as its recursive definition (split at the largest power of two).
    """
    sha256 = hashlib.sha256
    pair = 2 * HASH_BYTES
    while len(hashes) > HASH_BYTES:
        whole = len(hashes) - len(hashes) % pair
        parents = [sha256(NODE_PREFIX + hashes[i : i + pair]).digest() for i in range(0, whole, pair)]
        hashes = b"".join(parents) + hashes[whole:]
    return hashes


class MerkleTree:
    """Folds a stream of leaf hashes into the root. Not thread-safe; ``add`` as often as wanted, then ``root``."""

    def __init__(self) -> None:
        self.leaves = 0
        self._pending = bytearray()
        self._roots: list[tuple[int, bytes]] = []  # (level, root) of complete subtrees, levels falling

    def add(self, leaf_hashes: bytes) -> None:
        """Take the next leaves: any number of concatenated 32-byte leaf hashes, in order."""
        if len(leaf_hashes) % HASH_BYTES:
            raise ValueError(f"{len(leaf_hashes)} bytes are not a whole number of {HASH_BYTES}-byte hashes")
        self.leaves += len(leaf_hashes) // HASH_BYTES
        self._pending += leaf_hashes
        while len(self._pending) >= _CHUNK_BYTES:
            chunk = bytes(self._pending[:_CHUNK_BYTES])
            del self._pending[:_CHUNK_BYTES]
            self._push(_CHUNK_LEVEL, fold(chunk))

    def _push(self, level: int, root: bytes) -> None:
        while self._roots and self._roots[-1][0] == level:
            root = node_hash(self._roots.pop()[1], root)
            level += 1
        self._roots.append((level, root))

    def root(self) -> bytes:
        """The root over all leaves so far; of no leaves SHA-256 of nothing, as RFC 6962 says."""
        if self.leaves == 0:
            return EMPTY_ROOT
        subtrees = [root for _, root in self._roots]
        if self._pending:
            subtrees.append(fold(bytes(self._pending)))
        result = subtrees.pop()
        while subtrees:
            result = node_hash(subtrees.pop(), result)
        return result


def merkle_root(leaf_hashes: Iterable[bytes]) -> bytes:
    """The root over single 32-byte leaf hashes given in order. The reference that tests compare digests with."""
    tree = MerkleTree()
    for leaf in leaf_hashes:
        tree.add(leaf)
    return tree.root()
