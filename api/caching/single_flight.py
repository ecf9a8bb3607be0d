"""One task for each key: callers that ask for the same thing at the same time share one piece of work."""

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from functools import partial
from typing import Any, Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)
T = TypeVar("T")


class SingleFlight(Generic[Key, T]):
    """The work under way. A caller that gives up waiting does not stop the work for the others.

    An error of the work is raised for every caller that waits, and is not kept.
    """

    def __init__(self) -> None:
        self._joinable: dict[Key, asyncio.Task[T]] = {}
        self._running: set[asyncio.Task[T]] = set()  # asyncio itself holds no reference to a task

    @property
    def running(self) -> frozenset[asyncio.Task[T]]:
        """Every task that has not ended, whether or not callers may join it."""
        return frozenset(self._running)

    async def share(self, key: Key, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """The result of the work under way for ``key``; starts ``work`` when there is none."""
        task = self._joinable.get(key)
        return await asyncio.shield(self.start(key, work()) if task is None else task)

    def joinable(self, key: Key) -> asyncio.Task[T] | None:
        """The work under way for ``key`` that a caller may join."""
        return self._joinable.get(key)

    def start(self, key: Key, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Start ``work``. Later callers join it until it ends or until `release`."""
        task = asyncio.create_task(work)
        self._joinable[key] = task
        self._running.add(task)
        task.add_done_callback(partial(self._ended, key))
        return task

    def release(self, key: Key) -> None:
        """Let later callers start new work for ``key``. Callers that wait keep waiting. Safe to repeat."""
        self._joinable.pop(key, None)

    def _ended(self, key: Key, task: asyncio.Task[T]) -> None:
        self._running.discard(task)
        if self._joinable.get(key) is task:
            del self._joinable[key]
        if not task.cancelled():
            task.exception()  # read here, because every caller may have given up: asyncio warns of an unread error
