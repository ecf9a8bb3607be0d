"""What the reconciliation addresses take and give. Money is decimal text, days are Africa/Johannesburg days."""

from datetime import date, datetime
from enum import StrEnum
from typing import Annotated, Any
from uuid import UUID

from msgspec import Meta, Struct

from ledger.statements import BreakClass
from ledger.transactions import Supplier
from tasks.reconciliation.classes import Action, BreakState, Decision, Verdict
from tasks.reconciliation.periods import PeriodState

Reason = Annotated[str, Meta(min_length=1, max_length=1000)]


class Run(Struct, kw_only=True):
    """One finished run over a supplier's day. ``current`` is false once a later run over the day took its place.
    ``warnings``: what it must not be read without, such as that its day was not over.
    """

    run_id: int
    supplier: str
    day: date
    supersedes: int | None
    digest: Annotated[str, Meta(description="SHA-256 of inputs, rules and outcome: equal runs have equal digests")]
    verdict: Verdict
    line_count: int
    own_count: int
    matched_count: int
    break_count: int
    figures: dict[str, Any]
    actor: str
    started_at: datetime
    finished_at: datetime
    current: bool
    warnings: list[str]


class RunPage(Struct, kw_only=True):
    """Runs, newest first. ``next_before`` asks for those before these; null on the last page."""

    items: list[Run]
    next_before: int | None


class Resolution(Struct, kw_only=True):
    """One record of what was done about a break. ``account``: what the person worked under; ``run_id``: the run that
    did it; ``period_day``: the day that the break is accounted in since then.
    """

    resolution_id: int
    run_id: int | None
    action: Action
    actor: str
    account: str | None
    decision: str
    reason: str
    period_day: date | None
    created_at: datetime


class Break(Struct, kw_only=True):
    """A difference, as it was found. ``difference`` is the money in question, ``variance`` the statement's total less
    ours; ``line`` is the statement's side, ``own`` ours.
    """

    break_id: int
    run_id: int
    supplier: str
    day: date
    period_day: date
    age_days: int
    break_class: Annotated[BreakClass, Meta(description="The gravest of `issues`")]
    issues: list[str]
    currency: str
    difference: str
    variance: str
    escalated: bool
    line_no: int | None
    line: dict[str, Any] | None
    own: dict[str, Any] | None
    note: str
    state: BreakState
    detected_at: datetime
    resolutions: Annotated[
        list[Resolution], Meta(description="What was done about it, in order; the last `proposed` waits for a second")
    ]


class BreakPage(Struct, kw_only=True):
    """Breaks in the order of their numbers. ``next_after`` asks for those after these; null on the last page."""

    items: list[Break]
    next_after: int | None


class Resolve(Struct, kw_only=True, forbid_unknown_fields=True):
    """What the key's client decides about a break, and why."""

    decision: Decision
    reason: Reason


class Resolved(Struct, kw_only=True):
    """The break's state now. ``proposed``: somebody else must confirm. ``together``: the other breaks of the match.
    ``ended_row``: our row that this ended; if the break is open then, something else in it still differs.
    """

    break_id: int
    state: BreakState
    resolution_id: int
    together: list[int]
    ended_row: UUID | None


class PeriodDecision(StrEnum):
    """What is decided about days: to close them, or not to."""

    CLOSE = "close"
    REJECT = "reject"


class ClosePeriod(Struct, kw_only=True, forbid_unknown_fields=True):
    """Days to close, both included, and why. ``carry``: breaks that still wait go on into the next open day."""

    supplier: Supplier
    first_day: date
    last_day: date
    reason: Reason
    carry: bool = False
    decision: PeriodDecision = PeriodDecision.CLOSE


class ClosingState(Struct, kw_only=True):
    """Where the days stand now. ``proposed``: somebody else must close them. ``waiting``: breaks that stay open."""

    supplier: str
    first_day: date
    last_day: date
    state: PeriodState
    waiting: int


class Period(Struct, kw_only=True):
    """A closed period or a proposed one; ``actor``, ``reason`` and ``at`` are of who closed it, or else proposed it.

    ``own_rows``, ``own_sums`` and ``own_digest``: our rows of its days as it was closed, sums by currency, and SHA-256
    over them; null when it is only proposed, or was closed before they were kept. ``days_changed``: days that have
    changed since.
    """

    supplier: str
    first_day: date
    last_day: date
    state: PeriodState
    actor: str
    reason: str
    at: datetime
    proposed_by: str | None
    carry: bool
    own_rows: int | None
    own_sums: dict[str, Any] | None
    own_digest: str | None
    days_changed: int


class Periods(Struct, kw_only=True):
    """Closed and proposed periods, the newest days first."""

    items: list[Period]
