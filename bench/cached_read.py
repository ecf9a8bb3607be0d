"""Cached reads against the same reads uncached, over HTTP: one row, a page of 50, a row of an archived month.

Both APIs run at the same time, each one process under uvicorn with the same database, Redis and archive; they are
asked in turn. `wrk` gives the load where it is installed, else a client of this file, which says so.
"""

import asyncio
import random
import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import accumulate
from pathlib import Path
from statistics import median
from typing import Any

import httpx
from psycopg.rows import dict_row
from rich.console import Console
from rich.table import Table

from api.caching.cache import REPORT_S
from api.caching.cache_key import Names
from api.caching.shared import SharedLayer
from api.connections.shared_redis import SharedRedis
from bench.scratch import fill_month, scratch
from config import Settings
from config.cache import CacheSettings
from config.limits import RateLimits
from ledger.months import Month
from ledger.scopes import CLIENT_SCOPES
from servers import lease
from servers.api import Api
from servers.stack import PROJECT
from sql.connection import connect
from sql.partitions import ensure_partition
from tasks.admin.keys import create_key, pepper
from tasks.archiving.to_cold import archive_month
from tasks.archiving.to_warm import warm_month

CLIENT = "bench"
PATH = "/api/v1/transactions"
TARGET_RATIO = 5.0
ROWS = 100_000
CONNECTIONS = 32
SECONDS = 3
ROUNDS = 3
ZIPF_S = 1.1
DRAWN = 200_000
WARM_SECONDS, ZIPF_SECONDS = 20, 8
PAGE_SHARE = 0.1
WRITE_SHARE = 0.3
_PAGE = 50
# Counted as ever, but ten times as high as by default: one key at one address asks more here than it is granted there.
_LIMITS = RateLimits(transactions="3000000/minute", ddos="6000000/minute")


@dataclass(frozen=True, slots=True)
class CachedRows:
    """The rows that are asked for."""

    row_ids: list[str]
    wallets: list[str]
    cold_id: str


def run() -> dict[str, Any]:
    """Measure, print a table, and return the figures. Works on servers of its own."""
    with scratch("redis", "s3") as settings, ExitStack() as stack:
        rows = _prepare(settings)
        headers = {"Authorization": f"Bearer {create_key(settings, CLIENT, CLIENT_SCOPES)}"}
        urls = {
            name: stack.enter_context(_serving(settings, name, enabled))
            for name, enabled in (("off", False), ("on", True))
        }
        busy = _busiest(urls["off"], headers, rows)
        questions = {
            "hot row": f"{PATH}/{rows.row_ids[0]}",
            "page of 50": f"{PATH}?wallet_id={busy}&limit={_PAGE}",
            "cold row": f"{PATH}/{rows.cold_id}",
        }
        measured = {name: _compare(urls, headers, question) for name, question in questions.items()}
        zipf = _zipf(settings, urls["on"], headers, rows)
    result = {
        "name": "cached_read",
        "load": "wrk" if shutil.which("wrk") else "httpx",
        "connections": CONNECTIONS,
        "rows": ROWS,
        **{name.replace(" ", "_"): figures for name, figures in measured.items()},
        "zipf": zipf,
        "passed": all(figure["ratio"] >= TARGET_RATIO for figure in measured.values()),
    }
    _show(result, measured)
    return result


def _prepare(settings: Settings) -> CachedRows:
    now = Month.of(datetime.now(UTC))
    cold = now.plus(-20)
    fill_month(settings, now.plus(-1), ROWS)
    fill_month(settings, cold, 5000)
    table = settings.table("transactions")
    with connect(settings.database_dsn, "bench") as connection:
        ensure_partition(connection, settings, table, now)
        connection.execute("ALTER TABLE transactions_partitioned DISABLE TRIGGER USER")
        connection.execute("UPDATE transactions_partitioned SET client_id = %s", (CLIENT,))
        connection.execute("ALTER TABLE transactions_partitioned ENABLE TRIGGER USER")
        connection.execute("VACUUM ANALYZE transactions_partitioned")
        with connection.cursor(row_factory=dict_row) as cursor:
            read = "SELECT id::text, wallet_id FROM transactions_partitioned WHERE created_at {} %s ORDER BY id"
            hot = cursor.execute(read.format(">="), (now.plus(-1).lower,)).fetchall()
            old = cursor.execute(read.format("<"), (now.plus(-1).lower,)).fetchall()
    warm_month(settings, table, cold)
    archive_month(settings, table, cold)
    return CachedRows([row["id"] for row in hot], [row["wallet_id"] for row in hot], old[0]["id"])


@contextmanager
def _serving(settings: Settings, name: str, enabled: bool) -> Iterator[str]:
    """One process of the API with the cache on or off, and everything else as it is in life, its log too."""
    own = settings.model_copy(update={"cache": CacheSettings(enabled=enabled), "rate_limits": _LIMITS})
    home = Path(settings.home) / f"api-{name}"
    home.mkdir()
    with lease.lease(home, Api(home, 0, own.for_api().environment(), PROJECT), lambda: False) as endpoint:
        yield endpoint.url


def _busiest(url: str, headers: dict[str, str], rows: CachedRows) -> str:
    """A wallet whose page is full."""
    counts: dict[str, int] = {}
    for wallet in rows.wallets:
        counts[wallet] = counts.get(wallet, 0) + 1
    busy = max(counts, key=lambda wallet: counts[wallet])
    page = httpx.get(f"{url}{PATH}", params={"wallet_id": busy, "limit": _PAGE}, headers=headers, timeout=30)
    if len(page.json()["items"]) != _PAGE:
        raise ValueError(f"the page has {len(page.json()['items'])} rows")
    return busy


def _compare(urls: dict[str, str], headers: dict[str, str], question: str) -> dict[str, Any]:
    """Requests per second of both, in turn; the median of the rounds. Both give the same bytes."""
    answers = {name: httpx.get(url + question, headers=headers, timeout=30) for name, url in urls.items()}
    if {answer.status_code for answer in answers.values()} != {200} or answers["on"].content != answers["off"].content:
        raise ValueError(f"{question}: the cached answer is not the uncached one")
    rates: dict[str, list[float]] = {name: [] for name in urls}
    for _ in range(ROUNDS):
        for name, url in urls.items():
            rates[name].append(_per_second(url + question, headers))
    off, on = median(rates["off"]), median(rates["on"])
    return {"uncached_per_s": round(off), "cached_per_s": round(on), "ratio": round(on / off, 2)}


def _per_second(url: str, headers: dict[str, str]) -> float:
    if shutil.which("wrk") is None:
        return asyncio.run(_ask_for(url, headers))
    return _wrk(url, headers, SECONDS)


def _wrk(url: str, headers: dict[str, str], seconds: int, *more: str) -> float:
    header = f"Authorization: {headers['Authorization']}"
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--timeout", "30s", "-H", header, *more, url]
    shown = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout  # noqa: S603  # our own URL
    if "Non-2xx" in shown or "Socket errors" in shown:
        raise ValueError(shown)
    return float(shown.split("Requests/sec:")[1].split()[0])


async def _ask_for(url: str, headers: dict[str, str]) -> float:
    until_s, done = time.monotonic() + SECONDS, 0

    async def ask(client: httpx.AsyncClient) -> None:
        nonlocal done
        while time.monotonic() < until_s:
            (await client.get(url)).raise_for_status()
            done += 1

    async with httpx.AsyncClient(headers=headers, timeout=30) as client:
        await asyncio.gather(*(ask(client) for _ in range(CONNECTIONS)))
    return done / SECONDS


def _zipf(settings: Settings, url: str, headers: dict[str, str], rows: CachedRows) -> dict[str, Any]:
    """Reads and writes in which the n-th most wanted row is asked for n^-s as often, counted after a warm-up.

    The warm-up is reads of rows in the same distribution. There is no target for it: that of hits is `bench.serving`'s.
    """
    drawn = _drawn_requests(rows)
    _send(url, headers, [rank for rank in drawn if rank[0] == "GET" and "?" not in rank[1]], WARM_SECONDS)
    before = _counted(settings)
    per_s = _send(url, headers, drawn[::-1], ZIPF_SECONDS)
    after = _counted(settings)
    local = {name: after["local"][name] - before["local"][name] for name in ("hit", "miss")}
    shared = {name: after["redis"][name] - before["redis"][name] for name in ("hit", "miss")}
    asked = local["hit"] + local["miss"]
    return {
        "s": ZIPF_S,
        "ids": len(rows.row_ids),
        "page_share": PAGE_SHARE,
        "write_share": WRITE_SHARE,
        "requests_per_s": round(per_s),
        "reads": asked,
        "local_hits": round(local["hit"] / asked, 3),
        "hits": round((local["hit"] + shared["hit"]) / asked, 3),
    }


def _drawn_requests(rows: CachedRows) -> list[tuple[str, str]]:
    """Method, and a path to read or a wallet to write to."""
    draw = random.Random(1)  # noqa: S311  # no secret: the same requests each time
    weights = list(accumulate((n + 1) ** -ZIPF_S for n in range(len(rows.row_ids))))
    chosen = draw.choices(range(len(rows.row_ids)), cum_weights=weights, k=DRAWN)
    requests = []
    for n in chosen:
        kind = draw.random()
        if kind < WRITE_SHARE:
            requests.append(("POST", rows.wallets[n]))
        elif kind < WRITE_SHARE + PAGE_SHARE * (1 - WRITE_SHARE):
            requests.append(("GET", f"{PATH}?wallet_id={rows.wallets[n]}"))
        else:
            requests.append(("GET", f"{PATH}/{rows.row_ids[n]}"))
    return requests


def _counted(settings: Settings) -> dict[str, dict[str, int]]:
    """The counts of the one API that caches, as it has left them in Redis since now."""
    time.sleep(REPORT_S + 1)

    redis_url = settings.redis_url
    if redis_url is None:
        raise ValueError("there is no Redis")

    async def read() -> dict[str, dict[str, dict[str, int]]]:
        redis = SharedRedis(redis_url.get_secret_value(), settings.redis_prefix)
        try:
            return await SharedLayer(redis.access("bench", 1), Names(pepper(settings))).reports(REPORT_S * 2)
        finally:
            await redis.close()

    (counts,) = asyncio.run(read()).values()
    return counts


_SCRIPT = """
local lines, next_line = {{}}, 0
for line in io.lines("{file}") do lines[#lines + 1] = line end
local run = tostring(os.time()) .. tostring(math.random(1e9))
request = function()
    next_line = next_line % #lines + 1
    local method, rest = lines[next_line]:match("^(%S+) (.*)$")
    if method == "GET" then return wrk.format("GET", rest) end
    local headers = {{["Content-Type"] = "application/json", ["Idempotency-Key"] = run .. "-" .. next_line}}
    for name, value in pairs(wrk.headers) do headers[name] = value end
    return wrk.format("POST", "{path}", headers, '{{"user_id":"u","type":"payment","amount":"1.00","currency":"ZAR",'
        .. '"wallet_id":"' .. rest .. '"}}')
end
"""


def _send(url: str, headers: dict[str, str], drawn: list[tuple[str, str]], seconds: int) -> float:
    """Send ``drawn`` over and over; requests per second."""
    if shutil.which("wrk") is None:
        return asyncio.run(_send_ourselves(url, headers, drawn, seconds))
    with tempfile.TemporaryDirectory(prefix="bench-zipf-") as folder:
        lines, script = Path(folder) / "requests", Path(folder) / "zipf.lua"
        lines.write_text("\n".join(f"{method} {rest}" for method, rest in drawn))
        script.write_text(_SCRIPT.format(file=lines, path=PATH))
        return _wrk(url, headers, seconds, "-s", str(script))


async def _send_ourselves(url: str, headers: dict[str, str], drawn: list[tuple[str, str]], seconds: int) -> float:
    until_s, done = time.monotonic() + seconds, 0
    waiting = iter(drawn)
    body = {"user_id": "u", "type": "payment", "amount": "1.00", "currency": "ZAR"}

    async def ask(client: httpx.AsyncClient) -> None:
        nonlocal done
        while time.monotonic() < until_s and (request := next(waiting, None)) is not None:
            if request[0] == "GET":
                answer = await client.get(request[1])
            else:
                key = {"Idempotency-Key": secrets.token_hex(8)}
                answer = await client.post(PATH, json={**body, "wallet_id": request[1]}, headers=key)
            answer.raise_for_status()
            done += 1

    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=30) as client:
        await asyncio.gather(*(ask(client) for _ in range(CONNECTIONS)))
    return done / seconds


def _show(result: dict[str, Any], measured: dict[str, dict[str, Any]]) -> None:
    table = Table(title=f"Cached reads, {CONNECTIONS} connections, {result['load']}")
    for column in ("read", "uncached/s", "cached/s", f"ratio (>= {TARGET_RATIO:g})"):
        table.add_column(column, justify="left" if column == "read" else "right")
    for name, figures in measured.items():
        table.add_row(name, f"{figures['uncached_per_s']:,}", f"{figures['cached_per_s']:,}", str(figures["ratio"]))
    console, zipf = Console(), result["zipf"]
    console.print(table)
    console.print(
        f"Zipf s={zipf['s']} over {zipf['ids']:,} ids, {PAGE_SHARE:.0%} of the reads pages, {WRITE_SHARE:.0%} writes: "
        f"{zipf['requests_per_s']:,} requests/s, hits {zipf['hits']:.1%} (in the process {zipf['local_hits']:.1%})"
    )
