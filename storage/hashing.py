"""SHA-256 over many values at once, by Apache DataFusion, which uses the processor's instructions for it."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from datafusion import SessionContext

from ledger.merkle import HASH_BYTES, NODE_PREFIX
from ledger.month_tree import CHUNK_LEAVES

_LEVELS = CHUNK_LEAVES.bit_length() - 1

Hashes = npt.NDArray[np.uint8]
"""Hashes as an array of n rows of 32 bytes."""


def hashes_of(column: pa.Array) -> Hashes:
    """A column of 32-byte values as an array, without a copy and without a Python object a row.

    Raises ValueError for a column with a value that is NULL or has another length.
    """
    values = column.cast(pa.binary()) if column.type != pa.binary() else column
    offsets = np.frombuffer(values.buffers()[1], np.int32)[values.offset : values.offset + len(values) + 1]
    if values.null_count or (len(values) and not (np.diff(offsets) == HASH_BYTES).all()):
        raise ValueError(f"a hash is not {HASH_BYTES} bytes long")
    if not len(values):
        return np.empty((0, HASH_BYTES), np.uint8)
    content = np.frombuffer(values.buffers()[2], np.uint8)[offsets[0] : offsets[-1]]
    return content.reshape(-1, HASH_BYTES)


def chunk_roots(context: SessionContext, leaves: Hashes) -> Hashes:
    """The roots of complete chunks of `CHUNK_LEAVES` leaves; their number must divide that of the leaves."""
    if len(leaves) % CHUNK_LEAVES:
        raise ValueError(f"{len(leaves)} leaves are not a whole number of chunks")
    level = leaves
    for _ in range(_LEVELS):
        level = _parents(context, level)
    return level


def _parents(context: SessionContext, level: Hashes) -> Hashes:
    """SHA-256(0x01 || left || right) of each pair."""
    if not len(level):
        return level
    pairs = level.reshape(-1, 2 * HASH_BYTES)
    prefixed = np.empty((len(pairs), 1 + 2 * HASH_BYTES), np.uint8)
    prefixed[:, 0] = NODE_PREFIX[0]
    prefixed[:, 1:] = pairs
    return sha256(context, prefixed)


def sha256(context: SessionContext, values: npt.NDArray[np.uint8]) -> Hashes:
    """The hashes of values of one length, an array with a value a row."""
    count, length = values.shape
    offsets = np.arange(count + 1, dtype=np.int32) * np.int32(length)
    column = pa.BinaryArray.from_buffers(pa.binary(), count, [None, pa.py_buffer(offsets), pa.py_buffer(values)])
    frame = context.from_arrow(pa.table({"value": column}))
    query = frame.select_exprs("sha256(value) AS hash")
    return np.concatenate([hashes_of(batch.to_pyarrow().column(0)) for batch in query.execute_stream()])
