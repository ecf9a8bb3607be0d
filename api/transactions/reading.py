"""Rows from every tier: one by its id, or a page of them, each row exactly once even while its month moves.

PostgreSQL's tiers and the map of archived months are read at one instant at which no mover can be half-way: in one
statement, or under a lock on both parents. Archived months are immutable, so they are read after that, at leisure.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID

import anyio
import anyio.to_thread

from api.connections.database import AsyncConnection, Database
from api.transactions import statements
from ledger.errors import TransientError
from ledger.identifiers import created_at_of
from ledger.months import Month
from ledger.policy import Tier
from ledger.tables import TieredTable
from storage.archive import ColdFilter, ColdReader

Row = dict[str, Any]

_COLD = (Tier.COLD, Tier.DEEP)
_COLD_READS_AT_ONCE = 4  # one engine answers all of them; more only wait for each other
_COLD_READS_WAITING = 64  # more of them would be answered after their clients have gone
_COLD_MONTHS_AT_ONCE = 12  # a page of a busy wallet opens few files, one of a quiet wallet makes few rounds
_EQUAL = ("wallet_id", "user_id", "status", "type", "client_id")


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which rows a page is made of. None does not filter; times are UTC, ``[created_from, created_before)``."""

    wallet_id: str | None = None
    user_id: str | None = None
    status: str | None = None
    type: str | None = None
    client_id: str | None = None
    created_from: datetime | None = None
    created_before: datetime | None = None
    before: UUID | None = None


@dataclass(frozen=True, slots=True)
class RowPage:
    """Rows, newest first, and whether there are more."""

    rows: list[Row]
    more: bool


@dataclass(frozen=True, slots=True)
class ColdMonth:
    """An archived month and the object that it is in."""

    month: Month
    object_key: str


@dataclass(frozen=True, slots=True)
class LocatedRow:
    """A row, and the tier that its month is in; None for a month that was never."""

    row: Row
    tier: str | None


class Reader:
    """Reads of one API process. Every method is safe to repeat."""

    def __init__(self, database: Database, cold: ColdReader) -> None:
        self._database = database
        self._cold = cold
        self._cold_limiter = anyio.CapacityLimiter(_COLD_READS_AT_ONCE)

    async def find(self, table: TieredTable, row_id: UUID, client_id: str | None) -> LocatedRow | None:
        """The row with ``row_id`` if ``client_id`` may see it (None sees all). One partition or one file is touched."""
        created_at = created_at_of(row_id)
        parameters = {
            "id": row_id,
            "time": created_at,
            "table": table.name,
            "month": created_at.date().replace(day=1),
        }
        tier, object_key, *values = await self._database.run(
            lambda connection: _single(connection, statements.find(table), parameters), "find"
        )
        row: Row | None = dict(zip(statements.columns_of(table), values, strict=True))
        if values[0] is None:
            row = await self._find_cold(table, row_id, object_key) if tier in _COLD else None
        if row is None or client_id not in (None, row["client_id"]):
            return None
        return LocatedRow(row, tier)

    async def page(self, table: TieredTable, wanted: Wanted, limit: int) -> RowPage:
        """At most ``limit`` rows, newest first; a page may start in hot and end in deep."""
        enough = limit + 1  # one more row shows whether there is another page
        rows, months = await self._database.run(
            lambda connection: _read_postgres(connection, table, wanted, enough), "page"
        )
        for some in _chunks(months, _COLD_MONTHS_AT_ONCE):
            # A month that was held back is in warm while later ones are cold, so tiers may interleave: an archived
            # month is left out only when all of it is older than a page that is already full.
            oldest = rows[-1][table.time_column] if len(rows) == enough else None
            open_months = [cold for cold in some if oldest is None or cold.month.upper > oldest]
            if not open_months:
                break
            rows = _newest(table, rows + await self._page_cold(table, wanted, open_months, enough), enough)
        return RowPage(rows[:limit], len(rows) > limit)

    async def _find_cold(self, table: TieredTable, row_id: UUID, object_key: str) -> Row | None:
        rows = await self._read_cold(table, [object_key], ColdFilter(id=row_id), 1)
        return rows[0] if rows else None

    async def _page_cold(
        self, table: TieredTable, wanted: Wanted, months: Sequence[ColdMonth], limit: int
    ) -> list[Row]:
        where = ColdFilter(
            **{name: getattr(wanted, name) for name in (*_EQUAL, "created_from", "created_before")},
            before=None if wanted.before is None else (created_at_of(wanted.before), wanted.before),
        )
        return await self._read_cold(table, [cold.object_key for cold in months], where, limit)

    async def _read_cold(self, table: TieredTable, keys: Sequence[str], where: ColdFilter, limit: int) -> list[Row]:
        def read() -> list[Row]:
            columns = statements.columns_of(table)
            return self._cold.rows(table, keys, where=where, columns=columns, limit=limit)

        if self._cold_limiter.statistics().tasks_waiting >= _COLD_READS_WAITING:
            raise TransientError("too many readings of the archive wait")
        return await anyio.to_thread.run_sync(read, limiter=self._cold_limiter)


async def _single(connection: AsyncConnection, statement: bytes, parameters: dict[str, Any]) -> tuple[Any, ...]:
    (row,) = await (await connection.execute(statement, parameters)).fetchall()  # one line, whatever it finds
    return row


async def _read_postgres(
    connection: AsyncConnection, table: TieredTable, wanted: Wanted, limit: int
) -> tuple[list[Row], list[ColdMonth]]:
    """The rows in hot and warm, and the archived months that may hold more, newest first: both of one instant."""
    statement, parameters = _page_statement(table, wanted, limit)
    async with connection.pipeline(), connection.transaction():
        await connection.execute(statements.lock_parents(table))
        months = await connection.execute(statements.COLD_MONTHS, _month_bounds(table, wanted))
        page = await connection.execute(statement, parameters)
    columns = statements.columns_of(table)
    rows = [dict(zip(columns, values, strict=True)) for values in await page.fetchall()]
    return rows, [ColdMonth(Month.of(month), key) for month, key in await months.fetchall()]


def _page_statement(table: TieredTable, wanted: Wanted, limit: int) -> tuple[bytes, dict[str, Any]]:
    parameters: dict[str, Any] = {"limit": limit}
    equal = tuple(name for name in _EQUAL if getattr(wanted, name) is not None)
    bounds = tuple(name for name in ("created_from", "created_before") if getattr(wanted, name) is not None)
    parameters |= {name: getattr(wanted, name) for name in (*equal, *bounds)}
    if wanted.before is not None:
        bounds = (*bounds, "before")
        parameters |= {"before_time": created_at_of(wanted.before), "before_id": wanted.before}
    return statements.page(table, equal, bounds), parameters


def _month_bounds(table: TieredTable, wanted: Wanted) -> dict[str, Any]:
    """The first days of the first and the last month that a page can reach into."""
    ends = [wanted.created_before, None if wanted.before is None else created_at_of(wanted.before)]
    last = min((end for end in ends if end is not None), default=None)
    return {
        "table": table.name,
        "first_month": _first_day(wanted.created_from),
        "last_month": _first_day(last),
    }


def _first_day(moment: datetime | None) -> date | None:
    return None if moment is None else moment.date().replace(day=1)


def _newest(table: TieredTable, rows: list[Row], limit: int) -> list[Row]:
    rows.sort(key=lambda row: (row[table.time_column], row[table.key_column]), reverse=True)
    return rows[:limit]


def _chunks(months: Sequence[ColdMonth], size: int) -> Iterator[Sequence[ColdMonth]]:
    return (months[start : start + size] for start in range(0, len(months), size))
