"""Sampling beside the requests: once a second the gauges of this process, some times a minute a reading of all."""

import asyncio
import logging
import os
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import anyio.to_thread

from api.logs.error_description import describe
from api.logs.json_lines import LOGGER
from api.monitoring import metrics
from api.monitoring.history import History, Minute
from api.monitoring.readings import Reading, exposition, read, serving

WINDOW_S = 300.0
_GAUGES_EVERY_S = 1.0
_READINGS_EVERY_S = 15.0
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_LOG = logging.getLogger(LOGGER)


class Sampler:
    """The readings of the last five minutes of one process, each over all processes, and the minutes of the last day.

    ``gauges`` are called once a second; they write the current numbers to the metrics.
    """

    def __init__(self, gauges: Sequence[Callable[[], None]], window_s: float = WINDOW_S) -> None:
        self._gauges = (*gauges, _note_memory)
        self._window_s = window_s
        self._readings: deque[Reading] = deque(maxlen=int(window_s / _READINGS_EVERY_S) + 2)
        self._history = History()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Sample until left. Nothing that goes wrong in it ends it, or the application."""
        with serving():
            task = asyncio.create_task(self._run(), name="sampler of the metrics")
            try:
                yield
            finally:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task

    async def now(self) -> tuple[Reading, Reading]:
        """A reading of this moment, and the one from which on the recent period is counted."""
        self.note_gauges()
        latest = await anyio.to_thread.run_sync(read)
        earlier = [reading for reading in self._readings if latest.at_s - reading.at_s <= self._window_s]
        return latest, earlier[0] if earlier else latest

    @property
    def minutes(self) -> Sequence[Minute]:
        """The minutes of the last day, oldest first."""
        return self._history.minutes

    async def exposition(self) -> bytes:
        """Everything, now, in Prometheus's text format."""
        self.note_gauges()
        return await anyio.to_thread.run_sync(exposition)

    def note_gauges(self) -> None:
        """Bring this process's gauges up to date."""
        for note in self._gauges:
            note()

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        next_reading_s = loop.time()
        while True:
            try:
                self.note_gauges()
                if loop.time() >= next_reading_s:
                    next_reading_s = loop.time() + _READINGS_EVERY_S
                    reading = await anyio.to_thread.run_sync(read)
                    self._readings.append(reading)
                    self._history.note(reading)
            except Exception as error:  # noqa: BLE001  # numbers are missed, requests go on
                _LOG.error("metrics were not sampled", extra={"fields": describe(error)})
            await asyncio.sleep(_GAUGES_EVERY_S)


def _note_memory() -> None:
    metrics.process_is(int(Path("/proc/self/statm").read_bytes().split()[1]) * _PAGE_BYTES)
