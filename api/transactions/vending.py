"""Vending over HTTP: a row is stored as pending and answered, then bought for in the background.

201 says that the row is durable, not that anything was sold: what became of it is read like any other row. Whatever
interrupts the purchase, `tasks.vending.purchase` leaves the row where the sweep settles it by the supplier's rule.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any
from uuid import UUID

from api.caching import ResponseCache
from api.caching.invalidation import after_change
from api.connections.database import AsyncConnection, Database
from api.logs.json_lines import LOGGER
from api.routing.problems import NOT_FOUND, UNSIGNED, HttpError
from api.transactions.archived import Row
from config import Settings
from ledger.errors import ConfigError, ConflictError, FieldError, TransientError, TreasuryError
from ledger.tables import TieredTable
from ledger.transactions import Status
from sql.queries import load
from suppliers.offers import check_order
from suppliers.protocol import SignatureError, SupplierClient, Webhook
from suppliers.registry import definition_of, enabled_names, open_suppliers
from suppliers.verdicts import Verdict
from tasks.alerting.store import raise_alerts, raise_parameters
from tasks.vending.alert_rules import contradiction
from tasks.vending.purchase import Vending
from tasks.vending.rows import TABLE, is_reference_of, order_of

FIELD = "vend"
# The purchase decides these fields, so a request must not set them.
_DECIDED = ("supplier_reference", "supplier_transaction_id", "commission", "processed_at")
_MOST_AT_ONCE = 1000
_CANCEL_S = 1.0
_FAILURE = load("vending")["failure"]
_LOG = logging.getLogger(f"{LOGGER}.vending")


def sells(table: TieredTable) -> bool:
    """Return whether rows of the table may be purchases."""
    return table.name == TABLE


def is_vend(row: Row) -> bool:
    """Return whether the row was stored to be bought for: then its reference follows from its id."""
    return is_reference_of(row["supplier_reference"], row["id"])


class VendDesk:
    """The purchases of one API process that are under way, at most a thousand."""

    def __init__(self, settings: Settings, database: Database, cache: ResponseCache) -> None:
        self._settings = settings
        self._database = database
        self._cache = cache
        self._clients: dict[str, SupplierClient] = {}
        self._vending = Vending(settings, database, self._clients)
        self._under_way: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Open the suppliers' clients. A supplier that is not configured is left out; the others sell."""
        async with AsyncExitStack() as stack:
            for name in enabled_names(self._settings.suppliers):
                try:
                    self._clients |= await stack.enter_async_context(open_suppliers(self._settings.suppliers, name))
                except ConfigError as error:
                    _LOG.warning("nothing is sold through %s: %s", name, error)
            try:
                yield
            finally:
                await self.drain(0)
                self._clients.clear()

    def check(self, order: Mapping[str, Any]) -> bool:
        """Return whether the new row ``order`` is to be vended. Call it before anything is stored.

        Raises FieldError when it may not be vended, TransientError when too many purchases are under way.
        """
        wanted = order.get(FIELD, False)
        if not isinstance(wanted, bool):
            raise FieldError(FIELD, "must be true or false")
        if not wanted:
            return False
        for name in _DECIDED:
            if order.get(name) is not None:
                raise FieldError(name, f"is set by the purchase: it must be absent with {FIELD}")
        if order.get("status") not in (None, Status.PENDING.value):
            raise FieldError("status", f"must be {Status.PENDING.value} or absent with {FIELD}")
        if not order.get("supplier_product_id"):
            raise FieldError("supplier_product_id", f"is required with {FIELD}")
        if len(self._under_way) >= _MOST_AT_ONCE:
            raise TransientError("too many purchases are under way")
        return True

    def reference(self, supplier: str, row_id: UUID) -> str:
        """The reference that marks the row as a vend, and that the supplier will know it by."""
        client = self._clients.get(supplier)
        if client is None:
            raise FieldError("supplier", "is not configured for purchases; choose another supplier")
        return client.reference_of(row_id)

    def check_order(self, row: Row) -> None:
        """Raise FieldError for a row that the supplier's definition says will not be sold. To be asked before anything
        is stored; the row has its `reference`.
        """
        name = row["supplier"]
        offers = definition_of(self._settings.suppliers, name).offers
        check_order(name, offers, order_of(row, row["supplier_reference"]))

    def begin(self, table: TieredTable, row: Row) -> None:
        """Buy for a stored row, in the background."""
        self._start(self._vend(table, row))

    async def failure(self, row_id: UUID, client_id: str | None) -> Row | None:
        """Return why the purchase failed, and when; None when nothing is known, or ``client_id`` may not see it (None
        sees all).
        """
        asked = {"row_id": row_id, "client_id": client_id}

        async def read(connection: AsyncConnection) -> tuple[Any, ...] | None:
            return await (await connection.execute(_FAILURE, asked)).fetchone()

        record = await self._database.run(read, "failure")
        return None if record is None else dict(zip(("id", "reason", "failed_at"), record, strict=True))

    def hear(self, supplier: str, body: bytes) -> None:
        """Take a supplier's webhook: a genuine one makes us ask what became of its purchase, in the background.

        What counts is the answer to that, so webhooks may come in any order and any number of times. Raises a 401
        problem for a wrong signature or none, and 404 for a supplier that sends none or whose secret is not configured.
        Raises DataError for what cannot be read, and TransientError when too much is under way: the supplier then sends
        it again.
        """
        secret, read = self._webhooks_of(supplier)
        try:
            webhook = read(body, secret)
        except SignatureError:
            raise HttpError(UNSIGNED) from None
        if len(self._under_way) >= _MOST_AT_ONCE:
            raise TransientError("too many purchases are under way")
        self._start(self._look_again(supplier, webhook))

    def _webhooks_of(self, supplier: str) -> tuple[str, Callable[[bytes, str], Webhook]]:
        """The secret and the reader of a supplier's webhooks. Raises a 404 problem."""
        settings = self._settings.suppliers
        if supplier not in self._clients:
            raise HttpError(NOT_FOUND)
        declared = definition_of(settings, supplier).webhooks
        webhooks = declared() if declared is not None else None
        secret = webhooks.secret(settings.everyone[supplier]) if webhooks is not None else None
        if webhooks is None or secret is None:
            raise HttpError(NOT_FOUND)
        return secret.get_secret_value(), webhooks.read

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def _vend(self, table: TieredTable, row: Row) -> None:
        try:
            await self._vending.vend(row[table.key_column])
        except TreasuryError as error:
            _LOG.warning("vend %s is left to the sweep: %s", row[table.key_column], type(error).__name__)
        finally:
            await after_change(self._cache, table, row)

    async def _look_again(self, supplier: str, webhook: Webhook) -> None:
        table = self._settings.table(TABLE)
        sold = webhook.verdict is Verdict.SUCCESS
        try:
            row = await self._vending.look_again(supplier, webhook.reference, sold=sold)
        except ConflictError as error:
            await self._contradicted(supplier, webhook, str(error))
            return
        except TreasuryError as error:
            _LOG.warning("a webhook is left to the sweep: %s", type(error).__name__)
            return
        if row is not None:
            await after_change(self._cache, table, row)

    async def _contradicted(self, supplier: str, webhook: Webhook, outcome: str) -> None:
        """Raise an alert, once a payment, when the supplier contradicts a row that has ended."""
        _LOG.error("what %s says of a purchase contradicts its row: %s", supplier, outcome)
        happened_at = webhook.timestamp.isoformat()
        alert = contradiction(supplier, webhook.reference, webhook.code, happened_at, outcome)
        parameters = raise_parameters(alert, event_id=webhook.payment_id or webhook.reference)

        try:
            await self._database.run(lambda connection: raise_alerts(connection, [parameters]))
        except TreasuryError as error:
            _LOG.error("the alert cannot be stored: %s", type(error).__name__)

    async def drain(self, within_s: float) -> None:
        """Give what is under way so many seconds to end; what does not is left to the sweep."""
        if not self._under_way:
            return
        _, late = await asyncio.wait(self._under_way, timeout=within_s)
        for task in late:
            task.cancel()
        if late:
            _LOG.warning("%d purchases are left to the sweep", len(late))
            await asyncio.wait(late, timeout=_CANCEL_S)
