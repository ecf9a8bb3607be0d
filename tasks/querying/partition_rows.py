"""The rows of a partition for the auditor's SQL: chosen by PostgreSQL only where every engine chooses alike."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

import duckdb
from psycopg.sql import SQL, Composable, Composed, Identifier, Literal

from ledger.columns import Column, ColumnKind
from ledger.errors import DataError
from ledger.months import Month
from ledger.tables import TieredTable
from sql.connection import Connection
from sql.relations import Relation
from storage.conditions import Asked, Condition
from storage.pruning import Described, Need
from tasks.querying.link import linked_relation, postgres_query

# The engine counts microseconds from 1970 in 64 bits; PostgreSQL, from 2000, reaches some years further.
_LAST_INSTANT = "294247-01-10 04:00:54.775806+00"


def rows_source(connection: Connection, partition: Relation, need: Need) -> str:
    """A table expression of the rows of ``partition`` that ``need`` asks for, and perhaps of others."""
    wanted = _wanted(need.branch.table, need.branch.month, need.asked)
    if wanted is None:
        return linked_relation(0, partition)
    query = SQL("SELECT * FROM {} WHERE {}").format(partition.identifier, wanted)
    return postgres_query(0, query.as_string(connection))


@dataclass(frozen=True, slots=True)
class Live:
    """What a query asks of a month that is in PostgreSQL, and the partition that has it."""

    need: Need
    partition: Relation


def check_values(
    duck: duckdb.DuckDBPyConnection,
    connection: Connection,
    tables: Sequence[Described],
    live: Sequence[Live],
) -> None:
    """Raise DataError when a row that is asked for has a value that the engine would turn into another one.

    To be called in the engine's transaction that also reads the rows: both then see the same ones.
    """
    columns = {table.name: described for table, described in tables}
    for month in live:
        query = _odd_row(month, columns[month.need.branch.table.name])
        if query is None:
            continue
        found = duck.execute(f"SELECT name FROM {postgres_query(0, query.as_string(connection))}").fetchone()
        if found is not None:
            raise DataError(
                f"SQL: {month.partition}: {found[0]} has a NaN, or a time after the year 294246, which no answer can "
                f"hold. Correct the row, or ask without {found[0]}"
            )


def _odd_row(month: Live, columns: Sequence[Column]) -> Composed | None:
    """The query for the first column with such a value; None where no column that is asked for can have one."""
    asked = month.need.asked.columns
    tests = [(one.name, _is_odd(one)) for one in columns if asked is None or one.name in asked]
    odd = [(name, test) for name, test in tests if test is not None]
    if not odd:
        return None
    cases = SQL(" ").join(SQL("WHEN {} THEN {}").format(test, Literal(name)) for name, test in odd)
    branch = month.need.branch
    return SQL("SELECT CASE {} END AS name FROM {} WHERE ({}) AND ({}) LIMIT 1").format(
        cases,
        month.partition.identifier,
        _wanted(branch.table, branch.month, month.need.asked) or SQL("true"),
        SQL(" OR ").join(test for _, test in odd),
    )


def _is_odd(column: Column) -> Composable | None:
    """True for a row whose value in ``column`` the engine reads as another one; None where it has all values."""
    name = Identifier(column.name)
    if column.kind is ColumnKind.DECIMAL:
        return SQL("{} = 'NaN'").format(name)
    if column.kind is ColumnKind.TIMESTAMP:
        return SQL("({0} > {1} AND {0} < 'infinity')").format(name, Literal(_LAST_INSTANT))
    return None


def _wanted(table: TieredTable, month: Month, asked: Asked) -> Composable | None:
    """The condition for PostgreSQL; None when every row of the month may be wanted."""
    alternatives = []
    for conditions in asked.alternatives:
        telling = [one for one in conditions if not _holds_all_month(table, month, one)]
        if not telling:
            return None
        alternatives.append(SQL("({})").format(SQL(" AND ").join(_comparisons(telling))))
    return SQL(" OR ").join(alternatives) if alternatives else None


def _holds_all_month(table: TieredTable, month: Month, condition: Condition) -> bool:
    if condition.column != table.time_column:
        return False
    (value, *more) = condition.values
    if more or not isinstance(value, datetime):
        return False
    if condition.comparison not in (">=", "<"):
        return False
    return value <= month.lower if condition.comparison == ">=" else value >= month.upper


def _comparisons(conditions: Sequence[Condition]) -> Iterator[Composable]:
    for condition in conditions:
        column = Identifier(condition.column)
        values = SQL(", ").join(map(Literal, condition.values))
        if len(condition.values) > 1:
            yield SQL("{} IN ({})").format(column, values)
        else:
            yield SQL("{} {} {}").format(column, SQL(condition.comparison), values)
