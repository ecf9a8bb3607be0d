"""The log's way to standard output: a bounded queue and a `QueueListener`'s thread. A slow reader stops no request.

Lines that do not fit are dropped and counted, in a metric and in a line of the log that comes in their place. Decision
0027 says why the queue takes many finished lines at once, and not one record per line.
"""

import atexit
import logging
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from logging.handlers import QueueHandler, QueueListener
from queue import Full, Queue
from typing import Any, Final

import msgspec

from api.monitoring import metrics

_MOST_BYTES = 8 << 20
_LAST_S = 1.0


def _write_to_stdout(text: bytes) -> None:
    # The process's own standard output, even while sys.stdout is replaced.
    stream = sys.__stdout__
    if stream is not None:
        stream.buffer.write(text)
        stream.buffer.flush()


class LogOutput:
    """Writes lines in the order in which they were put. Every method may be called from any thread."""

    def __init__(self, write: Callable[[bytes], object] = _write_to_stdout, most_bytes: int = _MOST_BYTES) -> None:
        self._queue: Final = _ByteQueue(most_bytes)
        self._writer: Final = _Writer(write)
        self._listener: Final = _Listener(self._queue, self._writer)
        self._starting = threading.Lock()
        self._started = False

    def put(self, lines: bytes) -> None:
        """Queue whole lines, each with its end. Never waits: lines that do not fit are dropped and counted."""
        if not self._started:
            self._start()
        try:
            self._queue.put_nowait(lines)
        except Full:
            self._writer.drop(lines)

    def flush(self, within_s: float) -> bool:
        """Wait until everything is written, at most ``within_s``. Returns whether everything is written."""
        with self._queue.all_tasks_done:
            return self._queue.all_tasks_done.wait_for(lambda: not self._queue.unfinished_tasks, within_s)

    def _start(self) -> None:
        with self._starting:
            if not self._started:
                self._listener.start()
                self._started = True


class OutputHandler(QueueHandler):
    """Puts the records of `logging` into a `LogOutput`. The thread that logs formats them."""

    def __init__(self, output: LogOutput) -> None:
        super().__init__(output)  # type: ignore[arg-type]  # `enqueue` is the only method that uses it
        self._output = output

    def enqueue(self, record: logging.LogRecord) -> None:
        """Put the line of a prepared record. Never waits."""
        self._output.put(record.getMessage().encode(errors="replace") + b"\n")


class _ByteQueue(Queue[bytes]):
    """A queue of lines that is full once it holds ``maxsize`` bytes. The next item is everything that waits.

    Items are joined because one write and one change of threads per request cost more than the request's log line.
    """

    def _init(self, maxsize: int) -> None:  # as queue.Queue calls it
        self._texts: list[bytes] = []
        self._bytes = 0

    def _qsize(self) -> int:
        return self._bytes

    def _put(self, item: bytes) -> None:
        self._texts.append(item)
        self._bytes += len(item)

    def _get(self) -> bytes:
        text = b"".join(self._texts)
        self.unfinished_tasks -= len(self._texts) - 1  # one `task_done` follows
        self._texts.clear()
        self._bytes = 0
        return text


class _Listener(QueueListener):
    """Hands what waits to the writer."""

    def prepare(self, record: Any) -> logging.LogRecord:
        """The record of finished lines."""
        return logging.LogRecord(__name__, logging.INFO, "", 0, record, None, None)


class _Writer(logging.Handler):
    """Writes finished lines, then a notice of the lines that were dropped after them."""

    def __init__(self, write: Callable[[bytes], object]) -> None:
        super().__init__()
        self._write = write
        self._counting = threading.Lock()
        self._dropped = 0  # since the last notice that was written

    def drop(self, lines: bytes) -> None:
        """Count lines that are not written."""
        count = lines.count(b"\n")
        metrics.log_lines_dropped(count)
        with self._counting:
            self._dropped += count

    def emit(self, record: logging.LogRecord) -> None:
        """Write the lines of ``record``."""
        lines: Any = record.msg
        with self._counting:
            noticed, self._dropped = self._dropped, 0
        try:
            self._write(lines + _notice(noticed) if noticed else lines)
        except Exception:  # noqa: BLE001  # the metric and the next notice are the only places to report it
            self.drop(lines)
            with self._counting:
                self._dropped += noticed


def _notice(dropped: int) -> bytes:
    line = {
        "time": datetime.now(UTC),
        "level": "WARNING",
        "logger": "treasury.api.log",
        "message": "log lines were dropped: standard output was not read in time",
        "dropped": dropped,
    }
    return msgspec.json.encode(line) + b"\n"


OUTPUT: Final = LogOutput()  # one per process, as its standard output is
atexit.register(OUTPUT.flush, _LAST_S)
