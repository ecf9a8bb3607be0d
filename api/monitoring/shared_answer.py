"""An answer that is dear to make and may be some seconds old: made once for all who ask at the same time."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class SharedAnswer(Generic[T]):
    """The latest outcome of ``make``, kept for ``keep_s`` seconds. A failure is told to those who waited for it and is
    kept by nobody. Whoever gives up waiting does not stop it for the others.
    """

    def __init__(self, make: Callable[[], Awaitable[T]], keep_s: float) -> None:
        self._make = make
        self._keep_s = keep_s
        self._made_at_s = 0.0
        self._made: T | None = None
        self._making: asyncio.Task[T] | None = None

    async def get(self) -> T:
        """The answer, at most ``keep_s`` old when it was asked for. Raises what making it raises."""
        if self._made is not None and time.monotonic() - self._made_at_s < self._keep_s:
            return self._made
        if self._making is None:
            self._making = asyncio.create_task(self._remake(), name="shared answer")
            self._making.add_done_callback(self._done)
        return await asyncio.shield(self._making)

    async def _remake(self) -> T:
        started_s = time.monotonic()
        made = await self._make()
        self._made, self._made_at_s = made, started_s
        return made

    def _done(self, task: asyncio.Task[T]) -> None:
        self._making = None
        if not task.cancelled():
            task.exception()  # noted: when everybody has left, nobody else looks at it
