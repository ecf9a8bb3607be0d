"""The checks of the ledger's months: partitions ahead, gaps, what is overdue or held back, and the night's work."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import takewhile

from psycopg.sql import SQL, Identifier

from ledger.counts import counted
from ledger.masking import cut
from ledger.months import Month
from ledger.policy import Tier
from ledger.tables import TieredTable
from sql.connection import Connection, fetch_one
from sql.partitions import monthly_partitions
from sql.queries import load
from sql.relations import Parents, ledger_schema
from sql.returns import months_in_work
from tasks.archiving.rollover import report_table
from tasks.health.context import Context
from tasks.health.result import HealthState, Measure

_QUERIES = load("health")
_COUNTED_ROWS = 1000
_LOOKED_AT = 24  # due months of a table whose rows are looked at, oldest first: the oldest decides
_HOUR_S = 3600.0
NIGHT = "run_archiving_operations"


@dataclass(frozen=True, slots=True)
class _DueMonth:
    """A month that its policy wants in another tier, since when that can be, and how often it failed to move."""

    table: TieredTable
    month: Month
    tier: Tier
    since: datetime
    last_error: str | None

    def __str__(self) -> str:
        return f"{self.table.name} {self.month}"


def partitions_ahead(context: Context) -> Measure:
    """For how many months ahead rows can be stored."""
    current = Month.of(context.now)
    with context.connect() as connection:
        ahead = {
            table.name: len(list(takewhile(_months(connection, table).__contains__, map(current.plus, range(1, 61)))))
            if current in _months(connection, table)
            else -1
            for table in context.tables
        }
    name, months = min(ahead.items(), key=lambda item: item[1])
    if months < 0:
        return Measure(f"{name} has no partition of the current month {current}: no row can be stored", months)
    return Measure(f"{name} has partitions for {counted(months, 'month')} ahead", months)


def _months(connection: Connection, table: TieredTable) -> set[Month]:
    return set(monthly_partitions(connection, Parents.of(connection, table).hot))


def partition_gaps(context: Context) -> Measure:
    """The partitions are what the catalogue says, one a month.

    A month that the catalogue has never known held no row: after an import of history there are such gaps, however
    young. They are named, and nothing more; a partition that somebody took away is one that the catalogue knows.
    """
    current = Month.of(context.now)
    with context.connect() as connection:
        reports = [report_table(connection, table, current) for table in context.tables]
    problems = [f"{report.table}: {problem}" for report in reports for problem in report.problems]
    if problems:
        return Measure(_listed(problems), len(problems))
    old = sum(len(report.gaps) for report in reports)
    history = f"; {counted(old, 'past month was', 'past months were')} never there" if old else ""
    return Measure(f"every month that is kept has exactly one place{history}", 0)


def months_overdue(context: Context) -> Measure:
    """Return how long the longest overdue month should have moved; another check has those that are held back."""
    with context.connect() as connection:
        stuck = connection.execute(_QUERIES["failed_after_the_seal"]).fetchall()
        due = _due_months(context, connection)
        free = [due_month for due_month in due if not _unfinished(connection, due_month)]
    if stuck:
        name, month, error = stuck[0]
        sealed = counted(len(stuck), "month takes", "months take")
        line = f"{sealed} no writes: a move failed after the seal, {name} {Month.of(month)}: {cut(error, 200)}"
        return Measure(line, None, HealthState.CRITICAL)
    if not free:
        return Measure("no month is overdue", 0)
    oldest = min(free, key=lambda due_month: due_month.since)
    hours = _hours(context, oldest.since)
    failed = next((due_month for due_month in free if due_month.last_error), None)
    reason = f"; {failed} failed: {cut(failed.last_error or '', 150)}" if failed else ""
    return Measure(f"{counted(len(free), 'month is', 'months are')} due, {oldest} for {hours:.0f} hours{reason}", hours)


def months_held_back(context: Context) -> Measure:
    """Return how long unfinished rows have held back a month that is due for the archive. Months that went back to warm
    are named.
    """
    with context.connect() as connection:
        held = {
            due_month: rows
            for due_month in _due_months(context, connection)
            if (rows := _unfinished(connection, due_month))
        }
        returned = [f"{table} {month} is in work until {until}" for table, month, until in months_in_work(connection)]
    in_work = f"; went back to warm: {_listed(returned)}" if returned else ""
    if not held:
        return Measure(f"no month is held back{in_work}", 0)
    oldest = min(held, key=lambda due_month: due_month.since)
    rows = held[oldest]
    number = f"{_COUNTED_ROWS} or more unfinished rows" if rows >= _COUNTED_ROWS else counted(rows, "unfinished row")
    days = _hours(context, oldest.since) / 24
    months = counted(len(held), "month is", "months are")
    return Measure(f"{months} held back, {oldest} for {days:.0f} days by {number}{in_work}", days)


def _due_months(context: Context, connection: Connection) -> list[_DueMonth]:
    due_months = []
    for table in context.tables:
        rows = connection.execute(_QUERIES["months"], {"table": table.name, "today": context.today}).fetchall()
        months = (_due(context, table, Month.of(first), Tier(tier), *rest) for first, tier, *rest in rows)
        due_months += [month for month in months if month is not None][:_LOOKED_AT]
    return due_months


def _due(
    context: Context, table: TieredTable, month: Month, tier: Tier, known_since: datetime, last_error: str | None
) -> _DueMonth | None:
    due = table.policy.tier_of(month, context.today)
    if due is tier or due is Tier.HOT:
        return None
    age = table.policy.hot_months if tier is Tier.HOT else table.policy.warm_months
    # An imported month is due at once, but nobody could move it before it was there.
    since = max(month.plus(age + 1).lower, known_since)
    return _DueMonth(table, month, tier, since, last_error)


def _unfinished(connection: Connection, due: _DueMonth) -> int:
    """Unfinished rows of a warm month, up to a limit. A hot one is not held back: it goes to warm with them."""
    table = due.table
    if due.tier is not Tier.WARM or table.status_column is None:
        return 0
    query = SQL(_QUERIES["count_unfinished"]).format(
        warm=Identifier(ledger_schema(connection, table), table.warm_parent),
        time=Identifier(table.time_column),
        status=Identifier(table.status_column),
    )
    bounds = {"lower": due.month.lower, "upper": due.month.upper}
    parameters = {**bounds, "terminal": sorted(table.terminal_statuses), "limit": _COUNTED_ROWS}
    return int(fetch_one(connection, query, parameters)[0])


def pending_rows_ageing(context: Context) -> Measure:
    """The age of the oldest row that is neither finished nor given up."""
    before = context.now - timedelta(hours=context.settings.health.pending_warning_hours)
    oldest: list[tuple[datetime, str, int]] = []
    with context.connect() as connection:
        for table in context.tables:
            if table.status_column is None:
                continue
            number, created = _oldest_unfinished(connection, table, table.status_column, before)
            oldest += [(created, table.name, number)] if created else []
    if not oldest:
        return Measure("no row is unfinished", 0)
    created, name, _ = min(oldest)
    total = sum(number for *_, number in oldest)
    hours = _hours(context, created)
    counted = f"; {total} are older than {context.settings.health.pending_warning_hours} hours" if total else ""
    return Measure(f"the oldest unfinished row, of {name}, is {hours:.1f} hours old{counted}", hours)


def _oldest_unfinished(
    connection: Connection, table: TieredTable, status: str, before: datetime
) -> tuple[int, datetime | None]:
    query = SQL(_QUERIES["unfinished"]).format(
        hot=Identifier(ledger_schema(connection, table), table.hot_parent),
        status=Identifier(status),
        time=Identifier(table.time_column),
    )
    parameters = {"before": before, "limit": _COUNTED_ROWS, "terminal": sorted(table.terminal_statuses)}
    number, created = fetch_one(connection, query, parameters)
    return number, created


def last_archive(context: Context) -> Measure:
    """Return how long ago the night's work last ended well."""
    with context.connect() as connection:
        succeeded, failed, error, first = fetch_one(connection, _QUERIES["job_outcome"], {"job": NIGHT})
    since = succeeded or first
    if since is None:
        return Measure("there are no months yet", 0)
    hours = _hours(context, since)
    what = f"the night's work last ended well {hours:.0f} hours ago" if succeeded else "the night's work never ran"
    reason = f"; its last run failed: {cut(error, 200)}" if error and failed else ""
    return Measure(what + reason, hours)


def last_verification(context: Context) -> Measure:
    """Return how long ago an archived month was last read back and found equal."""
    with context.connect() as connection:
        verified, archived, failed = fetch_one(connection, _QUERIES["newest_proof"], {"now": context.now})
    if failed is not None:
        return Measure(f"{failed}: the archive does not hold what PostgreSQL holds", None, HealthState.CRITICAL)
    if not archived:
        return Measure("nothing is archived yet", 0)
    months = counted(archived, "month is", "months are")
    if verified is None:
        return Measure(f"{months} archived; no time of a proof is before now", None, HealthState.WARNING)
    days = _hours(context, verified) / 24
    return Measure(f"{months} archived; the last was proved {days:.0f} days ago", days)


def _hours(context: Context, since: datetime) -> float:
    return max(0.0, (context.now - since).total_seconds() / _HOUR_S)


def _listed(lines: list[str]) -> str:
    more = f" and {len(lines) - 3} more" if len(lines) > 3 else ""
    return "; ".join(lines[:3]) + more
