"""Bounds, names, clearing, statistics, and the parts that need no server."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.asyncio import Redis

from api.caching import CacheKey, Cleared, Entry, ResponseCache
from api.caching.cache import REPORT_S
from api.caching.cache_key import Names
from api.caching.lifetimes import Lifetimes
from api.caching.local import LocalEntry, LocalLayer
from api.caching.publisher import InvalidationMessages
from api.connections.shared_redis import SharedRedis
from config import Settings, load_settings
from config.cache import CacheSettings
from config.settings import Ports
from ledger.errors import ConfigError
from servers.lending import running
from tests.api.caching.processes import PAGE, PREFIX, ROW, Ledger, ask, process, run, tag, until

_TEXTS = st.lists(st.text(max_size=5), max_size=4)


def _entry(size_bytes: int, label: bytes = b"t" * 12) -> LocalEntry:
    return LocalEntry(Entry(b"x" * size_bytes, final=False), "name", label, 0, 1, 0)


def _asked(number: int) -> CacheKey:
    return CacheKey("transactions", "row", "acme", (str(number),))


def test_the_local_layer_keeps_to_its_bytes_and_puts_out_what_was_asked_longest_ago() -> None:
    evicted: list[None] = []
    layer = LocalLayer(1 << 20, lambda: evicted.append(None))
    for number in range(3000):
        layer.put(_asked(number), _entry(1000))
        layer.get(_asked(0))
    assert layer.size_bytes <= 1 << 20
    assert len(layer) + len(evicted) == 3000
    assert layer.get(_asked(0)) is not None
    assert layer.get(_asked(1)) is None
    assert layer.drop([b"t" * 12]) == 3000 - len(evicted)
    assert (len(layer), layer.size_bytes) == (0, 0)


def test_an_answer_that_is_larger_than_the_layer_is_not_kept() -> None:
    layer = LocalLayer(1 << 20, lambda: None)
    layer.put(_asked(1), _entry(100))
    layer.put(_asked(1), _entry(1 << 20))
    assert len(layer) == 0


@given(st.lists(st.tuples(st.sampled_from(["put", "drop", "remove", "get"]), st.integers(0, 5), st.integers(0, 3))))
def test_the_index_of_tags_never_says_more_or_less_than_the_entries(steps: list[tuple[str, int, int]]) -> None:
    layer = LocalLayer(4000, lambda: None)
    for kind, number, label in steps:
        match kind:
            case "put":
                layer.put(_asked(number), _entry(500 * label, bytes([label]) * 12))
            case "drop":
                layer.drop([bytes([label]) * 12])
            case "remove":
                layer.remove(_asked(number))
            case "get":
                layer.get(_asked(number))
    indexed = {question: label for label, members in layer._index.of_tag.items() for question in members}
    assert indexed == {question: entry.tag for question, entry in layer._entries.items()}
    assert all(layer._index.of_tag.values())


@given(st.tuples(st.none() | st.text(max_size=3), _TEXTS), st.tuples(st.none() | st.text(max_size=3), _TEXTS))
def test_two_questions_have_two_names(one: tuple[str | None, list[str]], two: tuple[str | None, list[str]]) -> None:
    names = Names(b"secret")
    first, second = (
        CacheKey("transactions", "page", viewer, tuple(_plain(text) for text in asked)) for viewer, asked in (one, two)
    )
    assert (names.entry(first) == names.entry(second)) == (first == second)


def _plain(text: str) -> str:
    return text.encode(errors="replace").decode()


def test_names_and_tags_tell_no_wallet_user_or_client() -> None:
    names = Names(b"secret")
    told = names.entry(PAGE) + names.wallet_tag("transactions", "acme", "w-1").hex()
    assert "acme" not in told
    assert "w-1" not in told
    assert names.wallet_tag("transactions", "acme", "w-1") != Names(b"other").wallet_tag("transactions", "acme", "w-1")
    assert names.wallet_tag("transactions", "acme", "w-1") != names.user_tag("transactions", "acme", "w-1")
    assert names.wallet_tag("transactions", "acme", "w-1") != names.wallet_tag("transactions", "rival", "w-1")


@given(st.lists(st.binary(min_size=12, max_size=12)), st.binary(max_size=40))
def test_news_is_read_as_it_was_written_and_what_cannot_be_read_means_anything(tags: list[bytes], junk: bytes) -> None:
    sender, receiver = InvalidationMessages(), InvalidationMessages()
    heard: list[Any] = []
    handlers: dict[str, Any] = {"drop": heard.append, "flush": lambda: heard.append("flush"), "clear": heard.append}
    for message in (sender.drop(tags), sender.flush(), sender.clear("a*")):
        receiver.read(message, **handlers)
        sender.read(message, **handlers)  # its own: not acted on
    assert heard == [tags, "flush", "a*"]
    receiver.read(sender.process + b"?" + junk, **handlers)
    assert heard[3:] == ["flush"]


def test_clearing_by_pattern_takes_what_matches_in_every_process_and_nothing_else(redis_url: str) -> None:
    async def test() -> None:
        ledger = Ledger()
        async with process(redis_url) as one, process(redis_url) as two, Redis.from_url(redis_url) as redis:
            await redis.set("somebody:else", "1")
            for cache in (one, two):
                await ask(cache, ledger)
                await ask(cache, ledger, ROW)
            await until_stored(redis, 2)
            assert await one.clear("transactions:page:*") == Cleared(1, everywhere=True)
            await until(lambda: two._local.get(PAGE) is None)
            assert one._local.get(PAGE) is None
            assert one._local.get(ROW) is not None
            assert two._local.get(ROW) is not None
            assert (await two.clear(f"transactions:row:{ROW.parameters[0]}:*")).entries == 1
            assert (await two.clear("nothing*")).entries == 0
            assert await redis.get("somebody:else") == b"1"

    run(test())


def test_clearing_all_leaves_no_entry_anywhere_and_every_other_key_alone(redis_url: str) -> None:
    async def test() -> None:
        ledger = Ledger()
        async with process(redis_url) as one, process(redis_url) as two, Redis.from_url(redis_url) as redis:
            await redis.set("somebody:else", "1")
            for number in range(20):
                await ask(one, ledger, PAGE._replace(parameters=(str(number),)), ttl_s=600, final=True)
            await ask(two, ledger)
            await until_stored(redis, 21)
            assert (await one.clear()).entries == 21
            await until(lambda: len(two._local) == 0)
            assert len(one._local) == 0
            assert await _stored(redis) == 0
            assert await redis.get("somebody:else") == b"1"

    run(test())


def test_clearing_works_without_redis() -> None:
    async def test() -> None:
        ledger = Ledger()
        async with process(None) as cache:
            await ask(cache, ledger)
            assert (await cache.clear("vas_*")).entries == 0
            assert await cache.clear() == Cleared(1, everywhere=False)

    run(test())


def test_a_read_under_way_is_not_kept_once_its_answer_was_cleared(redis_url: str) -> None:
    async def test() -> None:
        ledger, may_go_on = Ledger(), asyncio.Event()

        async def slow() -> Any:
            fresh = await ledger.read()
            await may_go_on.wait()
            return fresh

        async with process(redis_url) as cache:
            reading = asyncio.create_task(cache.read(PAGE, tag(cache), slow))
            await until(lambda: ledger.reads == 1)
            await cache.clear()
            ledger.commit()
            may_go_on.set()
            await reading
            assert await ask(cache, ledger) == 1

    run(test())


@pytest.mark.slow
def test_statistics_are_summed_over_processes(redis_url: str) -> None:
    async def test() -> None:
        ledger = Ledger()
        async with process(redis_url) as one, process(redis_url) as two:
            for cache in (one, two):
                await ask(cache, ledger)
                await ask(cache, ledger)
            async with asyncio.timeout(4 * REPORT_S):
                while (total := await one.statistics_of_all())["processes"]["count"] != 2:
                    await asyncio.sleep(0.1)
            assert (total["local"]["hit"], total["local"]["miss"], total["local"]["ratio"]) == (2, 2, 0.5)
            assert total["local"]["entries"] == 2

    run(test())


def test_what_redis_puts_out_is_counted_by_redis(server_settings: Settings, tmp_path: Path) -> None:
    async def test(url: str) -> None:
        async with process(url) as cache, Redis.from_url(url) as redis:
            assert await cache.evicted() == 0
            await redis.config_set("maxmemory-policy", "allkeys-random")
            await redis.config_set("maxmemory", "3mb")
            for number in range(40):
                await redis.set(f"filler {number}", b"x" * 100_000)
            assert ((await cache.evicted()) or 0) > 0
        async with process(None) as cache:
            assert await cache.evicted() is None

    own = server_settings.model_copy(update={"home": tmp_path, "redis_url": None, "ports": Ports(redis=0)})
    with running(own, "redis") as started:
        assert started.redis_url is not None
        run(test(started.redis_url.get_secret_value()))


def test_events_are_told_by_layer() -> None:
    async def test() -> None:
        told: list[tuple[str, str, int]] = []
        cache = ResponseCache(CacheSettings(), None, b"secret", lambda *event: told.append(event))
        await ask(cache, Ledger())
        await ask(cache, Ledger())
        cache.count_hits(3)
        assert told == [("local", "miss", 1), ("local", "hit", 1), ("local", "hit", 3)]
        assert cache.statistics()["local"]["hit"] == 4
        await cache.close()

    run(test())


def test_the_cache_that_is_off_keeps_nothing_and_needs_no_redis() -> None:
    async def test() -> None:
        ledger = Ledger()
        cache = ResponseCache(CacheSettings(enabled=False), SharedRedis("redis://127.0.0.1:1", PREFIX), b"secret")
        cache.open()
        assert [await ask(cache, ledger), await ask(cache, ledger)] == [0, 0]
        await cache.invalidate({tag(cache)})
        assert (ledger.reads, (await cache.clear()).entries) == (2, 0)
        await cache.close()

    run(test())


def test_a_route_that_is_none_is_refused_by_name() -> None:
    with pytest.raises(ConfigError, match="getTransactoin"):
        Lifetimes(CacheSettings(routes={"getTransactoin": 1})).check(["getTransaction"])


def test_a_time_limit_that_breaks_the_bound_is_refused_at_start() -> None:
    with pytest.raises(ConfigError, match="an eighth of stale_s"):
        load_settings(cache={"redis_timeout_ms": 500, "stale_s": 1})


async def _stored(redis: Redis) -> int:
    return len([key async for key in redis.scan_iter(f"{PREFIX}cache:*:e:*")])


async def until_stored(redis: Redis, count: int) -> None:
    """Answers are stored a moment after they were given."""
    async with asyncio.timeout(10):
        while await _stored(redis) < count:
            await asyncio.sleep(0.01)
