"""The speed at which the watch evaluates new rows, on top of a million. It must keep up with 1,000 rows/s in a fifth of
a core.
"""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from psycopg.sql import SQL
from rich.console import Console
from rich.table import Table

from bench.scratch import scratch
from config import Settings
from ledger.tables import TRANSACTIONS
from sql.connection import connect
from tasks.archiving.calendar import utc_today
from tasks.archiving.rollover import roll_table
from tasks.watch import TableReport, watch_transactions

TARGET_S = 2.0  # of CPU for 10,000 rows: they arrive in 10 s, of which a fifth of a core may be spent
_OLD_ROWS = 1_000_000
_NEW_ROWS = 60_000  # a minute's
_MINUTES = 3
_BACKENDS = "SELECT pid FROM pg_stat_activity WHERE application_name = 'treasury watch'"
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
    """Measure, show and return the figures of one run a minute: CPU seconds, PostgreSQL's and ours together, and wall
    clock.

    The million rows are history: what the rules look back at. The first run begins after them.
    """
    with scratch() as settings_of:
        watch = settings_of.watch_transactions.model_copy(update={"first_hours": 0})
        settings = settings_of.model_copy(update={"watch_transactions": watch})
        now = datetime.now(UTC)
        roll_table(settings, TRANSACTIONS, utc_today())
        _fill(settings, now - timedelta(hours=20), now - timedelta(minutes=10), _OLD_ROWS)
        minutes = [_minute(settings, now - timedelta(minutes=5 - number)) for number in range(_MINUTES)]
        # A row of the last instant of a minute belongs to the minute after it.
        left_over = _watch(settings, now - timedelta(minutes=4 - _MINUTES)).rows
    new_rows = _MINUTES * _NEW_ROWS
    rows, findings = sum(minute.rows for minute in minutes) + left_over, sum(minute.findings for minute in minutes)
    each = sum(minute.cpu_s for minute in minutes) / new_rows * 10_000
    result = {
        "name": "watch",
        "new_rows": new_rows,
        "rows": rows,
        "findings": findings,
        "wall_s": [round(minute.wall_s, 2) for minute in minutes],
        "cpu_s": [round(minute.cpu_s, 2) for minute in minutes],
        "cpu_s_per_10000_rows": round(each, 3),
        "target_s": TARGET_S,
        "load": round(os.getloadavg()[0], 1),
        "passed": rows == new_rows and each <= TARGET_S,
    }
    table = Table(
        "rows", "findings", "wall s", "CPU s", "CPU s per 10,000 new", "target", title="watch, a run a minute"
    )
    shown = (f"{rows:,}", findings, result["wall_s"], result["cpu_s"], f"{each:.3f}", f"<= {TARGET_S} s")
    table.add_row(*map(str, shown))
    Console().print(table)
    return result


class _Minute(NamedTuple):
    """The cost and the result of the run after one minute of rows."""

    wall_s: float
    cpu_s: float
    rows: int
    findings: int


def _minute(settings: Settings, begin: datetime) -> _Minute:
    """The run that follows a minute of new rows, as the flow makes one each minute."""
    end = begin + timedelta(minutes=1)
    before = _watch(settings, begin)
    _fill(settings, begin, end, _NEW_ROWS)
    with _server_cpu(settings) as server:
        started, own = time.perf_counter(), time.process_time()
        report = _watch(settings, end)
        wall_s, own_s = time.perf_counter() - started, time.process_time() - own
    return _Minute(wall_s, own_s + server[0], before.rows + report.rows, report.findings)


@contextmanager
def _server_cpu(settings: Settings) -> Iterator[list[float]]:
    """CPU seconds of PostgreSQL's process that works for the watch, looked at until it is gone; it runs beside us."""
    seen, stop = [0.0], threading.Event()

    def look() -> None:
        with connect(settings.database_dsn, "bench") as connection:
            while not stop.wait(0.02):
                for (pid,) in connection.execute(_BACKENDS).fetchall():
                    with suppress(OSError):  # it has just ended
                        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                        seen[0] = max(seen[0], (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK"))

    looker = threading.Thread(target=look)
    looker.start()
    try:
        yield seen
    finally:
        stop.set()
        looker.join()


def _watch(settings: Settings, now: datetime) -> TableReport:
    report = watch_transactions(settings, now).tables[0]
    if report.behind_s:
        raise ValueError(f"{report.behind_s} s were left over: raise run_limit_s")
    return report


def _fill(settings: Settings, begin: datetime, end: datetime, rows: int) -> None:
    with connect(settings.database_dsn, "bench") as connection:
        connection.execute(_FILL, {"begin": begin, "end": end, "rows": rows})
        connection.execute("ANALYZE transactions_partitioned")
