"""Doing once in each turn of the event loop what would cost most of its time if it were done for each request."""

import asyncio
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class EachTurn(Generic[T]):
    """Gathers what happens in one turn of the event loop and hands it to ``take`` before the next one.

    A group commit, or a turn in which many sockets have something to read, ends dozens of requests at once.
    """

    def __init__(self, take: Callable[[list[T]], None]) -> None:
        self._take = take
        self._gathered: list[T] = []

    def add(self, item: T) -> None:
        """Hand on ``item`` with whatever else is added in this turn."""
        if not self._gathered:
            asyncio.get_running_loop().call_soon(self._hand_on)
        self._gathered.append(item)

    def _hand_on(self) -> None:
        gathered, self._gathered = self._gathered, []
        self._take(gathered)
