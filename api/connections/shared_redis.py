"""The one Redis client of an API process, and the one policy for a Redis that fails.

Each use of Redis has a time limit of its own, a `RedisAccess`; all of them share the connections of one `SharedRedis`.
After a failure an access is away, and its calls fail at once. One task sends PING at growing intervals until Redis
answers within the limit. A request therefore waits at most once for a Redis that has just failed.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from api.logs.json_lines import LOGGER

FAILURES: Final = (RedisError, OSError, TimeoutError)
_CONNECTIONS = 32
_LONGEST_S = 5.0  # the longest time limit that the settings allow
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 5.0
_CALM_S = 30.0  # after this long without a failure the first pause is the shortest again
_LOG = logging.getLogger(LOGGER)
T = TypeVar("T")
Work = Callable[[Redis], Awaitable[T]]


class SharedRedis:
    """The connections of one process; they are made when they are needed. Without a URL there are none.

    Every key begins with ``prefix``: two APIs on one Redis share nothing when their prefixes differ.
    """

    def __init__(self, url: str | None, prefix: str) -> None:
        self.prefix: Final = prefix
        self.pool: Final = None if url is None else _pool(url)
        self.client: Final = None if self.pool is None else Redis(connection_pool=self.pool)
        self._accesses: list[RedisAccess] = []

    def access(self, purpose: str, timeout_s: float) -> "RedisAccess":
        """Redis for one purpose, which the log names, with a time limit for each call."""
        access = RedisAccess(self.client, self.prefix, purpose, timeout_s)
        self._accesses.append(access)
        return access

    async def close(self) -> None:
        """End every access and close the connections."""
        for access in self._accesses:
            await access.close()
        if self.pool is not None:
            await self.pool.disconnect()


class RedisAwayError(OSError):
    """Redis was not asked, because it failed a moment ago or because there is none."""


class RedisAccess:
    """Redis with a time limit and a memory of its failures."""

    def __init__(self, client: Redis | None, prefix: str, purpose: str, timeout_s: float) -> None:
        self.prefix: Final = prefix
        self._client = client
        self._purpose = purpose
        self._timeout_s = timeout_s
        self._probe: asyncio.Task[None] | None = None
        self._pause_s = _FIRST_PAUSE_S
        self._back_at_s = float("-inf")

    @property
    def away(self) -> bool:
        """Whether Redis is not asked at present."""
        return self._client is None or self._probe is not None

    async def close(self) -> None:
        """Stop asking. Every later call fails at once."""
        self._client = None
        if self._probe is not None:
            self._probe.cancel()
            await asyncio.gather(self._probe, return_exceptions=True)

    async def run(self, work: Work[T]) -> T | None:
        """The result of ``work``; None while Redis is away. When it returns None, a part of it may have been done."""
        try:
            return await self.call(work)
        except FAILURES:
            return None

    async def call(self, work: Work[T], *, repeatable: bool = False, although_away: bool = False) -> T:
        """The result of ``work``. Raises one of `FAILURES`, at once while Redis is away.

        ``repeatable`` work is tried a second time when its connection was lost: Redis closes idle connections.
        ``although_away`` asks also while Redis is away; an answer then ends that.
        """
        client = self._client
        if client is None or (self._probe is not None and not although_away):
            raise RedisAwayError(f"Redis does not answer: not asked for {self._purpose}")
        try:
            async with asyncio.timeout(self._timeout_s):
                result = await _attempt(work, client, repeatable)
        except FAILURES as error:
            self._note_failure(client, error)
            raise
        if self._probe is not None and although_away:
            self._probe.cancel()
            self._note_answer()
        return result

    def _note_failure(self, client: Redis, error: Exception) -> None:
        if self._probe is not None or self._client is None:
            return
        _LOG.warning("redis does not answer", extra={"fields": self._fields() | {"error": type(error).__name__}})
        if time.monotonic() - self._back_at_s > _CALM_S:
            self._pause_s = _FIRST_PAUSE_S
        self._probe = asyncio.create_task(self._wait_until_back(client), name="redis probe")

    def _note_answer(self) -> None:
        self._back_at_s = time.monotonic()
        self._probe = None
        _LOG.warning("redis answers again", extra={"fields": self._fields()})

    def _fields(self) -> dict[str, str]:
        return {"purpose": self._purpose}

    async def _wait_until_back(self, client: Redis) -> None:
        """Send PING until it is answered. A Redis that fails again soon after is asked at longer intervals."""
        answered = False
        while not answered:
            await asyncio.sleep(self._pause_s)
            self._pause_s = min(self._pause_s * 2, _LONGEST_PAUSE_S)
            answered = await self._ping(client)
        self._note_answer()

    async def _ping(self, client: Redis) -> bool:
        try:
            async with asyncio.timeout(self._timeout_s):
                await client.ping()
        except FAILURES:
            return False
        return True


async def _attempt(work: Work[T], client: Redis, repeatable: bool) -> T:
    try:
        return await work(client)
    except RedisConnectionError:
        if not repeatable:
            raise
    return await work(client)


def _pool(url: str) -> BlockingConnectionPool:
    return BlockingConnectionPool.from_url(
        url,
        max_connections=_CONNECTIONS,
        timeout=_LONGEST_S,  # each access has a shorter limit of its own
        socket_timeout=_LONGEST_S,
        socket_connect_timeout=_LONGEST_S,
        protocol=2,  # in which a subscribed connection answers in plain arrays
        retry=Retry(NoBackoff(), 0),  # redis-py's own retries wait for seconds
    )
