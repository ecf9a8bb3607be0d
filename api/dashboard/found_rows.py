"""Found rows of one or several tables in every tier, and which months were read for them.

Pages are those of `api.transactions.reading`: each row exactly once even while its month moves, newest first. The
catalogue of months is read beside them, for what is said about months; no row depends on it.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any
from uuid import UUID

from api.connections.database import AsyncConnection, Database
from api.dashboard.search import By, RowSearch
from api.server.services import Services
from api.transactions.reading import RowPage
from ledger.identifiers import time_of
from ledger.months import Month
from ledger.policy import Tier
from ledger.tables import TieredTable
from sql.queries import load
from storage.unreadable import spans_of

_MONTHS = load("find")["months"]


@dataclass(frozen=True, slots=True)
class MonthInTier:
    """A part of a month in the catalogue."""

    table: str
    month: Month
    tier: Tier
    certificate: str | None


@dataclass(frozen=True, slots=True)
class FoundRow:
    """A row, its table, and the tier that it was read from; None for a partition that the catalogue does not know."""

    table: TieredTable
    row: Mapping[str, Any]
    tier: Tier | None

    @property
    def place(self) -> tuple[datetime, UUID]:
        """Its place in the order: time and key."""
        return self.row[self.table.time_column], self.row[self.table.key_column]

    @property
    def month(self) -> Month:
        """The UTC month of the row."""
        return Month.of(self.place[0])


@dataclass(frozen=True, slots=True)
class MonthsRead:
    """Which months a page was read from, of how many that have rows; by table and tier, newest first."""

    read: Mapping[tuple[str, Tier], Sequence[Month]]
    known: int

    @property
    def count(self) -> int:
        """How many months of tables were read; one that is in two tiers, because of late rows, counts once."""
        return len({(table, month) for (table, _), months in self.read.items() for month in months})

    @property
    def spans(self) -> list[tuple[str, Tier, str]]:
        """The months as spans without gaps: table, tier and text."""
        return [(table, tier, _spans(months)) for (table, tier), months in self.read.items()]


@dataclass(frozen=True, slots=True)
class DeletedMonths:
    """Months of a table whose rows were deleted at the end of their retention, as text, and the certificates."""

    table: str
    months: str
    certificates: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Found:
    """A page of rows, newest first. ``cursor`` leads to older ones, None where there are none."""

    rows: Sequence[FoundRow]
    cursor: str | None
    months: MonthsRead
    deleted: Sequence[DeletedMonths]


async def search(services: Services, wanted: RowSearch, cursor: str | None, limit: int) -> Found:
    """At most ``limit`` rows. Raises FieldError for a cursor of another search, and what `Reader.page` raises."""
    before = None if cursor is None else services.cursors.read(wanted.question, cursor)
    pages, known = await asyncio.gather(
        asyncio.gather(*(services.reader.page(table, wanted.wanted(before), limit) for table in wanted.tables)),
        known_months(services.database, wanted.tables),
    )
    read = list(zip(wanted.tables, pages, strict=True))
    tiers = tiers_of(known)
    rows = sorted((row for table, page in read for row in _rows(table, page, tiers)), key=_newest_first, reverse=True)
    shown = rows[:limit]
    more = len(rows) > limit or any(page.more for page in pages)
    last = services.cursors.write(wanted.question, *shown[-1].place) if more else None
    months = MonthsRead(_read(wanted, read, known, before), len({(part.table, part.month) for part in _living(known)}))
    return Found(shown, last, months, _deleted(wanted, known))


async def known_months(database: Database, tables: Iterable[TieredTable]) -> list[MonthInTier]:
    """Every month of ``tables`` that the catalogue knows, and each of its parts, oldest first."""
    names = [table.name for table in tables]

    async def read(connection: AsyncConnection) -> list[tuple[Any, ...]]:
        return await (await connection.execute(_MONTHS, {"tables": names})).fetchall()

    rows = await database.run(read, "find_months")
    return [MonthInTier(name, Month.of(month), Tier(tier), number) for name, month, _, tier, number in rows]


def tiers_of(known: Iterable[MonthInTier]) -> Mapping[tuple[str, Month, bool], Tier]:
    """The tier of the rows of a table's month, by whether they are in the archive."""
    return {
        (part.table, part.month, part.tier.is_archived): part.tier for part in known if part.tier is not Tier.DELETED
    }


def _rows(table: TieredTable, page: RowPage, tiers: Mapping[tuple[str, Month, bool], Tier]) -> Iterable[FoundRow]:
    for row in page.rows:
        place = table.name, Month.of(row[table.time_column]), row[table.key_column] in page.archived
        yield FoundRow(table, row, tiers.get(place))


def _newest_first(row: FoundRow) -> tuple[datetime, UUID]:
    return row.place


def _living(known: Iterable[MonthInTier]) -> list[MonthInTier]:
    return [part for part in known if part.tier is not Tier.DELETED]


def _read(
    wanted: RowSearch,
    pages: Sequence[tuple[TieredTable, RowPage]],
    known: Sequence[MonthInTier],
    before: tuple[datetime, UUID] | None,
) -> Mapping[tuple[str, Tier], Sequence[Month]]:
    """The months that were read: of PostgreSQL all between the days, of the archive those that were opened."""
    months_by_place: dict[tuple[str, Tier], set[Month]] = {}
    for table, page in pages:
        opened = {cold.month for cold in page.opened}
        for part in known:
            in_postgres = part.tier.is_in_postgres and wanted.includes(part.month) and _is_open(part.month, before)
            if part.table == table.name and (in_postgres or (part.tier.is_archived and part.month in opened)):
                months_by_place.setdefault((table.name, part.tier), set()).add(part.month)
    places = sorted(months_by_place, key=lambda place: (place[0], tuple(Tier).index(place[1])))
    return {place: sorted(months_by_place[place], reverse=True) for place in places}


def _is_open(month: Month, before: tuple[datetime, UUID] | None) -> bool:
    return before is None or month.lower <= before[0]


def _deleted(wanted: RowSearch, known: Sequence[MonthInTier]) -> list[DeletedMonths]:
    """The deleted months between the days; of a search by an id that contains its month, that one alone."""
    moment = time_of(UUID(wanted.value)) if wanted.by is By.ID else None
    gone = [
        part
        for part in known
        if part.tier is Tier.DELETED
        and wanted.includes(part.month)
        and (moment is None or part.month.lower <= moment < part.month.upper)
    ]
    made = []
    for table, months in groupby(gone, key=lambda part: part.table):
        some = list(months)
        numbers = tuple(dict.fromkeys(part.certificate for part in some if part.certificate is not None))
        made.append(DeletedMonths(table, _spans({part.month for part in some}), numbers))
    return made


def _spans(months: Iterable[Month]) -> str:
    """Months as text: `2024-01 to 2024-03, 2025-07`."""
    spans = spans_of(sorted(set(months)))
    return ", ".join(str(first) if first == last else f"{first} to {last}" for first, last in spans)
