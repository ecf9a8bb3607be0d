"""The words of statements and of breaks: what a line is, its status, and what may be wrong with it. Each once.

Settings, suppliers, simulators, reconciliation and the API use these.
"""

from enum import StrEnum


class LineKind(StrEnum):
    """The kind of a statement line."""

    PURCHASE = "purchase"
    REVERSAL = "reversal"
    REFUND = "refund"
    PAYOUT = "payout"


class ComparedStatus(StrEnum):
    """The status of a transaction, as far as the two sides can be compared. Statements are written in these words."""

    PENDING = "pending"
    COMPLETED = "completed"
    FAILED = "failed"
    REVERSED = "reversed"


class BreakClass(StrEnum):
    """The class of a break, the gravest first: a break with several issues is called by the first of them."""

    MISSING_HERE = "missing_here"
    MISSING_THERE = "missing_there"
    DUPLICATE = "duplicate"
    AMOUNT = "amount"
    STATUS = "status"
    LATE_POSTING = "late_posting"
    PRODUCT = "product"
    TIME = "time"
    COMMISSION = "commission"
    CLOSED_PERIOD_CHANGED = "closed_period_changed"  # of internal rows alone: no statement shows it
