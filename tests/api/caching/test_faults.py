"""Redis gone, hanging, slow, and back with what it had: answers go on, and none is older than the bound."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from api.caching import ResponseCache
from api.connections.shared_redis import SharedRedis
from config import Settings
from config.cache import CacheSettings
from config.settings import Ports
from servers.lending import running
from tests.api.caching.processes import PAGE, PREFIX, Ledger, ask, process, run, tag, until, write
from tests.api.caching.proxy import Proxy
from tests.examples import examples

BOUND_S = 0.8
# Short limits, so that every fault is over soon. Entries would live for a minute if nobody invalidated them.
SHORT: dict[str, Any] = {"stale_s": BOUND_S, "redis_timeout_ms": 100, "commit_wait_ms": 50}


@asynccontextmanager
async def behind_proxy(redis_url: str) -> AsyncIterator[Proxy]:
    """A proxy in front of Redis that is stopped at the end."""
    proxy = Proxy(redis_url)
    await proxy.start()
    try:
        yield proxy
    finally:
        await proxy.close()


async def _cut(proxy: Proxy) -> None:
    await proxy.stop()


async def _hang(proxy: Proxy) -> None:
    proxy.hang()


async def _slow(proxy: Proxy) -> None:
    proxy.delay_s = 1.0


FAULTS = {"gone": _cut, "takes everything and answers nothing": _hang, "slow": _slow}


async def _mend(proxy: Proxy) -> None:
    proxy.delay_s = 0
    proxy.resume()
    await proxy.stop()
    await proxy.start()


@pytest.mark.parametrize("fault", FAULTS)
def test_without_redis_a_write_of_another_process_is_seen_within_the_bound(redis_url: str, fault: str) -> None:
    async def test() -> None:
        ledger = Ledger()
        async with (
            behind_proxy(redis_url) as proxy,
            process(proxy.url, **SHORT) as one,
            process(proxy.url, **SHORT) as two,
        ):
            await ask(one, ledger)
            await ask(two, ledger)
            await FAULTS[fault](proxy)
            await write(one, ledger)
            assert await ask(one, ledger) == 1  # the writer's own process knows at once
            while (asked_at_s := time.monotonic()) and await ask(two, ledger) == 0:
                assert asked_at_s - ledger.superseded_at_s[0] < BOUND_S
                await asyncio.sleep(0.01)

    run(test())


@pytest.mark.parametrize("fault", FAULTS)
def test_without_redis_nobody_waits_for_it(redis_url: str, fault: str) -> None:
    """Each call gives up at its limit, and after a failure Redis is not asked again for a while."""

    async def test() -> None:
        ledger = Ledger()
        async with behind_proxy(redis_url) as proxy, process(proxy.url, **SHORT) as cache:
            await FAULTS[fault](proxy)
            await until(lambda: not cache.linked and not _telling(cache))
            errors = cache.statistics()["redis"]["error"]
            for version in range(1, 200):
                await write(cache, ledger)
                assert await ask(cache, ledger) == version
            assert cache.statistics()["redis"]["error"] == errors  # not once was it asked

    run(test())


@pytest.mark.parametrize("fault", FAULTS)
def test_redis_that_comes_back_with_what_it_had_raises_nothing_from_the_dead(redis_url: str, fault: str) -> None:
    async def test() -> None:
        ledger = Ledger()
        async with (
            behind_proxy(redis_url) as proxy,
            process(proxy.url, **SHORT) as one,
            process(proxy.url, **SHORT) as two,
            Redis.from_url(redis_url) as redis,
        ):
            await ask(one, ledger)
            key = f"{PREFIX}cache:1:{one.names.family}:e:{one.names.entry(PAGE)}"
            await until_true(lambda: _exists(redis, key))
            await FAULTS[fault](proxy)
            await until(lambda: not one.linked and not two.linked)
            await write(one, ledger)
            await _mend(proxy)
            await until(lambda: two.linked)  # whichever links first: it may be the one that wrote nothing
            assert await redis.exists(key)  # the old entry is still there
            assert await ask(two, ledger) == 1
            await until(lambda: one.linked)
            assert await ask(one, ledger) == 1

    run(test())


def test_a_redis_that_is_restored_from_an_old_copy_is_not_believed(server_settings: Settings, tmp_path: Path) -> None:
    """Killed, started empty at the same port, and filled with every key that it once had: generations, too."""

    async def test() -> None:
        ledger = Ledger()
        home = server_settings.model_copy(update={"home": tmp_path, "redis_url": None, "ports": Ports(redis=0)})
        with running(home, "redis") as first:
            url = _url(first)
            async with process(url, **SHORT) as cache:
                await ask(cache, ledger)
                async with Redis.from_url(url) as redis:
                    key = f"{PREFIX}cache:1:{cache.names.family}:e:{cache.names.entry(PAGE)}"
                    await until_true(lambda: _exists(redis, key))
                    copy = {name: await redis.dump(name) for name in await redis.keys("*")}
                    await write(cache, ledger)
                    await ask(cache, ledger)
                    # As a server that comes up with an old snapshot: connections break, then the old keys are there.
                    await redis.flushdb()
                    for name, dumped in copy.items():
                        assert dumped is not None
                        await redis.restore(name, 60_000, dumped)
                    session = cache._link.session if cache._link else 0
                    await redis.client_kill_filter(_type="pubsub")
                    await until(lambda: cache.linked and cache._link is not None and cache._link.session > session)
                    assert await redis.exists(key)
                cache._local.drop({tag(cache)})  # what is asked is what Redis says
                assert await ask(cache, ledger) == 1

    run(test())


def test_redis_that_is_killed_and_started_again_is_used_again(server_settings: Settings, tmp_path: Path) -> None:
    async def test() -> None:
        ledger = Ledger()
        base = server_settings.model_copy(update={"home": tmp_path, "redis_url": None, "ports": Ports(redis=0)})
        with running(base, "redis") as first:
            url = _url(first)
            port = int(url.rpartition(":")[2].split("/")[0])
            redis = SharedRedis(url, PREFIX)
            cache = ResponseCache(CacheSettings(**SHORT), redis, b"x" * 32)
            cache.open()
            await until(lambda: cache.linked)
            await ask(cache, ledger)
        await until(lambda: not cache.linked)
        await write(cache, ledger)
        assert await ask(cache, ledger) == 1
        again = base.model_copy(update={"ports": Ports(redis=port)})
        with running(again, "redis") as second:
            assert _url(second) == url
            await until(lambda: cache.linked)
            await ask(cache, ledger)
            cache._local.drop({tag(cache)})
            await until_true(lambda: _found_in_redis(cache, ledger))
            await cache.close()
            await redis.close()

    run(test())


def test_a_process_that_starts_finds_nothing_of_one_that_was_killed(redis_url: str) -> None:
    """It may have been killed between its COMMIT and its invalidation: the link of the next one begins with a flush."""

    async def test() -> None:
        ledger = Ledger()
        async with process(redis_url) as survivor:
            await ask(survivor, ledger)
            ledger.commit()  # and the one that committed is gone
            async with process(redis_url) as successor:
                assert await ask(successor, ledger) == 1
                await until(lambda: survivor._local.get(PAGE) is None)
                assert await ask(survivor, ledger) == 1

    run(test())


def test_alone_a_process_keeps_what_may_change_for_a_moment_and_what_cannot_for_long() -> None:
    async def test() -> None:
        ledger = Ledger()
        final = PAGE._replace(parameters=("final",))
        async with process(None, **SHORT) as cache:
            await ask(cache, ledger)
            await ask(cache, ledger, final, final=True)
            ledger.commit()  # of another process, which cannot tell
            while (asked_at_s := time.monotonic()) and await ask(cache, ledger) == 0:
                assert asked_at_s - ledger.superseded_at_s[0] < BOUND_S
                await asyncio.sleep(0.01)
            assert await ask(cache, ledger, final, final=True) == 0

    run(test())


def _url(settings: Settings) -> str:
    assert settings.redis_url is not None
    return settings.redis_url.get_secret_value()


Step = tuple[str, int]
_STEPS = st.lists(
    st.tuples(
        st.sampled_from(["read", "read", "read", "write", "wait", "cut", "hang", "slow", "mend"]), st.integers(0, 2)
    ),
    min_size=5,
    max_size=40,
)


@settings(max_examples=examples(12), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=_STEPS, seed=st.integers(0, 2**16))
def test_whatever_happens_no_answer_is_older_than_the_bound(redis_url: str, steps: list[Step], seed: int) -> None:
    """Three processes read and write at random while Redis comes and goes for all of them."""

    async def test() -> None:
        ledger, draw = Ledger(), random.Random(seed)  # noqa: S311  # hypothesis gives the seed
        async with (
            behind_proxy(redis_url) as proxy,
            process(proxy.url, linked=False, **SHORT) as one,
            process(proxy.url, linked=False, **SHORT) as two,
            process(proxy.url, linked=False, **SHORT) as three,
        ):
            caches = (one, two, three)
            pending: set[asyncio.Task[None]] = set()
            for kind, who in steps:
                if kind == "read":
                    pending.add(asyncio.create_task(_checked_read(caches[who], ledger, draw.random() * 0.02)))
                elif kind == "write":
                    pending.add(asyncio.create_task(_checked_write(caches[who], ledger)))
                elif kind == "wait":
                    await asyncio.sleep(draw.random() * 0.2)
                else:
                    await {"cut": _cut, "hang": _hang, "slow": _slow, "mend": _mend}[kind](proxy)
                await asyncio.sleep(0)
            await asyncio.gather(*pending)
            for cache in caches:
                await _checked_read(cache, ledger, 0)

    run(test())


def _telling(cache: ResponseCache) -> bool:
    return cache._link is not None and cache._link.sending


async def _checked_read(cache: ResponseCache, ledger: Ledger, after_s: float) -> None:
    await asyncio.sleep(after_s)
    asked_at_s = time.monotonic()
    version = await ask(cache, ledger)
    superseded_at_s = ledger.superseded_at_s.get(version)
    if superseded_at_s is not None:
        assert asked_at_s - superseded_at_s <= BOUND_S


async def _checked_write(cache: ResponseCache, ledger: Ledger) -> None:
    ledger.commit()
    mine = ledger.version
    await cache.invalidate({tag(cache)})
    assert await ask(cache, ledger) >= mine


async def _found_in_redis(cache: ResponseCache, ledger: Ledger) -> bool:
    cache._local.drop({tag(cache)})
    before = cache.statistics()["redis"]["hit"]
    await ask(cache, ledger)
    return cache.statistics()["redis"]["hit"] > before


async def _exists(redis: Redis, key: str) -> bool:
    return bool(await redis.exists(key))


async def until_true(condition: Callable[[], Awaitable[bool]], within_s: float = 20) -> None:
    """Wait for an asynchronous ``condition``."""
    async with asyncio.timeout(within_s):
        while not await condition():
            await asyncio.sleep(0.01)
