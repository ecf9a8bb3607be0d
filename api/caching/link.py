"""The link to Redis over which every process receives the invalidations of the others, and how far it is trusted.

It is one connection of its own that is subscribed to one channel and sends PING at short intervals. Redis answers a
connection in the order of its commands and messages. When the PONG to a PING has arrived, so has every invalidation
that Redis took before that PING. So the entries of this process are right as of the moment at which the last answered
PING was sent. They may be returned for `lease_s` after it. redis-py's own PubSub reconnects silently, and messages are
lost unnoticed. This connection never reconnects; it ends, and with it the session.
"""

import asyncio
import logging
import math
import time
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from redis.asyncio import BlockingConnectionPool
from redis.asyncio.connection import AbstractConnection

from api.connections.shared_redis import FAILURES
from api.logs.json_lines import LOGGER

_CANCEL_AGAIN_S = 0.05
_LEASE, _ANSWER, _BEAT, _PAUSE = 1 / 4, 1 / 4, 1 / 16, 1 / 8
_LOG = logging.getLogger(LOGGER)


async def end(tasks: "set[asyncio.Task[Any]]") -> None:
    """Cancel ``tasks`` until they have ended.

    Once is not enough: redis-py sends by `asyncio.wait_for`, and that of Python 3.11 loses a cancellation that comes
    at the same moment as its result.
    """
    while tasks:
        for task in tasks:
            task.cancel()
        _, tasks = await asyncio.wait(tasks, timeout=_CANCEL_AGAIN_S)


class Link:
    """One process's link. ``on_message`` takes the messages of the others; ``flush`` makes every entry in Redis unfit.

    Every session begins with ``flush``: invalidations may have been lost before it, so no process may use an entry
    from before it.

    All intervals are parts of ``stale_s``, the bound. Its sum at worst: Redis hangs for all, just not long enough for a
    reader to lose its session (`_BEAT` + `_ANSWER`). A writer did lose its own, pauses (`_PAUSE`), and flushes; the
    reader trusts its entries for `_LEASE` more. Together with a writer's time limit that is less than the whole.
    """

    def __init__(
        self,
        pool: BlockingConnectionPool,
        channel: str,
        stale_s: float,
        on_message: Callable[[bytes], None],
        flush: Callable[[], Awaitable[None]],
    ) -> None:
        self._pool = pool
        self._channel = channel
        self.lease_s = stale_s * _LEASE
        self._answer_s = stale_s * _ANSWER
        self._beat_s = stale_s * _BEAT
        self._pause_s = stale_s * _PAUSE
        self._away = False
        self._on_message = on_message
        self._flush = flush
        self._pings: deque[float] = deque()
        self._reading: asyncio.Task[None] | None = None
        self._task: asyncio.Task[None] | None = None
        self._trusted_until_s = -math.inf
        self.session = 0
        self.sending = False

    def trusted(self, now_s: float) -> bool:
        """Return whether every invalidation up to ``lease_s`` ago is known here."""
        return now_s < self._trusted_until_s

    def open(self) -> None:
        """Start to link, and to link again whenever the link is lost."""
        self._task = asyncio.create_task(self._run(), name="cache link")

    async def close(self) -> None:
        """End the link. Entries that were kept under it must not be returned afterwards."""
        if self._task is not None:
            await end({self._task})

    def drop(self) -> None:
        """End this session: Redis may lack an invalidation. The next session begins with a flush."""
        self._trusted_until_s, self.sending = -math.inf, False
        if self._reading is not None:
            self._reading.cancel()

    async def _run(self) -> None:
        while True:
            try:
                await self._hold_session()
            except FAILURES as error:
                if not self._away:
                    _LOG.warning("the cache has no link to redis", extra={"fields": {"error": type(error).__name__}})
                self._away = True
            # Always short: while a process is not linked, its invalidations do not reach the others.
            await asyncio.sleep(self._pause_s)

    async def _hold_session(self) -> None:
        """Link, and stay linked until the connection ends or stops answering. Raises the error that ended it."""
        connection: AbstractConnection = self._pool.make_connection()  # type: ignore[no-untyped-call]  # redis-py
        self._pings.clear()
        try:
            async with asyncio.timeout(self._answer_s):
                await connection.connect()  # type: ignore[no-untyped-call]  # redis-py
                await connection.send_command("SUBSCRIBE", self._channel)
                await connection.read_response(timeout=math.inf)
            self._reading = asyncio.create_task(self._read(connection), name="cache link reader")
            # In this order: later invalidations are sent, and the flush covers the earlier ones.
            self.session += 1
            self.sending = True
            await self._flush()
            await self._stay(connection, self._reading)
        finally:
            self.drop()
            if self._reading is not None:
                await end({self._reading})
                self._reading = None
            with suppress(*FAILURES):  # the connection is abandoned in any case
                await connection.disconnect(nowait=True)

    async def _stay(self, connection: AbstractConnection, reading: "asyncio.Task[None]") -> None:
        while not reading.done():
            if self._pings and time.monotonic() - self._pings[0] > self._answer_s:
                raise TimeoutError
            self._pings.append(time.monotonic())
            async with asyncio.timeout(self._answer_s):
                await connection.send_command("PING")
            await asyncio.wait({reading}, timeout=self._beat_s)
        if reading.cancelled():
            raise ConnectionError("the session was ended")
        reading.result()

    async def _read(self, connection: AbstractConnection) -> None:
        """Take messages and answers until the connection ends, which raises."""
        while True:
            answer = await connection.read_response(timeout=math.inf)
            if answer[0] == b"pong":
                self._trusted_until_s = self._pings.popleft() + self.lease_s
                self._note_that_it_is_back()
            elif answer[0] == b"message":
                self._on_message(answer[2])

    def _note_that_it_is_back(self) -> None:
        if self._away:
            self._away = False
            _LOG.warning("the cache is linked to redis again")
