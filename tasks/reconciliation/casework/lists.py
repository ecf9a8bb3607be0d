"""Lists of runs, breaks and what was done about them, for people and programs."""

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from psycopg.rows import class_row

from config import Settings
from ledger.errors import FieldError
from ledger.statements import BreakClass
from sql.connection import Connection, connect
from sql.queries import load
from tasks.reconciliation.runs.report import warnings_of
from tasks.reconciliation.vocabulary import WAITING, BreakState

PAGE_LIMIT = 1000
_BREAKS = load("reconciliation_breaks")
_RUNS = load("reconciliation_runs")


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
    rules: dict[str, Any]
    object_prefix: str
    actor: str
    started_at: datetime
    finished_at: datetime
    current: bool

    @property
    def warnings(self) -> list[str]:
        """What the run must not be read without."""
        return list(warnings_of(self.day, self.line_count, self.started_at))


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
class ResolutionRecord:
    """One record of what was done about a break. ``run_id`` is there when a run did it, ``account`` is what a person
    worked under. ``period_day`` is the day that the break is accounted in since then.
    """

    break_id: int
    resolution_id: int
    run_id: int | None
    action: str
    actor: str
    account: str | None
    decision: str
    reason: str
    period_day: date | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class BreakFilter:
    """The filter of breaks; None does not filter. Days are of Africa/Johannesburg, both included."""

    supplier: str | None = None
    states: tuple[BreakState, ...] | None = WAITING
    break_class: BreakClass | None = None
    first: date | None = None
    last: date | None = None
    escalated: bool | None = None


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
        runs = _runs(connection, run_id=run_id)
    return runs[0] if runs else None


def _runs(connection: Connection, **wanted: Any) -> list[RunRecord]:
    nothing = dict.fromkeys(("supplier", "first", "last", "run_id", "before"))
    with connection.cursor(row_factory=class_row(RunRecord)) as cursor:
        return cursor.execute(_RUNS["list_runs"], nothing | {"limit": 1} | wanted).fetchall()


def list_breaks(
    settings: Settings,
    wanted: BreakFilter = BreakFilter(),
    *,
    after: int | None = None,
    limit: int = 100,
    by_gravity: bool = False,
) -> list[BreakRecord]:
    """Breaks in the order of their numbers, those that wait by default; the page goes on after ``after``. With
    ``by_gravity`` the escalated ones come first.
    """
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
        rows = connection.execute(
            _BREAKS["list_breaks_by_gravity" if by_gravity else "list_breaks"], parameters
        ).fetchall()
    return [BreakRecord(*row) for row in rows]


def get_break(settings: Settings, break_id: int) -> BreakRecord | None:
    """The break of that number, in whatever state; None when there is none."""
    with connect(settings.database_dsn, "reconciliation") as connection:
        return find_break(connection, break_id)


def find_break(connection: Connection, break_id: int) -> BreakRecord | None:
    """As `get_break`, on a connection that is open."""
    nothing = dict.fromkeys(("supplier", "states", "class", "first", "last", "escalated"))
    rows = connection.execute(_BREAKS["list_breaks"], nothing | {"after": break_id - 1, "limit": 1}).fetchall()
    breaks = [BreakRecord(*row) for row in rows]
    return breaks[0] if breaks and breaks[0].break_id == break_id else None


def history(settings: Settings, *break_ids: int) -> list[ResolutionRecord]:
    """Everything that was done about breaks, break by break in order."""
    with (
        connect(settings.database_dsn, "reconciliation") as connection,
        connection.cursor(row_factory=class_row(ResolutionRecord)) as cursor,
    ):
        return cursor.execute(_BREAKS["history"], {"break_ids": list(break_ids)}).fetchall()


def _page(limit: int) -> int:
    if not 1 <= limit <= PAGE_LIMIT:
        raise FieldError("limit", f"must be 1 to {PAGE_LIMIT}")
    return limit
