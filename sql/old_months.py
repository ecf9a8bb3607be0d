"""Months near the end of their life: what is past its policy, and what holds and requests say of each month."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from psycopg.rows import TupleRow, class_row
from psycopg.sql import SQL, Identifier

from ledger.holds import Hold
from ledger.months import FIRST_MONTH, Month
from ledger.retention import last_due
from ledger.tables import TieredTable
from sql.connection import Connection, fetch_one
from sql.deletion_requests import end_of_grace, read_decisions
from sql.holds import open_holds
from sql.queries import load
from sql.relations import Parents

_QUERIES = load("old_months")


@dataclass(frozen=True, slots=True)
class OldPart:
    """A part of a month that no certificate is about, as the catalogue has it."""

    table_name: str
    month: date
    part: int
    tier: str
    step: str
    row_count: int | None
    digest: bytes | None
    manifest_sha256: bytes | None
    kept: Mapping[str, Any] | None
    wholly_held: Sequence[str] | None

    @property
    def held_by(self) -> Sequence[Sequence[str]]:
        """The names of holds that keep every row of the part together; there may be several such sets, or none."""
        return [names for names in (self.kept and self.kept["holds"], self.wholly_held) if names]


def old_parts(connection: Connection, table: str, last: Month) -> list[OldPart]:
    """The parts of a table's months up to ``last`` that are not deleted, the oldest first."""
    with connection.cursor(row_factory=class_row(OldPart)) as cursor:
        return cursor.execute(_QUERIES["old_parts"], {"table": table, "last_month": last.first_day}).fetchall()


def rows_in_postgres(
    connection: Connection, table: TieredTable, last: Month, first: Month = FIRST_MONTH
) -> dict[Month, str]:
    """Where PostgreSQL has rows of the months from ``first`` to ``last``: for each month a partition, whatever somebody
    made for them. Only partitions of these months, and a DEFAULT one, are read. Rows before 1970 are of no month.
    """
    partitions: dict[Month, str] = {}
    time = Identifier(table.time_column)
    query = SQL(
        "SELECT date_trunc('month', {} AT TIME ZONE 'UTC')::date, min(tableoid::regclass::text) FROM {} WHERE {} < %s"
        " AND {} >= %s GROUP BY 1"
    )
    for parent in Parents.of(connection, table).found:
        rows = connection.execute(query.format(time, parent.identifier, time, time), (last.upper, first.lower))
        partitions |= {Month.of(day): partition for day, partition in rows}
    return partitions


def undecided_objects(connection: Connection, table: str, last: Month) -> dict[Month, str]:
    """An object of each month up to ``last`` that another database may have taken for its own."""
    rows = connection.execute(_QUERIES["undecided_objects"], {"table": table, "last_month": last.first_day})
    return {Month.of(month): key for month, key in rows}


@dataclass(frozen=True, slots=True)
class MonthEnd:
    """How the life of a month goes on: the open holds, and the open request to delete it.

    ``state`` is ``waiting`` for approvals, ``grace`` or ``approved``, None without a request. ``due_at``: the end of
    its grace period, UTC.
    """

    held_by: tuple[str, ...] = ()
    request_id: int | None = None
    state: str | None = None
    due_at: datetime | None = None


def month_ends(
    connection: Connection, table: str | None = None, holds: Sequence[Hold] | None = None
) -> dict[tuple[str, Month], MonthEnd]:
    """How the life of each month that is not deleted goes on, by table and month. ``holds``: the open ones."""
    rows = connection.execute(_QUERIES["month_ends"], {"table": table, "month": None}).fetchall()
    return month_ends_of(rows, open_holds(connection) if holds is None else holds)


def month_ends_of(rows: Sequence[TupleRow], holds: Sequence[Hold]) -> dict[tuple[str, Month], MonthEnd]:
    """`month_ends` of the rows of its query, and of the open holds."""
    ends = {}
    for name, first_day, request_id, approvals, grace_days, requested_at, decisions, now in rows:
        state, due_at = None, None
        if request_id is not None:
            due_at = end_of_grace(approvals, grace_days, requested_at, read_decisions(decisions))
            state = "waiting" if due_at is None else "grace" if now < due_at else "approved"
        month = Month.of(first_day)
        held_by = tuple(hold.name for hold in holds if hold.scope.includes(name, month))
        ends[name, month] = MonthEnd(held_by, request_id, state, due_at)
    return ends


@dataclass(frozen=True, slots=True)
class DueMonths:
    """Archived months past the policy of their table, which no open request is about: how many, and the oldest."""

    months: int
    oldest: tuple[str, Month] | None


def due_months(connection: Connection, tables: Iterable[TieredTable], today: date) -> DueMonths:
    """The months that are due for deletion on a UTC day."""
    months, first_day, table = fetch_one(connection, _QUERIES["due_months"], last_due_months(tables, today))
    return DueMonths(months, None if table is None else (table, Month.of(first_day)))


def last_due_months(tables: Iterable[TieredTable], today: date) -> dict[str, list[Any]]:
    """The tables and the last month of each that is due for deletion, as parameters of the queries about them."""
    last = {table.name: last_due(table.policy, today).first_day for table in tables}
    return {"tables": list(last), "last_months": list(last.values())}
