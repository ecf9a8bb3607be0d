"""The meaning of a supplier's answer: the one vocabulary that every supplier's codes are mapped into.

Each supplier has its codes in a table of its own (`suppliers/*/codes.py`), as data; here is what follows from each
meaning. What is not in a table is uncertain: nobody may conclude from it that nothing was sold.
"""

from enum import StrEnum


class PurchaseState(StrEnum):
    """The state of a purchase at the supplier."""

    COMPLETED = "completed"
    FAILED = "failed"
    PENDING = "pending"  # the supplier says that it is not decided yet
    UNKNOWN = "unknown"  # nobody can say yet; ask by the supplier's own status rule


class Verdict(StrEnum):
    """The meaning of an answer code."""

    SUCCESS = "success"
    PENDING = "pending"
    CANCELLED = "cancelled"  # may still become successful
    UNCERTAIN = "uncertain"
    DUPLICATE = "duplicate"  # the reference is taken, and the answer does not say what became of it
    RESUBMIT = "resubmit"  # post the same reference again to learn the outcome
    ABSENT = "absent"  # the supplier knows of no such purchase
    DECLINED = "declined"
    INVALID = "invalid"
    OUT_OF_FUNDS = "out of funds"
    RETRY_LATER = "retry later"
    BUSY = "busy"
    CREDENTIALS = "credentials"


class Failure(StrEnum):
    """The reason why a purchase failed, as its client sees it."""

    DECLINED = "declined"  # the supplier will not sell it
    INVALID = "invalid"  # something that was ordered cannot be right: the number, the product, the amount
    UNAVAILABLE = "unavailable"  # nothing is wrong with the order: it may be placed again
    NOT_SOLD = "not_sold"  # no answer came, and it was found out later that nothing was sold


_STATES = {
    Verdict.SUCCESS: PurchaseState.COMPLETED,
    Verdict.PENDING: PurchaseState.PENDING,
    Verdict.CANCELLED: PurchaseState.PENDING,
    Verdict.UNCERTAIN: PurchaseState.UNKNOWN,
    Verdict.DUPLICATE: PurchaseState.UNKNOWN,
    Verdict.RESUBMIT: PurchaseState.UNKNOWN,
    Verdict.ABSENT: PurchaseState.UNKNOWN,
}
_FAILURES = {
    Verdict.DECLINED: Failure.DECLINED,
    Verdict.INVALID: Failure.INVALID,
    Verdict.OUT_OF_FUNDS: Failure.UNAVAILABLE,
    Verdict.RETRY_LATER: Failure.UNAVAILABLE,
    Verdict.BUSY: Failure.UNAVAILABLE,
    Verdict.CREDENTIALS: Failure.UNAVAILABLE,
}
# A refusal of the moment says nothing about an earlier try of the same purchase; these do.
_CONCLUSIVE = frozenset({Verdict.SUCCESS, Verdict.DECLINED, Verdict.INVALID})


def state_of(verdict: Verdict) -> PurchaseState:
    """The state of a purchase after this answer, when it was the only try."""
    return _STATES.get(verdict, PurchaseState.FAILED)


def failure_of(verdict: Verdict) -> Failure:
    """The reason that the client of a purchase gets when it failed after this answer."""
    return _FAILURES.get(verdict, Failure.NOT_SOLD)


def state_after_doubt(verdict: Verdict) -> PurchaseState:
    """The state of a purchase after this answer, when the outcome of an earlier try was not known.

    "Busy", "later", "out of funds" turn this try away; the earlier one may have been sold all the same.
    """
    state = state_of(verdict)
    return PurchaseState.UNKNOWN if state is PurchaseState.FAILED and verdict not in _CONCLUSIVE else state
