"""One client of Redis for a process: each access has its own time limit, and one policy decides when Redis is away."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
from redis.asyncio import Redis

from api.connections.shared_redis import FAILURES, RedisAccess, RedisAwayError, SharedRedis
from tests.api.caching.processes import PREFIX, run, until
from tests.api.caching.proxy import Proxy

SHORT_S, LONG_S = 0.1, 5.0


async def ping(client: Redis) -> bool:
    return bool(await client.ping())


@asynccontextmanager
async def behind_proxy(redis_url: str) -> AsyncIterator[tuple[Proxy, SharedRedis]]:
    proxy = Proxy(redis_url)
    await proxy.start()
    redis = SharedRedis(proxy.url, PREFIX)
    try:
        yield proxy, redis
    finally:
        await redis.close()
        await proxy.close()


async def answered(access: RedisAccess) -> None:
    """Ask until Redis answers within the time limit: the machine of the tests is busy."""
    async with asyncio.timeout(60):
        while not await access.run(ping):
            await asyncio.sleep(0.01)


async def failed(access: RedisAccess) -> None:
    with pytest.raises(FAILURES):
        await access.call(ping)


def test_after_a_failure_redis_is_not_asked_until_it_answers_again(redis_url: str) -> None:
    async def test() -> None:
        async with behind_proxy(redis_url) as (proxy, redis):
            access = redis.access("test", SHORT_S)
            await answered(access)
            proxy.hang()
            await failed(access)
            assert access.away
            with pytest.raises(RedisAwayError, match="not asked for test"):
                await access.call(ping)
            assert await access.run(ping) is None
            proxy.resume()
            await proxy.stop()
            await proxy.start()
            await until(lambda: not access.away)
            await answered(access)

    run(test())


def test_a_redis_that_is_too_slow_for_one_access_still_serves_a_patient_one(redis_url: str) -> None:
    async def test() -> None:
        async with behind_proxy(redis_url) as (proxy, redis):
            hasty, patient = redis.access("hasty", SHORT_S), redis.access("patient", LONG_S)
            proxy.delay_s = 2 * SHORT_S
            await failed(hasty)
            assert await patient.call(ping)
            assert (hasty.away, patient.away) == (True, False)

    run(test())


def test_what_must_be_tried_is_tried_although_redis_is_away_and_an_answer_ends_that(redis_url: str) -> None:
    async def test() -> None:
        async with behind_proxy(redis_url) as (proxy, redis):
            access = redis.access("test", SHORT_S)
            proxy.hang()
            await failed(access)
            with pytest.raises(TimeoutError):
                await access.call(ping, although_away=True)
            assert access.away
            proxy.resume()
            await proxy.stop()
            await proxy.start()

            while access.away:
                with suppress(*FAILURES):  # the machine is busy: an answer may come too late
                    await access.call(ping, although_away=True)

    run(test())


def test_repeatable_work_survives_a_connection_that_redis_has_closed(redis_url: str) -> None:
    async def test() -> None:
        redis = SharedRedis(redis_url, PREFIX)
        access = redis.access("test", LONG_S)
        attempts = 0

        async def lost_once(client: Redis) -> bool:
            nonlocal attempts
            attempts += 1
            if attempts == 1:
                await client.client_kill_filter(_id=str(await client.client_id()), skipme=False)
            return await ping(client)

        assert await access.call(lost_once, repeatable=True)
        states = [access.away]
        await redis.close()
        states.append(access.away)
        assert states == [False, True]
        await failed(access)

    run(test())


def test_without_a_url_redis_is_always_away() -> None:
    async def test() -> None:
        access = SharedRedis(None, PREFIX).access("test", LONG_S)
        assert access.away
        assert await access.run(ping) is None
        await failed(access)

    run(test())
