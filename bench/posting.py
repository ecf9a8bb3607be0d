"""Durable single posts over HTTP against pgbench inserting the same rows, and batches against COPY, in one run."""

import io
import json
import statistics
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import httpx
from psycopg.sql import SQL, Identifier
from rich.console import Console
from rich.table import Table

from bench.load import Load, pgbench_loop, wrk_loop
from bench.scratch import scratch
from config import Settings
from ledger.scopes import CLIENT_SCOPES
from ledger.tables import TRANSACTIONS
from servers import lease, stack
from servers.api import Api
from sql.connection import connect
from tasks.admin.keys import create_key
from tasks.archiving.calendar import utc_today
from tasks.archiving.rollover import roll_table

CONNECTIONS = 64
ROUND_S = 6
ROUNDS = 3
BATCHES = 60
BATCH_ROWS = 1000
TARGET_POSTS = 0.35
TARGET_P99_MS = 100
TARGET_BATCH = 0.4


def run(rounds: int = ROUNDS, round_s: int = ROUND_S) -> dict[str, Any]:
    """Measure, print a table, and return the figures. Works on a database of its own, dropped at the end."""
    with scratch("redis") as settings, serving(settings) as url:
        for table in settings.registry.values():
            roll_table(settings, table, utc_today())
        key = create_key(settings, "bench", CLIENT_SCOPES)
        wrk_loop(url, "post.lua", key, connections=CONNECTIONS, duration_s=2)  # pools, plans and partitions are warm
        inserts: list[float] = []
        posts: list[Load] = []
        for _ in range(rounds):
            inserts.append(pgbench_loop(settings.database_dsn, "insert.pgbench", clients=64, duration_s=round_s))
            posts.append(wrk_loop(url, "post.lua", key, connections=CONNECTIONS, duration_s=round_s))
        batch_per_s, copy_per_s = _batches(settings, url, key)
    result = _result(inserts, posts, batch_per_s, copy_per_s)
    _show(result)
    return result


@contextmanager
def serving(settings: Settings) -> Iterator[str]:
    """The API in its own processes, as `treasury up` starts it; yields its address."""
    server = Api(settings.home, settings.ports.api, settings.for_api().environment(), stack.PROJECT)
    with lease.lease(settings.home, server) as endpoint:
        yield endpoint.url


def _batches(settings: Settings, url: str, key: str) -> tuple[float, float]:
    """Rows a second of whole batches over HTTP, four at a time, and of COPY with the same rows into the same table."""
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    bodies = [_batch() for _ in range(BATCHES)]
    with httpx.Client(base_url=url, headers=headers, timeout=60) as client, ThreadPoolExecutor(4) as pool:

        def post(body: bytes) -> None:
            answer = client.post("/api/v1/transactions/batch", content=body, headers={"Idempotency-Key": uuid4().hex})
            answer.raise_for_status()

        started = time.perf_counter()
        list(pool.map(post, bodies))
        batch_s = time.perf_counter() - started
    rows = BATCHES * BATCH_ROWS
    return rows / batch_s, rows / _copy_s(settings, rows)


def _batch() -> bytes:
    item = {"type": "payment", "amount": "120.50", "fee": "1.50", "currency": "ZAR", "metadata": {"channel": "app"}}
    items = [item | {"user_id": f"u-{n}", "wallet_id": f"w-{n}", "reference": f"order-{n}"} for n in range(BATCH_ROWS)]
    return json.dumps({"items": items}).encode()


def _copy_s(settings: Settings, rows: int) -> float:
    """Seconds of a COPY of the newest ``rows``, with new ids, into the same table."""
    parent = Identifier(TRANSACTIONS.hot_parent)
    newest = SQL("SELECT * FROM {} ORDER BY created_at DESC LIMIT {}").format(parent, rows)
    names = SQL(
        "gen_random_uuid(), client_id, user_id, wallet_id, counterparty_wallet_id, type, status, amount, fee, currency,"
        " reference, description, metadata, created_at, updated_at"
    )
    with connect(settings.database_dsn, "bench") as connection, connection.cursor() as cursor:
        kept = io.BytesIO()
        ids = SQL("COPY (SELECT {} FROM ({}) AS newest) TO STDOUT").format(
            SQL(names.as_string().replace("gen_random_uuid()", "uuidv7()")), newest
        )
        with cursor.copy(ids) as out:
            for block in out:
                kept.write(block)
        kept.seek(0)
        started = time.perf_counter()
        with cursor.copy(SQL("COPY {} FROM STDIN").format(parent)) as copy:
            while block := kept.read(1 << 18):
                copy.write(block)
        return time.perf_counter() - started


def _result(inserts: list[float], posts: list[Load], batch_per_s: float, copy_per_s: float) -> dict[str, Any]:
    insert_per_s = statistics.median(inserts)
    post_per_s = statistics.median(load.per_s for load in posts)
    p99_ms = max(load.p99_us for load in posts) / 1000
    not_stored = sum(load.not_2xx + load.broken for load in posts)
    ratio, batch_ratio = post_per_s / insert_per_s, batch_per_s / copy_per_s
    return {
        "name": "posting",
        "pgbench_per_s": round(insert_per_s),
        "posts_per_s": round(post_per_s),
        "ratio": round(ratio, 2),
        "p50_ms": round(statistics.median(load.p50_us for load in posts) / 1000, 1),
        "p99_ms": round(p99_ms, 1),
        "not_stored": not_stored,
        "batch_rows_per_s": round(batch_per_s),
        "copy_rows_per_s": round(copy_per_s),
        "batch_ratio": round(batch_ratio, 2),
        "passed": ratio >= TARGET_POSTS and p99_ms < TARGET_P99_MS and batch_ratio >= TARGET_BATCH and not not_stored,
    }


def _show(result: dict[str, Any]) -> None:
    table = Table(
        "", "per second", "share", "p99 ms", title=f"Posting at {CONNECTIONS} connections", title_justify="left"
    )
    table.add_row("pgbench, one row a transaction", f"{result['pgbench_per_s']:,}", "1", "")
    table.add_row("POST, one row each", f"{result['posts_per_s']:,}", str(result["ratio"]), str(result["p99_ms"]))
    table.add_row("COPY, rows", f"{result['copy_rows_per_s']:,}", "1", "")
    table.add_row("POST /batch, rows", f"{result['batch_rows_per_s']:,}", str(result["batch_ratio"]), "")
    Console().print(table)
