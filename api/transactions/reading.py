"""Rows from every tier: one by its id, or a page of them, each row exactly once even while its month moves.

PostgreSQL's tiers and the map of archived months are read at one instant at which no mover can be half-way. That is in
one statement, or under a lock on both parents. Archived months are immutable, so they are read after that, at leisure.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Any
from uuid import UUID

from api.connections.database import AsyncConnection, Database
from api.routing.problems import UNAVAILABLE, HttpError
from api.transactions import statements
from api.transactions.archived import ArchivedRows, ColdMonth, Row, chunks, refuse_other_values
from ledger.errors import ConfigError, EncodingError
from ledger.identifiers import time_of
from ledger.months import LAST_YEAR, Month
from ledger.policy import Tier
from ledger.tables import TieredTable
from sql.relations import ledger_schema_of
from storage.archive import ColdFilter, ColdReader

_FREE_TEXTS = ("wallet_id", "user_id", "reference", "client_id")
_EQUAL = ("id", "wallet_id", "user_id", "reference", "status", "type", "client_id")


@dataclass(frozen=True, slots=True)
class Wanted:
    """The filter of a page. None does not filter; times are UTC, ``[created_from, created_before)``.

    ``before`` is the time and the id of the last row of the page before. No index has the reference: PostgreSQL reads
    every row of the months between the times for it.
    """

    id: UUID | None = None
    wallet_id: str | None = None
    user_id: str | None = None
    reference: str | None = None
    status: str | None = None
    type: str | None = None
    client_id: str | None = None
    created_from: datetime | None = None
    created_before: datetime | None = None
    before: tuple[datetime, UUID] | None = None


@dataclass(frozen=True, slots=True)
class RowPage:
    """Rows, newest first, and whether there are more.

    ``opened`` are the archived months whose objects were read for it, and ``archived`` the keys of the rows from there.
    """

    rows: list[Row]
    more: bool
    opened: tuple[ColdMonth, ...] = ()
    archived: frozenset[UUID] = frozenset()


@dataclass(frozen=True, slots=True)
class LocatedRow:
    """A row, and the tier that it is in. ``beside`` are the archived parts of its month, for a row in PostgreSQL."""

    row: Row
    tier: Tier
    beside: tuple[ColdMonth, ...] = ()


class Reader:
    """Reads of one API process. Every method is safe to repeat."""

    def __init__(self, database: Database, cold: ColdReader) -> None:
        self._database = database
        self._archived = ArchivedRows(database, cold)

    async def find(self, table: TieredTable, row_id: UUID, client_id: str | None) -> LocatedRow | None:
        """The row with ``row_id`` if ``client_id`` may see it (None sees all).

        The id contains the month, so one partition or one month's files are searched first. Where that finds nothing,
        the row may still be in a partition or an archived month whose keys nothing proves to be of the month. Then
        every partition is asked by its index, and those archived months. Raises a 503 problem when a month that the row
        may be in is not where the catalogue says. Raises it too when the archive has the row with other values than
        PostgreSQL.
        """
        located = await self._find_in_month(table, row_id) or await self._find_anywhere(table, row_id)
        if located is None:
            return None
        copies = await self._archived.copies(table, [located.row], located.beside)
        if not any(client_id in (None, row["client_id"]) for row in (located.row, *copies)):
            return None
        refuse_other_values(table, [located.row], copies)
        return LocatedRow(copies[0], Tier.COLD) if copies else located

    async def deleted_month(self, table: TieredTable, row_id: UUID) -> str:
        """The month in ``row_id`` and the numbers of its certificates, where rows of it were deleted; else
        empty.
        """
        month = _month_of(row_id)
        if month is None:
            return ""
        parameters = {"table": table.name, "month": month.first_day}
        (numbers,) = await self._database.run(
            lambda connection: _single(connection, statements.CERTIFICATES, parameters), "certificates"
        )
        return f"{month}, certificate {', '.join(numbers)}" if numbers else ""

    async def _find_in_month(self, table: TieredTable, row_id: UUID) -> LocatedRow | None:
        month = _month_of(row_id)
        if month is None:
            return None
        parameters = {"id": row_id, "lower": month.lower, "upper": month.upper, "table": table.name}
        parts, tier, *values = await self._database.run(
            lambda connection: _find(connection, table, parameters | {"month": month.first_day}), "find"
        )
        if tier is not None:
            row = dict(zip(statements.columns_of(table), values, strict=True))
            return LocatedRow(row, Tier(tier), tuple(ColdMonth(month, *part) for part in parts or ()))
        return await self._find_archived(table, row_id, [ColdMonth(month, *part) for part in parts or ()])

    async def _find_anywhere(self, table: TieredTable, row_id: UUID) -> LocatedRow | None:
        located, months = await self._database.run(
            lambda connection: _search_postgres(connection, table, row_id), "find_anywhere"
        )
        return located or await self._find_archived(table, row_id, months)

    async def _find_archived(self, table: TieredTable, row_id: UUID, months: Sequence[ColdMonth]) -> LocatedRow | None:
        row = await self._archived.find(table, row_id, months)
        return None if row is None else LocatedRow(row, Tier.COLD)

    async def page(self, table: TieredTable, wanted: Wanted, limit: int) -> RowPage:
        """At most ``limit`` rows, newest first; a page may start in hot and end in deep. Raises 503 problems as `find`
        does.
        """
        enough = limit + 1  # one more row shows whether there is another page
        try:
            rows, months = await self._page_of_postgres(table, wanted, enough)
        except EncodingError:  # no row of this database has such a text: what is left are archived ones of another
            rows, months = await self._page_of_postgres(table, replace(wanted, **dict.fromkeys(_FREE_TEXTS)), 0)
        refuse_other_values(table, rows, await self._archived.copies(table, rows, months))
        where = _cold_filter(wanted)
        opened: list[ColdMonth] = []
        archived: set[UUID] = set()
        for some in chunks(await self._archived.possible(table, months, where)):
            # A month that was held back is in warm while later ones are cold, so tiers may interleave: an archived
            # month is left out only when all of it is older than a page that is already full.
            oldest = rows[-1][table.time_column] if len(rows) == enough else None
            open_months = [cold for cold in some if oldest is None or cold.month.upper > oldest]
            if not open_months:
                break
            archived_rows = await self._archived.read(table, open_months, where, enough)
            rows = _newest(table, rows + archived_rows, enough)
            opened += open_months
            archived.update(row[table.key_column] for row in archived_rows)
        return RowPage(rows[:limit], len(rows) > limit, tuple(opened), frozenset(archived))

    async def _page_of_postgres(
        self, table: TieredTable, wanted: Wanted, limit: int
    ) -> tuple[list[Row], list[ColdMonth]]:
        return await self._database.run(lambda connection: _read_postgres(connection, table, wanted, limit), "page")


async def _single(connection: AsyncConnection, statement: bytes | str, parameters: dict[str, Any]) -> tuple[Any, ...]:
    (row,) = await (await connection.execute(statement, parameters)).fetchall()  # one line, whatever it finds
    return row


async def _find(connection: AsyncConnection, table: TieredTable, parameters: dict[str, Any]) -> tuple[Any, ...]:
    schema = await ledger_schema_of(connection, table)
    return await _single(connection, statements.find(table, schema), parameters)


async def _read_postgres(
    connection: AsyncConnection, table: TieredTable, wanted: Wanted, limit: int
) -> tuple[list[Row], list[ColdMonth]]:
    """The rows in hot and warm, and the archived months that may hold more, newest first: both of one instant."""
    schema = await ledger_schema_of(connection, table)
    statement, parameters = _page_statement(table, schema, wanted, limit)
    async with connection.pipeline(), connection.transaction():
        await connection.execute(statements.lock_parents(table, schema))
        missing = await connection.execute(statements.missing_months(table, schema), _month_bounds(table, wanted))
        months = await connection.execute(statements.COLD_MONTHS, _month_bounds(table, wanted))
        page = await connection.execute(statement, parameters)
    refuse_missing(await missing.fetchall())
    columns = statements.columns_of(table)
    rows = [dict(zip(columns, values, strict=True)) for values in await page.fetchall()]
    _refuse_other_texts(table, wanted, rows)
    return rows, _cold_months(await months.fetchall())


async def _search_postgres(
    connection: AsyncConnection, table: TieredTable, row_id: UUID
) -> tuple[LocatedRow | None, list[ColdMonth]]:
    """The row, in whatever partition it is, and the archived months that it may be in: both of one instant."""
    month = _month_of(row_id)
    bounds = dict.fromkeys(("first_month", "last_month"), None if month is None else month.first_day)
    schema = await ledger_schema_of(connection, table)
    async with connection.pipeline(), connection.transaction():
        await connection.execute(statements.lock_parents(table, schema))
        missing = await connection.execute(statements.missing_months(table, schema), {"table": table.name, **bounds})
        months = await connection.execute(statements.UNPROVED_MONTHS, {"table": table.name})
        cursor = await connection.execute(statements.find_anywhere(table, schema), {"id": row_id})
    line = await cursor.fetchone()
    if line is not None:
        row = dict(zip(statements.columns_of(table), line[1:], strict=True))
        return LocatedRow(row, Tier(line[0]), tuple(await _beside(connection, table, row))), []
    refuse_missing(await missing.fetchall())
    return None, _cold_months(await months.fetchall())


async def _beside(connection: AsyncConnection, table: TieredTable, row: Row) -> list[ColdMonth]:
    """The archived parts of the month of a row."""
    first_day = _first_day(row[table.time_column])
    bounds = {"table": table.name, "first_month": first_day, "last_month": first_day}
    return _cold_months(await (await connection.execute(statements.COLD_MONTHS, bounds)).fetchall())


def _cold_filter(wanted: Wanted) -> ColdFilter:
    equal = {name: getattr(wanted, name) for name in (*_EQUAL, "created_from", "created_before")}
    return ColdFilter(**equal, before=wanted.before)


def _refuse_other_texts(table: TieredTable, wanted: Wanted, rows: Sequence[Row]) -> None:
    """Raise ConfigError for a row with another text than was asked for: such as another client's, whose name differs by
    capitals alone, where PostgreSQL compares without them.
    """
    for name in _EQUAL:
        asked = getattr(wanted, name)
        if asked is not None and any(row[name] != asked for row in rows):
            raise ConfigError(
                f"{table.hot_parent}.{name}: its collation holds different texts for equal: give the column a "
                "deterministic collation"
            )


def refuse_missing(missing: Sequence[tuple[Any, ...]]) -> None:
    """Raise a 503 problem: an answer without the rows of a month that somebody took away would look whole."""
    if missing:
        raise HttpError(UNAVAILABLE, f"The rows of {Month.of(missing[0][0])} cannot be read at the moment.")


def _cold_months(rows: Sequence[tuple[Any, ...]]) -> list[ColdMonth]:
    return [ColdMonth(Month.of(month), *rest) for month, *rest in rows]


def _month_of(row_id: UUID) -> Month | None:
    """The month that an id contains; None for an id without one."""
    moment = time_of(row_id)
    return None if moment is None or moment.year > LAST_YEAR else Month.of(moment)


def _page_statement(table: TieredTable, schema: str, wanted: Wanted, limit: int) -> tuple[bytes, dict[str, Any]]:
    parameters: dict[str, Any] = {"limit": limit}
    equal = tuple(name for name in _EQUAL if getattr(wanted, name) is not None)
    bounds = tuple(name for name in ("created_from", "created_before") if getattr(wanted, name) is not None)
    parameters |= {name: getattr(wanted, name) for name in (*equal, *bounds)}
    if wanted.before is not None:
        bounds = (*bounds, "before")
        parameters |= {"before_time": wanted.before[0], "before_id": wanted.before[1]}
    return statements.page(table, schema, equal, bounds), parameters


def _month_bounds(table: TieredTable, wanted: Wanted) -> dict[str, Any]:
    """The first days of the first and the last month that a page can reach into."""
    ends = [wanted.created_before, None if wanted.before is None else wanted.before[0]]
    last = min((end for end in ends if end is not None), default=None)
    return {
        "table": table.name,
        "first_month": _first_day(wanted.created_from),
        "last_month": _first_day(last),
    }


def _first_day(moment: datetime | None) -> date | None:
    return None if moment is None else moment.date().replace(day=1)


def _newest(table: TieredTable, rows: list[Row], limit: int) -> list[Row]:
    """The newest rows, each once: one that came late to a month may be archived already, and is archived then."""
    once = {(row[table.time_column], row[table.key_column]): row for row in rows}
    return [row for _, row in sorted(once.items(), key=lambda item: item[0], reverse=True)][:limit]
