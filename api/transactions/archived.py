"""Rows of archived months: the months that may have them, and what those have. Archived months are immutable.

A page and a row of every tier are those of `api.transactions.reading`, which asks here for the archive's part.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import anyio
import anyio.to_thread

from api.connections.database import AsyncConnection, Database
from api.routing.problems import UNAVAILABLE, HttpError
from api.transactions import statements
from ledger.columns import ColumnKind
from ledger.errors import TransientError
from ledger.months import Month
from ledger.tables import TieredTable
from sql.lookups import FILTER_BLOCKS, LOOKUPS, FoundLookup, blocks_asked, found_blocks, found_lookups
from sql.relations import ledger_schema_of
from storage.archive import ColdFilter, ColdReader, Names
from storage.filters import hash_of, may_have
from storage.object_reader import ArchivedFile

Row = dict[str, Any]

READS_AT_ONCE = 4  # one engine answers all of them; more only wait for each other
READS_WAITING = 64  # more of them would be answered after their clients have gone
_MONTHS_AT_ONCE = 12  # a page of a busy wallet opens few files, one of a quiet wallet makes few rounds
_FILTERED = {
    "id": ColumnKind.UUID,
    "wallet_id": ColumnKind.TEXT,
    "user_id": ColumnKind.TEXT,
    "reference": ColumnKind.TEXT,
}


@dataclass(frozen=True, slots=True)
class ColdMonth:
    """An archived month, or a part of it, and the object that it is in, with the columns there."""

    month: Month
    object_key: str
    columns: Sequence[dict[str, Any]] | None = None


class ArchivedRows:
    """Archived rows for one API process. Every method is safe to repeat.

    Each raises TransientError when too many readings wait, and the errors of the object store.
    """

    def __init__(self, database: Database, cold: ColdReader) -> None:
        self._database = database
        self._cold = cold
        self.limiter = anyio.CapacityLimiter(READS_AT_ONCE)

    async def find(self, table: TieredTable, row_id: UUID, months: Sequence[ColdMonth]) -> Row | None:
        """The row with ``row_id``, if one of ``months`` has it."""
        where = ColdFilter(id=row_id)
        for some in chunks(await self.possible(table, months, where)):
            if rows := await self.read(table, some, where, 1):
                return rows[0]
        return None

    async def copies(self, table: TieredTable, rows: Sequence[Row], months: Sequence[ColdMonth]) -> list[Row]:
        """Those of ``rows``, which PostgreSQL has, that ``months`` have too, as the archive has them."""
        archived = {cold.month for cold in months}
        late = {_place(table, row) for row in rows if Month.of(row[table.time_column]) in archived}
        if not late:
            return []
        beside = {Month.of(time) for _, time in late}
        where = ColdFilter(ids=tuple({key for key, _ in late}))
        copies: list[Row] = []
        for some in chunks(await self.possible(table, [cold for cold in months if cold.month in beside], where)):
            archived_rows = await self.read(table, some, where, len(late))
            copies += [row for row in archived_rows if _place(table, row) in late]
        return copies

    async def possible(self, table: TieredTable, months: Sequence[ColdMonth], where: ColdFilter) -> Sequence[ColdMonth]:
        """``months`` without those whose filters deny a value that is asked for."""
        values: dict[str, tuple[Any, ...]] = {
            name: (value,) for name in _FILTERED if (value := getattr(where, name)) is not None
        }
        if where.ids is not None:
            values["id"] = where.ids
        if not months or not values:
            return months
        numbers = await self._numbers(table)
        asked = [
            (cold.object_key, numbers[name], hash_of(value))
            for cold in months
            for name, some in values.items()
            if name in numbers and _has_column(cold, numbers[name], _FILTERED[name])
            for value in some
        ]
        if not asked:
            return months
        blocks = await self._database.run(lambda connection: _blocks(connection, asked), "filters")
        allowed = {
            question[:2]
            for place, question in enumerate(asked)
            if place not in blocks or may_have(blocks[place], question[2])
        }
        denied = {key for key, number, _ in asked if (key, number) not in allowed}
        return [cold for cold in months if cold.object_key not in denied]

    async def read(self, table: TieredTable, months: Sequence[ColdMonth], where: ColdFilter, limit: int) -> list[Row]:
        """The newest rows of ``months`` that ``where`` asks for, at most ``limit``."""
        columns = statements.columns_of(table)
        numbers = await self._numbers(table) if months else {}
        objects = {cold.object_key: _names(cold, columns, numbers) for cold in months}
        if unknown := self._cold.unknown(objects):
            lookups = await self._database.run(lambda connection: _lookups(connection, unknown), "lookups")
            self._cold.add(
                ArchivedFile(lookup.name, lookup.object_key, lookup.sha256.hex(), lookup.pieces, lookup.footer)
                for lookup in lookups
            )
        return await self.read_objects(table, objects, where, limit)

    async def read_objects(
        self, table: TieredTable, objects: Mapping[str, Names | None], where: ColdFilter, limit: int
    ) -> list[Row]:
        """As `read`, of objects by their keys, each with the names that its columns have there."""
        columns = statements.columns_of(table)

        def read() -> list[Row]:
            return self._cold.rows(table, objects, where=where, columns=columns, limit=limit)

        if self.limiter.statistics().tasks_waiting >= READS_WAITING:
            raise TransientError("too many readings of the archive wait")
        return await anyio.to_thread.run_sync(read, limiter=self.limiter)

    async def _numbers(self, table: TieredTable) -> dict[str, int]:
        """The numbers of the table's columns by their names now."""

        async def fields(connection: AsyncConnection) -> dict[str, int]:
            schema = await ledger_schema_of(connection, table)
            cursor = await connection.execute(statements.fields(table, schema), {"table": table.name})
            return dict(await cursor.fetchall())

        return await self._database.run(fields, "fields")


def chunks(months: Sequence[ColdMonth]) -> Iterator[Sequence[ColdMonth]]:
    """``months`` by as many as are read at once."""
    return (months[start : start + _MONTHS_AT_ONCE] for start in range(0, len(months), _MONTHS_AT_ONCE))


def refuse_other_values(table: TieredTable, rows: Sequence[Row], copies: Sequence[Row]) -> None:
    """Raise a 503 problem when one of ``rows`` has other values than its archived copy: one of the two is wrong."""
    by_place = {_place(table, row): row for row in rows}
    for copy in copies:
        if by_place[_place(table, copy)] != copy:
            raise HttpError(UNAVAILABLE, f"The row {copy[table.key_column]} is stored twice, with different values.")


def _place(table: TieredTable, row: Row) -> tuple[UUID, datetime]:
    return row[table.key_column], row[table.time_column]


def _has_column(cold: ColdMonth, field_id: int, kind: ColumnKind) -> bool:
    """Whether a month has a column, of a kind: only then its filter says something about the column."""
    return any((column["field_id"], column["kind"]) == (field_id, kind) for column in cold.columns or ())


def _names(cold: ColdMonth, columns: Sequence[str], numbers: dict[str, int]) -> list[tuple[str, str]] | None:
    """The names that ``columns`` have in an archived month: a column is known by its number, whatever its name was."""
    if cold.columns is None:
        return None
    there = {column["field_id"]: column["name"] for column in cold.columns}
    return [(there[numbers[name]], name) for name in columns if numbers.get(name) in there]


async def _blocks(connection: AsyncConnection, asked: Sequence[tuple[str, int, int]]) -> dict[int, bytes]:
    cursor = await connection.execute(FILTER_BLOCKS, blocks_asked(asked), binary=True)
    return found_blocks(asked, await cursor.fetchall())


async def _lookups(connection: AsyncConnection, keys: Sequence[str]) -> list[FoundLookup]:
    cursor = await connection.execute(LOOKUPS, {"keys": list(keys)}, binary=True)
    return found_lookups(await cursor.fetchall())
