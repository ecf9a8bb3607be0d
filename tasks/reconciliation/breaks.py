"""Breaks worked by people: lists, a resolution with four eyes above a limit, and the closing of a period.

A resolution is an added record, never an edit, and an event of the audit chain in the same transaction.
"""

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from psycopg.rows import class_row

from config import Settings
from ledger.errors import ConfigError, ConflictError, FieldError
from sql.connection import Connection, connect, fetch_one
from sql.queries import load
from tasks.reconciliation import chain
from tasks.reconciliation.classes import Action, BreakClass, BreakState, Decision
from tasks.reconciliation.days import days_between
from tasks.reconciliation.run import SYSTEM, check_open

_QUERIES = load("reconciliation")
PAGE_LIMIT = 1000
_ACTOR_CHARACTERS = 128
_REASON_CHARACTERS = 1000
_WAITING = (BreakState.OPEN, BreakState.PROPOSED)


@dataclass(frozen=True, slots=True)
class RunRecord:
    """A run as it was written down. ``current`` is False once a later run over its day took its place."""

    run_id: int
    supplier: str
    day: date
    supersedes: int | None
    digest: bytes
    verdict: str
    line_count: int
    own_count: int
    matched_count: int
    break_count: int
    figures: dict[str, Any]
    object_prefix: str
    actor: str
    started_at: datetime
    finished_at: datetime
    current: bool


@dataclass(frozen=True, slots=True)
class BreakRecord:
    """A break. ``difference`` is the money in question, ``variance`` the statement's total less ours."""

    break_id: int
    run_id: int
    supplier: str
    day: date
    period_day: date
    class_: str
    issues: list[str]
    currency: str
    difference: Decimal
    variance: Decimal
    escalated: bool
    line_no: int | None
    line: dict[str, Any] | None
    own: dict[str, Any] | None
    note: str
    state: str
    detected_at: datetime

    def age_days(self, today: date) -> int:
        """Whole days from the break's day to ``today``, both Africa/Johannesburg days."""
        return (today - self.day).days


@dataclass(frozen=True, slots=True)
class Resolution:
    """One record of what was done about a break; ``run_id`` when a run did it."""

    resolution_id: int
    run_id: int | None
    action: str
    actor: str
    decision: str
    reason: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class BreakFilter:
    """Which breaks are wanted; None does not filter. Days are of Africa/Johannesburg, both included."""

    supplier: str | None = None
    states: tuple[BreakState, ...] | None = _WAITING
    break_class: BreakClass | None = None
    first: date | None = None
    last: date | None = None
    escalated: bool | None = None


@dataclass(frozen=True, slots=True)
class Resolved:
    """What a call of `resolve` came to: the break's state now. ``proposed``: a second person must confirm."""

    break_id: int
    state: BreakState
    resolution_id: int


def list_runs(
    settings: Settings,
    supplier: str | None = None,
    first: date | None = None,
    last: date | None = None,
    *,
    before: int | None = None,
    limit: int = 100,
) -> list[RunRecord]:
    """Runs, the newest first; the page goes on before the run number ``before``."""
    with connect(settings.database_dsn, "reconciliation") as connection:
        return _runs(connection, supplier=supplier, first=first, last=last, before=before, limit=_page(limit))


def get_run(settings: Settings, run_id: int) -> RunRecord | None:
    """The run of that number; None when there is none."""
    with connect(settings.database_dsn, "reconciliation") as connection:
        found = _runs(connection, run_id=run_id)
    return found[0] if found else None


def _runs(connection: Connection, **wanted: Any) -> list[RunRecord]:
    nothing = dict.fromkeys(("supplier", "first", "last", "run_id", "before"))
    with connection.cursor(row_factory=class_row(RunRecord)) as cursor:
        return cursor.execute(_QUERIES["list_runs"], nothing | {"limit": 1} | wanted).fetchall()


def list_breaks(
    settings: Settings, wanted: BreakFilter = BreakFilter(), *, after: int | None = None, limit: int = 100
) -> list[BreakRecord]:
    """Breaks in the order of their numbers, those that wait unless told otherwise; the page goes on after ``after``."""
    parameters = {
        "supplier": wanted.supplier,
        "states": None if wanted.states is None else [str(state) for state in wanted.states],
        "class": wanted.break_class,
        "first": wanted.first,
        "last": wanted.last,
        "escalated": wanted.escalated,
        "after": after,
        "limit": _page(limit),
    }
    with connect(settings.database_dsn, "reconciliation") as connection:
        rows = connection.execute(_QUERIES["list_breaks"], parameters).fetchall()
    return [BreakRecord(*row) for row in rows]


def history(settings: Settings, break_id: int) -> list[Resolution]:
    """Everything that was done about a break, in order."""
    with (
        connect(settings.database_dsn, "reconciliation") as connection,
        connection.cursor(row_factory=class_row(Resolution)) as cursor,
    ):
        return cursor.execute(_QUERIES["history"], {"break_id": break_id}).fetchall()


def resolve(settings: Settings, break_id: int, actor: str, decision: Decision, reason: str) -> Resolved:
    """Record what ``actor`` decides about a waiting break, and why.

    Above ``four_eyes_above`` the first call proposes; the same decision by somebody else confirms it, and ``reject``
    takes the proposal back. Raises ConflictError, naming the break, when it does not wait any more, lies in a closed
    period, or the same person would confirm; FieldError for an empty or overlong text; ConfigError for no such break.
    """
    _check_text("actor", actor, _ACTOR_CHARACTERS)
    _check_text("reason", reason, _REASON_CHARACTERS)
    if actor == SYSTEM:
        raise FieldError("actor", f"must be a person: {SYSTEM} is what runs sign with")
    with connect(settings.database_dsn, "reconciliation") as connection, connection.transaction():
        connection.execute(_QUERIES["lock_chain"])  # first, as a run does: so neither waits for the other in a circle
        row = connection.execute(_QUERIES["lock_break"], {"break_id": break_id}).fetchone()
        if row is None:
            raise ConfigError(f"break {break_id}: there is none of that number")
        _, supplier, _, difference, state, period_day, _ = row
        if state not in _WAITING:
            raise ConflictError(f"break {break_id} is {state} already")
        try:
            check_open(connection, supplier, period_day)
        except ConflictError as error:
            raise ConflictError(f"break {break_id}: {error}") from None
        proposal = _proposal(connection, break_id) if state == BreakState.PROPOSED else None
        action = _action(settings, break_id, actor, decision, difference, proposal)
        return _record(connection, break_id, action, actor, decision, reason)


def _proposal(connection: Connection, break_id: int) -> tuple[str, str]:
    """Who has proposed what."""
    rows = connection.execute(_QUERIES["history"], {"break_id": break_id}).fetchall()
    last = next(row for row in reversed(rows) if row[2] == Action.PROPOSED)
    return last[3], last[4]


def _action(
    settings: Settings,
    break_id: int,
    actor: str,
    decision: Decision,
    difference: Decimal,
    proposal: tuple[str, str] | None,
) -> Action:
    """What a decision is: a proposal, its confirmation, its rejection, or all there is to it."""
    if proposal is None:
        if decision is Decision.REJECT:
            raise ConflictError(f"break {break_id}: nothing is proposed that could be rejected")
        return Action.PROPOSED if difference > settings.reconciliation.four_eyes_above else Action.RESOLVED
    if decision is Decision.REJECT:
        return Action.REJECTED
    if _same_person(actor, proposal[0]):
        raise ConflictError(f"break {break_id}: {actor} has proposed it; somebody else must confirm")
    if decision != proposal[1]:
        raise ConflictError(f"break {break_id}: {proposal[1]} is proposed; confirm that, or reject it first")
    return Action.RESOLVED


def _same_person(one: str, other: str) -> bool:
    return one.strip().casefold() == other.strip().casefold()


_STATES = {
    Action.PROPOSED: BreakState.PROPOSED,
    Action.RESOLVED: BreakState.RESOLVED,
    Action.REJECTED: BreakState.OPEN,
}


def _record(
    connection: Connection, break_id: int, action: Action, actor: str, decision: Decision, reason: str
) -> Resolved:
    state = _STATES[action]
    row = {"break_id": break_id, "action": action, "actor": actor, "decision": decision, "reason": reason}
    (resolution_id,) = fetch_one(connection, _QUERIES["insert_resolution"], row)
    connection.execute(_QUERIES["set_state"], {"break_id": break_id, "state": state})
    chain.record_resolution(connection, resolution_id)
    return Resolved(break_id, state, resolution_id)


def close_period(
    settings: Settings, supplier: str, first: date, last: date, actor: str, reason: str, *, carry: bool = False
) -> int:
    """Close the days from ``first`` to ``last``: nothing in them is run or resolved any more. Returns how many breaks
    were carried on.

    Every day must have been reconciled. Breaks that still wait stop it, unless ``carry`` moves them into the next open
    day, by a record each. Raises ConflictError naming what is in the way. Cannot be undone: corrections belong to the
    next period.
    """
    _check_text("actor", actor, _ACTOR_CHARACTERS)
    _check_text("reason", reason, _REASON_CHARACTERS)
    days_between(first, last)
    period = {"supplier": supplier, "first": first, "last": last, "actor": actor, "reason": reason}
    with connect(settings.database_dsn, "reconciliation") as connection, connection.transaction():
        connection.execute(_QUERIES["lock_chain"])  # no run of the period is written down meanwhile
        _check_closable(connection, period)
        waiting = [row[0] for row in connection.execute(_QUERIES["waiting_in_period"], period)]
        if waiting and not carry:
            shown = ", ".join(map(str, waiting[:5]))
            raise ConflictError(f"{supplier} {first} to {last}: {len(waiting)} breaks still wait, such as {shown}")
        for break_id in waiting:
            _carry(connection, period, break_id)
        (period_id,) = fetch_one(connection, _QUERIES["insert_period"], period)
        chain.record_period(connection, period_id)
    return len(waiting)


def _check_closable(connection: Connection, period: dict[str, Any]) -> None:
    name = f"{period['supplier']} {period['first']} to {period['last']}"
    overlapping = connection.execute(_QUERIES["overlapping_periods"], period).fetchone()
    if overlapping is not None:
        raise ConflictError(f"{name}: {overlapping[1]} to {overlapping[2]} is closed already")
    missing = [str(row[0]) for row in connection.execute(_QUERIES["days_without_run"], period)]
    if missing:
        raise ConflictError(f"{name}: {len(missing)} days were never reconciled, the first is {missing[0]}")


def _carry(connection: Connection, period: dict[str, Any], break_id: int) -> None:
    (day,) = fetch_one(connection, _QUERIES["next_open_day"], period)
    reason = f"still open when {period['first']} to {period['last']} was closed"
    row = {"break_id": break_id, "to": day, "actor": period["actor"], "reason": reason}
    (resolution_id,) = fetch_one(connection, _QUERIES["carry_break"], row)
    chain.record_resolution(connection, resolution_id)


def _page(limit: int) -> int:
    if not 1 <= limit <= PAGE_LIMIT:
        raise FieldError("limit", f"must be 1 to {PAGE_LIMIT}")
    return limit


def _check_text(field: str, text: str, longest: int) -> None:
    if not len(text.strip()) >= 1 or len(text) > longest or not text.isprintable():
        raise FieldError(field, f"must be 1 to {longest} printable characters")
