"""The rows of vends in PostgreSQL: claimed, finished, and found again when they stayed open."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from typing import Any, Protocol, TypeVar
from uuid import UUID

import psycopg
from psycopg.rows import TupleRow
from psycopg.sql import SQL, Identifier
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from config import Settings
from ledger.errors import DataError, FieldError, TransientError
from ledger.identifiers import created_at_of, time_of
from ledger.tables import TieredTable
from ledger.transactions import Status, VasType
from sql.connection import Connection, check_session_of, connection_parameters
from sql.errors import NOT_STORED, translate
from sql.queries import load
from sql.relations import ledger_schema, ledger_schema_of
from suppliers.money import CURRENCY
from suppliers.protocol import PurchaseRequest
from suppliers.references import id_range, plain_reference, short_reference
from suppliers.verdicts import Failure

T = TypeVar("T")
AsyncConnection = psycopg.AsyncConnection[TupleRow]
TABLE = "vas_transactions"
PAGE_ROWS = 500
_QUERIES = load("vending")
_PLAIN_LENGTH = 36  # of a `plain_reference`
_POOL_SIZE = 4
_POOL_TIMEOUT_S = 10.0
_STATEMENT_TIMEOUT_MS = 30_000
_COLUMNS = (
    "id",
    "supplier",
    "vas_type",
    "status",
    "amount",
    "currency",
    "supplier_product_id",
    "supplier_reference",
    "supplier_transaction_id",
    "mobile_number",
    "metadata",
    "created_at",
    "updated_at",
)
_OWNER = ("client_id", "user_id", "wallet_id")
_FIRST = (datetime.min.replace(tzinfo=UTC), UUID(int=0))
_TEXTS = ("meter_number", "account_number", "bank")


def order_of(row: Mapping[str, Any], reference: str) -> PurchaseRequest:
    """The purchase that a new row, complete and not yet stored, stands for. Raises as `VendRow.request`."""
    return _row(tuple(row[name] for name in _COLUMNS)).request(reference)


def is_reference_of(reference: str | None, row_id: UUID) -> bool:
    """Return whether a row's supplier_reference is the one that follows from its id: then the row is a vend. One whose
    id has no time is none; only others than this project store such rows.
    """
    return time_of(row_id) is not None and reference in (plain_reference(row_id), short_reference(row_id))


class VendDatabase(Protocol):
    """Connections to PostgreSQL, as the API's own pool gives them. Commits must be synchronous."""

    async def run(self, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        """Run ``work`` on an autocommit connection; raises the project's errors."""


@dataclass(frozen=True, slots=True)
class VendRow:
    """The source of a purchase, and the state of its row. Times are UTC."""

    id: UUID
    supplier: str
    vas_type: VasType
    status: Status
    amount: Decimal
    currency: str
    supplier_product_id: str | None
    supplier_reference: str | None
    supplier_transaction_id: str | None
    mobile_number: str | None
    metadata: dict[str, Any]
    created_at: datetime
    updated_at: datetime

    def request(self, reference: str) -> PurchaseRequest:
        """The purchase that this row stands for: the same one whenever it is asked for.

        Meter, account and bank are read from ``metadata``. Raises FieldError for a currency that nobody sells in.
        """
        if self.currency != CURRENCY:
            raise FieldError("currency", f"must be {CURRENCY}: suppliers sell in nothing else")
        texts = {name: value for name in _TEXTS if isinstance(value := self.metadata.get(name), str)}
        return PurchaseRequest(
            row_id=self.id,
            reference=reference,
            vas_type=self.vas_type,
            product_code=self.supplier_product_id or "",
            amount=self.amount,
            requested_at=self.created_at,
            mobile_number=self.mobile_number,
            **texts,
        )


@dataclass(frozen=True, slots=True)
class Finish:
    """The end of a row. ``expected`` is the status that it must have until then; ``failure`` is the reason when it
    failed. ``reference`` is None for a row that is not a vend and has none.
    """

    status: Status
    reference: str | None
    transaction_id: str | None = None
    commission: Decimal = Decimal("0.00")
    expected: Status = Status.PROCESSING
    failure: Failure = Failure.NOT_SOLD

    def parameters(self, row_id: UUID, now: datetime) -> dict[str, Any]:
        """Those of the query `finish`."""
        return {
            **_of(row_id),
            "status": self.status.value,
            "reference": self.reference,
            "transaction_id": self.transaction_id,
            "commission": self.commission,
            "expected": self.expected.value,
            "failure": self.failure.value if self.status is Status.FAILED else None,
            "now": now,
        }


def finish_in(connection: Connection, table: TieredTable, row_id: UUID, end: Finish, now: datetime) -> bool:
    """`VendRows.finish` within the caller's transaction: the same statement, so of all that end a row one does."""
    cursor = psycopg.ClientCursor(connection)
    return cursor.execute(_located("finish", connection, table), end.parameters(row_id, now)).fetchone() is not None


def find_in(connection: Connection, table: TieredTable, row_id: UUID) -> VendRow | None:
    """`VendRows.find` within the caller's transaction; None for an id without a time, too."""
    if time_of(row_id) is None:
        return None
    row = psycopg.ClientCursor(connection).execute(_located("find", connection, table), _of(row_id)).fetchone()
    return None if row is None else _row(row)


def find_by_reference_in(connection: Connection, table: TieredTable, reference: str) -> VendRow | None:
    """The vend that a supplier knows by ``reference``, within the caller's transaction. None for what is not a
    reference of ours, and where there is no such row in hot or warm.
    """
    try:
        if len(reference) == _PLAIN_LENGTH:
            return find_in(connection, table, UUID(reference))
        parameters = _by_short_reference(reference)
    except (ValueError, DataError):  # not an id, or a reference without a time
        return None
    row = (
        psycopg.ClientCursor(connection)
        .execute(_located("find_by_reference", connection, table), parameters)
        .fetchone()
    )
    return None if row is None else _row(row[: len(_COLUMNS)])


def status_in(connection: Connection, table: TieredTable, row_id: UUID) -> Status | None:
    """The state of a row now; None when there is none in hot or warm."""
    row = find_in(connection, table, row_id)
    return None if row is None else row.status


class VendRows:
    """The rows of one table of vends."""

    def __init__(self, settings: Settings, database: VendDatabase) -> None:
        self._table = settings.table(TABLE)
        self._database = database

    async def find(self, row_id: UUID) -> VendRow | None:
        """The row, None when there is none in hot or warm."""
        return await self._one("find", _of(row_id))

    async def find_by_reference(self, reference: str) -> tuple[VendRow, dict[str, Any]] | None:
        """The row with this `short_reference`, and whose it is; None when there is none in hot or warm.

        Raises DataError for a text that is not such a reference.
        """
        rows = await self._rows("find_by_reference", _by_short_reference(reference))
        if not rows:
            return None
        values, owner = rows[0][: len(_COLUMNS)], rows[0][len(_COLUMNS) :]
        return _row(values), dict(zip(_OWNER, owner, strict=True))

    async def claim(self, row_id: UUID, reference: str, now: datetime) -> VendRow | None:
        """Take a pending row for buying; None when it is not pending. Durable when it returns."""
        return await self._one("claim", {**_of(row_id), "reference": reference, "now": now})

    async def finish(self, row_id: UUID, end: Finish, now: datetime) -> bool:
        """End a row; False when its status is not the expected one. Safe to repeat.

        Raises NotStoredError, and the row has not ended, when PostgreSQL did not store why nothing was sold.
        """
        return bool(await self._rows("finish", end.parameters(row_id, now)))

    async def forget_failures(self, before: datetime) -> None:
        """Delete why purchases failed that ended before then. Safe to repeat."""

        async def work(connection: AsyncConnection) -> None:
            await connection.execute(_QUERIES["forget_failures"], {"before": before})

        await self._database.run(work)

    async def open_before(self, before: datetime) -> AsyncIterator[VendRow]:
        """Every row that has been pending or processing since ``before``, oldest first, read a page at a time."""
        time, row_id = _FIRST
        while True:
            parameters = {"before": before, "after_time": time, "after_id": row_id, "limit": PAGE_ROWS}
            page = [_row(values) for values in await self._rows("open", parameters)]
            for row in page:
                yield row
            if len(page) < PAGE_ROWS:
                return
            time, row_id = page[-1].created_at, page[-1].id

    async def _one(self, query: str, parameters: dict[str, Any]) -> VendRow | None:
        rows = await self._rows(query, parameters)
        return _row(rows[0]) if rows else None

    async def _rows(self, query: str, parameters: dict[str, Any]) -> list[TupleRow]:
        async def work(connection: AsyncConnection) -> list[TupleRow]:
            # With its values in its text a statement is planned for one partition and locks no other (api/statuses).
            cursor = psycopg.AsyncClientCursor(connection)
            statement = _statement(query, self._table, await ledger_schema_of(connection, self._table))
            return await (await cursor.execute(statement, parameters)).fetchall()

        return await self._database.run(work)


@asynccontextmanager
async def vend_database(settings: Settings) -> AsyncIterator[VendDatabase]:
    """A small pool for commands and flows. What it has committed is on disk."""
    parameters = connection_parameters(settings.database_dsn, "vending")
    parameters["options"] += f" -c synchronous_commit=on -c statement_timeout={_STATEMENT_TIMEOUT_MS}"
    pool = AsyncConnectionPool(
        settings.database_dsn,
        kwargs={**parameters, "autocommit": True},
        min_size=1,
        max_size=_POOL_SIZE,
        timeout=_POOL_TIMEOUT_S,
        configure=check_session_of,
        open=False,
    )
    await pool.open()
    try:
        yield _Pool(pool)
    finally:
        await pool.close()


class _Pool:
    def __init__(self, pool: AsyncConnectionPool[AsyncConnection]) -> None:
        self._pool = pool

    async def run(self, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        try:
            async with self._pool.connection() as connection:
                return await work(connection)
        except PoolTimeout as error:
            raise TransientError("no connection to PostgreSQL within the time limit") from error
        except psycopg.Error as error:
            raise translate(error) from error


@cache
def _statement(query: str, table: TieredTable, schema: str) -> bytes:
    parts = {
        "hot": Identifier(schema, table.hot_parent),
        "warm": Identifier(schema, table.warm_parent),
        "id": Identifier(table.key_column),
        "time": Identifier(table.time_column),
        "columns": SQL(", ").join(map(Identifier, _COLUMNS)),
        "not_stored": SQL(NOT_STORED),
    }
    return SQL(_QUERIES[query]).format(**parts).as_bytes()


def _located(query: str, connection: Connection, table: TieredTable) -> bytes:
    return _statement(query, table, ledger_schema(connection, table))


def _of(row_id: UUID) -> dict[str, Any]:
    """The key of a row: its id contains the time. Raises FieldError for an id that does not."""
    return {"id": row_id, "time": created_at_of(row_id)}


def _by_short_reference(reference: str) -> dict[str, Any]:
    """The parameters of `find_by_reference`. Raises DataError for a text that is not a `short_reference`."""
    first, last = id_range(reference)
    return {"time": created_at_of(first), "first": first, "last": last, "reference": reference}


def _row(values: TupleRow) -> VendRow:
    fields = dict(zip(_COLUMNS, values, strict=True))
    metadata = fields["metadata"]
    fields["metadata"] = metadata if isinstance(metadata, dict) else json.loads(metadata)
    return VendRow(**fields | {"vas_type": VasType(fields["vas_type"]), "status": Status(fields["status"])})
