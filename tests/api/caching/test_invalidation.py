"""Invalidation after COMMIT: in the process, across processes, and against reads that race with it."""

import asyncio
import threading
from functools import partial
from typing import Any, cast

import pytest
from redis.asyncio import Redis

from api.caching import CacheKey, Fresh
from api.caching.shared import StoredEntry
from api.connections.database import Database
from api.transactions.archived import READS_AT_ONCE, READS_WAITING, ArchivedRows
from ledger.errors import TransientError
from ledger.tables import TRANSACTIONS
from storage.archive import ColdFilter, ColdReader
from tests.api.caching.processes import PAGE, PREFIX, Ledger, ask, process, run, tag, until, write


def test_a_second_read_is_a_hit_in_the_process(redis_url: str) -> None:
    async def test() -> None:
        ledger = Ledger()
        async with process(redis_url) as cache:
            assert [await ask(cache, ledger) for _ in range(3)] == [0, 0, 0]
            assert ledger.reads == 1
            assert cache.statistics()["local"] | {"bytes": 0} == {
                "hit": 2,
                "miss": 1,
                "eviction": 0,
                "entries": 1,
                "bytes": 0,
                "ratio": 0.6667,
            }

    run(test())


def test_another_process_finds_the_answer_in_redis(redis_url: str) -> None:
    async def test() -> None:
        ledger = Ledger()
        async with process(redis_url) as one, process(redis_url) as two:
            await ask(one, ledger)
            await until(lambda: not one._reads.running and len(one._tasks) == 1)  # its reports go on
            while two.statistics()["redis"]["hit"] == 0:  # stored after the answer was given
                two._local.drop({tag(two)})
                assert await ask(two, ledger) == 0
            assert ledger.reads <= 2

    run(test())


def test_a_writer_reads_its_own_write_at_once(redis_url: str) -> None:
    async def test() -> None:
        ledger = Ledger()
        async with process(redis_url) as cache:
            for version in range(1, 50):
                await ask(cache, ledger)
                await write(cache, ledger)
                assert await ask(cache, ledger) == version

    run(test())


def test_a_write_reaches_the_other_process(redis_url: str) -> None:
    async def test() -> None:
        ledger = Ledger()
        async with process(redis_url) as one, process(redis_url) as two:
            for version in range(1, 20):
                await ask(two, ledger)
                await write(one, ledger)
                await until(lambda: two._local.get(PAGE) is None)  # told, well before the bound
                assert await ask(two, ledger) == version

    run(test())


@pytest.mark.parametrize("writer", ["the same process", "another process", "another process, which is not linked"])
def test_a_read_that_began_before_the_commit_keeps_nothing(redis_url: str, writer: str) -> None:
    """The read has its snapshot, the write commits and invalidates, then the read ends and would keep what it saw."""

    async def test() -> None:
        ledger = Ledger()
        has_read, may_go_on = asyncio.Event(), asyncio.Event()

        async def slow() -> Fresh:
            fresh = await ledger.read()
            has_read.set()
            await may_go_on.wait()
            return fresh

        async with process(redis_url) as reader, process(redis_url) as other, process(None) as alone:
            reading = asyncio.create_task(reader.read(PAGE, tag(reader), slow))
            await has_read.wait()
            flight = reader._reads.joinable(PAGE)
            assert flight is not None
            if writer == "another process, which is not linked":
                ledger.commit()
                await alone.invalidate({tag(alone)})
                async with process(redis_url):  # it links, late: the link begins with a flush
                    await until(lambda: flight.outdated)
            else:
                await write(reader if writer == "the same process" else other, ledger)
                await until(lambda: flight.outdated)
            joined = await ask(reader, ledger)
            may_go_on.set()

            assert (await reading).body == b"0"  # who asked before the COMMIT may be told what was
            assert joined == 1  # who asked after it may not
            assert await ask(reader, ledger) == await ask(other, ledger) == 1

    run(test())


def test_a_stale_answer_that_is_stored_late_in_redis_does_not_count(redis_url: str) -> None:
    """The race in Redis alone: the stamp is from before the COMMIT, the storing from after the invalidation."""

    async def test() -> None:
        ledger = Ledger()
        async with process(redis_url) as one, process(redis_url) as two:
            assert one._shared is not None
            name = one.names.entry(PAGE)
            look = await one._shared.look_up(name, tag(one), 1)
            await write(two, ledger)
            await one._shared.store(name, look.stamp, StoredEntry(b"0", False, 2**50), 60_000, unlock=True)
            assert await ask(two, ledger) == 1

    run(test())


def test_many_who_ask_the_same_at_once_cause_one_reading(redis_url: str) -> None:
    async def test() -> None:
        ledger = Ledger()

        async def slow() -> Fresh:
            await asyncio.sleep(0.05)
            return await ledger.read()

        async with process(redis_url) as one, process(redis_url) as two:
            asked = [cache.read(PAGE, tag(cache), slow) for cache in (one, two) for _ in range(200)]
            assert {kept.body for kept in await asyncio.gather(*asked)} == {b"0"}
            assert ledger.reads == 1  # the second process waits for the lock of the first

    run(test())


@pytest.mark.parametrize(("final", "reads"), [(True, 1), (False, 2)])
def test_however_long_a_reading_takes_there_is_only_one_of_it_at_a_time(final: bool, reads: int) -> None:
    """Who comes late waits for its end: what never changes is taken from it, else one of them reads anew for all."""

    async def test() -> None:
        ledger, may_go_on = Ledger(), asyncio.Event()
        under_way = most = 0

        async def slow() -> Fresh:
            nonlocal under_way, most
            under_way += 1
            most = max(most, under_way)
            fresh = await ledger.read()
            await may_go_on.wait()
            under_way -= 1
            return Fresh(fresh.body, 0.01 if not final else 60, final)

        async with process(None, stale_s=0.2, redis_timeout_ms=25) as cache:
            asked = [asyncio.create_task(cache.read(PAGE, tag(cache), slow))]
            for _ in range(3):
                await asyncio.sleep(0.15)  # longer than what may be joined
                asked += [asyncio.create_task(cache.read(PAGE, tag(cache), slow)) for _ in range(20)]
            await asyncio.sleep(0.05)
            assert ledger.reads == 1
            may_go_on.set()
            assert {kept.body for kept in await asyncio.gather(*asked)} == {b"0"}
            assert (ledger.reads, most) == (reads, 1)

    run(test())


def test_readings_of_the_archive_wait_in_a_bounded_line() -> None:
    async def test() -> None:
        may_go_on = threading.Event()

        class Slow:
            def rows(self, *_: Any, **__: Any) -> list[Any]:
                may_go_on.wait(30)
                return []

        archived = ArchivedRows(cast("Database", None), cast("ColdReader", Slow()))
        read = partial(archived.read_objects, TRANSACTIONS, {"key": None}, ColdFilter(), 1)
        waiting = [asyncio.create_task(read()) for _ in range(READS_AT_ONCE + READS_WAITING)]
        await until(lambda: archived.limiter.statistics().tasks_waiting == READS_WAITING)
        with pytest.raises(TransientError, match="too many readings of the archive wait"):  # 503, at once
            await read()
        may_go_on.set()
        assert await asyncio.gather(*waiting) == [[]] * len(waiting)
        assert await read() == []

    run(test())


def test_a_lock_whose_holder_does_not_end_holds_nobody_up_for_long(redis_url: str) -> None:
    async def test() -> None:
        ledger, never = Ledger(), asyncio.Event()

        async def stuck() -> Fresh:
            await never.wait()
            return await ledger.read()

        async with process(redis_url) as one, process(redis_url) as two:
            waiting = asyncio.create_task(one.read(PAGE, tag(one), stuck))
            await until(lambda: one.statistics()["redis"]["miss"] == 1)
            async with asyncio.timeout(5):
                assert await ask(two, ledger) == 0
            never.set()
            await waiting

    run(test())


def test_an_error_is_raised_for_all_who_wait_and_not_kept(redis_url: str) -> None:
    async def test() -> None:
        ledger = Ledger()

        async def fails() -> Fresh:
            await asyncio.sleep(0.01)
            raise LookupError

        async with process(redis_url) as cache:
            results = await asyncio.gather(
                *(cache.read(PAGE, tag(cache), fails) for _ in range(5)), return_exceptions=True
            )
            assert [type(result) for result in results] == [LookupError] * 5
            assert await ask(cache, ledger) == 0

    run(test())


def test_one_who_gives_up_waiting_spoils_it_for_nobody(redis_url: str) -> None:
    async def test() -> None:
        ledger, may_go_on = Ledger(), asyncio.Event()

        async def slow() -> Fresh:
            await may_go_on.wait()
            return await ledger.read()

        async with process(redis_url) as cache:
            first, second = (asyncio.create_task(cache.read(PAGE, tag(cache), slow)) for _ in range(2))
            await asyncio.sleep(0)
            first.cancel()
            may_go_on.set()
            assert (await second).body == b"0"

    run(test())


def test_what_expires_is_read_again(redis_url: str) -> None:
    async def test() -> None:
        ledger = Ledger()
        async with process(redis_url) as one, process(redis_url) as two:
            await ask(one, ledger, ttl_s=0.05)
            ledger.commit()  # past the API: nobody is told
            for cache in (one, two):
                async with asyncio.timeout(10):
                    while await ask(cache, ledger, ttl_s=0.05) == 0:
                        await asyncio.sleep(0.01)

    run(test())


def test_an_answer_taken_from_redis_lives_no_longer_than_it_was_to(redis_url: str) -> None:
    async def test() -> None:
        ledger = Ledger()
        async with process(redis_url) as one, process(redis_url) as two:
            await ask(one, ledger, ttl_s=30)
            while two.statistics()["redis"]["hit"] == 0:
                two._local.drop({tag(two)})
                await ask(two, ledger, ttl_s=30)
            first, second = (cache._local.get(PAGE) for cache in (one, two))
            assert first is not None
            assert second is not None
            # Both clocks are of one machine; milliseconds are cut off on the way.
            assert second.expires_at_s <= first.expires_at_s + 30.01

    run(test())


def test_an_entry_of_nothing_is_kept_nowhere(redis_url: str) -> None:
    async def test() -> None:
        ledger = Ledger()
        async with process(redis_url) as cache:
            await ask(cache, ledger, ttl_s=0)
            await ask(cache, ledger, ttl_s=0)
            assert ledger.reads == 2

    run(test())


def test_what_another_wrote_into_redis_is_not_believed(redis_url: str) -> None:
    """Neither bytes of another's making nor a true entry under another's name."""

    async def test() -> None:
        ledger = Ledger()
        other = CacheKey("transactions", "page", "rival", PAGE.parameters)
        async with process(redis_url) as one, process(redis_url) as two, Redis.from_url(redis_url) as redis:
            await ask(one, ledger)
            key = f"{PREFIX}cache:1:{one.names.family}:e:{one.names.entry(PAGE)}"
            await _until_stored(redis, key)
            value = await redis.get(key)
            assert isinstance(value, bytes)
            for forged in (value[:-1] + b"9", value[:20], value[:16] + b"cposix\nsystem\n", b""):
                await redis.set(key, forged)
                ledger.commit()
                two._local.drop({tag(two)})
                assert await ask(two, ledger) == ledger.version
            await redis.set(f"{PREFIX}cache:1:{one.names.family}:e:{one.names.entry(other)}", value)
            assert await ask(two, ledger, other) == ledger.version

    run(test())


async def _until_stored(redis: Redis, key: str) -> None:
    async with asyncio.timeout(10):
        while not await redis.exists(key):
            await asyncio.sleep(0.005)
