"""How a month is written as Parquet: schema, encodings, row groups. The writer is pyarrow; DataFusion verifies."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType

import pyarrow as pa
import pyarrow.parquet as pq

from ledger.columns import Column, ColumnKind
from ledger.tables import TieredTable

ROW_GROUP_ROWS = 131_072  # at most
BATCH_ROWS = 8_192  # that an engine gives at once: one that makes whole row groups takes twice their memory
_FEWEST_ROWS = 4_096
_ROW_GROUPS = 16  # of a month that is neither small nor large: a wallet's rows are in one or two of them
_STEP_ROWS = 2_048
COMPRESSION = "zstd"
_COMPRESSION_LEVEL = 3
_BLOOM_FALSE_POSITIVES = 0.01
_FORMAT_VERSION = "2.6"

_TYPES: dict[ColumnKind, pa.DataType] = {
    ColumnKind.UUID: pa.uuid(),
    ColumnKind.TEXT: pa.string(),
    ColumnKind.JSON: pa.string(),
    ColumnKind.BOOLEAN: pa.bool_(),
    ColumnKind.INTEGER: pa.int64(),
    ColumnKind.TIMESTAMP: pa.timestamp("us", tz="UTC"),
    ColumnKind.DATE: pa.date32(),
}


def arrow_schema(columns: Sequence[Column]) -> pa.Schema:
    """The Arrow schema of a table's columns, by name, with their nullability and their number as Parquet's field id."""
    return pa.schema(
        [pa.field(column.name, arrow_type(column), column.nullable, _numbered(column)) for column in columns]
    )


def _numbered(column: Column) -> dict[bytes, bytes] | None:
    return None if column.field_id is None else {b"PARQUET:field_id": str(column.field_id).encode()}


def arrow_type(column: Column) -> pa.DataType:
    """Arrow's type for a column; exact for every kind."""
    if column.kind is ColumnKind.DECIMAL:
        return pa.decimal128(column.precision, column.scale)
    return _TYPES[column.kind]


def row_group_rows(rows: int) -> int:
    """The rows of a row group in a file of ``rows``: small enough that a wallet is found by reading little."""
    share = -(-rows // _ROW_GROUPS)
    return min(max(-(-share // _STEP_ROWS) * _STEP_ROWS, _FEWEST_ROWS), ROW_GROUP_ROWS)


def write_parquet(
    batches: Iterable[pa.RecordBatch],
    columns: Sequence[Column],
    table: TieredTable,
    target: Path,
    metadata: Mapping[str, str] = MappingProxyType({}),
    group_rows: int = ROW_GROUP_ROWS,
) -> int:
    """Write the batches, in the order they come, to one Parquet file; returns the number of rows.

    ``metadata`` are names and values for the file's own key-value metadata.

    Every ``group_rows`` rows become a row group, whatever pieces they come in, and only one of these is in memory.
    Statistics are on; text is dictionary-encoded (the writer falls back where values hardly repeat), instants and
    integers are delta-encoded, bloom filters are made for ``table.bloom_columns``.
    """
    schema, rows = arrow_schema(columns), 0
    groups = _RowGroups(schema, group_rows)
    with pq.ParquetWriter(target, schema, **_writer_options(columns, table, group_rows)) as writer:
        writer.add_key_value_metadata(dict(metadata))
        for batch in batches:
            rows += batch.num_rows
            for group in groups.add(batch):
                writer.write_table(group, row_group_size=group_rows)
        if groups.rest.num_rows:
            writer.write_table(groups.rest, row_group_size=group_rows)
    return rows


def _writer_options(columns: Sequence[Column], table: TieredTable, group_rows: int) -> dict[str, object]:
    delta = {ColumnKind.TIMESTAMP, ColumnKind.INTEGER, ColumnKind.DATE}
    text = {ColumnKind.TEXT, ColumnKind.JSON}
    blooms = [column.name for column in columns if column.name in table.bloom_columns]
    return {
        "version": _FORMAT_VERSION,
        "compression": COMPRESSION,
        "compression_level": _COMPRESSION_LEVEL,
        "use_dictionary": [
            column.name for column in columns if column.kind in text and column.name not in table.bloom_columns
        ],
        "column_encoding": {column.name: "DELTA_BINARY_PACKED" for column in columns if column.kind in delta} or None,
        "store_decimal_as_integer": True,  # to 18 digits; only those prune by statistics in DuckDB
        "write_statistics": True,
        "write_page_index": True,
        "bloom_filter_options": {name: {"ndv": group_rows, "fpp": _BLOOM_FALSE_POSITIVES} for name in blooms} or None,
    }


@contextmanager
def even_row_groups(
    target: Path, schema: pa.Schema, dictionary: bool | list[str] = True
) -> Iterator[Callable[[pa.RecordBatch], None]]:
    """What writes batches, in whatever pieces they come, into ``target`` in row groups of one size: so the same rows
    are the same bytes. Their columns are cast to ``schema``; those of ``dictionary``, or all, are encoded by one.
    """
    options = {"compression": COMPRESSION, "store_schema": False, "use_dictionary": dictionary}
    groups = _RowGroups(schema, ROW_GROUP_ROWS)
    with pq.ParquetWriter(target, schema, **options) as writer:

        def write(batch: pa.RecordBatch) -> None:
            for group in groups.add(batch):
                writer.write_table(group.combine_chunks(), row_group_size=ROW_GROUP_ROWS)

        yield write
        if groups.rest.num_rows:
            writer.write_table(groups.rest.combine_chunks(), row_group_size=ROW_GROUP_ROWS)


class _RowGroups:
    """Cuts batches, in whatever pieces they come, into tables of ``rows`` rows. ``rest`` are the rows behind them."""

    def __init__(self, schema: pa.Schema, rows: int) -> None:
        self._schema, self._rows = schema, rows
        self.rest = schema.empty_table()

    def add(self, batch: pa.RecordBatch) -> Iterator[pa.Table]:
        """The tables that are whole with the rows of ``batch``, their columns cast to the schema."""
        self.rest = pa.concat_tables([self.rest, pa.Table.from_batches([batch]).cast(self._schema)])
        while self.rest.num_rows >= self._rows:
            yield self.rest.slice(0, self._rows)
            self.rest = self.rest.slice(self._rows)
