"""Figures of the archive and of its public log for Prometheus. PostgreSQL has them, so every process gives the same."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

from prometheus_client import CollectorRegistry, Gauge, generate_latest
from psycopg.rows import TupleRow

from api.connections.database import Database
from api.monitoring.database_report import read
from ledger.errors import TreasuryError
from ledger.tables import TieredTable
from sql.deletion_requests import end_of_grace, read_decisions
from sql.holds import open_holds_of, read_hold, review_of
from sql.old_months import last_due_months
from sql.queries import load

# Of the parts that the nightly verification chooses from.
_OLDEST = (
    "SELECT coalesce(extract(epoch FROM clock_timestamp() - min(verified_at)), 0)::float8"  # noqa: S608  # a constant
    f" FROM ({load('verified')['parts']}) AS parts"
)
# Whether a release counts is decided where all names are compared, so these queries give every hold with its decision.
_HOLDS = load("holds")["holds"]
_HELD_MONTHS = (
    "SELECT m.*, h.* FROM (SELECT DISTINCT table_name, month FROM archive_months WHERE tier IN ('cold', 'deep')) AS m"  # noqa: S608  # a constant
    f" JOIN ({_HOLDS}) AS h ON coalesce(h.table_name, m.table_name) = m.table_name"
    " AND m.month BETWEEN h.first_month AND h.last_month"
)


@dataclass(frozen=True, slots=True)
class Figures:
    """The figures that one query of `monitoring.sql` gives as one record: names with their descriptions, in its order.

    Without a record all of them are 0. ``counted`` makes the record from all rows, for queries that return many.
    ``text`` is the query itself, where another file than `monitoring.sql` defines it.
    """

    query: str
    named: tuple[tuple[str, str], ...]
    counted: Callable[[Sequence[TupleRow]], Sequence[Any]] | None = None
    text: str = ""


def _of_requests(rows: Sequence[TupleRow]) -> tuple[int, int]:
    """How many open requests wait for approvals, and how many months are in the grace period of theirs."""
    waiting, in_grace = 0, 0
    for approvals, grace_days, requested_at, months, decisions, now in rows:
        due_at = end_of_grace(approvals, grace_days, requested_at, read_decisions(decisions))
        waiting += due_at is None
        in_grace += months if due_at is not None and now < due_at else 0
    return waiting, in_grace


def _of_holds(rows: Sequence[TupleRow]) -> tuple[int, int]:
    """How many legal holds are open, and how many of them are past their review date."""
    review = review_of(open_holds_of(rows), datetime.now(UTC).date())
    return review.open, review.overdue


LOG = (
    Figures(
        "public_log",
        (
            ("treasury_log_unpublished_events", "Events of the public log that are not published"),
            ("treasury_log_unpublished_age_seconds", "Age of the oldest event that is not published"),
            ("treasury_log_events", "Events of the public log that are published"),
        ),
    ),
)
ARCHIVE = (
    Figures(
        "oldest_unverified",
        (
            (
                "treasury_archive_oldest_unverified_seconds",
                "Age of the oldest byte of the archive since it was last read and found whole; 0 without one",
            ),
        ),
        text=_OLDEST,
    ),
    Figures(
        "holds",
        (
            ("treasury_holds_open", "Legal holds that are open"),
            ("treasury_holds_overdue", "Open legal holds that are past their review date"),
        ),
        counted=_of_holds,
        text=_HOLDS,
    ),
    Figures("deletions", (("treasury_deletions_unfinished", "Deletions that have begun and have no certificate"),)),
    Figures(
        "open_requests",
        (
            ("treasury_deletion_requests_waiting", "Requests to delete months that wait for approvals"),
            ("treasury_months_in_grace", "Months whose deletion is approved, and can be revoked still"),
        ),
        counted=_of_requests,
    ),
    Figures(
        "due_months",
        (("treasury_months_due", "Archived months past the policy of their table that no open request is about"),),
        counted=lambda rows: rows[0][:1],
        text=load("old_months")["due_months"],
    ),
    Figures(
        "held_months",
        (("treasury_months_held", "Archived months that an open legal hold keeps, or rows of which it keeps"),),
        counted=lambda rows: (len({row[:2] for row in rows if read_hold(row[2:]).keeps}),),
        text=_HELD_MONTHS,
    ),
    Figures(
        "month_ends",
        (
            ("treasury_months_deep", "Parts of months that are in the deep tier"),
            ("treasury_months_deep_bytes", "Bytes with rows in the deep tier"),
            ("treasury_months_deleted", "Months that were deleted with a certificate"),
        ),
    ),
)


async def exposition(database: Database, tables: Sequence[TieredTable], groups: tuple[Figures, ...]) -> bytes:
    """The figures in Prometheus's text format, without those whose query PostgreSQL does not answer."""
    parameters = last_due_months(tables, datetime.now(UTC).date()) | {"classed": False, "hold_id": None}
    registry = CollectorRegistry()
    gauge = partial(Gauge, registry=registry)
    # At the same time: while PostgreSQL is away, each of them waits for its limit.
    for group, record in zip(
        groups, await asyncio.gather(*(_read(database, figures, parameters) for figures in groups)), strict=True
    ):
        for (name, description), value in zip(group.named if record else (), record, strict=True):
            gauge(name, description).set(float(value))
    return generate_latest(registry)


async def _read(database: Database, group: Figures, parameters: dict[str, Any]) -> Sequence[Any]:
    """The values of a group; none of them while PostgreSQL does not answer its query."""
    try:
        rows = await read(database, group.query, parameters, text=group.text)
    except TreasuryError:
        return ()
    if group.counted is not None:
        return group.counted(rows)
    return next(iter(rows), (0,) * len(group.named))
