"""Reconciliation at a glance: days by suppliers, and what waits for a decision. Only reads."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from psycopg.rows import class_row

from config import Settings
from ledger.business_days import ZONE
from sql.connection import connect, fetch_one
from sql.queries import load
from tasks.statements.sources import day_in_name

_QUERIES = load("reconciliation_overview")


@dataclass(frozen=True, slots=True)
class SupplierDay:
    """A Johannesburg day of a supplier.

    ``line_count`` is of the statement that counts, or else of the one that the run read; None without any.
    ``declared``: people or a setting declare that there is none. ``refused``: none was taken, and a file that is of the
    day by its name was refused. ``run_id``, ``verdict`` and ``matched_share`` (0 to 1) are of the newest run, None
    without one. ``is_outdated``: another statement counts by now; ``is_early``: it was made before the day was over.
    ``waiting`` of the ``breaks`` have no decision.
    """

    day: date
    supplier: str
    line_count: int | None
    declared: bool
    refused: bool
    run_id: int | None
    verdict: str | None
    matched_share: float | None
    is_outdated: bool
    is_early: bool
    breaks: int
    waiting: int
    closed: bool


@dataclass(frozen=True, slots=True)
class WaitingBreaks:
    """Waiting breaks of a supplier, class and currency: their number by age in days, the oldest day, and the money in
    question. ``variance`` is the statements' total less the ledger's.
    """

    supplier: str
    break_class: str
    currency: str
    count: int
    escalated: int
    proposed: int
    to_1_day: int
    to_7_days: int
    to_30_days: int
    older: int
    oldest: date
    difference: Decimal
    variance: Decimal


@dataclass(frozen=True, slots=True)
class WaitingFilter:
    """Which waiting breaks are counted; None does not filter. Both days are included."""

    supplier: str | None = None
    first: date | None = None
    last: date | None = None


@dataclass(frozen=True, slots=True)
class Overview:
    """The days, newest first and each day's suppliers in the given order, and the waiting breaks."""

    days: Sequence[SupplierDay]
    waiting: Sequence[WaitingBreaks]


def read_overview(
    settings: Settings,
    suppliers: Sequence[str],
    first: date,
    last: date,
    today: date,
    waiting: WaitingFilter = WaitingFilter(),
) -> Overview:
    """The days from ``first`` to ``last`` of ``suppliers``, and the breaks that wait, by default all of them.
    Ages are as of ``today``. All are Johannesburg days. Raises the errors of `connect`.
    """
    wanted: dict[str, Any] = {"suppliers": list(suppliers), "first": first, "last": last, "zone": ZONE}
    with connect(settings.database_dsn, "reconciliation") as connection:
        files = connection.execute(_QUERIES["refused"], wanted).fetchall()
        refused = [(name, day) for name, file in files if (day := day_in_name(settings, name, file)) is not None]
        wanted |= {"refused_suppliers": [name for name, _ in refused], "refused_days": [day for _, day in refused]}
        with connection.cursor(row_factory=class_row(SupplierDay)) as cursor:
            days = cursor.execute(_QUERIES["days"], wanted).fetchall()
        asked = {"today": today, "supplier": waiting.supplier, "first": waiting.first, "last": waiting.last}
        rows = connection.execute(_QUERIES["waiting"], asked).fetchall()
    return Overview(days, [WaitingBreaks(*row) for row in rows])


@dataclass(frozen=True, slots=True)
class UndecidedBreaks:
    """How many breaks wait for a decision, open or proposed, and how many of them are escalated."""

    count: int
    escalated: int


def count_undecided(settings: Settings) -> UndecidedBreaks:
    """The breaks of every supplier and day that wait for a decision. Raises the errors of `connect`."""
    with connect(settings.database_dsn, "reconciliation") as connection:
        return UndecidedBreaks(*fetch_one(connection, _QUERIES["undecided"]))
