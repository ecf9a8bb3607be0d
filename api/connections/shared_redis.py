"""What the processes of the API share through Redis, without ever waiting long for it.

Each call has one time limit. After a failure Redis counts as away: calls answer None at once while one task asks, at
growing intervals, whether it is back. A request therefore waits at most once for a Redis that has just gone.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from api.logs.json_lines import LOGGER

_CONNECTIONS = 16
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 5.0
_CALM_S = 30.0  # after this long without a failure the pauses begin anew
_INCREMENT = """
local count = redis.call('INCRBY', KEYS[1], ARGV[1])
if count == tonumber(ARGV[1]) then
    redis.call('EXPIRE', KEYS[1], ARGV[2])
end
return count
"""
_FAILURES = (RedisError, OSError, TimeoutError)
_LOG = logging.getLogger(LOGGER)
T = TypeVar("T")


class SharedRedis:
    """Redis with a time limit and a memory for its failures. Without a URL it is always away.

    ``prefix`` is how every key begins: two APIs on one Redis share nothing when theirs differ.
    """

    def __init__(self, url: str | None, prefix: str, timeout_s: float) -> None:
        self.prefix = prefix
        self._url = url
        self._timeout_s = timeout_s
        self._pool: BlockingConnectionPool | None = None
        self._client: Redis | None = None
        self._probe: asyncio.Task[None] | None = None
        self._pause_s = _FIRST_PAUSE_S
        self._back_at_s = float("-inf")

    @property
    def away(self) -> bool:
        """Whether Redis is not asked at present."""
        return self._client is None or self._probe is not None

    def open(self) -> None:
        """Make ready to connect; connections are made when they are needed. Needs the running event loop."""
        if self._url is None:
            return
        self._pool = BlockingConnectionPool.from_url(
            self._url,
            max_connections=_CONNECTIONS,
            timeout=self._timeout_s,
            socket_timeout=self._timeout_s,
            socket_connect_timeout=self._timeout_s,
            retry=Retry(NoBackoff(), 0),  # redis-py's own retries wait for seconds
        )
        self._client = Redis(connection_pool=self._pool)
        self._increment = self._client.register_script(_INCREMENT)

    async def close(self) -> None:
        """Stop asking and close the connections."""
        if self._probe is not None:
            self._probe.cancel()
            await asyncio.gather(self._probe, return_exceptions=True)
        if self._pool is not None:
            await self._pool.disconnect()
        self._client = None

    async def count(self, key: str, amount: int, expires_s: int) -> int | None:
        """Add ``amount`` to a counter, which expires ``expires_s`` after its first use; None while Redis is away."""
        name = f"{self.prefix}limits:{key}"

        async def increment(client: Redis) -> int:
            return int(await self._increment(keys=[name], args=[amount, expires_s], client=client))

        return await self.run(increment)

    async def run(self, work: Callable[[Redis], Awaitable[T]]) -> T | None:
        """The result of ``work``; None while Redis is away. It may have been done in part when None is given."""
        client = self._client
        return None if client is None else await self._within(lambda: work(client))

    async def _within(self, work: Callable[[], Awaitable[T]]) -> T | None:
        if self.away:
            return None
        try:
            async with asyncio.timeout(self._timeout_s):
                return await work()
        except _FAILURES as error:
            self._gone(error)
            return None

    def _gone(self, error: Exception) -> None:
        if self._probe is not None or self._client is None:
            return
        _LOG.warning("redis is away", extra={"fields": {"error": type(error).__name__}})
        if time.monotonic() - self._back_at_s > _CALM_S:
            self._pause_s = _FIRST_PAUSE_S
        self._probe = asyncio.create_task(self._wait_until_back(self._client))

    async def _wait_until_back(self, client: Redis) -> None:
        """Ask until it answers. One that keeps going away soon after is asked ever more rarely."""
        answers = False
        while not answers:
            await asyncio.sleep(self._pause_s)
            self._pause_s = min(self._pause_s * 2, _LONGEST_PAUSE_S)
            answers = await self._answers(client)
        self._back_at_s = time.monotonic()
        self._probe = None
        _LOG.warning("redis is back")

    async def _answers(self, client: Redis) -> bool:
        try:
            async with asyncio.timeout(self._timeout_s):
                await client.ping()
        except _FAILURES:
            return False
        return True
