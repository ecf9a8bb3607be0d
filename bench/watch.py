"""How fast the watch evaluates new rows, on top of a million: must keep up with 1,000 rows/s in a fifth of a core."""

import time
from datetime import UTC, datetime, timedelta
from typing import Any

from psycopg.sql import SQL
from rich.console import Console
from rich.table import Table

from bench.scratch import scratch
from config import Settings
from ledger.tables import TRANSACTIONS
from sql.connection import connect
from tasks.calendar import utc_today
from tasks.rollover import roll_table
from tasks.watch import TableReport, watch_transactions

TARGET_S = 2.0  # for 10,000 rows: they arrive in 10 s, of which a fifth may be spent
_OLD_ROWS = 1_000_000
_NEW_ROWS = 60_000  # a minute's
_MINUTES = 3
# A fifth of the rows is of 30 busy users (merchants' own wallets), the rest of 100,000 others.
_FILL = SQL(
    "INSERT INTO transactions_partitioned (id, client_id, user_id, wallet_id, type, status, amount, currency,"
    " created_at, updated_at)"
    " SELECT (lpad(to_hex(floor(extract(epoch FROM at) * 1000)::bigint), 12, '0') || '7' ||"
    "         substr(md5(n || 'a'), 1, 3) || '8' || substr(md5(random()::text), 1, 15))::uuid,"
    "        'bench', 'user-' || u, 'wallet-' || u,"
    "        (ARRAY['send', 'receive', 'deposit', 'withdraw', 'payment'])[1 + n %% 5], 'completed',"
    "        round((exp(random() * 4) * 20)::numeric, 2), 'ZAR', at, at"
    " FROM (SELECT n, CASE WHEN random() < 0.2 THEN (random() * 29)::int ELSE 30 + (random() * 99999)::int END AS u,"
    "              %(begin)s::timestamptz + random() * (%(end)s::timestamptz - %(begin)s::timestamptz) AS at"
    "       FROM generate_series(1, %(rows)s) AS n) AS made"
)


def run() -> dict[str, Any]:
    """Measure, show and return the figures: seconds of wall clock, PostgreSQL's and ours together, a minute's rows.

    The million rows are history: what the rules look back at. The first run begins after them.
    """
    with scratch() as found:
        watch = found.watch_transactions.model_copy(update={"first_hours": 0})
        settings = found.model_copy(update={"watch_transactions": watch})
        now = datetime.now(UTC)
        roll_table(settings, TRANSACTIONS, utc_today())
        _fill(settings, now - timedelta(hours=20), now - timedelta(minutes=10), _OLD_ROWS)
        minutes = [_minute(settings, now - timedelta(minutes=5 - number)) for number in range(_MINUTES)]
    took_s, rows, findings = (sum(column) for column in zip(*minutes, strict=True))
    each = took_s / (_MINUTES * _NEW_ROWS) * 10_000
    result = {
        "name": "watch",
        "new_rows": _MINUTES * _NEW_ROWS,
        "rows": rows,
        "findings": findings,
        "seconds": [round(one[0], 2) for one in minutes],
        "seconds_per_10000_rows": round(each, 3),
        "target_s": TARGET_S,
        "passed": rows >= _MINUTES * _NEW_ROWS and each <= TARGET_S,
    }
    table = Table("rows", "findings", "s a run", "s per 10,000 new", "target", title="watch", title_justify="left")
    table.add_row(f"{rows:,}", str(findings), str(result["seconds"]), f"{each:.3f}", f"<= {TARGET_S} s")
    Console().print(table)
    return result


def _minute(settings: Settings, begin: datetime) -> tuple[float, int, int]:
    """Seconds, rows and findings of the run that follows a minute of new rows, as the flow makes one each minute."""
    end = begin + timedelta(minutes=1)
    _watch(settings, begin)
    _fill(settings, begin, end, _NEW_ROWS)
    started = time.perf_counter()
    report = _watch(settings, end)
    return time.perf_counter() - started, report.rows, report.findings


def _watch(settings: Settings, now: datetime) -> TableReport:
    report = watch_transactions(settings, now).tables[0]
    if report.behind_s:
        raise ValueError(f"{report.behind_s} s were left over: raise run_limit_s")
    return report


def _fill(settings: Settings, begin: datetime, end: datetime, rows: int) -> None:
    with connect(settings.database_dsn, "bench") as connection:
        connection.execute(_FILL, {"begin": begin, "end": end, "rows": rows})
        connection.execute("ANALYZE transactions_partitioned")
