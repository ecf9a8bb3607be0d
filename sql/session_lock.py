"""A lock of a whole session, for work that writes to the archive meanwhile: no transaction should wait for that."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress

import psycopg
from psycopg import errors

from ledger.errors import ConflictError, TransientError
from sql.connection import Connection, fetch_one

SESSION_WAIT_S = 300  # longer than a store that does not answer holds up one piece of work


@contextmanager
def session_lock(
    connection: Connection, lock: str, unlock: str, what: str, wait_s: int = SESSION_WAIT_S
) -> Iterator[None]:
    """Hold an advisory lock from the query ``lock`` to the query ``unlock``, or to the end of the connection.

    Raises TransientError naming ``what`` after ``wait_s`` of waiting, by default five minutes.
    """
    connection.execute(f"SET lock_timeout = '{wait_s}s'")
    try:
        connection.execute(lock)
    except errors.LockNotAvailable as error:
        raise TransientError(f"{what} was locked by another run for {wait_s} s") from error
    finally:
        connection.execute("RESET lock_timeout")
    try:
        yield
    finally:
        if not connection.closed:
            connection.execute(unlock)


@contextmanager
def try_session_lock(
    connection: Connection, lock: str, unlock: str, otherwise: str, named: Mapping[str, str] | None = None
) -> Iterator[None]:
    """Hold an advisory lock that the query ``lock`` tries to take, for the block or until the connection ends.

    ``named`` are the parameters of ``lock`` and ``unlock``. Raises ConflictError at once where the lock is taken.
    """
    if not fetch_one(connection, lock, named)[0]:
        raise ConflictError(otherwise)
    try:
        yield
    finally:
        with suppress(psycopg.Error):  # of a session that is gone, and its lock with it
            connection.execute(unlock, named)
