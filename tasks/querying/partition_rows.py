"""The rows of a partition for the auditor's SQL: chosen by PostgreSQL only where every engine chooses alike."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import duckdb
from psycopg.sql import SQL, Composable, Composed, Identifier, Literal

from ledger.columns import Column, ColumnKind
from ledger.errors import DataError
from ledger.months import Month
from ledger.tables import TieredTable
from sql.connection import Connection
from sql.keepable import LAST_INSTANT
from storage.branches import Need
from storage.conditions import Condition
from tasks.querying.link import postgres_query
from tasks.querying.places import Attached


@dataclass(frozen=True, slots=True)
class Live:
    """What a query asks of a place in PostgreSQL."""

    need: Need
    attached: Attached


def rows_source(connection: Connection, live: Live) -> str:
    """A table expression of the rows that are asked for, and perhaps of others, as the view has them."""
    return live.attached.rows_of(live.need.branch.table, wanted_source(connection, live))


def wanted_source(connection: Connection, live: Live) -> str:
    """A table expression of those rows as PostgreSQL has them, whether the archive has them too or not."""
    wanted = _wanted(connection, live)
    if wanted is None:
        return live.need.branch.source
    query = SQL("SELECT * FROM {} WHERE {}").format(live.attached.item, wanted)
    return postgres_query(0, query.as_string(connection))


def check_values(
    duck: duckdb.DuckDBPyConnection,
    connection: Connection,
    living: Mapping[str, Sequence[Column]],
    live: Sequence[Live],
) -> None:
    """Raise DataError when a row that is asked for has a value that the engine would turn into another one.

    ``living`` are the columns of each table as PostgreSQL has them now.

    To be called in the engine's transaction that also reads the rows: both then see the same ones.
    """
    for place in live:
        query = _odd_row(connection, place, living[place.need.branch.table.name])
        if query is None:
            continue
        row = duck.execute(f"SELECT name FROM {postgres_query(0, query.as_string(connection))}").fetchone()
        if row is not None:
            raise DataError(
                f"SQL: {place.attached.name}: {row[0]} has a NaN, or a time after the year 294246, which no answer "
                f"can hold. Correct the row, or ask without {row[0]}"
            )


def _odd_row(connection: Connection, place: Live, columns: Sequence[Column]) -> Composed | None:
    """The query for the first column with such a value; None where no column that is asked for can have one."""
    asked = place.need.asked.columns
    read = {old for old, new in place.attached.names if asked is None or new in asked}
    tests = [(column.name, _is_odd(column)) for column in columns if column.name in read]
    odd = [(name, test) for name, test in tests if test is not None]
    if not odd:
        return None
    cases = SQL(" ").join(SQL("WHEN {} THEN {}").format(test, Literal(name)) for name, test in odd)
    return SQL("SELECT CASE {} END AS name FROM {} WHERE ({}) AND ({}) LIMIT 1").format(
        cases,
        place.attached.item,
        _wanted(connection, place) or SQL("true"),
        SQL(" OR ").join(test for _, test in odd),
    )


def _is_odd(column: Column) -> Composable | None:
    """True for a row whose value in ``column`` the engine reads as another one; None where it has all values."""
    name = Identifier(column.name)
    if column.kind is ColumnKind.DECIMAL:
        return SQL("{} = 'NaN'").format(name)
    if column.kind is ColumnKind.TIMESTAMP:
        return SQL("({0} > {1} AND {0} < 'infinity')").format(name, Literal(LAST_INSTANT))
    return None


def _wanted(connection: Connection, place: Live) -> Composable | None:
    """The condition for PostgreSQL; None when every row of the place may be wanted."""
    branch, alternatives = place.need.branch, []
    there = {new: old for old, new in place.attached.names}
    for conditions in place.need.asked.alternatives:
        known = [
            replace(condition, column=there[condition.column]) for condition in conditions if condition.column in there
        ]
        sent = [condition for condition in known if _can_be_sent(connection, condition)]
        restricting = [condition for condition in sent if not _holds_all_month(branch.table, branch.month, condition)]
        if not restricting:
            return None
        alternatives.append(SQL("({})").format(SQL(" AND ").join(_comparisons(restricting))))
    return SQL(" OR ").join(alternatives) if alternatives else None


def _can_be_sent(connection: Connection, condition: Condition) -> bool:
    """Whether PostgreSQL takes the values. A database in LATIN1 has no way to write 日本, and no row that has it."""
    is_utf8 = connection.info.parameter_status("server_encoding") == "UTF8"
    return is_utf8 or not any(isinstance(value, str) and not value.isascii() for value in condition.values)


def _holds_all_month(table: TieredTable, month: Month | None, condition: Condition) -> bool:
    if month is None or condition.column != table.time_column:
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
