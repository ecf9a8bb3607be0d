"""The engine that a process keeps for archived files: made once, shut in once, a session of its own for each question.

A question is one SELECT, and its session ends with it: views, macros and the transaction are the session's own, and the
configuration is locked. So no question leaves anything to the next.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from threading import Lock

import duckdb

from config import Settings
from storage.archive_files import PROTOCOL, ArchiveFiles, keep_contents
from storage.engine import engine, literal, url_of
from storage.exact import register_exact
from storage.moment import fix_moment, needs_moment
from storage.wide_sums import register_checks


class ArchiveEngine:
    """The engine over ``files`` and nothing else. Thread-safe. Its memory is shared by all questions."""

    def __init__(self, settings: Settings, files: ArchiveFiles) -> None:
        self._settings, self._files = settings, files
        self._stack = ExitStack()
        self._lock = Lock()
        self._engine: duckdb.DuckDBPyConnection | None = None

    def close(self) -> None:
        """Give its memory back; the next question begins another engine. Safe to call twice."""
        with self._lock:
            self._stack.close()
            self._engine = None

    @contextmanager
    def session(self, query: str, moment: datetime) -> Iterator[duckdb.DuckDBPyConnection]:
        """A session for ``query``, in which it is ``moment`` (aware). Views for it must be temporary."""
        with self._started() as connection:
            if needs_moment(query):
                fix_moment(connection, moment, temporary=True)
            yield connection

    def _started(self) -> duckdb.DuckDBPyConnection:
        """A session of the engine. One that failed within itself answers nothing any more: another takes its place."""
        with self._lock:
            if self._engine is not None and _is_broken(self._engine):
                self._stack.close()
                self._engine = None
            if self._engine is None:
                connection = self._stack.enter_context(engine(self._settings, with_store=False))
                self._files.register(connection)
                keep_contents(connection)
                register_checks(connection)
                register_exact(connection)
                _lock_up(connection, [f"{PROTOCOL}://"])
                self._engine = connection
            return self._engine.cursor()


def _is_broken(connection: duckdb.DuckDBPyConnection) -> bool:
    try:
        connection.execute("SELECT 1")
    except duckdb.FatalException:
        return True
    return False


def prepare(duck: duckdb.DuckDBPyConnection, moment: datetime) -> None:
    """Give an engine of one question its functions."""
    fix_moment(duck, moment)
    register_checks(duck)
    register_exact(duck)


def shut_in(duck: duckdb.DuckDBPyConnection, settings: Settings) -> None:
    """From here on the query reaches the archive and PostgreSQL's link, and no other file or address."""
    _lock_up(duck, [f"{PROTOCOL}://", url_of(settings, "")])


def _lock_up(duck: duckdb.DuckDBPyConnection, roots: list[str]) -> None:
    allowed = ", ".join([*map(literal, roots), "current_setting('temp_directory')"])
    duck.execute(f"SET allowed_directories = [{allowed}]")
    duck.execute("SET enable_external_access = false")
    duck.execute("SET lock_configuration = true")
