"""A table in PostgreSQL's catalogue: its columns, read into `ledger.columns`."""

import re
from collections.abc import Sequence

from ledger.columns import Column, ColumnKind
from ledger.errors import ConfigError
from ledger.tables import BUILT_IN, TieredTable
from ledger.totals import TotalsGroup
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
RESERVED_COLUMNS = frozenset({"tier", "month"})  # the views over all tiers add them
_TOTALS_GROUPS = (TotalsGroup.CLIENT.value, TotalsGroup.SUPPLIER.value)
MAX_PRECISION = 38  # of a DECIMAL in Parquet's 16 bytes and in DuckDB


def columns_of(connection: Connection, relation: Relation | None) -> tuple[Column, ...]:
    """The columns of ``relation`` in their order. Empty when there is none.

    Raises ConfigError naming a column whose type the archive cannot keep exactly, or whose name the views over all
    tiers cannot have.
    """
    if relation is None:
        return ()
    rows = connection.execute(_QUERIES["columns"], {"relation": relation.oid}).fetchall()
    _check_names(relation, [name for name, *_ in rows])
    return tuple(_column(relation, *row) for row in rows)


def _check_names(relation: Relation, names: Sequence[str]) -> None:
    """PostgreSQL distinguishes "Ref" and "ref". The engine over all tiers does not: it would read one of them twice."""
    first: dict[str, str] = {}
    for name in names:
        if name.lower() in RESERVED_COLUMNS:
            raise ConfigError(
                f"{relation}.{name}: the views over all tiers add a column {name.lower()}, and capitals do not count "
                "there: rename the column"
            )
        other = first.setdefault(name.lower(), name)
        if other is not name:
            raise ConfigError(
                f"{relation}.{name}: the table has {other} too, and in the views over all tiers capitals do not count: "
                "rename one of the two"
            )


def check_exactness(connection: Connection, table: TieredTable, parent: Relation) -> None:
    """Raise ConfigError naming a column of ``parent`` that would round a value or holds different texts for equal.

    A third table's amounts and times are as its application wants them: nothing of this project stores rows there.
    """
    is_built_in = table.name in {built_in.name for built_in in BUILT_IN}
    if is_built_in:
        written = [*table.money_columns, table.time_column, "updated_at", "processed_at"]
        for name, kind, wanted in connection.execute(
            _QUERIES["rounding"], {"relation": parent.oid, "columns": written}
        ):
            raise ConfigError(f"{parent}.{name} is {kind} and rounds what is stored: make it {wanted}, or wider")
    distinguishing = None if is_built_in else [name for name in (*table.kind_columns, *_TOTALS_GROUPS) if name]
    asked = {"relation": parent.oid, "columns": distinguishing}
    for name, collation in connection.execute(_QUERIES["nondeterministic"], asked):
        raise ConfigError(
            f"{parent}.{name} has the collation {collation}, for which different texts are equal: give the column a "
            "deterministic collation"
        )


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
