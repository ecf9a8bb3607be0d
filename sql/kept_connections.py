"""Connections to PostgreSQL that a process keeps between its questions: a new one costs more than many a question."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from os import dup
from threading import Lock, Timer

import psycopg

from ledger.errors import TreasuryError
from sql.connection import CONNECT_TIMEOUT_S, Connection, check_session, connect
from sql.errors import translate

_MOST_IDLE = 2


class KeptConnections:
    """Connections to ``dsn``, of which a few are kept while nobody uses them. Thread-safe. ``purpose`` shows in
    pg_stat_activity.
    """

    def __init__(self, dsn: str, purpose: str) -> None:
        self._dsn, self._purpose = dsn, purpose
        self._idle: list[tuple[Connection, ExitStack]] = []
        self._lock = Lock()

    @contextmanager
    def taken(self) -> Iterator[Connection]:
        """A connection for the block. Raises the errors of `connect`."""
        connection, stack = self._idle_one() or self._new()
        try:
            yield connection
        except psycopg.Error as error:
            stack.close()
            raise translate(error) from error
        except BaseException:
            stack.close()
            raise
        with self._lock:
            is_kept = len(self._idle) < _MOST_IDLE and not connection.closed
            if is_kept:
                self._idle.append((connection, stack))
        if not is_kept:
            stack.close()

    def _idle_one(self) -> tuple[Connection, ExitStack] | None:
        """One that was kept and still answers as it must."""
        while self._idle:
            with self._lock:
                kept = self._idle.pop() if self._idle else None
            if kept is None:
                return None
            try:
                with _answering(kept[0]):
                    check_session(kept[0])
            except (psycopg.Error, TreasuryError):
                kept[1].close()
            else:
                return kept
        return None

    def _new(self) -> tuple[Connection, ExitStack]:
        with ExitStack() as stack:
            connection = stack.enter_context(connect(self._dsn, self._purpose))
            return connection, stack.pop_all()

    def close(self) -> None:
        """Close those that nobody uses. Safe to call twice."""
        while self._idle:
            self._idle.pop()[1].close()


@contextmanager
def _answering(connection: Connection) -> Iterator[None]:
    """Break the connection when the block takes longer than making one may: its server is silent."""
    timer = Timer(CONNECT_TIMEOUT_S, _break, [connection])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _break(connection: Connection) -> None:
    """Shut the socket down, not close it: the thread that waits for an answer sees its end."""
    with suppress(OSError, psycopg.Error), socket.socket(fileno=dup(connection.pgconn.socket)) as line:
        line.shutdown(socket.SHUT_RDWR)
