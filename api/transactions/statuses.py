"""Moving a transaction's status forward, safely while other requests do the same and while the month moves."""

from datetime import datetime
from typing import Any
from uuid import UUID

import psycopg

from api.connections.database import AsyncConnection, Database
from api.routing.problems import CONFLICT, NOT_FOUND, HttpError
from api.transactions import statements
from api.transactions.archived import Row
from api.transactions.reading import Reader
from ledger.business_days import day_of
from ledger.errors import ClosedDayError, NotStoredError
from ledger.identifiers import time_of
from ledger.tables import TieredTable
from ledger.transactions import Status, may_follow
from sql.queries import load
from sql.relations import ledger_schema_of

_ATTEMPTS = 3
_CLOSED_PERIOD = load("reconciliation_periods")["closed_period"]


class StatusChanger:
    """Status changes of one API process."""

    def __init__(self, database: Database, reader: Reader) -> None:
        self._database = database
        self._reader = reader

    async def change(self, table: TieredTable, row_id: UUID, client_id: str, wanted: Status, now: datetime) -> Row:
        """The row of ``client_id`` once it is ``wanted``; a row that already is so is given back as it is.

        Safe to repeat. Raises a 404 problem when the client has no such row. Raises 409 when its status may not be
        followed by ``wanted``, or its month takes no more changes. Raises it too when its day is in a closed period,
        which is named. Raises ConflictError while its month is sealed.
        """
        movable = [status.value for status in Status if may_follow(status, wanted)]
        parameters = {
            "id": row_id,
            "time": time_of(row_id),
            "client_id": client_id,
            "status": wanted.value,
            "movable": movable,
            "now": now,
        }
        seen: list[Row] = []
        for _ in range(_ATTEMPTS):
            try:
                row = await self._database.run(
                    lambda connection: _update(connection, table, parameters), "change_status"
                )
            except ClosedDayError:
                raise HttpError(CONFLICT, await self._closed(table, row_id, client_id)) from None
            if row is not None:
                return row
            present = await self._why_not(table, row_id, client_id, wanted)
            if present[table.time_column] != parameters["time"]:  # an id that does not contain the row's time
                parameters["time"] = present[table.time_column]
                continue
            if present["status"] == wanted.value:
                return present
            seen.append(present)
        if seen and all(row == seen[0] for row in seen):
            raise NotStoredError(
                f"{table.hot_parent}: PostgreSQL changes no row: look for a trigger that drops the UPDATE"
            )
        raise HttpError(CONFLICT, "Other requests are changing the same row. Read it again before you change it.")

    async def _closed(self, table: TieredTable, row_id: UUID, client_id: str) -> str:
        """Return which closed period the row's day is in."""
        located = await self._reader.find(table, row_id, client_id)
        if located is None:
            raise HttpError(NOT_FOUND)
        supplier, day = located.row["supplier"], day_of(located.row[table.time_column])

        async def read(connection: AsyncConnection) -> tuple[Any, ...] | None:
            asked = {"supplier": supplier, "day": day}
            return await (await connection.execute(_CLOSED_PERIOD, asked)).fetchone()

        period = await self._database.run(read, "closed_period")
        named = "a closed period" if period is None else f"the closed period {period[1]} to {period[2]}"
        return f"{supplier} {day} is in {named}: the row does not change any more. Post a new row."

    async def _why_not(self, table: TieredTable, row_id: UUID, client_id: str, wanted: Status) -> Row:
        """The row, when nothing was to be done or when it has just reached a status that it may be moved from."""
        located = await self._reader.find(table, row_id, client_id)
        if located is None:
            raise HttpError(NOT_FOUND)
        current = Status(located.row["status"])
        if current is wanted:
            return located.row
        if not located.tier.is_in_postgres:
            raise HttpError(CONFLICT, "The month of the row is archived and accepts no changes. Post a new row.")
        if not may_follow(current, wanted):
            raise HttpError(CONFLICT, f"The status cannot change from {current} to {wanted}.")
        return located.row


async def _update(connection: AsyncConnection, table: TieredTable, parameters: dict[str, Any]) -> Row | None:
    # With its values in its text the statement is planned for the one partition that it changes and locks no other. A
    # generic plan would lock every partition for writing, and wait for a mover that is busy with another month.
    cursor = psycopg.AsyncClientCursor(connection)
    statement = statements.change_status(table, await ledger_schema_of(connection, table))
    values = await (await cursor.execute(statement, parameters)).fetchone()
    return None if values is None else dict(zip(statements.columns_of(table), values, strict=True))
