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
from tasks.watch import watch_transactions

TARGET_S = 2.0  # for 10,000 rows: they arrive in 10 s, of which a fifth may be spent
_OLD_ROWS = 1_000_000
_NEW_ROWS = 60_000  # a minute's
_EVERY_S = 60
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
    """Measure, show and return the figures: seconds of wall clock, PostgreSQL's and ours together, a slice's rows."""
    with scratch() as settings:
        now = datetime.now(UTC)
        roll_table(settings, TRANSACTIONS, utc_today())
        _fill(settings, now - timedelta(hours=20), now - timedelta(minutes=10), _OLD_ROWS)
        watch_transactions(settings, now - timedelta(minutes=10))
        while any(one.behind_s for one in watch_transactions(settings, now - timedelta(minutes=9)).tables):
            continue
        _fill(settings, now - timedelta(minutes=5), now - timedelta(minutes=4), _NEW_ROWS)
        started = time.perf_counter()
        report = watch_transactions(settings, now)
        took_s = time.perf_counter() - started
    rows = report.tables[0].rows
    # A run in each minute evaluates the overlap again: a new row costs that much more than one evaluation.
    repeated = 1 + settings.watch_transactions.overlap_s / _EVERY_S
    each = took_s / rows * 10_000 * repeated
    result = {
        "name": "watch",
        "rows": rows,
        "findings": report.tables[0].findings,
        "seconds": round(took_s, 2),
        "seconds_per_10000_rows": round(each, 3),
        "target_s": TARGET_S,
        "passed": rows >= _NEW_ROWS and each <= TARGET_S,
    }
    table = Table("rows", "findings", "s", "s per 10,000 new", "target", title="watch", title_justify="left")
    table.add_row(f"{rows:,}", str(result["findings"]), f"{took_s:.2f}", f"{each:.3f}", f"<= {TARGET_S} s")
    Console().print(table)
    return result


def _fill(settings: Settings, begin: datetime, end: datetime, rows: int) -> None:
    with connect(settings.database_dsn, "bench") as connection:
        connection.execute(_FILL, {"begin": begin, "end": end, "rows": rows})
        connection.execute("ANALYZE transactions_partitioned")
