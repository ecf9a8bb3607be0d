"""Filters of the values of a column: whether a month can have a value, from some bytes and without its file.

A filter is the split block Bloom filter of Apache Parquet (BloomFilter.md of the format): blocks of 32 bytes, in which
a value sets eight bits by its XXH64 hash, seed 0. A value is hashed as Parquet encodes it plain, without a length: a
text as its UTF-8 bytes, a UUID as its 16. A filter never denies a value that the column has.
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
_MOST_WAITING = 1 << 22  # hashes, of which many may be repeats
_LOW = (1 << 32) - 1

Value = str | UUID
_HashArray = npt.NDArray[np.uint64]


def hash_of(value: Value) -> int:
    """XXH64 of a value, without sign."""
    return int(xxhash.xxh64_intdigest(value.bytes if isinstance(value, UUID) else value.encode()))


def hashes_of_column(batches: Iterable[pa.Array]) -> _HashArray:
    """The hashes of the values of a column, of texts or UUIDs, each once and in order. NULL has none."""
    found, waiting = np.empty(0, np.uint64), [np.empty(0, np.uint64)]
    for batch in batches:
        waiting.append(np.fromiter(_hashes(batch), np.uint64))
        if sum(map(len, waiting)) > _MOST_WAITING:
            found, waiting = _each_once([found, *waiting]), []
    return _each_once([found, *waiting])


def _each_once(hashes: Sequence[_HashArray]) -> _HashArray:
    """Sorted, without repeats: numpy's own `unique` of 2.4 takes thirty times as long for values as even as these."""
    together = np.sort(np.concatenate(hashes))
    is_new = np.ones(len(together), bool)
    np.not_equal(together[1:], together[:-1], out=is_new[1:])
    return together[is_new]


def _hashes(batch: pa.Array) -> Iterator[int]:
    plain = batch.storage if isinstance(batch, pa.ExtensionArray) else batch
    return map(xxhash.xxh64_intdigest, plain.drop_null().cast(pa.binary()).to_pylist())


def make_filter(hashes: _HashArray, bits_per_value: int) -> bytes:
    """The filter of values with these hashes, of about ``bits_per_value`` bits for each."""
    blocks = max(1, -(-len(hashes) * bits_per_value // _BLOCK_BITS))
    bits = np.zeros((blocks, _WORDS, 32), bool)
    numbers = ((hashes >> _HALF) * np.uint64(blocks)) >> _HALF
    places = _places(hashes)
    for word in range(_WORDS):
        bits[numbers, word, places[word]] = True
    return np.packbits(bits.reshape(-1), bitorder="little").tobytes()  # words are little-endian


def _places(hashes: _HashArray) -> npt.NDArray[np.uint32]:
    """The bit that each value sets in each of the words: an array with a row a word."""
    low = (hashes & np.uint64(_LOW)).astype(np.uint32)
    places: npt.NDArray[np.uint32] = (low[np.newaxis, :] * _SALTS[:, np.newaxis]) >> np.uint32(27)
    return places


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
