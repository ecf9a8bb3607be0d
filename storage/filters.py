"""Filters of the values of a column: whether a month can have a value, from some bytes and without its file.

A filter is the split block Bloom filter of Apache Parquet (BloomFilter.md of the format). It consists of blocks of 32
bytes, in which a value sets eight bits by its XXH64 hash, seed 0. A value is hashed as Parquet encodes it plain,
without a length: a text as its UTF-8 bytes, a UUID as its 16. A filter never denies a value that the column has.
"""

from collections.abc import Iterable, Iterator, Sequence
from uuid import UUID

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import xxhash

BLOCK_BYTES = 32
_BLOCK_BITS = 8 * BLOCK_BYTES
_WORDS = 8  # of a block; each gets one bit of a value
_SALTS = np.array(
    (0x47B6137B, 0x44974D91, 0x8824AD5B, 0xA2B7289D, 0x705495C7, 0x2DF1424B, 0x9EFC4947, 0x5C6BFB31), np.uint32
)
_HALF = np.uint64(32)
_RUN_HASHES = 1 << 22  # of a run before it is sorted: 32 MB
_PIECE_HASHES = 1 << 20  # of all runs together, sorted or set at once: some 60 MB
_LOW = (1 << 32) - 1

Value = str | UUID
_HashArray = npt.NDArray[np.uint64]


def hash_of(value: Value) -> int:
    """XXH64 of a value, without sign."""
    return int(xxhash.xxh64_intdigest(value.bytes if isinstance(value, UUID) else value.encode()))


def hashes_of_column(batches: Iterable[pa.Array]) -> list[_HashArray]:
    """The hashes of the values of a column, of texts or UUIDs, as sorted runs without repeats. NULL has none.

    They take 8 bytes for each distinct value of a run, and a run has 4,194,304 values.
    """
    runs: list[_HashArray] = []
    waiting: list[_HashArray] = []
    for batch in batches:
        waiting.append(np.fromiter(_hashes(batch), np.uint64))
        if sum(map(len, waiting)) >= _RUN_HASHES:
            runs.append(_each_once(waiting))
            waiting = []
    return [*runs, _each_once(waiting)] if waiting else runs


def _each_once(parts: Sequence[_HashArray]) -> _HashArray:
    """Sorted, without repeats: numpy's own `unique` of 2.4 takes thirty times as long for values as even as these."""
    together = np.concatenate(parts)
    together.sort()
    is_new = np.ones(len(together), bool)
    np.not_equal(together[1:], together[:-1], out=is_new[1:])
    return together[is_new]


def _pieces(runs: Sequence[_HashArray]) -> Iterator[_HashArray]:
    """The hashes of all runs in order, each once, some at a time: the memory for it does not grow with them."""
    count = max(1, sum(map(len, runs)) // _PIECE_HASHES)
    bounds = np.array([(number << 64) // count for number in range(1, count)], np.uint64)
    edges = [np.searchsorted(run, bounds) for run in runs]
    places = [[0, *map(int, run_edges), len(run)] for run, run_edges in zip(runs, edges, strict=True)]
    for number in range(count):
        yield _each_once([run[at[number] : at[number + 1]] for run, at in zip(runs, places, strict=True)])


def _hashes(batch: pa.Array) -> Iterator[int]:
    plain = batch.storage if isinstance(batch, pa.ExtensionArray) else batch
    return map(xxhash.xxh64_intdigest, plain.drop_null().cast(pa.binary()).to_pylist())


def make_filter(runs: Sequence[_HashArray], bits_per_value: int) -> bytes:
    """The filter of the values with the hashes of sorted ``runs``, of about ``bits_per_value`` bits for each value."""
    if not runs:
        return bytes(BLOCK_BYTES)
    values = sum(map(len, _pieces(runs)))
    words = np.zeros((max(1, -(-values * bits_per_value // _BLOCK_BITS)), _WORDS), "<u4")
    for hashes in _pieces(runs):
        _set(words, hashes)
    return words.tobytes()


def _set(words: npt.NDArray[np.uint32], hashes: _HashArray) -> None:
    """Set the bits of some values, in order, in the words of all blocks."""
    if not len(hashes):
        return
    blocks = ((hashes >> _HALF) * np.uint64(len(words))) >> _HALF
    firsts = np.flatnonzero(np.concatenate(([True], blocks[1:] != blocks[:-1])))  # blocks are in the order of hashes
    low = (hashes & np.uint64(_LOW)).astype(np.uint32)
    for word, salt in enumerate(_SALTS):
        bits = np.uint32(1) << ((low * salt) >> np.uint32(27))
        words[blocks[firsts], word] |= np.bitwise_or.reduceat(bits, firsts)


def block_number(value_hash: int, blocks: int) -> int:
    """The block of a filter of ``blocks`` blocks that a value belongs to."""
    return ((value_hash >> 32) * blocks) >> 32


def may_have(block: bytes, value_hash: int) -> bool:
    """Whether the column may have a value, by the block that it belongs to. Raises ValueError for another length."""
    if len(block) != BLOCK_BYTES:
        raise ValueError(f"a block of a filter has {len(block)} bytes, must have {BLOCK_BYTES}")
    low = value_hash & _LOW
    for word, salt in enumerate(_SALTS.tolist()):
        bit = ((low * salt) & _LOW) >> 27
        if not int.from_bytes(block[4 * word : 4 * word + 4], "little") >> bit & 1:
            return False
    return True
