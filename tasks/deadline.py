"""Running several things at once, each under a deadline that holds whatever they wait for.

A thread cannot be ended from outside. One that waits for a server which never answers is left behind as a daemon, so
neither the run nor the process waits for it. While it is there, nothing of its name is started again, so that at most
one of each name is ever left behind.
"""

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar

from ledger.errors import TransientError

T = TypeVar("T")

_LEFT_BEHIND: dict[str, threading.Thread] = {}
_GUARD = threading.Lock()


class _Call(Generic[T]):
    """One thing being run: its thread, and its result or what it raised."""

    def __init__(self, name: str, work: Callable[[], T]) -> None:
        self.outcome: T | Exception | None = None
        self.took_s = 0.0
        self.thread = threading.Thread(target=self._run, args=(work,), name=name, daemon=True)

    def _run(self, work: Callable[[], T]) -> None:
        started = time.monotonic()
        try:
            self.outcome = work()
        except Exception as error:  # noqa: BLE001  # it is the outcome, and the caller looks at it
            self.outcome = error
        finally:
            self.took_s = time.monotonic() - started


def run_each(work: Mapping[str, Callable[[], T]], deadline_s: float) -> dict[str, tuple[T | Exception, float]]:
    """Run all of ``work`` at the same time; per name its result or its exception, and how many seconds it took.

    Returns within ``deadline_s`` and a little. What has not ended by then has a TransientError as its outcome. Never
    raises what the work raises. ``work`` is a handful of things that return something: each gets a thread.
    """
    started = time.monotonic()
    calls: dict[str, _Call[T] | None] = {name: _start(name, item) for name, item in work.items()}
    for call in calls.values():
        if call is not None:
            call.thread.join(max(0.0, started + deadline_s - time.monotonic()))
    return {name: _outcome(name, call, deadline_s) for name, call in calls.items()}


def _start(name: str, work: Callable[[], T]) -> _Call[T] | None:
    """The call, running; None when an earlier one of that name was left behind and still hangs."""
    with _GUARD:
        earlier = _LEFT_BEHIND.get(name)
        if earlier is not None and earlier.is_alive():
            return None
        _LEFT_BEHIND.pop(name, None)
    call = _Call(name, work)
    call.thread.start()
    return call


def _outcome(name: str, call: _Call[Any] | None, deadline_s: float) -> tuple[Any, float]:
    if call is None:
        return TransientError("no answer: an earlier attempt still waits for one"), 0.0
    if call.thread.is_alive():
        with _GUARD:
            _LEFT_BEHIND[name] = call.thread
        return TransientError(f"no answer within {deadline_s:g} s"), deadline_s
    if call.outcome is None:
        return TransientError("it ended without a result"), call.took_s
    return call.outcome, call.took_s
