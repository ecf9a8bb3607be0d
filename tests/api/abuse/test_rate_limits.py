"""The limits hold over processes, lease what they may, and go on when Redis does not."""

import asyncio
import socket
import threading
from contextlib import AsyncExitStack, ExitStack
from itertools import count as counter
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pydantic import ValidationError

from api.abuse.rate_limits import Bucket, Counters, Limit, LimitVerdict, RateLimiter, RatePolicy, limit_of
from api.routing.problems import TOO_MANY, HttpError
from config.limits import RateLimits, is_rate, parse_rate
from tests.api.abuse.conftest import StartRedis
from tests.api.abuse.sharing import Clock, shared

_FRESH = counter()  # a name of its own for each example


def limiter(redis: Any, clock: Clock, **rates: str) -> RateLimiter:
    return RateLimiter(RateLimits(**rates), redis, clock)


def outstanding(limiters: list[RateLimiter], who: str) -> int:
    """Tokens that are leased and not spent."""
    return sum(
        max(0, one._buckets[RatePolicy.GENERAL, who].tokens)
        for one in limiters
        if (RatePolicy.GENERAL, who) in one._buckets
    )


async def ask(one: RateLimiter, who: str, policy: RatePolicy = RatePolicy.GENERAL, **options: Any) -> LimitVerdict:
    verdict = await one.spend(policy, who, **options)
    assert verdict is not None
    return verdict


@hypothesis_settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    amount=st.integers(1, 1500),
    rounds=st.lists(st.tuples(st.integers(0, 2), st.integers(1, 400)), min_size=1, max_size=12),
)
def test_processes_together_never_exceed_a_limit_and_refuse_only_what_is_leased(
    redis_url: str, amount: int, rounds: list[tuple[int, int]]
) -> None:
    async def run() -> None:
        clock, who = Clock(), f"key-{next(_FRESH)}"
        async with AsyncExitStack() as stack:
            redises = [await stack.enter_async_context(shared(redis_url)) for _ in range(3)]
            limiters = [limiter(redis, clock, general=f"{amount}/minute") for redis in redises]
            for _ in range(2):
                admitted = 0
                for process, requests in rounds:
                    verdicts = await asyncio.gather(*(ask(limiters[process], who) for _ in range(requests)))
                    admitted += sum(verdict.admitted for verdict in verdicts)
                    assert admitted <= amount
                    if not all(verdict.admitted for verdict in verdicts):
                        assert admitted + outstanding(limiters, who) >= amount
                clock.seconds += 60
            assert not any(redis.away for redis in redises)

    asyncio.run(run())


_STEPS = st.lists(
    st.tuples(st.integers(0, 2), st.integers(1, 50), st.sampled_from(["up", "up", "away", "lost"])), max_size=60
)


@given(amount=st.integers(1, 300), steps=_STEPS)
def test_a_process_never_takes_more_than_the_limit_whatever_redis_forgets(
    amount: int, steps: list[tuple[int, int, str]]
) -> None:
    limit = Limit(RatePolicy.GENERAL, f"{amount}/minute")
    buckets, count, outage = [Bucket(limit, 0) for _ in range(3)], 0, False
    for process, most, redis in steps:
        bucket = buckets[process]
        wanted = min(most, amount - bucket.taken)
        if wanted == 0:
            continue
        outage |= redis != "up"
        if redis == "lost":
            count = 0
        count += 0 if redis == "away" else wanted + bucket.owed
        bucket.grant(wanted, None if redis == "away" else count)
        assert bucket.taken <= amount
        assert 0 <= bucket.left <= amount
    if not outage:
        assert sum(bucket.taken for bucket in buckets) <= amount


def test_what_was_admitted_without_redis_is_counted_once_it_is_back() -> None:
    limit = Limit(RatePolicy.GENERAL, "100/minute")
    first, second = Bucket(limit, 0), Bucket(limit, 0)
    for _ in range(60):
        first.grant(1, None)
    first.grant(1, 61)  # the lease that reports the sixty
    assert (first.owed, first.left) == (0, 39)
    second.grant(40, 101)
    assert (second.taken, second.left, second.exhausted) == (39, 0, False)


def test_a_small_limit_is_exact_over_processes(redis_url: str) -> None:
    async def run() -> list[bool]:
        clock = Clock()
        async with shared(redis_url) as one, shared(redis_url) as other:
            both = [limiter(one, clock, general="50/minute"), limiter(other, clock, general="50/minute")]
            verdicts = await asyncio.gather(*(ask(both[number % 2], "key") for number in range(200)))
            return [verdict.admitted for verdict in verdicts]

    assert sum(asyncio.run(run())) == 50


def test_the_next_window_is_a_fresh_one_and_unspent_leases_do_not_reach_into_it(redis_url: str) -> None:
    async def run() -> None:
        clock = Clock(1_800_000_000.0 - 1)
        async with shared(redis_url) as redis:
            one = limiter(redis, clock, general="1000/minute")
            first = await ask(one, "key")
            assert (first.remaining, first.reset_s) == (999, 1)
            clock.seconds += 1
            second = await ask(one, "key")
            assert (second.remaining, second.reset_s) == (999, 60)
            assert one._buckets[RatePolicy.GENERAL, "key"].taken == 10

    asyncio.run(run())


def test_one_lease_serves_a_hundredth_of_the_limit(redis_url: str) -> None:
    async def run() -> None:
        clock = Clock()
        async with shared(redis_url) as redis:
            one = limiter(redis, clock, transactions="300000/minute")
            for _ in range(3001):
                await ask(one, "key", RatePolicy.TRANSACTIONS)
            (name,) = await redis.run(lambda client: client.keys("*transactions*")) or []
            assert await redis.run(lambda client: client.get(name)) == b"6000"

    asyncio.run(run())


def test_a_key_may_have_limits_of_its_own_and_a_senseless_one_is_ignored(redis_url: str) -> None:
    async def run() -> None:
        clock = Clock()
        async with shared(redis_url) as redis:
            one = limiter(redis, clock, vas="3/minute")
            wide = [await ask(one, "wide", RatePolicy.VAS, overrides={"vas": "5/minute"}) for _ in range(6)]
            assert [verdict.admitted for verdict in wide] == [True] * 5 + [False]
            for wrong in ({"vas": "many"}, {"vas": "0/minute"}, {"vas": None}, {"transactions": "9/minute"}, {}):
                who = f"narrow {wrong}"
                narrow = [await ask(one, who, RatePolicy.VAS, overrides=wrong) for _ in range(4)]
                assert [verdict.admitted for verdict in narrow] == [True] * 3 + [False]

    asyncio.run(run())


def test_limits_can_be_switched_off() -> None:
    async def run() -> None:
        async with shared(None) as redis:
            one = RateLimiter(RateLimits(enabled=False, general="1/minute"), redis, Clock())
            assert [await one.spend(RatePolicy.GENERAL, "key") for _ in range(3)] == [None] * 3

    asyncio.run(run())


def test_a_refusal_says_when_to_come_back_and_by_which_limit(redis_url: str) -> None:
    async def run() -> HttpError:
        clock = Clock(1_800_000_000.0 + 15)
        async with shared(redis_url) as redis:
            one = limiter(redis, clock, operations="1/minute")
            (await ask(one, "key", RatePolicy.OPERATIONS)).require()
            with pytest.raises(HttpError) as caught:
                (await ask(one, "key", RatePolicy.OPERATIONS)).require()
            return caught.value

    error = asyncio.run(run())
    assert error.kind is TOO_MANY
    assert error.headers == {
        "Retry-After": "45",
        "RateLimit-Policy": '"operations";q=1;w=60',
        "RateLimit": '"operations";r=0;t=45',
    }


def test_the_number_of_addresses_that_are_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("api.abuse.rate_limits._MOST_BUCKETS", 100)

    async def run() -> None:
        async with shared(None) as redis:
            one = limiter(redis, Clock(), ddos="2/minute")
            for number in range(1000):
                await ask(one, f"address-{number}", RatePolicy.DDOS)
            assert len(one._buckets) == 100
            assert (await ask(one, "address-999", RatePolicy.DDOS)).admitted
            assert not (await ask(one, "address-999", RatePolicy.DDOS)).admitted

    asyncio.run(run())


async def admitted(one: RateLimiter, who: str, requests: int) -> int:
    """How many of so many requests are let through."""
    return sum([(await ask(one, who)).admitted for _ in range(requests)])


async def until(condition: Any, seconds: float = 30.0) -> None:
    """Wait for a condition."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.02)


def test_requests_go_on_while_redis_is_gone_and_are_told_to_it_when_it_is_back(start_redis: StartRedis) -> None:
    async def run(stack: ExitStack) -> None:
        url = stack.enter_context(start_redis()).url
        async with shared(url) as redis, shared(url) as redis_of_another:
            one = limiter(redis, Clock(), general="100/minute")
            another = limiter(redis_of_another, Clock(), general="100/minute")
            assert await admitted(one, "key", 10) == 10
            await asyncio.to_thread(stack.close)
            assert await admitted(one, "key", 40) == 40
            assert redis.away

            await asyncio.to_thread(stack.enter_context, start_redis())
            await until(lambda: not redis.away)
            assert await admitted(one, "key", 20) == 20
            # The new Redis was told of the forty and of the twenty; the ten before died with the old one.
            assert await admitted(another, "key", 60) == 40
            assert await admitted(one, "key", 60) == 0

    with ExitStack() as stack:
        asyncio.run(run(stack))


class SilentServer:
    """Takes connections and never answers."""

    def __init__(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._taken: list[socket.socket] = []
        self._thread = threading.Thread(target=self._accept)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self._listening.getsockname()[1]}/0"

    @property
    def connections(self) -> int:
        return len(self._taken)

    def _accept(self) -> None:
        while True:
            try:
                self._taken.append(self._listening.accept()[0])
            except OSError:
                return

    def close(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._thread.join()
        for connection in self._taken:
            connection.close()


def test_a_silent_redis_costs_one_wait_and_not_one_a_request() -> None:
    async def run(url: str) -> None:
        async with shared(url, timeout_s=0.3) as redis:
            one = limiter(redis, Clock(), general="100/minute")
            for number in range(200):
                assert await admitted(one, f"key-{number}", 1) == 1

    silent = SilentServer()
    try:
        asyncio.run(run(silent.url))
        assert 1 <= silent.connections < 20  # every request that asks makes one: 200 would be every request
    finally:
        silent.close()


def test_a_counter_expires_with_its_window_and_a_lease_does_not_prolong_it(redis_url: str) -> None:
    async def run() -> None:
        async with shared(redis_url) as redis:
            assert await Counters(redis).add("t/k/5/60/1", 2, 65) == 2
            name = f"{redis.prefix}limits:t/k/5/60/1"
            left_s = await redis.run(lambda client: client.ttl(name))
            assert left_s is not None
            assert 0 < left_s <= 65
            assert await Counters(redis).add("t/k/5/60/1", 3, 9999) == 5
            left_s = await redis.run(lambda client: client.ttl(name))
            assert left_s is not None
            assert 0 < left_s <= 65

    asyncio.run(run())


def test_a_redis_that_has_forgotten_the_script_counts_all_the_same(redis_url: str) -> None:
    async def run() -> None:
        async with shared(redis_url) as redis:
            assert await Counters(redis).add("t/forgotten", 1, 60) == 1
            await redis.run(lambda client: client.script_flush())
            assert await Counters(redis).add("t/forgotten", 1, 60) == 2

    asyncio.run(run())


@pytest.mark.parametrize(
    "text",
    [
        *("", "600", "600/", "/minute", "0/minute", "-1/minute", "1.5/minute", "600/week", "600 / minute"),
        *("600 per hour", "1000000001/day", "600/minute\n", "600/Minute", "5/second;9/hour", "\u0663/minute"),
    ],
)
def test_a_text_that_is_no_rate_is_none_for_settings_keys_and_the_limiter(text: str) -> None:
    assert not is_rate(text)
    with pytest.raises(ValueError, match="must be like 600/minute"):
        limit_of(RatePolicy.GENERAL, text)
    with pytest.raises(ValidationError):
        RateLimits(general=text)


@pytest.mark.parametrize(("text", "rate"), [
    ("1/second", (1, 1)), ("600/minute", (600, 60)), ("7/hour", (7, 3600)), ("1000000000/day", (1_000_000_000, 86_400)),
])  # fmt: skip
def test_a_rate_is_an_amount_in_a_window(text: str, rate: tuple[int, int]) -> None:
    assert parse_rate(text) == rate
    assert (limit_of(RatePolicy.GENERAL, text).amount, limit_of(RatePolicy.GENERAL, text).window_s) == rate
    assert RateLimits(general=text).general == text
