"""How long an answer may take, and the project's errors for those of the engine and of PostgreSQL behind it."""

import re
import signal
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import duckdb
import psycopg
import pyarrow as pa

from config import Settings
from ledger.errors import ConfigError, DataError, TransientError, TreasuryError
from sql.errors import translate
from storage.archive_files import ArchiveFiles
from tasks.querying.link import broken_text, hidden_rows, scrubbed

_INTERRUPT_S = 0.05
LONGEST_S = 2_000_000.0  # PostgreSQL counts milliseconds in 31 bits
_AWAY = ("IO Error", "HTTP Error", "Connection Error")
# The extension has no class of its own for a session that PostgreSQL has ended.
_GONE = re.compile(
    "server closed the connection|terminating connection|connection .*(lost|reset|refused|timed out)", re.IGNORECASE
)
_TIMED_OUT = "canceling statement due to statement timeout"
_INVALIDATED = "database has been invalidated"
_UNSUPPORTED = re.compile(r"Unsupported Arrow type (\w+)")


class TimeLimit:
    """Interrupts an engine when its time is over, as a question that holds hot or warm months keeps the mover waiting;
    and at Ctrl-C. The time counts from here on.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.is_over = False
        self._ends = time.monotonic() + seconds

    @property
    def left_s(self) -> float:
        """The seconds that are left."""
        return max(0.0, self._ends - time.monotonic())

    @contextmanager
    def watching(self, duck: duckdb.DuckDBPyConnection) -> Iterator[None]:
        """Watch over the block."""
        done = threading.Event()
        reader, writer = socket.socketpair()

        def interrupt() -> None:
            if not self._must_end(reader):
                return
            while not done.wait(_INTERRUPT_S):  # between two statements an interrupt is lost
                duck.interrupt()

        watch = threading.Thread(target=interrupt, name="time limit", daemon=True)
        with reader, writer, _writing_signals(writer):
            watch.start()
            try:
                yield
            finally:
                done.set()
                writer.shutdown(socket.SHUT_RDWR)
                watch.join()

    def _must_end(self, reader: socket.socket) -> bool:
        """Wait for the end of the block, of the time or for Ctrl-C; False for the first."""
        try:
            while True:
                reader.settimeout(self.left_s)  # select() takes no descriptor beyond 1023
                signals = reader.recv(64)
                if signal.SIGINT in signals or not signals:
                    return bool(signals)
        except (TimeoutError, BlockingIOError):  # the latter where no time was left
            self.is_over = True
            return True


@contextmanager
def _writing_signals(writer: socket.socket) -> Iterator[None]:
    """Write the number of each signal to ``writer`` during the block, in the main thread alone, and unless others want
    that. The engine looks for signals between its tasks only, and one of them may take minutes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    writer.setblocking(False)
    others = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    if others != -1:
        signal.set_wakeup_fd(others)
    try:
        yield
    finally:
        signal.set_wakeup_fd(others)


@contextmanager
def translated(
    settings: Settings, limit: TimeLimit, files: ArchiveFiles, refused: Mapping[str, str] | None = None
) -> Iterator[None]:
    """The project's errors for the engine's inside the block, and KeyboardInterrupt where Ctrl-C ended it. ``refused``
    are tables that cannot be read, and why.
    """
    try:
        yield
    except duckdb.Error as error:
        away = isinstance(error, duckdb.IOException | duckdb.HTTPException | duckdb.ConnectionException)
        for name, reason in (refused or {}).items():
            if isinstance(error, duckdb.CatalogException) and re.search(rf"with name {name}\b", str(error)):
                raise ConfigError(f"SQL: table {name} cannot be read: {reason}") from None
        raise _error(settings, limit, files, str(error), is_away=away) from None
    except RuntimeError as error:
        if isinstance(error.__cause__, KeyboardInterrupt):  # that is how the engine passes a Ctrl-C on
            raise KeyboardInterrupt from None
        raise


@contextmanager
def translated_stream(settings: Settings, limit: TimeLimit, files: ArchiveFiles) -> Iterator[None]:
    """`translated` for rows on their way: Arrow passes on the engine's text alone, without its class."""
    try:
        with translated(settings, limit, files):
            yield
    except psycopg.Error as error:
        raise _lost_lock(limit, error) from None
    except (pa.ArrowException, OSError) as error:
        raise _error(settings, limit, files, str(error), is_away=str(error).startswith(_AWAY)) from None


def _lost_lock(limit: TimeLimit, error: psycopg.Error) -> TreasuryError:
    """The error of an answer behind whose back months could move."""
    if limit.is_over:
        return DataError(_too_late(limit))
    return TransientError(f"SQL: months could have moved while the answer was read; ask again ({translate(error)})")


def _error(settings: Settings, limit: TimeLimit, files: ArchiveFiles, text: str, *, is_away: bool) -> TreasuryError:
    if limit.is_over or _TIMED_OUT in text:
        return DataError(_too_late(limit))
    if (failure := files.failure_in(text)) is not None:
        return _error_of(failure)
    if (hidden := hidden_rows(text)) is not None:
        return ConfigError(f"SQL: {hidden}")
    if (broken := broken_text(text)) is not None:
        return DataError(f"SQL: {broken}")
    if is_away or _GONE.search(text) or _INVALIDATED in text:
        what = "the engine failed in another query, ask again" if _INVALIDATED in text else "a tier cannot be read now"
        return TransientError(f"SQL: {what}: {scrubbed(settings, text)}")
    return DataError(f"SQL: {_duckdb_message(settings, text)}")


@contextmanager
def of_question() -> Iterator[None]:
    """The errors of a question for those that archived files met inside the block."""
    try:
        yield
    except TreasuryError as error:
        raise _error_of(error) from error


def _error_of(failure: TreasuryError) -> TreasuryError:
    """The error of a question for one that reading an archived file met."""
    where = "a tier cannot be read now: " if isinstance(failure, TransientError) else ""
    return type(failure)(f"SQL: {where}{failure}")


def _too_late(limit: TimeLimit) -> str:
    return f"SQL: no whole answer within {limit.seconds:g} s; --timeout and TREASURY_SQL_TIMEOUT_S allow more"


def _duckdb_message(settings: Settings, text: str) -> str:
    """DuckDB's words, without the line of SQL, which is not the one that was asked, and without its guess at a name,
    which may be any of its own tables'.
    """
    reason = scrubbed(settings, text).partition("\n\nLINE ")[0].partition("\n\nAt:")[0]
    reason = reason.partition("\n\nStack Trace:")[0]
    if reason.startswith("Catalog Error"):
        reason = f"{reason.partition(chr(10))[0]} The views are {', '.join(settings.registry)}."
    if (match := _UNSUPPORTED.search(reason)) is not None:
        reason = f"a column has the type {match[1]}, which no answer can hold: use CAST(... AS VARCHAR)"
    return reason
