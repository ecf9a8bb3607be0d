"""The cost of the limits and the watch for one request, in microseconds of CPU, with leases from a real Redis.

No server and no database: the guard, the limit of the key and the headers, as a request meets them. Each figure is CPU
time of this process divided by the requests; the Redis server's own time is not in it.
"""

import asyncio
import tempfile
import time
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from api.abuse.defence import Defence
from api.abuse.guard import Guard
from api.abuse.rate_limits import RatePolicy
from api.connections.database import Database
from api.connections.shared_redis import SharedRedis
from api.logs.access_log import RequestLog
from bench.scratch import ANY_PORTS
from config import Settings, load_settings
from servers.lending import running

REQUESTS = 100_000
TARGET_US = 15.0
TITLES = {
    "check_us": "one check of a key with leased tokens",
    "guard_us": "guard: address, limit of the address, watch",
    "whole_us": "guard, limit of the key, headers",
}
_SCOPE: dict[str, Any] = {
    "type": "http",
    "method": "POST",
    "path": "/api/v1/transactions",
    "raw_path": b"/api/v1/transactions",
    "query_string": b"",
    "client": ("203.0.113.9", 40_000),
    "headers": [
        (b"host", b"127.0.0.1:8400"),
        (b"user-agent", b"Mozilla/5.0 (compatible; wallet/7.1; +https://wallet.example)"),
        (b"content-type", b"application/json"),
        (b"content-length", b"182"),
        (b"authorization", b"Bearer trk_0123456789ab_made-up"),
        (b"idempotency-key", b"0b7a1f6c-1d1e-4a44-9d3a-111111111111"),
    ],
}


def run() -> dict[str, Any]:
    """Measure and print; the dictionary is the JSON line."""
    with tempfile.TemporaryDirectory(prefix="treasury-bench-") as home:
        base = load_settings().model_copy(update={"home": Path(home), "ports": ANY_PORTS, "redis_url": None})
        with running(base, "redis") as settings:
            figures = asyncio.run(_measure(settings))
    for name, microseconds in figures.items():
        print(f"{TITLES[name]:<52}{microseconds:>8.2f} us")
    total_us = figures["whole_us"]
    return {
        "name": "limits_cost",
        "requests": REQUESTS,
        **{name: round(value, 2) for name, value in figures.items()},
        "target_us": TARGET_US,
        "met": total_us <= TARGET_US,
    }


async def _measure(settings: Settings) -> dict[str, float]:
    without_database = settings.model_copy(update={"database_url": SecretStr("postgresql://127.0.0.1:1/none")})
    redis_url = settings.redis_url
    redis = SharedRedis(None if redis_url is None else redis_url.get_secret_value(), settings.redis_prefix)
    defence = Defence.make(without_database, Database(without_database), redis)
    try:
        nothing = await _of_app(_answer, None)
        guarded = await _of_app(_answer, defence)
        both = await _of_app(_answering_limited(defence), defence)
        return {
            "check_us": await _of_check(defence),
            "guard_us": guarded - nothing,
            "whole_us": both - nothing,
        }
    finally:
        await redis.close()


async def _of_check(defence: Defence) -> float:
    started_s = time.process_time()
    for _ in range(REQUESTS):
        await defence.limiter.spend(RatePolicy.TRANSACTIONS, "0123456789ab")
    return (time.process_time() - started_s) / REQUESTS * 1e6


async def _of_app(app: Any, defence: Defence | None) -> float:
    served = RequestLog(app if defence is None else Guard(app, defence))
    started_s = time.process_time()
    for _ in range(REQUESTS):
        await served(dict(_SCOPE), _receive, _send)
    return (time.process_time() - started_s) / REQUESTS * 1e6


async def _answer(_scope: Any, _receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


def _answering_limited(defence: Defence) -> Any:
    async def answer(_scope: Any, _receive: Any, send: Any) -> None:
        verdict = await defence.limiter.spend(RatePolicy.TRANSACTIONS, "0123456789ab")
        headers = [] if verdict is None else verdict.headers()
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b""})

    return answer


async def _receive() -> Any:
    return {"type": "http.request", "body": b"", "more_body": False}


async def _send(_message: Any) -> None:
    return None
