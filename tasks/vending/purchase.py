"""Selling a value-added service: from a pending row, through the supplier, to a row that is completed or failed.

Never lost and never twice. A row is claimed (pending to processing, durable) before anything is sent. If the process
ends anywhere after that, the row is still processing. The sweep then asks the supplier what became of it, by the
supplier's own status rule. Nothing in here ever buys for a row a second time.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import stamina

from config import Settings
from ledger.errors import ConfigError, ConflictError, DataError, TransientError, TreasuryError
from ledger.transactions import Status
from suppliers.money import share
from suppliers.outcomes import not_sent, unanswered
from suppliers.protocol import Outcome, PurchaseRequest, SupplierClient
from suppliers.registry import open_suppliers
from suppliers.verdicts import PurchaseState, Verdict, failure_of
from tasks.vending.rows import Finish, VendDatabase, VendRow, VendRows, vend_database

LOGGER = logging.getLogger("treasury.vending")
_AT_ONCE = 8
_MOST_REPORTED = 1000
_FINISH_TRIES = 3
_FINISH_TIMEOUT_S = 10.0
_STATUSES = {PurchaseState.COMPLETED: Status.COMPLETED, PurchaseState.FAILED: Status.FAILED}

_NOT_SOLD = frozenset({Status.FAILED, Status.CANCELLED})

Clock = Callable[[], datetime]


def _utc_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Vended:
    """The result of one vend. ``processing`` means that the sweep will find out; nobody may vend it again."""

    row_id: UUID
    status: Status
    outcome: Outcome


@dataclass(slots=True)
class SettleReport:
    """One sweep. ``still_open`` names rows and why; at most a thousand are named, all are counted."""

    completed: int = 0
    failed: int = 0
    open: int = 0
    not_ours: int = 0
    still_open: list[tuple[UUID, str, str]] = field(default_factory=list)

    def add(self, row: VendRow, status: Status, reason: str) -> None:
        """Count what became of a row."""
        if status is Status.COMPLETED:
            self.completed += 1
        elif status is Status.FAILED:
            self.failed += 1
        else:
            self.open += 1
            if len(self.still_open) < _MOST_REPORTED:
                self.still_open.append((row.id, row.supplier, reason))


class Vending:
    """Vends of one process. ``suppliers`` are open clients by name; ``database`` is the API's pool or another."""

    def __init__(
        self,
        settings: Settings,
        database: VendDatabase,
        suppliers: Mapping[str, SupplierClient],
        clock: Clock = _utc_now,
    ) -> None:
        self._settings = settings.suppliers
        self._rows = VendRows(settings, database)
        self._suppliers = suppliers
        self._clock = clock

    async def vend(self, row_id: UUID) -> Vended:
        """Buy what a pending row stands for, and end the row by the outcome.

        Raises ConflictError when the row is not pending (it was vended, or is being vended), and DataError when there
        is none. Raises ConfigError when its supplier is not enabled: then nothing was sent. TransientError when
        PostgreSQL went away; then the sweep settles the row. When the caller is cancelled, the row is left to the sweep
        too.
        """
        row = await self._rows.find(row_id)
        if row is None:
            raise DataError(f"there is no VAS transaction {row_id}")
        supplier = self._supplier(row)
        request = row.request(supplier.reference_of(row_id))
        claimed = await self._rows.claim(row_id, request.reference, self._clock())
        if claimed is None:
            raise ConflictError(f"{row_id} is {row.status} or being vended: only a pending row can be")
        outcome = await self._bought(supplier, request)
        return Vended(row_id, await self._end(row, outcome), outcome)

    async def settle(self, report: SettleReport | None = None) -> SettleReport:
        """Find out what became of every row that has been open for longer than ``settle_after_s``. Safe to run again,
        also at the same time as itself; never buys anything that was not asked for before."""
        report = report or SettleReport()
        before = self._clock() - timedelta(seconds=self._settings.settle_after_s)
        gate = asyncio.Semaphore(_AT_ONCE)

        async def settle_one(row: VendRow) -> None:
            try:
                await self._settle(row, report)
            except (TransientError, ConflictError, DataError) as error:  # one row stops no other
                report.add(row, row.status, str(error))
            finally:
                gate.release()

        async with asyncio.TaskGroup() as group:
            async for row in self._rows.open_before(before):
                await gate.acquire()
                group.create_task(settle_one(row))
        return report

    async def forget_failures(self) -> None:
        """Delete why purchases failed that ended more than ``failures_kept_days`` ago. Safe to run again."""
        await self._rows.forget_failures(self._clock() - timedelta(days=self._settings.failures_kept_days))

    async def look_again(self, supplier: str, reference: str, *, sold: bool = False) -> dict[str, Any] | None:
        """Ask the supplier what became of the purchase with this reference, and end its row if that is known now.

        ``sold``: the supplier has said of itself that it was. Returns the row's id and owner, None when no row under
        way has the reference. Safe to repeat, and at the same time as `settle`. Raises ConflictError when the row has
        ended as not sold, and the supplier says otherwise. Raises DataError for a text that is not a reference, and as
        `vend`.
        """
        located = await self._rows.find_by_reference(reference)
        if located is None or located[0].supplier != supplier:
            return None
        row, owner = located
        if row.status is not Status.PROCESSING:
            if sold and row.status in _NOT_SOLD:
                raise ConflictError(f"the row {row.id} ended as {row.status}")
            return None
        await self._settle(row, SettleReport())
        return {"id": row.id, **owner}

    def _supplier(self, row: VendRow) -> SupplierClient:
        try:
            return self._suppliers[row.supplier]
        except KeyError:
            raise ConfigError(f"the supplier {row.supplier} is not enabled") from None

    async def _bought(self, supplier: SupplierClient, request: PurchaseRequest) -> Outcome:
        """Buy, and when no answer has the outcome, ask once for it."""
        try:
            async with asyncio.timeout(self._settings.vend_timeout_s):
                outcome = await supplier.purchase(request)
        except TimeoutError:
            return unanswered(request, f"no outcome within {self._settings.vend_timeout_s:g} s")
        except (TransientError, ConfigError, DataError) as error:
            LOGGER.warning("vend %s at %s was not sent: %s", request.row_id, supplier.name, type(error).__name__)
            return not_sent(request, error)
        if outcome.verdict is Verdict.OUT_OF_FUNDS:
            LOGGER.error("our account with %s has not enough funds", supplier.name)
        return await self._resolved(supplier, request) if outcome.state is PurchaseState.UNKNOWN else outcome

    async def _resolved(self, supplier: SupplierClient, request: PurchaseRequest) -> Outcome:
        """Return what the supplier's status rule finds; unknown when it cannot be asked."""
        try:
            async with asyncio.timeout(self._settings.vend_timeout_s):
                return await supplier.resolve(request)
        except TimeoutError:
            return unanswered(request, f"no answer within {self._settings.vend_timeout_s:g} s")
        except (TransientError, ConfigError, DataError) as error:
            return unanswered(request, f"cannot be asked: {error}")

    async def _settle(self, row: VendRow, report: SettleReport) -> None:
        supplier = self._suppliers.get(row.supplier)
        if supplier is None or row.supplier_reference != supplier.reference_of(row.id):
            report.not_ours += 1
        elif row.status is Status.PENDING:
            report.add(row, await self._never_sent(row), "it is being vended just now")
        else:
            request = row.request(supplier.reference_of(row.id))
            outcome = await self._resolved(supplier, request)
            believed = supplier.believes(outcome, self._clock() - row.updated_at)
            report.add(row, await self._end(row, outcome, believed=believed), outcome.detail)

    async def _never_sent(self, row: VendRow) -> Status:
        """End a row whose vend was never begun: nobody waits for it any more, and nothing was sold."""
        end = Finish(Status.FAILED, str(row.supplier_reference), expected=Status.PENDING)
        return Status.FAILED if await self._finish(row.id, end) else Status.PROCESSING

    async def _end(self, row: VendRow, outcome: Outcome, *, believed: bool = False) -> Status:
        """Record a known outcome. Raises ConflictError when the row has meanwhile ended otherwise."""
        status = Status.FAILED if believed else _STATUSES.get(outcome.state)
        if status is None:
            return Status.PROCESSING
        if status is Status.FAILED:
            LOGGER.info("vend %s at %s failed: %s", row.id, row.supplier, outcome.verdict)
        if outcome.amount is not None and status is Status.COMPLETED and outcome.amount != row.amount:
            LOGGER.error("vend %s: the supplier sold for another amount; reconciliation will show it", row.id)
        end = Finish(
            status,
            outcome.supplier_reference,
            outcome.supplier_transaction_id,
            self._commission(row, outcome) if status is Status.COMPLETED else Decimal("0.00"),
            failure=failure_of(outcome.verdict),
        )
        if not await self._finish(row.id, end):
            current = await self._rows.find(row.id)
            if current is None or current.status is not status:
                raise ConflictError(f"vend {row.id} is {status} at the supplier, but the row was ended otherwise")
        return status

    async def _finish(self, row_id: UUID, end: Finish) -> bool:
        async for attempt in stamina.retry_context(
            on=TransientError, attempts=_FINISH_TRIES, timeout=_FINISH_TIMEOUT_S
        ):
            with attempt:
                return await self._rows.finish(row_id, end, self._clock())
        raise AssertionError("a last try returns or raises")

    def _commission(self, row: VendRow, outcome: Outcome) -> Decimal:
        """Return what the supplier reported, else the contract's share of the amount."""
        if outcome.commission is not None:
            return outcome.commission
        settings = self._settings.connections[row.supplier]
        return share(row.amount, settings.commission_rate(row.supplier_product_id, row.vas_type.value))


async def settle_vends(settings: Settings) -> SettleReport:
    """One sweep with clients and connections of its own, for the flow and the command. It also deletes the reasons of
    failed purchases that are too old.
    """
    async with open_suppliers(settings.suppliers) as suppliers, vend_database(settings) as database:
        vending = Vending(settings, database, suppliers)
        report = await vending.settle()
        try:
            await vending.forget_failures()
        except TreasuryError as error:  # the next sweep will
            LOGGER.warning("the reasons of failed purchases that are too old were not deleted: %s", error)
    return report
