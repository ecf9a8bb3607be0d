"""The baseline of usual amounts: the sums of each ended day by type and currency, taken once when the day is over."""

from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from config import Settings
from ledger.tables import TieredTable
from sql.connection import Connection
from sql.queries import load
from sql.relations import ledger_schema
from sql.storing import check_counted
from tasks.watch.rows import parameters_of, statement

_QUERIES = load("watch")
_DAYS_AT_ONCE = 2  # of a run: the first ones of all do not hold up the rules
_TIMEOUT = "120s"


def sum_days(
    connection: Connection, settings: Settings, table: TieredTable, summed: date | None, certain: datetime
) -> int:
    """Sum the days that ended before ``certain`` and were not summed yet, at most two; returns how many.

    ``summed`` is the last one that was. Days that are older than any mean needs are forgotten. Safe to run again.
    """
    watch = settings.watch_transactions
    if not watch.unusual.enabled:
        return 0
    zone = ZoneInfo(watch.zone)
    today = certain.astimezone(zone).date()
    oldest = today - timedelta(days=watch.unusual.baseline_days)
    day = max(summed + timedelta(days=1), oldest) if summed else oldest
    count = 0
    while day < today and count < _DAYS_AT_ONCE:
        _sum_day(connection, settings, table, day, zone)
        day, count = day + timedelta(days=1), count + 1
    if count:
        connection.execute(_QUERIES["forget_days"], {"table": table.name, "oldest": oldest - timedelta(days=1)})
    return count


def _sum_day(connection: Connection, settings: Settings, table: TieredTable, day: date, zone: ZoneInfo) -> None:
    """One day and the note that it is done, together."""
    values = {
        **parameters_of(table, settings.watch_transactions),
        "day": day,
        "begin": datetime.combine(day, time(), zone),
        "end": datetime.combine(day + timedelta(days=1), time(), zone),
    }
    with connection.transaction():
        connection.execute(_QUERIES["limit_statements"], {"timeout": _TIMEOUT})
        check_counted(
            connection.execute(statement(table, ledger_schema(connection, table), _QUERIES["sum_day"]), values),
            "watch_baselines",
        )
        connection.execute(_QUERIES["summed"], {"table": table.name, "day": day})
