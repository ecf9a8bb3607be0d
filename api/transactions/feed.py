"""The feed of new rows: each row that the API stores, exactly once, in the order of ids, which is that of time.

A row is visible from its COMMIT on, and its time was set before that. So a page ends at a horizon: the instant before
which no further row can become visible. The writer keeps its side of that (`feed_horizon` and `store` in
`sql/queries/transactions.sql`): no row is older than ``delay_s`` when it is stored.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from api.connections.database import AsyncConnection, Database
from api.transactions import statements
from api.transactions.archived import Row
from api.transactions.reading import refuse_missing
from ledger.errors import ConfigError, FieldError, TransientError
from ledger.identifiers import first_id, from_unix_ms, unix_us
from ledger.tables import TieredTable
from sql.relations import ledger_schema_of

NO_TIME = from_unix_ms(0)  # of a cursor: the place of a feed is an id alone
_MOST_PASSED = 2000  # rows that one page looks at, those of other clients included
_NO_SIGHT = (
    "the API's login does not see what other sessions of PostgreSQL do, so the feed has no horizon. GRANT "
    "pg_read_all_stats to it, and leave track_activities on"
)
_NO_START = (
    "a transaction that stores rows does not show its start, and no run of the watch noted an instant before it. The "
    "feed has no horizon until it ends: COMMIT or ROLLBACK PREPARED what pg_prepared_xacts has, leave track_activities "
    "on, and let the watch run"
)


@dataclass(frozen=True, slots=True)
class FeedPage:
    """Rows, oldest first. ``place`` is the id behind which the next page begins, ``until`` the horizon, UTC."""

    rows: list[Row]
    place: UUID
    more: bool
    until: datetime


@dataclass(frozen=True, slots=True)
class _Reading:
    """One page to be read: ``client_id`` None for all, ``after`` None for the horizon, ``field`` as the client says."""

    table: TieredTable
    client_id: str | None
    after: UUID | None
    limit: int
    field: str

    @property
    def most(self) -> int:
        """The rows that are looked at."""
        return max(_MOST_PASSED, self.limit)


def place_of(moment: datetime) -> UUID:
    """The place before every row that was created at ``moment`` (timezone-aware) or later."""
    return UUID(int=max(0, -(-unix_us(moment) // 1000)) << 80)


class Feed:
    """Readings of one API process. Safe to repeat."""

    def __init__(self, database: Database, delay_s: float) -> None:
        self._database = database
        self._delay_s = delay_s

    async def page(
        self, table: TieredTable, client_id: str | None, after: UUID | None, limit: int, field: str
    ) -> FeedPage:
        """At most ``limit`` rows of ``client_id`` (None: of all) behind ``after``; None begins at the horizon.

        Raises FieldError for ``field`` when a month behind ``after`` is archived, a 503 problem when one is missing.
        Raises ConfigError where the horizon cannot be known, TransientError while one transaction hides it.
        """
        reading = _Reading(table, client_id, after, limit, field)
        return await self._database.run(lambda connection: self._read(connection, reading), "feed")

    async def _read(self, connection: AsyncConnection, reading: _Reading) -> FeedPage:
        async with connection.transaction():
            until = await self._horizon(connection, reading)
            after = first_id(until) if reading.after is None else reading.after
            if first_id(until) <= after:
                return FeedPage([], after, more=False, until=until)
            await _refuse_gaps(connection, reading, after, until)
            schema = await ledger_schema_of(connection, reading.table)
            cursor = await connection.execute(
                statements.feed(reading.table, schema, reading.client_id is not None),
                {
                    "since": time_of_place(after),
                    "until": until,
                    "after": after,
                    "before": first_id(until),
                    "client_id": reading.client_id,
                    "limit": reading.limit,
                    "most": reading.most,
                },
            )
            return _page(reading, await cursor.fetchall(), until)

    async def _horizon(self, connection: AsyncConnection, reading: _Reading) -> datetime:
        """The horizon, known before the rows are read. No mover comes between the two."""
        schema = await ledger_schema_of(connection, reading.table)
        async with connection.pipeline():
            await connection.execute(statements.lock_parents(reading.table, schema))
            asked = await connection.execute(statements.FEED_HORIZON, {"delay_s": self._delay_s})
        until: datetime | None
        until, seen = await asked.fetchone() or (None, False)
        if until is None:
            raise TransientError(_NO_START) if seen else ConfigError(_NO_SIGHT)
        return until


async def _refuse_gaps(connection: AsyncConnection, reading: _Reading, after: UUID, until: datetime) -> None:
    """Raise FieldError for a month that is archived, a 503 problem for one that is missing."""
    table = reading.table
    first_day, last_day = (moment.date().replace(day=1) for moment in (time_of_place(after), until))
    asked = {"table": table.name, "first_month": first_day, "last_month": last_day}
    schema = await ledger_schema_of(connection, table)
    async with connection.pipeline():
        missing = await connection.execute(statements.missing_months(table, schema), asked)
        archived = await connection.execute(statements.NEWEST_ARCHIVED, asked)
    refuse_missing(await missing.fetchall())
    row = await archived.fetchone()
    if row is not None and row[0] is not None:
        raise FieldError(
            reading.field,
            f"must be later than {row[0]:%Y-%m}: that month is archived. Read older rows from the list of a wallet",
        )


def time_of_place(place: UUID) -> datetime:
    """The instant at which a place is: that of a row's id, or a first id of an instant."""
    return from_unix_ms(place.int >> 80)


def _page(reading: _Reading, lines: list[tuple[Any, ...]], until: datetime) -> FeedPage:
    passed, last = lines[0][:2]
    columns = statements.columns_of(reading.table)
    rows = [dict(zip(columns, values, strict=True)) for _, _, *values in lines if values[0] is not None]
    if len(rows) == reading.limit:
        return FeedPage(rows, rows[-1][reading.table.key_column], more=True, until=until)
    if passed >= reading.most:
        return FeedPage(rows, last, more=True, until=until)
    return FeedPage(rows, first_id(until), more=False, until=until)
