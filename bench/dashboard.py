"""The pages of the dashboard over 240 months of three tables: server time, bytes, and what an open page costs.

The months are real in PostgreSQL and in the catalogue. Of those that are archived one is real, and the others are
copies of its row. A page reads the catalogue and no object.
"""

import statistics
import time
from pathlib import Path
from typing import Any

import httpx
import psycopg
from psycopg.sql import SQL, Identifier
from psycopg.types.json import Jsonb
from rich.console import Console
from rich.table import Table

from bench.posting import serving
from bench.scratch import fill_month, scratch
from config import Settings
from ledger.months import Month
from ledger.scopes import Scope
from tasks.admin.keys import create_key
from tasks.archiving.calendar import utc_today
from tasks.archiving.rollover import roll_table
from tasks.archiving.to_cold import archive_month
from tasks.archiving.to_warm import warm_month

MONTHS = 240
TABLES = ("transactions", "vas_transactions", "payouts")
PAGES = ("/dashboard", "/dashboard/life", "/dashboard/life/transactions/{month}")
TARGET_P95_MS = 150.0
TARGET_BYTES = 100_000
TARGET_CORE_SHARE = 0.02
REQUESTS = 200
PAUSE_S = 0.2  # so that answers which are kept for some seconds are made again meanwhile
REFRESHES, REFRESH_S = 8, 15.0
_HOT = 16  # months that the default policy keeps in PostgreSQL
_THIRD: dict[str, Any] = {"money_columns": ["amount"], "lookup_columns": [], "bloom_columns": ["id"]}


def run() -> dict[str, Any]:
    """Measure, print a table, and return the figures. Works on a database of its own, dropped at the end."""
    with scratch("redis", "s3") as base:
        settings = base.model_copy(update={"tables": {"payouts": _THIRD}})
        oldest = _fill(settings)
        key = create_key(settings, "bench", list(Scope))
        with serving(settings) as url, httpx.Client(base_url=url, timeout=60) as client:
            client.post("/dashboard/sign-in", data={"key": key})
            pages = {path: _page(client, path.format(month=oldest)) for path in PAGES}
            open_pages = {path: _open_page(client, settings.home, path) for path in PAGES[:2]}
    result: dict[str, Any] = {"name": "dashboard", "months": MONTHS, "tables": len(TABLES), "pages": pages}
    result |= {"core_share_of_an_open_page": open_pages, "target_p95_ms": TARGET_P95_MS, "target_bytes": TARGET_BYTES}
    result["passed"] = (
        all(page["p95_ms"] <= TARGET_P95_MS and page["bytes"] <= TARGET_BYTES for page in pages.values())
        and max(open_pages.values()) <= TARGET_CORE_SHARE
    )
    _show(result)
    return result


def _fill(settings: Settings) -> Month:
    """Fill the three tables; returns the oldest month."""
    present = Month.of(utc_today())
    oldest, real = present.plus(1 - MONTHS), present.plus(-_HOT)
    with psycopg.connect(settings.database_dsn, autocommit=True) as connection:
        connection.execute(
            "CREATE TABLE public.payouts_partitioned (LIKE public.transactions_partitioned INCLUDING DEFAULTS "
            "INCLUDING CONSTRAINTS, PRIMARY KEY (id, created_at)) PARTITION BY RANGE (created_at)"
        )
    for table in settings.registry.values():
        roll_table(settings, table, real.first_day)
        roll_table(settings, table, utc_today())
    fill_month(settings, real, 100)
    table = settings.table("transactions")
    warm_month(settings, table, real)
    archive_month(settings, table, real)
    _copy_months(settings, oldest, real)
    return oldest


def _copy_months(settings: Settings, oldest: Month, real: Month) -> None:
    """Rows of the catalogue for every month of every table from the oldest to the one that is real."""
    statement = SQL(
        "INSERT INTO archive_months SELECT (jsonb_populate_record(m, %s)).* FROM archive_months m "
        "WHERE (table_name, month) = ('transactions', %s) ON CONFLICT DO NOTHING"
    )
    with psycopg.connect(settings.database_dsn) as connection:
        connection.execute(SQL("SET search_path = {}, public").format(Identifier(settings.own_schema)))
        for name in TABLES:
            there = "DELETE FROM archive_months WHERE table_name = %s AND month < %s AND tier = 'hot'"
            connection.execute(there, (name, real.first_day))
            for distance in range(MONTHS - _HOT):
                month = oldest.plus(distance)
                key = f"{name}/{month}.parquet"
                changes = {"table_name": name, "month": str(month.first_day), "object_key": key}
                changes["manifest_key"] = f"{key}.manifest"
                connection.execute(statement, (Jsonb(changes), real.first_day))


def _page(client: httpx.Client, path: str) -> dict[str, Any]:
    """The first answer, then the times of many, seen by a client on the same machine."""
    times_ms: list[float] = []
    answer = _timed(client, path, times_ms)
    first_ms = times_ms.pop()
    for _ in range(REQUESTS):
        time.sleep(PAUSE_S)
        _timed(client, path, times_ms)
    ranked = statistics.quantiles(times_ms, n=100)
    return {
        "first_ms": round(first_ms, 1),
        "p50_ms": round(ranked[49], 1),
        "p95_ms": round(ranked[94], 1),
        "max_ms": round(max(times_ms), 1),
        "bytes": len(answer.content),
    }


def _timed(client: httpx.Client, path: str, times_ms: list[float]) -> httpx.Response:
    started_s = time.perf_counter()
    answer = client.get(path).raise_for_status()
    times_ms.append((time.perf_counter() - started_s) * 1000)
    return answer


def _open_page(client: httpx.Client, home: Path, path: str) -> float:
    """The share of a core that a window which refreshes itself costs the API, less what the API costs without it."""
    span_s = REFRESHES * REFRESH_S
    idle_s = _cpu_s(home)
    time.sleep(span_s / 4)
    idle_share = (_cpu_s(home) - idle_s) / (span_s / 4)
    before_s, ends_s = _cpu_s(home), time.monotonic() + span_s
    for number in range(REFRESHES):
        client.get(path, headers={"X-Dashboard-Refresh": "1"}).raise_for_status()
        time.sleep(max(0.0, ends_s - span_s + (number + 1) * REFRESH_S - time.monotonic()))
    return round(max((_cpu_s(home) - before_s) / span_s - idle_share, 0.0), 4)


def _cpu_s(home: Path) -> float:
    """Processor seconds of the API's processes, found by the home in their environment."""
    total_s = 0.0
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if b"api.serve" not in (folder / "cmdline").read_bytes():
                continue
            if str(home).encode() not in (folder / "environ").read_bytes():
                continue
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:  # it has just ended
            continue
        total_s += (int(fields[11]) + int(fields[12])) / 100
    return total_s


def _show(result: dict[str, Any]) -> None:
    table = Table("page", "first ms", "p50 ms", "p95 ms", "max ms", "bytes", title="Dashboard", title_justify="left")
    for path, page in result["pages"].items():
        table.add_row(path, *(str(page[name]) for name in ("first_ms", "p50_ms", "p95_ms", "max_ms", "bytes")))
    Console().print(table)
    for path, share in result["core_share_of_an_open_page"].items():
        Console().print(f"an open page {path} costs the API {share:.2%} of a core; target {TARGET_CORE_SHARE:.0%}")
