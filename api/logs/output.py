"""Standard output for the log, by a thread of its own: whoever reads it slowly, or not at all, stops no request.

What waits to be written is bounded. What does not fit is dropped and counted, in a metric and, as soon as there is
room, in a line of the log itself.
"""

import atexit
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

import msgspec

from api.monitoring import metrics

_MOST_BYTES = 8 << 20
_LAST_S = 1.0


def _write_to_stdout(text: bytes) -> None:
    # The process's own, whoever has put something else into the place of sys.stdout for a while.
    stream = sys.__stdout__
    if stream is not None:
        stream.buffer.write(text)
        stream.buffer.flush()


class LogOutput:
    """The lines on their way out, in order. Every method may be called from any thread."""

    def __init__(self, write: Callable[[bytes], object] = _write_to_stdout, most_bytes: int = _MOST_BYTES) -> None:
        self._write: Final = write
        self._most_bytes: Final = most_bytes
        self._changed = threading.Condition()
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0
        self._dropped = 0
        self._writing = False
        self._thread: threading.Thread | None = None

    def put(self, lines: bytes) -> None:
        """Write whole lines, each with its end, a moment later. Never waits for whoever reads them."""
        with self._changed:
            if self._waiting_bytes + len(lines) > self._most_bytes:
                self._drop(lines)
                return
            self._waiting.append(lines)
            self._waiting_bytes += len(lines)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="log output", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def flush(self, within_s: float) -> bool:
        """Wait until everything is written, for so many seconds at most; whether it is."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._waiting and not self._writing, within_s)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting)
                text = b"".join((*self._waiting, self._notice()))
                self._waiting.clear()
                self._waiting_bytes, self._dropped, self._writing = 0, 0, True
            try:
                self._write(text)
            except Exception:  # noqa: BLE001  # there is no other place to say it than the metric
                with self._changed:
                    self._drop(text)
            with self._changed:
                self._writing = False
                self._changed.notify_all()

    def _drop(self, lines: bytes) -> None:
        count = lines.count(b"\n")
        self._dropped += count
        metrics.log_lines_dropped(count)

    def _notice(self) -> bytes:
        """A line that says what was dropped since the last one; nothing when nothing was."""
        if not self._dropped:
            return b""
        line = {
            "time": datetime.now(UTC),
            "level": "WARNING",
            "logger": "treasury.api.log",
            "message": "lines of the log were dropped: nobody read them in time",
            "dropped": self._dropped,
        }
        return msgspec.json.encode(line) + b"\n"


OUTPUT: Final = LogOutput()  # one for a process, as its standard output is
atexit.register(OUTPUT.flush, _LAST_S)
