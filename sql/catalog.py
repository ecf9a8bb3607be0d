"""What PostgreSQL's catalogue says about a table: its columns, read into `ledger.columns`."""

import re

from ledger.columns import Column, ColumnKind
from ledger.errors import ConfigError
from sql.connection import Connection
from sql.queries import load
from sql.relations import Relation

_QUERIES = load("catalog")
_KINDS = {
    "uuid": ColumnKind.UUID,
    "text": ColumnKind.TEXT,
    "character varying": ColumnKind.TEXT,
    "boolean": ColumnKind.BOOLEAN,
    "smallint": ColumnKind.INTEGER,
    "integer": ColumnKind.INTEGER,
    "bigint": ColumnKind.INTEGER,
    "timestamp with time zone": ColumnKind.TIMESTAMP,
    "date": ColumnKind.DATE,
    "jsonb": ColumnKind.JSON,
}
_NUMERIC = re.compile(r"numeric\((\d+),(\d+)\)\Z")
_MODIFIER = re.compile(r"\(\d+\)")
MAX_PRECISION = 38  # of a DECIMAL in Parquet's 16 bytes and in DuckDB


def columns_of(connection: Connection, relation: Relation | None) -> tuple[Column, ...]:
    """The columns of ``relation`` in their order. Empty when there is none.

    Raises ConfigError naming a column whose type the archive cannot keep exactly.
    """
    if relation is None:
        return ()
    rows = connection.execute(_QUERIES["columns"], {"relation": relation.oid}).fetchall()
    return tuple(_column(relation, *row) for row in rows)


def _column(relation: Relation, name: str, type_name: str, not_null: bool) -> Column:
    numeric = _NUMERIC.match(type_name)
    if numeric:
        precision, scale = int(numeric[1]), int(numeric[2])
        if scale <= precision <= MAX_PRECISION:  # DuckDB reads a larger scale, and a negative one, as another number
            return Column(name, ColumnKind.DECIMAL, not not_null, precision, scale)
    kind = _KINDS.get(_MODIFIER.sub("", type_name))
    if kind is None:
        raise ConfigError(f"{relation}.{name}: the archive cannot keep a column of type {type_name} exactly")
    return Column(name, kind, not not_null)
