"""The six policies: how many requests one API key, or one address, may make in a window of the clock.

Counted are windows that every process reads off the clock in the same way. So a window's number is part of the name of
its counter in Redis, and no counter ever has to be reset. A process does not ask Redis for each request: it leases
tokens, 1 % of the limit at a time, and spends them by itself. What it has not spent when the window ends is given up.
So all processes together never admit more than the limit in a window. They refuse no request before the limit less what
is leased and unspent elsewhere. A limit below 200 is leased one by one and is exact.

While Redis is away each process counts by itself: then the processes together may admit up to the limit each. What was
admitted meanwhile is reported to Redis with the first lease after it is back.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

from redis.asyncio import Redis
from redis.commands.core import AsyncScript

from api.connections.shared_redis import RedisAccess
from api.monitoring import metrics
from api.routing.problems import TOO_MANY, HttpError
from config.limits import RateLimits as Configured
from config.limits import parse_rate

Header = tuple[bytes, bytes]
_CHUNKS = 100
_MOST_BUCKETS = 20_000
_SKEW_S = 5  # by how much clocks may differ without a counter expiring while it is in use


class RatePolicy(StrEnum):
    """The purpose of a limit. The names are those of the settings and of the header `RateLimit-Policy`."""

    GENERAL = "general"
    AUTH = "auth"
    TRANSACTIONS = "transactions"
    VAS = "vas"
    OPERATIONS = "operations"
    DDOS = "ddos"


class Limit:
    """``amount`` requests of ``policy`` in each window of ``window_s`` seconds, from a text that `parse_rate` reads."""

    __slots__ = ("amount", "chunk", "policy", "policy_header", "prefix", "window_s")

    def __init__(self, policy: RatePolicy, text: str) -> None:
        self.policy = policy
        self.amount, self.window_s = parse_rate(text)
        self.chunk = max(1, self.amount // _CHUNKS)
        self.policy_header: Header = (
            b"ratelimit-policy",
            f'"{policy}";q={self.amount};w={self.window_s}'.encode(),
        )
        self.prefix = f'"{policy}";r='

    def counter(self, who: str, window: int) -> str:
        """The name of the counter of a key id or an address in a window. Another limit counts by another one."""
        return f"{self.policy}/{who}/{self.amount}/{self.window_s}/{window}"


class Bucket:
    """The state of one counter in the present window, as this process knows it. See the docstring of the module."""

    __slots__ = ("exhausted", "leasing", "left", "limit", "owed", "taken", "tokens", "waiting", "window")

    def __init__(self, limit: Limit, window: int) -> None:
        self.limit = limit
        self.leasing: asyncio.Task[None] | None = None
        self.waiting = 0
        self.begin(window)

    def begin(self, window: int) -> None:
        """Start over with a new window: leases of the old one are void, also a lease under way."""
        self.window = window
        self.tokens = 0  # leased and not yet spent
        self.taken = 0  # leased by this process in this window, or admitted without Redis
        self.owed = 0  # admitted while Redis was away, and not yet reported to it
        self.left = self.limit.amount  # not leased by anybody, as far as is known
        self.exhausted = False
        self.leasing = None

    def grant(self, wanted: int, count: int | None) -> None:
        """Take what a lease brought. ``count`` is Redis' counter after ``wanted`` and what was owed; None: away.

        Never more than the limit is taken in a window, whatever Redis says: it may have lost its memory.
        """
        amount = self.limit.amount
        if count is None:
            granted = wanted
            self.owed += wanted
            self.left = max(0, min(self.left, amount - self.taken) - granted)
        else:
            granted = min(wanted, max(0, amount - count + wanted))
            self.owed = 0
            self.left = max(0, amount - count)
        self.tokens += granted
        self.taken += granted
        self.exhausted = granted == 0


@dataclass(slots=True)  # not frozen: that doubles what making one costs
class LimitVerdict:
    """The decision whether a request may go on, and the limit as its answer shows it. Seconds are until the window
    ends.
    """

    limit: Limit
    admitted: bool
    remaining: int
    reset_s: int

    def headers(self) -> list[Header]:
        """`RateLimit-Policy` and `RateLimit` (draft-ietf-httpapi-ratelimit-headers, as of its version 10)."""
        return [self.limit.policy_header, (b"ratelimit", self._state().encode())]

    def require(self) -> None:
        """Raises a 429 problem unless the request is admitted."""
        if not self.admitted:
            raise self.refusal()

    def refusal(self) -> HttpError:
        """The 429 problem, with the headers of the limit. Each call counts a refusal: answer with it."""
        limit = self.limit
        metrics.limit_refused(limit.policy.value)
        detail = f"No more than {limit.amount} requests in {limit.window_s} s by the policy {limit.policy}."
        headers = {
            "Retry-After": str(self.reset_s),
            "RateLimit-Policy": limit.policy_header[1].decode(),
            "RateLimit": self._state(),
        }
        return HttpError(TOO_MANY, detail, headers)

    def _state(self) -> str:
        return f"{self.limit.prefix}{self.remaining};t={self.reset_s}"


_INCREMENT = """
local count = redis.call('INCRBY', KEYS[1], ARGV[1])
if count == tonumber(ARGV[1]) then
    redis.call('EXPIRE', KEYS[1], ARGV[2])
end
return count
"""


class Counters:
    """The counters in Redis that all processes share."""

    def __init__(self, redis: RedisAccess) -> None:
        self._redis = redis
        self._script: AsyncScript | None = None

    async def add(self, name: str, amount: int, expires_s: int) -> int | None:
        """Add ``amount`` to a counter, which expires ``expires_s`` after its first use. Returns the new count; None
        while Redis is away.
        """
        key = f"{self._redis.prefix}limits:{name}"

        async def work(client: Redis) -> int:
            if self._script is None:
                self._script = client.register_script(_INCREMENT)
            return int(await self._script(keys=[key], args=[amount, expires_s], client=client))

        return await self._redis.run(work)


class RateLimiter:
    """The limits of one process. ``now`` gives seconds since 1970; the processes' clocks must agree roughly."""

    def __init__(self, configured: Configured, redis: RedisAccess, now: Callable[[], float] = time.time) -> None:
        self._enabled = configured.enabled
        self._counters = Counters(redis)
        self._now = now
        self._limits = {policy: limit_of(policy, getattr(configured, policy)) for policy in RatePolicy}
        self._buckets: OrderedDict[tuple[RatePolicy, str], Bucket] = OrderedDict()

    async def spend(
        self, policy: RatePolicy, who: str, overrides: Mapping[str, str] | None = None
    ) -> LimitVerdict | None:
        """Count one request of ``who``, a key id or an address; None while limits are switched off.

        ``overrides`` are the key's own limits by policy. An override that is not a limit is ignored.
        """
        if not self._enabled:
            return None
        now = self._now()
        bucket = self._bucket(self._limit(policy, overrides), who, now)
        if bucket.tokens <= 0 and not await self._obtain(bucket, who):
            return self._verdict(bucket, now, admitted=False)
        bucket.tokens -= 1
        return self._verdict(bucket, now, admitted=True)

    def spend_leased(
        self, address: str, policy: RatePolicy, who: str, overrides: Mapping[str, str]
    ) -> list[LimitVerdict] | None:
        """Count a request by its address and its key, if there is a leased token for both. None: nothing is counted.

        Gives the verdict on the key, and none while limits are switched off.
        """
        if not self._enabled:
            return []
        now = self._now()
        of_address = self._bucket(self._limits[RatePolicy.DDOS], address, now)
        of_key = self._bucket(self._limit(policy, overrides), who, now)
        if of_address.tokens <= 0 or of_key.tokens <= 0:
            return None
        of_address.tokens -= 1
        of_key.tokens -= 1
        return [self._verdict(of_key, now, admitted=True)]

    def look(self, policy: RatePolicy, who: str) -> LimitVerdict | None:
        """A verdict that admits nothing and costs nothing; None unless this process knows that nothing is left."""
        bucket = self._buckets.get((policy, who))
        now = self._now()
        if bucket is None or bucket.window != int(now) // bucket.limit.window_s:
            return None
        return self._verdict(bucket, now, admitted=False) if bucket.tokens <= 0 and bucket.left <= 0 else None

    def _limit(self, policy: RatePolicy, overrides: Mapping[str, str] | None) -> Limit:
        limit = self._limits[policy]
        return _override(policy, overrides) or limit if overrides else limit

    def _bucket(self, limit: Limit, who: str, now: float) -> Bucket:
        key, window = (limit.policy, who), int(now) // limit.window_s
        bucket = self._buckets.get(key)
        if bucket is None or bucket.limit is not limit:
            bucket = self._buckets[key] = Bucket(limit, window)
            if len(self._buckets) > _MOST_BUCKETS:
                self._buckets.popitem(last=False)
        elif bucket.window != window:
            bucket.begin(window)
        self._buckets.move_to_end(key)
        return bucket

    async def _obtain(self, bucket: Bucket, who: str) -> bool:
        """Lease until there is a token, together with the other requests that wait; False when nothing is left."""
        bucket.waiting += 1
        try:
            while bucket.tokens <= 0:
                if bucket.exhausted:
                    return False
                if bucket.leasing is None:
                    bucket.leasing = asyncio.create_task(self._lease(bucket, who))
                await asyncio.shield(bucket.leasing)
            return True
        finally:
            bucket.waiting -= 1

    async def _lease(self, bucket: Bucket, who: str) -> None:
        limit, window = bucket.limit, bucket.window
        wanted = min(max(limit.chunk, bucket.waiting), limit.amount - bucket.taken)
        try:
            if wanted <= 0:
                bucket.left, bucket.exhausted = 0, True
                return
            count = await self._counters.add(limit.counter(who, window), wanted + bucket.owed, limit.window_s + _SKEW_S)
            if bucket.window == window:
                bucket.grant(wanted, count)
        finally:
            if bucket.window == window:
                bucket.leasing = None

    @staticmethod
    def _verdict(bucket: Bucket, now: float, *, admitted: bool) -> LimitVerdict:
        window_s = bucket.limit.window_s
        return LimitVerdict(bucket.limit, admitted, bucket.left + bucket.tokens, window_s - int(now) % window_s)


@lru_cache(4096)
def limit_of(policy: RatePolicy, text: str) -> Limit:
    """The one `Limit` of a text. Raises ValueError for one that is none."""
    return Limit(policy, text)


def _override(policy: RatePolicy, overrides: Mapping[str, str]) -> Limit | None:
    text = overrides.get(policy)
    if not isinstance(text, str):
        return None
    try:
        return limit_of(policy, text)
    except ValueError:
        return None
