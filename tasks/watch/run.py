"""One run of the watch: from where the last one is certain to have seen every row, slice by slice, up to now.

A row is visible from its COMMIT on, and its ``created_at`` was set before that. So a stretch of time is settled only
once every transaction that could have stored rows in it has ended. Until then the next run looks at it again, and
evaluates the rows whose transactions had not ended before the last one began. A finding has a key. Findings, their
alerts and the progress are stored in one transaction: a run that is killed leaves nothing half done, and nothing is
counted twice.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from psycopg.sql import SQL

from config import Settings
from ledger.identifiers import truncate_ms
from ledger.tables import BUILT_IN, TieredTable
from sql.clock import read_now
from sql.connection import Connection, connect, fetch_one
from sql.queries import load
from sql.relations import ledger_schema
from sql.storing import check_stored, fetch_stored
from tasks.watch.baselines import sum_days
from tasks.watch.findings import raise_findings
from tasks.watch.rows import keeping, parameters_of, taking
from tasks.watch.rules import watch_rules

_QUERIES = load("watch")
_FEW_ROWS = 5_000
_LONGEST_SPAN = timedelta(hours=1)
_RESOLVE_QUIET = load("alerts")["resolve_quiet"]


@dataclass(frozen=True, slots=True)
class TableReport:
    """The result of a run for one table. ``behind_s`` is what it left to the next one, without the overlap."""

    table: str
    slices: int
    rows: int
    findings: int
    alerts: int
    settled_until: datetime
    behind_s: float


@dataclass(frozen=True, slots=True)
class WatchReport:
    """The result of a run. ``busy``: another run was under way, and this one did nothing. ``resolved``: alerts that
    have ended.
    """

    tables: tuple[TableReport, ...] = ()
    busy: bool = False
    resolved: int = 0


def watch_transactions(settings: Settings, now: datetime | None = None) -> WatchReport:
    """Evaluate the rows that were not evaluated yet, of both ledger tables, and raise an alert for each finding.

    ``now`` is the aware instant up to which (default: PostgreSQL's clock, looked at again for every table). Begins no
    slice after ``run_limit_s``: the next run goes on there. Safe to run again, to be killed, and from several
    processes: one works, the others return at once. Does nothing when it is switched off.
    """
    watch = settings.watch_transactions
    if not watch.enabled:
        return WatchReport()
    deadline = time.monotonic() + watch.run_limit_s
    with connect(settings.database_dsn, "watch") as connection, _alone(connection) as alone:
        if not alone:
            return WatchReport(busy=True)
        reports = []
        for table in BUILT_IN:
            run = _Run(connection, settings, settings.table(table.name), deadline)
            reports.append(run.work(truncate_ms(now or read_now(connection))))
        since = (now or read_now(connection)) - timedelta(hours=watch.quiet_hours)
        names = [rule.name for rule in watch_rules(watch)]
        resolved = connection.execute(_RESOLVE_QUIET, {"rules": names, "since": since}).rowcount
    return WatchReport(tuple(reports), resolved=resolved)


class _Run:
    """One table's part of a run."""

    def __init__(self, connection: Connection, settings: Settings, table: TieredTable, deadline: float) -> None:
        self._connection = connection
        self._settings = settings
        self._watch = settings.watch_transactions
        self._table = table
        self._schema = ledger_schema(connection, table)
        self._deadline = deadline
        self._rules = [rule for rule in watch_rules(self._watch) if rule.enabled]
        self._rows = self._findings = self._alerts = 0
        self._seen_until: datetime
        self._seen_xid: str | None
        self._horizon: str

    def work(self, now: datetime) -> TableReport:
        overlap = timedelta(seconds=self._watch.overlap_s)
        certain = self._committed_until(now) - overlap
        first = now - overlap - timedelta(hours=self._watch.first_hours)
        self._connection.execute(_QUERIES["start"], {"table": self._table.name, "since": first})
        settled, summed, self._seen_until, self._seen_xid = self._progress()
        sum_days(self._connection, self._settings, self._table, summed, certain)
        (self._horizon,) = fetch_one(self._connection, _QUERIES["horizon"])
        position, slices, span = settled, 0, timedelta(seconds=self._watch.slice_s)
        while position < now and time.monotonic() < self._deadline:
            upper = min(max(position, self._seen_until) + span, now)
            taken = self._evaluate(position, upper, certain, now)
            position, slices = upper, slices + 1
            span = self._next_span(span, taken)
        settled = self._progress()[0]
        behind_s = max(0.0, (now - position).total_seconds())
        return TableReport(self._table.name, slices, self._rows, self._findings, self._alerts, settled, behind_s)

    def _committed_until(self, now: datetime) -> datetime:
        """The instant before which every transaction has ended, as far as runs have noted instants; at most
        ``longest_transaction_s`` before ``now``.
        """
        check_stored(self._connection.execute(_QUERIES["note_horizon"], {"at": now}), 1, "watch_horizons")
        (committed_until,) = fetch_one(self._connection, _QUERIES["committed_until"], {"at": now})
        earliest = now - timedelta(seconds=self._watch.longest_transaction_s)
        until: datetime = max(committed_until or earliest, earliest)
        self._connection.execute(_QUERIES["forget_horizons"], {"until": until})
        return until

    def _progress(self) -> tuple[datetime, date | None, datetime, str | None]:
        """Settled until, days summed until, seen until, and the transaction from which on rows there are not seen."""
        named = {"table": self._table.name}
        settled, summed, seen_until, seen_xid = fetch_stored(
            self._connection, _QUERIES["progress"], named, "watch_progress"
        )
        return settled, summed, seen_until, seen_xid

    def _next_span(self, span: timedelta, taken: int) -> timedelta:
        """A backlog of quiet hours is not worth a transaction a minute; a busy one goes in slices as configured."""
        return min(span * 2, _LONGEST_SPAN) if taken < _FEW_ROWS else timedelta(seconds=self._watch.slice_s)

    def _evaluate(self, lower: datetime, upper: datetime, certain: datetime, now: datetime) -> int:
        """One slice in one transaction: all of its findings, their alerts and the progress, or nothing. Its rows."""
        bounds = {**parameters_of(self._table, self._watch), "lower": lower, "upper": upper}
        seen = {"seen_until": self._seen_until, "seen_xid": self._seen_xid}
        with limited(self._connection, self._watch.statement_timeout_s):
            self._connection.execute(_QUERIES["create_slice"])
            taken = self._connection.execute(taking(self._table, self._schema), {**bounds, **seen}).rowcount
            if taken:
                self._connection.execute(SQL("ANALYZE pg_temp.watch_slice"))
                for rule in self._rules:
                    values = {**bounds, **rule.parameters, "rule": rule.name}
                    cursor = self._connection.execute(keeping(self._table, self._schema, rule.query), values)
                    findings, alerts = raise_findings(
                        self._connection, rule, self._table.name, upper, cursor, self._watch.alerts_each
                    )
                    self._findings += findings
                    self._alerts += alerts
            progress = {"table": self._table.name, "settled_until": min(upper, certain), "now": now}
            self._connection.execute(_QUERIES["advance"], {**progress, "upper": upper, "horizon": self._horizon})
        self._rows += taken
        return taken


@contextmanager
def limited(connection: Connection, timeout_s: int) -> Iterator[None]:
    """A transaction in which no statement runs for longer than ``timeout_s``."""
    with connection.transaction():
        connection.execute(_QUERIES["limit_statements"], {"timeout": f"{timeout_s}s"})
        yield


@contextmanager
def _alone(connection: Connection) -> Iterator[bool]:
    """Whether this is the only run; the lock goes with the connection, so a killed run leaves none."""
    (alone,) = fetch_one(connection, _QUERIES["try_lock"])
    try:
        yield bool(alone)
    finally:
        if alone and not connection.broken:
            connection.execute(_QUERIES["unlock"])
