"""The words of reconciliation, each written once: what a row may be in, what may be wrong, what may be done about it.

The engine's SQL works on ENUM types that are made from these. A word that is spelt otherwise there is an error, and
never a condition that cannot be true.
"""

from collections.abc import Mapping
from enum import StrEnum

from ledger.statements import ComparedStatus
from ledger.transactions import Status

# Every status of ours, as a statement would call it.
OWN_STATUS: Mapping[Status, ComparedStatus] = {
    Status.PENDING: ComparedStatus.PENDING,
    Status.PROCESSING: ComparedStatus.PENDING,
    Status.COMPLETED: ComparedStatus.COMPLETED,
    Status.FAILED: ComparedStatus.FAILED,
    Status.CANCELLED: ComparedStatus.FAILED,
    Status.REVERSED: ComparedStatus.REVERSED,
}


class BreakState(StrEnum):
    """The state of a break. In the first two states it awaits a decision."""

    OPEN = "open"
    PROPOSED = "proposed"
    RESOLVED = "resolved"
    CLOSED = "closed"


WAITING = (BreakState.OPEN, BreakState.PROPOSED)
"""The states of a break that waits for a decision."""


class Action(StrEnum):
    """The action that an entry in the history of a break records."""

    AUTO_RESOLVED = "auto_resolved"
    PROPOSED = "proposed"
    REJECTED = "rejected"
    RESOLVED = "resolved"
    CLOSED = "closed"
    REOPENED = "reopened"
    CARRIED = "carried"
    NOTED = "noted"  # something about its internal row; the break's state is as it was
    WITHDRAWAL_PROPOSED = "withdrawal_proposed"
    WITHDRAWAL_REJECTED = "withdrawal_rejected"


class Decision(StrEnum):
    """A decision of a person about a break. ``reject`` ends a proposal that nobody has confirmed.

    ``withdraw`` takes a decision back: the break waits again. It always needs a second person.
    ``settle_completed`` and ``settle_failed`` end the internal row, which is still pending or processing.
    """

    OURS_IS_RIGHT = "ours_is_right"
    THEIRS_IS_RIGHT = "theirs_is_right"
    SAME_TRANSACTION = "same_transaction"
    WRITE_OFF = "write_off"
    SETTLE_COMPLETED = "settle_completed"
    SETTLE_FAILED = "settle_failed"
    WITHDRAW = "withdraw"
    REJECT = "reject"


class WithdrawalState(StrEnum):
    """The state of the withdrawal of a decision. The decision counts until the withdrawal is confirmed."""

    PROPOSED = "proposed"
    REJECTED = "rejected"
    CONFIRMED = "confirmed"


class Verdict(StrEnum):
    """The result of a run for its day."""

    PASSED = "passed"
    FAILED = "failed"
    CRITICAL = "critical"
