"""The pages of the dashboard over 240 months of three tables: server time, bytes, and what an open page costs.

The months are real in PostgreSQL and in the catalogue. Of those that are archived one is real, and the others are
copies of its row. A page reads the catalogue and no object, but for *Find*, which asks for the real month. A day of a
supplier is reconciled with planted differences, and the API has a day of minutes behind it.
"""

import re
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import psycopg
from psycopg.sql import SQL, Identifier
from psycopg.types.json import Jsonb
from rich.console import Console
from rich.table import Table

from api.dashboard.rendering import FOLDER
from bench import api_with_history
from bench.reconciliation import DAY, reconcile_sample
from bench.scratch import fill_month, scratch
from config import Settings
from ledger.months import Month
from ledger.scopes import Scope
from servers import lease, stack
from servers.api import Api
from servers.process import Launch
from tasks.admin.keys import create_key
from tasks.archiving.calendar import utc_today
from tasks.archiving.rollover import roll_table
from tasks.archiving.to_cold import archive_month
from tasks.archiving.to_warm import warm_month
from tasks.querying.query import run_query

MONTHS = 240
TABLES = ("transactions", "vas_transactions", "payouts")
_DAYS = f"from={DAY - timedelta(days=30)}&to={DAY + timedelta(days=30)}"
PAGES = {
    "Now": "/dashboard",
    "Life of the data": "/dashboard/life",
    "a month": "/dashboard/life/transactions/{month}",
    "Find": "/dashboard/find?by=wallet_id&value={wallet}&from={real}-01&to={real}-28",
    "a row": "/dashboard/find/transactions/{row}",
    "Money and load": "/dashboard/money",
    "Reconciliation": f"/dashboard/reconciliation?{_DAYS}&state=all",
    "a break": "/dashboard/reconciliation/breaks/1",
    "Periods": "/dashboard/reconciliation/periods",
    "Waits for a second person": "/dashboard/queue",
    "Sessions": "/dashboard/sessions",
    "Runbooks": "/dashboard/docs/runbooks",
}
OPEN_PAGES = ("Now", "Life of the data")
RECONCILED_ROWS = 10_000
TARGET_FIRST_MS = 1000.0
TARGET_P95_MS = 150.0
TARGET_BYTES = 100_000
TARGET_CORE_SHARE = 0.02
REQUESTS = 200
PAUSE_S = 0.2  # so that answers which are kept for some seconds are made again meanwhile
REFRESHES, REFRESH_S = 8, 15.0
_PROGRAM = api_with_history.__name__
_FILE = re.compile(rf'"({FOLDER}/[^"]+)"')
_HOT = 16  # months that the default policy keeps in PostgreSQL
_THIRD: dict[str, Any] = {"money_columns": ["amount"], "lookup_columns": [], "bloom_columns": ["id"]}


def run() -> dict[str, Any]:
    """Measure, print a table, and return the figures. Works on a database of its own, dropped at the end."""
    with scratch("redis", "s3") as base:
        settings = base.model_copy(update={"tables": {"payouts": _THIRD}})
        places = _fill(settings)
        key = create_key(settings, "bench", list(Scope))
        with _serving(settings) as url, httpx.Client(base_url=url, timeout=60) as client:
            client.post("/dashboard/sign-in", data={"key": key})
            pages = {name: _page(client, path.format(**places)) for name, path in PAGES.items()}
            open_pages = {name: _open_page(client, settings.home, PAGES[name]) for name in OPEN_PAGES}
    result: dict[str, Any] = {"name": "dashboard", "months": MONTHS, "tables": len(TABLES), "pages": pages}
    targets = {"first_ms": TARGET_FIRST_MS, "p95_ms": TARGET_P95_MS, "bytes": TARGET_BYTES}
    result |= {"core_share_of_an_open_page": open_pages, "targets": targets}
    result["missed"] = missed(pages, targets)
    result["passed"] = not result["missed"] and max(open_pages.values()) <= TARGET_CORE_SHARE
    _show(result)
    return result


def missed(pages: Mapping[str, Mapping[str, float]], targets: Mapping[str, float]) -> list[str]:
    """The figures of pages that are above their targets, such as `Now first_ms`."""
    return [f"{page} {name}" for page, figures in pages.items() for name in targets if figures[name] > targets[name]]


@contextmanager
def _serving(settings: Settings) -> Iterator[str]:
    """The API with a day of minutes behind it, in a process of its own; yields its address."""
    server = _ApiWithHistory(settings.home, settings.ports.api, settings.for_api().environment(), stack.PROJECT)
    with lease.lease(settings.home, server) as endpoint:
        yield endpoint.url


class _ApiWithHistory(Api):
    """The API's process, started by another program."""

    def prepare(self) -> Launch:
        launch = super().prepare()
        return replace(launch, argv=(sys.executable, "-m", _PROGRAM, *launch.argv[3:]))


def _fill(settings: Settings) -> dict[str, Any]:
    """Fill the three tables; returns what the addresses of pages name: months, and a row and its wallet."""
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
    with tempfile.TemporaryDirectory(prefix="bench-dashboard-") as folder:
        reconcile_sample(settings, RECONCILED_ROWS, Path(folder))
    with run_query(settings, f"SELECT id, wallet_id FROM transactions WHERE month = '{real}' LIMIT 1") as answer:
        (row,) = answer.batches.read_all().to_pylist()
    return {"month": oldest, "real": real, "row": row["id"], "wallet": row["wallet_id"]}


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
        "bytes": first_view_bytes(client, answer),
    }


def first_view_bytes(client: httpx.Client, page: httpx.Response) -> int:
    """What a browser without anything kept receives for a page: itself, and its files as they are sent, compressed."""
    files = [client.get(path).raise_for_status() for path in set(_FILE.findall(page.text))]
    return sum(answer.num_bytes_downloaded for answer in (page, *files))


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
            if _PROGRAM.encode() not in (folder / "cmdline").read_bytes():
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
    for name, page in result["pages"].items():
        table.add_row(name, *(str(page[figure]) for figure in ("first_ms", "p50_ms", "p95_ms", "max_ms", "bytes")))
    table.add_row("target", f"{TARGET_FIRST_MS:.0f}", "", f"{TARGET_P95_MS:.0f}", "", str(TARGET_BYTES))
    Console().print(table)
    Console().print(f"above their targets: {', '.join(result['missed']) or 'none'}")
    for name, share in result["core_share_of_an_open_page"].items():
        Console().print(f"an open page {name} costs the API {share:.2%} of a core; target {TARGET_CORE_SHARE:.0%}")
