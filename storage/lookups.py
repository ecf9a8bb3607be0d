"""What a reader needs to read little of an archived file: its footer, hashes of its pieces, filters of its columns.

All of it follows from the file, so it can be computed again at any time. It lies beside the month's tree as one object,
``.lookup``: a line of canonical JSON that describes what follows it, then pieces, footer and filters.

Every byte of the file belongs to one piece: a column of a row group is one, the footer is the last, and what lies
between them (Parquet's own bloom filters and page indexes) is cut into pieces of at most 16 KiB. A piece is 40 bytes:
where it ends in the file (big-endian) and the SHA-256 of its bytes.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import rfc8785

from ledger.columns import Column, ColumnKind
from ledger.errors import DataError
from ledger.tables import TieredTable
from storage.filters import hashes_of_column, make_filter

FORMAT = "treasury-lookup-v1"
END_BYTES = 8
PIECE_BYTES = END_BYTES + hashlib.sha256().digest_size
_BETWEEN_BYTES = 16 << 10
_TRAILER_BYTES = 8  # the length of the footer's metadata, and Parquet's mark
_READ_ROWS = 131_072


class _Section(msgspec.Struct, forbid_unknown_fields=True):
    field_id: int
    size_bytes: int


class _Head(msgspec.Struct, forbid_unknown_fields=True):
    """The first line of the object."""

    bits_per_value: int
    filters: list[_Section]
    footer_bytes: int
    format: str
    pieces: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class FileLookup:
    """The lookup of a file of ``size_bytes``. ``filters`` are by the numbers of columns."""

    size_bytes: int
    pieces: bytes
    footer: bytes
    bits_per_value: int
    filters: Mapping[int, bytes]

    def to_bytes(self) -> bytes:
        """The object's bytes."""
        sections = sorted(self.filters.items())
        head: dict[str, Any] = {
            "bits_per_value": self.bits_per_value,
            "filters": [{"field_id": number, "size_bytes": len(content)} for number, content in sections],
            "footer_bytes": len(self.footer),
            "format": FORMAT,
            "pieces": len(self.pieces) // PIECE_BYTES,
            "size_bytes": self.size_bytes,
        }
        return b"".join((rfc8785.dumps(head), b"\n", self.pieces, self.footer, *(content for _, content in sections)))

    @classmethod
    def from_bytes(cls, content: bytes, key: str) -> "FileLookup":
        """Read the object. Raises DataError naming ``key`` for anything else."""
        line, _, rest = content.partition(b"\n")
        try:
            head = msgspec.json.decode(line, type=_Head)
        except msgspec.DecodeError as error:
            raise DataError(f"{key} is not a lookup: {error}") from None
        sizes = [head.pieces * PIECE_BYTES, head.footer_bytes, *(one.size_bytes for one in head.filters)]
        if head.format != FORMAT or min(sizes) < 0 or sum(sizes) != len(rest):
            raise DataError(f"{key} is not a lookup of the format {FORMAT}, or it is cut")
        pieces, footer, *filters = _cut(rest, sizes)
        numbers = (one.field_id for one in head.filters)
        return cls(head.size_bytes, pieces, footer, head.bits_per_value, dict(zip(numbers, filters, strict=True)))


def _cut(content: bytes, sizes: Sequence[int]) -> Iterator[bytes]:
    start = 0
    for size in sizes:
        yield content[start : start + size]
        start += size


def filtered_columns(table: TieredTable, columns: Sequence[Column]) -> list[Column]:
    """The columns of an archived file that get a filter: those that rows are looked for by, of texts or UUIDs."""
    kinds = (ColumnKind.UUID, ColumnKind.TEXT)
    return [column for column in columns if column.name in table.looked_up_by and column.kind in kinds]


def make_lookup(file: Path, columns: Sequence[Column], bits_per_value: int) -> FileLookup:
    """The lookup of a Parquet file, with filters of ``columns``; none where ``bits_per_value`` is 0. Reads all of the
    file; memory grows with the distinct values of a column.
    """
    with pq.ParquetFile(file) as parquet:
        size = file.stat().st_size
        footer_start = size - _TRAILER_BYTES - parquet.metadata.serialized_size
        ends = _ends(parquet.metadata, footer_start, size)
        filters = {
            column.field_id: make_filter(hashes_of_column(_values(parquet, column.name)), bits_per_value)
            for column in columns
            if bits_per_value and column.field_id is not None
        }
    with file.open("rb") as content:
        pieces = b"".join(_piece(content.read(end - start), end) for start, end in zip((0, *ends), ends, strict=False))
        content.seek(footer_start)
        return FileLookup(size, pieces, content.read(), bits_per_value, filters)


def remake_lookup(file: Path, columns: Sequence[Column], like: FileLookup) -> FileLookup:
    """The lookup of a file with the filters that another has: what the other must be equal to."""
    return make_lookup(file, [one for one in columns if one.field_id in like.filters], like.bits_per_value)


def _values(parquet: pq.ParquetFile, name: str) -> Iterator[pa.Array]:
    return (batch.column(0) for batch in parquet.iter_batches(_READ_ROWS, columns=[name]))


def _piece(content: bytes, end: int) -> bytes:
    return end.to_bytes(END_BYTES, "big") + hashlib.sha256(content).digest()


def _ends(metadata: pq.FileMetaData, footer_start: int, size: int) -> list[int]:
    """Where the pieces of a file end, in order."""
    ends, at = list[int](), 0
    for start, end in (*sorted(column_ranges(metadata)), (footer_start, footer_start)):
        ends += [*range(at + _BETWEEN_BYTES, start, _BETWEEN_BYTES), *([start] if start > at else [])]
        ends += [end] if end > start else []
        at = end
    return [*ends, size]


def column_ranges(metadata: pq.FileMetaData) -> Iterator[tuple[int, int]]:
    """Where each column of each row group lies in the file, row group by row group."""
    for group in range(metadata.num_row_groups):
        row_group = metadata.row_group(group)
        for column in range(row_group.num_columns):
            yield column_range(row_group.column(column))


def column_range(chunk: pq.ColumnChunkMetaData) -> tuple[int, int]:
    """Where a column of a row group lies in the file."""
    start = chunk.data_page_offset
    if chunk.dictionary_page_offset is not None:
        start = min(start, chunk.dictionary_page_offset)
    return start, start + chunk.total_compressed_size
