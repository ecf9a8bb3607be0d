"""Rows under way that people end. Where neither the supplier nor a statement has the outcome, or lines contradict each
other, somebody finds out and says so. Without it the row would keep its month out of the archive for ever.

A row that is not a vend is ended so only once its day is closed: then whoever posted it cannot any more.

The row is ended by the very statement that the sweep and `automatic_settlement` use, in the transaction of the
decision's record.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from config import Settings
from config.suppliers import Connection as Contract
from ledger.business_days import day_of
from ledger.errors import RefusalError
from ledger.statements import BreakClass
from ledger.transactions import Status
from sql.connection import Connection
from tasks.reconciliation.closing.periods import closed_period
from tasks.reconciliation.runs.automatic_settlement import NOTHING, commission_of
from tasks.reconciliation.runs.internal_rows import TABLE
from tasks.reconciliation.vocabulary import OWN_STATUS, Decision
from tasks.vending.rows import Finish, VendRow, find_by_reference_in, find_in, finish_in, is_reference_of

STATUSES: Mapping[Decision, Status] = {
    Decision.SETTLE_COMPLETED: Status.COMPLETED,
    Decision.SETTLE_FAILED: Status.FAILED,
}
_UNDER_WAY = (Status.PENDING, Status.PROCESSING)
_OF_THE_ROW = frozenset({BreakClass.STATUS, BreakClass.MISSING_THERE})  # what a row's end is an answer to


@dataclass(frozen=True, slots=True)
class Ending:
    """How a row is to end. ``amount`` is decided about; ``remaining`` are the issues that its end leaves open."""

    break_id: int
    row_id: UUID
    end: Finish
    amount: Decimal
    remaining: tuple[str, ...]


def planned(
    connection: Connection,
    settings: Settings,
    break_id: int,
    contents: tuple[list[str], dict[str, Any] | None, dict[str, Any] | None],
    decision: Decision,
) -> Ending:
    """The effect of the decision on the internal row of a break, or on the row that its line names, where it has none.
    The break's issues, line and own row are ``contents``.

    Raises RefusalError when there is nothing to end: no internal row, or one that is not a vend or has ended, naming
    how. Others may still be on their way to the supplier, or were never sent and so cannot have been sold.
    """
    issues, line, own = contents
    row = _row_of(connection, settings, line, own)
    if row is None:
        raise RefusalError(f"break {break_id}: holds no internal row, hot or warm, that could be ended")
    status = STATUSES[decision]
    _check_may_end(connection, settings, break_id, row, status)
    end = _finish(settings.suppliers.everyone[row.supplier], row, status, line)
    remaining = (
        () if line is None and status is Status.FAILED else tuple(issue for issue in issues if issue not in _OF_THE_ROW)
    )
    return Ending(break_id, row.id, end, row.amount, remaining)


def carry_out(connection: Connection, settings: Settings, ending: Ending) -> None:
    """End the row, in the open transaction. Raises RefusalError when it has ended otherwise meanwhile."""
    table = settings.table(TABLE)
    if not finish_in(connection, table, ending.row_id, ending.end, datetime.now(UTC)):
        row = find_in(connection, table, ending.row_id)
        status = row.status if row else "gone"
        raise RefusalError(f"break {ending.break_id}: its row {ending.row_id} is {status} by now")


def _row_of(
    connection: Connection, settings: Settings, line: dict[str, Any] | None, own: dict[str, Any] | None
) -> VendRow | None:
    """The internal row of a break; of one with a line alone the vend that it names, which another line may have been
    given.
    """
    table = settings.table(TABLE)
    if own is not None:
        return find_in(connection, table, UUID(own["id"])) if "id" in own else None
    reference = None if line is None else line["reference"]
    return None if reference is None else find_by_reference_in(connection, table, reference)


def _check_may_end(connection: Connection, settings: Settings, break_id: int, row: VendRow, status: Status) -> None:
    name = f"break {break_id}: its row {row.id}"
    if row.status not in _UNDER_WAY:
        raise RefusalError(f"{name} is {row.status} already; a correction is a new row")
    is_vend = is_reference_of(row.supplier_reference, row.id)
    if not is_vend and closed_period(connection, row.supplier, day_of(row.created_at)) is None:
        raise RefusalError(f"{name} is not a vend of ours: whoever posted it moves its status")
    after_s = settings.suppliers.settle_after_s
    if datetime.now(UTC) - row.updated_at < timedelta(seconds=after_s):
        raise RefusalError(f"{name} may be on its way to {row.supplier}: it moved less than {after_s:g} s ago")
    if is_vend and row.status is Status.PENDING and status is not Status.FAILED:
        raise RefusalError(f"{name} is pending: it was never sent, so it can only have failed")


def _finish(contract: Contract, row: VendRow, status: Status, line: dict[str, Any] | None) -> Finish:
    """The row's end, with what its own line says when that agrees."""
    agreeing = line if _agrees(line, row, status) else None
    commission = None if agreeing is None or agreeing["commission"] is None else Decimal(agreeing["commission"])
    return Finish(
        status,
        row.supplier_reference,
        None if agreeing is None else agreeing["supplier_transaction_id"],
        commission_of(contract, row.amount, row.supplier_product_id, row.vas_type, commission)
        if status is Status.COMPLETED
        else NOTHING,
        expected=row.status,
    )


def _agrees(line: dict[str, Any] | None, row: VendRow, status: Status) -> bool:
    return line is not None and line["reference"] == row.supplier_reference and line["status"] == OWN_STATUS[status]
