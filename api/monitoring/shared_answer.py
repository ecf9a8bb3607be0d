"""An answer that is expensive to make and may be some seconds old: made once for all callers at the same time."""

import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from api.caching.single_flight import SingleFlight

T = TypeVar("T")


class SharedAnswer(Generic[T]):
    """The latest result of ``make``, kept for ``keep_s`` seconds. A failure is raised for every caller that waited for
    it, and is not kept.
    """

    def __init__(self, make: Callable[[], Awaitable[T]], keep_s: float) -> None:
        self._make = make
        self._keep_s = keep_s
        self._made_at_s = 0.0
        self._made: T | None = None
        self._flight: SingleFlight[None, T] = SingleFlight()

    async def get(self) -> T:
        """The answer, at most ``keep_s`` old when it was asked for. Raises what ``make`` raises."""
        if self._made is not None and time.monotonic() - self._made_at_s < self._keep_s:
            return self._made
        return await self._flight.share(None, self._remake)

    async def recent(self, fresh_s: float, stale_s: float) -> T:
        """The answer, at most ``stale_s`` old. One that is older than ``fresh_s`` is returned as it is and made again
        meanwhile, so that the caller does not wait for it. Raises what ``make`` raises, where it had to wait.
        """
        age_s = time.monotonic() - self._made_at_s
        if self._made is None or age_s >= stale_s:
            return await self._flight.share(None, self._remake)
        if age_s >= fresh_s and self._flight.joinable(None) is None:
            self._flight.start(None, self._remake())
        return self._made

    async def _remake(self) -> T:
        started_s = time.monotonic()
        made = await self._make()
        self._made, self._made_at_s = made, started_s
        return made
