"""Counts of what happened, by rule and subject, over windows of the clock: kept here, summed over processes in Redis.

Counting never waits. Once a second `exchange` sends the new counts to Redis and reads the sums of all processes. While
Redis is away, the process uses its own counts. Everything is bounded: the oldest counts are dropped first.
"""

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from redis.asyncio import Redis

from api.connections.shared_redis import RedisAccess

_MOST_TALLIES = 5_000
_MOST_VALUES = 200_000
_MOST_EXCHANGED = 1_000
_KEPT_S = 60  # a window's sums outlive it by this long, for clocks that differ
Name = tuple[str, str, int]


class Tally:
    """One count in its present window. ``values`` are hashes of what is counted once each."""

    __slots__ = ("count", "counted", "elsewhere", "reported", "sent", "values", "window")

    def __init__(self, window: int) -> None:
        self.window = window
        self.count = 0  # by this process
        self.counted = False  # whether the latest occurrence was new
        self.sent = 0  # of these, what Redis knows
        self.elsewhere = 0  # by all other processes, as last read
        self.reported = False  # for callers that report once a window
        self.values: set[int] = set()

    @property
    def total(self) -> int:
        """The count of all processes, as far as is known."""
        return self.count + self.elsewhere


class SharedTallies:
    """The tallies of one process. ``now`` gives seconds since 1970."""

    def __init__(self, redis: RedisAccess, now: Callable[[], float] = time.time) -> None:
        self._redis = redis
        self._now = now
        self._tallies: OrderedDict[Name, Tally] = OrderedDict()
        self._values = 0
        self._changed: dict[Name, Tally] = {}

    def add(self, rule: str, subject: str, window_s: int, value: str | None = None) -> Tally:
        """Count one occurrence; with ``value``, only the first of each value in a window. Returns the tally."""
        name, window = (rule, subject, window_s), int(self._now()) // window_s
        tally = self._tallies.get(name)
        if tally is None or tally.window != window:
            self._forget(name)
            tally = self._tallies[name] = Tally(window)
        self._tallies.move_to_end(name)
        if value is not None:
            known = len(tally.values)
            tally.values.add(hash(value))
            tally.counted = len(tally.values) > known
            if not tally.counted:
                return tally
            self._values += 1
        tally.count += 1
        if len(self._changed) < _MOST_EXCHANGED:
            self._changed[name] = tally
        self._shrink()
        return tally

    def forget_subject(self, rule: str, subject: str, window_s: int) -> None:
        """Start the count of one subject over, in this process."""
        self._forget((rule, subject, window_s))

    async def exchange(self) -> list[tuple[Name, Tally]]:
        """Send the new counts to Redis and read the sums; returns the tallies whose sums were read.

        Safe to repeat; counts that could not be sent wait for the next call.
        """
        changed, self._changed = self._changed, {}
        added = [(name, tally, tally.count - tally.sent) for name, tally in changed.items()]
        sums = await self._redis.run(lambda redis: _add_all(redis, self._redis.prefix, added)) if added else []
        if sums is None:
            self._changed = {**changed, **self._changed}
            return []
        for (_, tally, amount), total in zip(added, sums, strict=True):
            tally.sent += amount
            tally.elsewhere = max(0, total - tally.sent)
        return list(changed.items())

    def _forget(self, name: Name) -> None:
        tally = self._tallies.pop(name, None)
        if tally is not None:
            self._values -= len(tally.values)
            self._changed.pop(name, None)

    def _shrink(self) -> None:
        while len(self._tallies) > _MOST_TALLIES or (self._values > _MOST_VALUES and len(self._tallies) > 1):
            self._forget(next(iter(self._tallies)))


async def _add_all(redis: Redis, prefix: str, added: list[tuple[Name, Tally, int]]) -> list[int]:
    pipeline: Any = redis.pipeline(transaction=False)
    for (rule, subject, window_s), tally, amount in added:
        key = f"{prefix}tally:{rule}:{window_s}:{tally.window}"
        pipeline.hincrby(key, subject, amount)
        pipeline.expire(key, window_s + _KEPT_S)
    return list((await pipeline.execute())[::2])
