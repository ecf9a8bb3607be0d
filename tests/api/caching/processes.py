"""Caches as the processes of one API have them, each with a link of its own to a real Redis."""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

from api.caching import CacheKey, Entry, Fresh, ResponseCache
from api.connections.shared_redis import SharedRedis
from config.cache import CacheSettings

SECRET = os.urandom(32)  # channels reach across the databases of one Redis: the test workers must not hear each other
PREFIX = "treasury:"
TAG_PARTS = ("transactions", "acme", "w-1")
PAGE = CacheKey("transactions", "page", "acme", ("wallet_id", "w-1"))
ROW = CacheKey("transactions", "row", "acme", ("01a2075d-7b9a-7104-9aa5-288984c15c06",))


def quick(**changes: Any) -> CacheSettings:
    """Settings that let a busy machine be slow: only the tests of faults have short limits."""
    return CacheSettings(**{"stale_s": 10, "redis_timeout_ms": 1000, "commit_wait_ms": 1000, **changes})


@asynccontextmanager
async def process(url: str | None, linked: bool = True, **changes: Any) -> AsyncIterator[ResponseCache]:
    """The cache of one process, linked before it is used."""
    redis = SharedRedis(url, PREFIX)
    cache = ResponseCache(quick(**changes), redis, SECRET)
    cache.open()
    try:
        if url is not None and linked:
            await until(lambda: cache.linked)
        yield cache
    finally:
        await cache.close()
        await redis.close()


async def until(condition: Callable[[], bool], within_s: float = 20) -> None:
    """Wait for ``condition``."""
    async with asyncio.timeout(within_s):
        while not condition():
            await asyncio.sleep(0.005)


def run(test: Coroutine[Any, Any, None]) -> None:
    """Run one test's coroutine on a loop of its own."""
    asyncio.run(test)


class Ledger:
    """Stands for PostgreSQL: one value that changes at COMMITs, whose moments are remembered."""

    def __init__(self) -> None:
        self.version = 0
        self.reads = 0
        self.superseded_at_s: dict[int, float] = {}

    def commit(self) -> None:
        """The next version is there for all who read from now on."""
        self.superseded_at_s[self.version] = time.monotonic()
        self.version += 1

    async def read(self) -> Fresh:
        """The version of now."""
        self.reads += 1
        return Fresh(str(self.version).encode(), 60)


async def ask(cache: ResponseCache, ledger: Ledger, key: CacheKey = PAGE, **answer: Any) -> int:
    """What a client of ``cache``'s process is told, as the handlers ask."""

    async def compute() -> Fresh:
        fresh = await ledger.read()
        return Fresh(fresh.body, **{"ttl_s": fresh.ttl_s, **answer})

    entry: Entry | None = cache.get(key)
    if entry is None:
        entry = await cache.read(key, tag(cache), compute)
    return int(entry.body)


def tag(cache: ResponseCache) -> bytes:
    """The tag of what the tests ask for."""
    return cache.names.wallet_tag(*TAG_PARTS)


async def write(cache: ResponseCache, ledger: Ledger) -> None:
    """A write of ``cache``'s process: COMMIT, then the invalidation, then the answer to the client."""
    ledger.commit()
    await cache.invalidate({tag(cache)})
