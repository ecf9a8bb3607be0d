"""The archive's side of a month's proof: the leaf hash of each row, computed by DuckDB from the Parquet file."""

from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from ledger.canonical import FIELD_SEPARATOR, NULL_MARK
from ledger.columns import Column, ColumnKind
from ledger.errors import DataError, VerificationError
from ledger.identifiers import id_bounds
from ledger.merkle import MerkleTree
from ledger.months import Month
from ledger.proof import MonthProof, groups_of
from ledger.tables import TieredTable
from storage.engine import identifier, literal

UNHASHABLE = "U+001E or U+001F in a text, or an infinite date or instant,"
_BATCH_ROWS = 65_536
_SUMMED_DIGITS = 26  # with 12 more for the number of rows
_HALF = 10**19


def leaf_expression(columns: Sequence[Column]) -> str:
    """SHA-256(0x00 || canonical text) of a row in hexadecimal; the text is defined in `ledger.canonical`."""
    fields = ", ".join(_field(column) for column in columns)
    return f"sha256('\\x00'::BLOB || encode(concat_ws({literal(FIELD_SEPARATOR)}, {fields})))"


def _field(column: Column) -> str:
    name = identifier(column.name)
    if column.kind is ColumnKind.DECIMAL and column.precision == column.scale:
        # DuckDB prints no zero before the point where the type has no digit there.
        text = f"regexp_replace({name}::VARCHAR, '^(-?)[.]', '\\10.')"
        return f"coalesce({text}, {literal(NULL_MARK)})" if column.nullable else text
    text = {
        ColumnKind.TIMESTAMP: f"epoch_us({name})::VARCHAR",
        ColumnKind.DATE: f"({name} - DATE '1970-01-01')::VARCHAR",
        ColumnKind.BOOLEAN: f"CASE WHEN {name} THEN 't' WHEN NOT {name} THEN 'f' END",
    }.get(column.kind, f"{name}::VARCHAR")
    return f"coalesce({text}, {literal(NULL_MARK)})" if column.nullable else text


def unhashable_condition(columns: Sequence[Column]) -> str:
    """True for a row without a canonical form: a text holds a reserved character, or a date or instant is infinite."""
    tests = [
        f"contains({identifier(column.name)}, {literal(mark)})"
        for column in columns
        if column.kind is ColumnKind.TEXT
        for mark in (FIELD_SEPARATOR, NULL_MARK)
    ]
    moments = (column for column in columns if column.kind in (ColumnKind.TIMESTAMP, ColumnKind.DATE))
    tests += [f"isinf({identifier(column.name)})" for column in moments]
    return " OR ".join(tests) or "false"


def groups_query(table: TieredTable, columns: Sequence[Column], source: str) -> str:
    """(currency, status, rows, first, last, sums of the money columns) of an archived month, a record per group."""
    described = {column.name: column for column in columns}
    time_column = identifier(table.time_column)
    parts = [
        identifier(table.currency_column) if table.currency_column else "''::VARCHAR",
        identifier(table.status_column) if table.status_column else "''::VARCHAR",
        "count(*)",
        f"min({time_column})",
        f"max({time_column})",
        *(_sum(described[column]) for column in table.money_columns),
    ]
    return f"SELECT {', '.join(parts)} FROM {source} GROUP BY 1, 2"


def _sum(column: Column) -> str:
    """The sum of a decimal column. DuckDB sums in 38 digits and raises an error beyond: where that may happen, the
    digits are summed in two halves, ``[upper, lower, scale]``; see `_exact`.
    """
    name = identifier(column.name)
    if (column.precision or 0) <= _SUMMED_DIGITS:
        return f"sum({name})"
    digits = f"replace({name}::VARCHAR, '.', '')::HUGEINT"
    halves = (f"sum({digits} {part} {_HALF}::HUGEINT)::VARCHAR" for part in ("//", "%"))
    return f"CASE WHEN count({name}) > 0 THEN [{', '.join(halves)}, '{column.scale}'] END"


def _exact(value: Any) -> Any:
    """The sum that `_sum` has found, in one number."""
    if not isinstance(value, list):
        return value
    upper, lower, scale = map(int, value)
    return Decimal(f"{upper * _HALF + lower}E-{scale}")


def _strangers_query(table: TieredTable, source: str, month: Month) -> str:
    """Whether an archived month has a row whose key is not one of the month."""
    key = identifier(table.key_column)
    first, last = (f"{literal(str(bound))}::UUID" for bound in id_bounds(month))
    return f"SELECT count(*) > 0 FROM {source} WHERE {key} < {first} OR {key} >= {last}"


def fold_leaves(connection: duckdb.DuckDBPyConnection, source: str) -> MerkleTree:
    """The Merkle tree over (key, leaf) records of ``source``, ordered by key and then by leaf. Memory stays bounded.

    A leaf is a hash of 32 bytes, or its 64 hexadecimal digits.
    """
    tree = MerkleTree()
    reader = connection.execute(f"SELECT leaf FROM ({source}) ORDER BY key, leaf").to_arrow_reader(_BATCH_ROWS)
    for batch in reader:
        tree.add(_hashes(batch.column(0)))
    return tree


def _hashes(leaves: pa.Array) -> bytes:
    """The concatenated hashes of a column, without a Python object per row."""
    if leaves.null_count:
        raise DataError("a row without a leaf hash")
    joined = pc.binary_join(pa.ListArray.from_arrays([0, len(leaves)], leaves.cast(pa.binary())), b"")[0].as_py()
    return bytes.fromhex(joined.decode()) if pa.types.is_string(leaves.type) else bytes(joined)


def parquet_proof(
    connection: duckdb.DuckDBPyConnection, table: TieredTable, columns: Sequence[Column], month: Month, file: Path
) -> MonthProof:
    """The proof of a Parquet file, decoded by DuckDB, which did not write it.

    Raises DataError when a row in it has no canonical form, or when the file cannot be decoded at all.
    """
    source = f"read_parquet({literal(str(file))})"
    key = identifier(table.key_column)
    try:
        unhashable = connection.execute(f"SELECT {key} FROM {source} WHERE {unhashable_condition(columns)} LIMIT 1")
        if row := unhashable.fetchone():
            raise DataError(f"{table.name}: row {row[0]} has {UNHASHABLE} and cannot be archived")
        records = connection.execute(groups_query(table, columns, source)).fetchall()
        groups = groups_of([_exact(value) for value in record] for record in records)
        has_strangers = connection.execute(_strangers_query(table, source, month)).fetchall()[0][0]
        tree = fold_leaves(connection, f"SELECT {key} AS key, {leaf_expression(columns)} AS leaf FROM {source}")
    except duckdb.Error as error:
        raise VerificationError(f"{table.name}: the archived file cannot be decoded: {error}") from error
    return MonthProof(tree.root(), groups, keys_tell_month=not has_strangers)
