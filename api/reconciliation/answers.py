"""The bodies and answers of the reconciliation operations, and how answers are made from records.

Money is decimal text, days are Africa/Johannesburg days.
"""

from collections.abc import Sequence
from datetime import date, datetime
from enum import StrEnum
from typing import Annotated, Any
from uuid import UUID

from msgspec import Meta, Struct

from api.reconciliation.references import left_out, without_references
from ledger.statements import BreakClass
from tasks.reconciliation.casework.breaks import ResolvedBreak
from tasks.reconciliation.casework.lists import BreakRecord, ResolutionRecord, RunRecord
from tasks.reconciliation.closing.periods import PeriodRecord, PeriodState
from tasks.reconciliation.vocabulary import Action, BreakState, Decision, Verdict, WithdrawalState

SupplierName = Annotated[str, Meta(extra_json_schema={"$ref": "#/components/schemas/Supplier"})]  # a setting
Reason = Annotated[str, Meta(min_length=1, max_length=1000)]


class Run(Struct, kw_only=True):
    """A finished run over one day of a supplier. ``current`` is false once a later run has replaced it.
    ``warnings`` qualify the result, for example that the day had not ended.
    """

    run_id: int
    supplier: str
    day: date
    supersedes: int | None
    digest: Annotated[str, Meta(description="SHA-256 of inputs, rules and outcome. Equal runs have equal digests")]
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
    """Runs, newest first. ``next_before`` gets the next page; it is null on the last page."""

    items: list[Run]
    next_before: int | None


class Resolution(Struct, kw_only=True):
    """One entry in the history of a break. ``account`` is the account of the person, ``run_id`` the run that made the
    entry. ``period_day`` is the day to which the break has belonged since.
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
    """A difference between a supplier statement and the ledger. ``difference`` is the amount in question. ``variance``
    is the total of the statement minus that of the ledger. ``line`` is the statement line, ``own`` the internal row.
    """

    break_id: int
    run_id: int
    supplier: str
    day: date
    period_day: date
    age_days: int
    break_class: Annotated[BreakClass, Meta(description="The most serious of `issues`")]
    issues: list[str]
    currency: str
    difference: str
    variance: str
    escalated: bool
    line_no: int | None
    line: dict[str, Any] | None
    own: dict[str, Any] | None
    left_out: Annotated[
        list[str],
        Meta(description="The fields of `line` and `own` that the key lacks `read:all` for, such as `own.reference`"),
    ]
    note: str
    state: BreakState
    detected_at: datetime
    resolutions: Annotated[
        list[Resolution], Meta(description="The history, oldest first. A last entry `proposed` awaits confirmation")
    ]


class BreakPage(Struct, kw_only=True):
    """Breaks in the order of their numbers. ``next_after`` gets the next page; it is null on the last page."""

    items: list[Break]
    next_after: int | None


class Resolve(Struct, kw_only=True, forbid_unknown_fields=True):
    """A decision about a break, and its reason."""

    decision: Decision
    reason: Reason


class Resolved(Struct, kw_only=True):
    """The new state of the break. ``proposed`` means that another client must confirm. ``together`` lists the other
    breaks of the match. ``ended_row`` is the internal row that the decision ended; a break still open then has other
    differences. ``withdrawal`` is the state of the withdrawal of a decision.
    """

    break_id: int
    state: BreakState
    resolution_id: int
    together: list[int]
    ended_row: UUID | None
    withdrawal: WithdrawalState | None


class PeriodDecision(StrEnum):
    """The decision about a period: close it, or reject the proposal."""

    CLOSE = "close"
    REJECT = "reject"


class ClosePeriod(Struct, kw_only=True, forbid_unknown_fields=True):
    """The days to close (both included) and the reason. ``carry`` moves unresolved breaks to the next open day."""

    supplier: SupplierName
    first_day: date
    last_day: date
    reason: Reason
    carry: bool = False
    decision: PeriodDecision = PeriodDecision.CLOSE


class ClosingState(Struct, kw_only=True):
    """The state of the days. ``proposed``: another client must confirm. ``waiting`` counts the unresolved breaks."""

    supplier: str
    first_day: date
    last_day: date
    state: PeriodState
    waiting: int


class Period(Struct, kw_only=True):
    """A closed or proposed period. ``actor``, ``reason`` and ``at`` describe the closing, or else the proposal.

    ``own_rows``, ``own_sums`` and ``own_digest`` describe the internal rows of its days at the closing: their number,
    their sums by currency, and a SHA-256. They are null for a proposal and for periods that were closed before these
    figures existed. ``days_changed`` lists the days that have changed since.
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
    """Closed and proposed periods, newest first."""

    items: list[Period]


def run(record: RunRecord) -> Run:
    """The answer about a run."""
    return Run(
        run_id=record.run_id,
        supplier=record.supplier,
        day=record.day,
        supersedes=record.supersedes,
        digest=record.digest.hex(),
        verdict=Verdict(record.verdict),
        line_count=record.line_count,
        own_count=record.own_count,
        matched_count=record.matched_count,
        break_count=record.break_count,
        figures=record.figures,
        actor=record.actor,
        started_at=record.started_at,
        finished_at=record.finished_at,
        current=record.current,
        warnings=record.warnings,
    )


def break_(
    record: BreakRecord, history: Sequence[ResolutionRecord], today: date, *, has_references: bool = False
) -> Break:
    """The answer about a break, without the references of rows unless it ``has_references``.

    ``history`` may hold the entries of other breaks, too.
    """
    line, own = record.line, record.own
    if not has_references:
        line, own = without_references(line), without_references(own)
    return Break(
        break_id=record.break_id,
        run_id=record.run_id,
        supplier=record.supplier,
        day=record.day,
        period_day=record.period_day,
        age_days=record.age_days(today),
        break_class=BreakClass(record.class_),
        issues=record.issues,
        currency=record.currency,
        difference=str(record.difference),
        variance=str(record.variance),
        escalated=record.escalated,
        line_no=record.line_no,
        line=line,
        own=own,
        left_out=[] if has_references else left_out({"line": record.line, "own": record.own}),
        note=record.note,
        state=BreakState(record.state),
        detected_at=record.detected_at,
        resolutions=[_resolution(entry) for entry in history if entry.break_id == record.break_id],
    )


def _resolution(entry: ResolutionRecord) -> Resolution:
    return Resolution(
        resolution_id=entry.resolution_id,
        run_id=entry.run_id,
        action=Action(entry.action),
        actor=entry.actor,
        account=entry.account,
        decision=entry.decision,
        reason=entry.reason,
        period_day=entry.period_day,
        created_at=entry.created_at,
    )


def resolved(outcome: ResolvedBreak) -> Resolved:
    """The answer to a decision."""
    return Resolved(
        break_id=outcome.break_id,
        state=outcome.state,
        resolution_id=outcome.resolution_id,
        together=list(outcome.together),
        ended_row=outcome.ended_row,
        withdrawal=outcome.withdrawal,
    )


def period(record: PeriodRecord) -> Period:
    """The answer about a period."""
    return Period(
        supplier=record.supplier,
        first_day=record.first_day,
        last_day=record.last_day,
        state=PeriodState(record.state),
        actor=record.actor,
        reason=record.reason,
        at=record.at,
        proposed_by=record.proposed_by,
        carry=record.carry,
        own_rows=record.own_rows,
        own_sums=record.own_sums,
        own_digest=record.own_digest,
        days_changed=record.days_changed,
    )
