"""The pieces that an archived file is cut into, each with its own hash: what is read of the file can be checked.

Every byte of the file belongs to one piece. A column of a row group is one, and the end of the file is the last. What
lies between them, Parquet's own bloom filters and page indexes, is cut into pieces of at most 16 KiB. A piece is 40
bytes: where it ends in the file (big-endian) and the SHA-256 of its bytes.
"""

import hashlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pyarrow.parquet import ColumnChunkMetaData, FileMetaData

END_BYTES = 8
PIECE_BYTES = END_BYTES + hashlib.sha256().digest_size
_BETWEEN_BYTES = 16 << 10
# What DuckDB reads of a file first, to find the footer in it.
_LAST_BYTES = 16 << 10
_TRAILER_BYTES = 8  # the length of the footer's metadata, and Parquet's mark


def make_piece(content: bytes, end: int) -> bytes:
    """The piece of ``content``, which ends at ``end``."""
    return end.to_bytes(END_BYTES, "big") + hashlib.sha256(content).digest()


def piece_ends(metadata: "FileMetaData", size: int) -> list[int]:
    """Where the pieces of a file of ``size`` bytes end, in order."""
    last = last_piece(metadata, size)
    ends, at = list[int](), 0
    for start, end in (*sorted(column_ranges(metadata)), (last, last)):
        ends += [*range(at + _BETWEEN_BYTES, start, _BETWEEN_BYTES), *([start] if start > at else [])]
        ends += [end] if end > start else []
        at = end
    return [*ends, size]


def last_piece(metadata: "FileMetaData", size: int) -> int:
    """Where the last piece begins: at the footer, or 16 KiB before the end, but behind the columns."""
    footer = size - _TRAILER_BYTES - int(metadata.serialized_size)
    behind = max((end for _, end in column_ranges(metadata)), default=0)
    return min(footer, max(behind, size - _LAST_BYTES))


def column_ranges(metadata: "FileMetaData") -> Iterator[tuple[int, int]]:
    """Where each column of each row group lies in the file, row group by row group."""
    for group in range(metadata.num_row_groups):
        row_group = metadata.row_group(group)
        for column in range(row_group.num_columns):
            yield column_range(row_group.column(column))


def column_range(chunk: "ColumnChunkMetaData") -> tuple[int, int]:
    """Where a column of a row group lies in the file."""
    start = chunk.data_page_offset
    if chunk.dictionary_page_offset is not None:
        start = min(start, chunk.dictionary_page_offset)
    return start, start + chunk.total_compressed_size
