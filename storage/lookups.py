"""What a reader needs to read little of an archived file: its footer, hashes of its pieces, filters of its columns.

All of it follows from the file, so it can be computed again at any time. It lies beside the month's tree as one object,
``.lookup``: a line of canonical JSON that describes what follows it, then pieces, footer and filters.
"""

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
from storage.pieces import PIECE_BYTES, last_piece, make_piece, piece_ends

FORMAT = "treasury-lookup-v1"
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
    """The lookup of a file of ``size_bytes``. ``footer`` is the last piece, ``filters`` are by the columns' numbers."""

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
        sizes = [head.pieces * PIECE_BYTES, head.footer_bytes, *(entry.size_bytes for entry in head.filters)]
        if head.format != FORMAT or min(sizes) < 0 or sum(sizes) != len(rest):
            raise DataError(f"{key} is not a lookup of the format {FORMAT}, or it is cut")
        pieces, footer, *filters = _cut(rest, sizes)
        numbers = (entry.field_id for entry in head.filters)
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
    file; memory grows by 17 bytes for each distinct value of a column.
    """
    with pq.ParquetFile(file) as parquet:
        size = file.stat().st_size
        ends, last = piece_ends(parquet.metadata, size), last_piece(parquet.metadata, size)
        filters = {
            column.field_id: make_filter(hashes_of_column(_values(parquet, column.name)), bits_per_value)
            for column in columns
            if bits_per_value and column.field_id is not None
        }
    with file.open("rb") as content:
        pieces = b"".join(
            make_piece(content.read(end - start), end) for start, end in zip((0, *ends), ends, strict=False)
        )
        content.seek(last)
        return FileLookup(size, pieces, content.read(), bits_per_value, filters)


def remake_lookup(file: Path, columns: Sequence[Column], like: FileLookup) -> FileLookup:
    """The lookup of a file with the filters that another has: what the other must be equal to."""
    return make_lookup(file, [column for column in columns if column.field_id in like.filters], like.bits_per_value)


def _values(parquet: pq.ParquetFile, name: str) -> Iterator[pa.Array]:
    return (batch.column(0) for batch in parquet.iter_batches(_READ_ROWS, columns=[name]))
