"""The rows of an archived file as CSV that PostgreSQL's COPY reads back to the very same values."""

from collections.abc import Iterator, Sequence
from io import BytesIO
from pathlib import Path

import duckdb
import pyarrow as pa
from pyarrow import csv

from ledger.columns import Column, ColumnKind
from ledger.errors import VerificationError
from storage.engine import identifier, literal
from storage.parquet import ROW_GROUP_ROWS

_OPTIONS = csv.WriteOptions(include_header=False, quoting_style="all_valid")  # NULL alone is without quotes
_BEFORE_CHRIST = (ColumnKind.TIMESTAMP, ColumnKind.DATE)


def csv_chunks(engine: duckdb.DuckDBPyConnection, file: Path, columns: Sequence[Column]) -> Iterator[bytes]:
    """CSV of all rows in the order of the file, some at a time. Raises VerificationError for a file that is none."""
    texts = ", ".join(f"{_text(column)} AS {identifier(column.name)}" for column in columns)
    source = f"read_parquet({literal(str(file))}, hive_partitioning = false)"
    try:
        batches = engine.execute(f"SELECT {texts} FROM {source}").to_arrow_reader(ROW_GROUP_ROWS)
        for batch in batches:
            chunk = BytesIO()
            csv.write_csv(pa.Table.from_batches([batch]), chunk, _OPTIONS)
            yield chunk.getvalue()
    except duckdb.Error as error:
        raise VerificationError(f"the archived file cannot be decoded: {error}") from error


def _text(column: Column) -> str:
    """PostgreSQL's text of a value. DuckDB writes the years before Christ in another place."""
    text = f"CAST({identifier(column.name)} AS VARCHAR)"
    if column.kind not in _BEFORE_CHRIST:
        return text
    return f"CASE WHEN contains({text}, ' (BC)') THEN replace({text}, ' (BC)', '') || ' BC' ELSE {text} END"
