"""The words of reconciliation, each written once: what a row may be in, what may be wrong, what may be done about it.

The engine's SQL works on ENUM types that are made from these, so a word that is spelt otherwise there is an error and
never a condition that cannot be true.
"""

from collections.abc import Mapping
from enum import StrEnum

from ledger.transactions import Status


class ComparedStatus(StrEnum):
    """Where a transaction stands as far as the two sides can be compared. Statements are written in these words."""

    PENDING = "pending"
    COMPLETED = "completed"
    FAILED = "failed"
    REVERSED = "reversed"


# Every status of ours, as a statement would call it.
OWN_STATUS: Mapping[Status, ComparedStatus] = {
    Status.PENDING: ComparedStatus.PENDING,
    Status.PROCESSING: ComparedStatus.PENDING,
    Status.COMPLETED: ComparedStatus.COMPLETED,
    Status.FAILED: ComparedStatus.FAILED,
    Status.CANCELLED: ComparedStatus.FAILED,
    Status.REVERSED: ComparedStatus.REVERSED,
}


class LineKind(StrEnum):
    """What a line of a statement is."""

    PURCHASE = "purchase"
    REVERSAL = "reversal"
    REFUND = "refund"
    PAYOUT = "payout"


class BreakClass(StrEnum):
    """What is wrong, the gravest first: a break with several issues is called by the first of them."""

    MISSING_HERE = "missing_here"
    MISSING_THERE = "missing_there"
    DUPLICATE = "duplicate"
    AMOUNT = "amount"
    STATUS = "status"
    LATE_POSTING = "late_posting"
    PRODUCT = "product"
    TIME = "time"
    COMMISSION = "commission"
    CLOSED_PERIOD_CHANGED = "closed_period_changed"  # no run's matching finds it: see `closed_days`


class BreakState(StrEnum):
    """Where a break stands. It waits for somebody in the first two."""

    OPEN = "open"
    PROPOSED = "proposed"
    RESOLVED = "resolved"
    CLOSED = "closed"


class Action(StrEnum):
    """What a record of `recon_resolutions` did."""

    AUTO_RESOLVED = "auto_resolved"
    PROPOSED = "proposed"
    REJECTED = "rejected"
    RESOLVED = "resolved"
    CLOSED = "closed"
    REOPENED = "reopened"
    CARRIED = "carried"
    NOTED = "noted"  # something about its row of ours; the break's state is as it was


class Decision(StrEnum):
    """What a person may decide about a break. ``reject`` takes back what somebody else proposed; the two ``settle_…``
    end the break's row of ours, which is still under way.
    """

    OURS_IS_RIGHT = "ours_is_right"
    THEIRS_IS_RIGHT = "theirs_is_right"
    SAME_TRANSACTION = "same_transaction"
    WRITE_OFF = "write_off"
    SETTLE_COMPLETED = "settle_completed"
    SETTLE_FAILED = "settle_failed"
    REJECT = "reject"


class Verdict(StrEnum):
    """What a run says of its day."""

    PASSED = "passed"
    FAILED = "failed"
    CRITICAL = "critical"
