"""DDL that does not keep writers waiting: short lock timeouts, back-off, one maintenance lock per database."""

import random
import time
from collections.abc import Callable
from typing import TypeVar

import psycopg
from psycopg import errors, sql

from config import Settings
from ledger.errors import TransientError
from sql.connection import Connection

T = TypeVar("T")

MAINTENANCE_LOCK = 0x7472_6561_0002
QUEUE_TIMEOUT_MS = 60_000  # for the maintenance lock itself: waiting for it holds nothing that a writer needs
_CANCELLED_MS = 2_000  # for an autovacuum to end after it was cancelled
_FIRST_PAUSE_S = 0.02
_LONGEST_PAUSE_S = 1.0
_RETRIED = (errors.LockNotAvailable, errors.DeadlockDetected)


def run_ddl(connection: Connection, settings: Settings, work: Callable[[], T]) -> T:
    """Run ``work`` in one transaction on ``connection``, holding the database's maintenance lock.

    Each statement of ``work`` waits at most ``settings.lock_timeout_ms`` for a lock. When it gets none the whole
    transaction is rolled back and tried again after a growing, jittered pause. ``work`` must therefore change nothing
    outside the transaction. Raises TransientError when ``settings.lock_attempts`` tries were not enough.
    """
    return with_short_locks(connection, settings.lock_timeout_ms, settings.lock_attempts, work)


def with_short_locks(connection: Connection, lock_timeout_ms: int, lock_attempts: int, work: Callable[[], T]) -> T:
    """`run_ddl` where there are no settings."""
    pause_s = _FIRST_PAUSE_S
    for _ in range(lock_attempts):
        try:
            with connection.transaction():
                _enter(connection)
                _set_lock_timeout(connection, lock_timeout_ms)
                return work()
        except _RETRIED as error:
            last: psycopg.Error = error
        time.sleep(pause_s * random.uniform(0.5, 1.5))  # noqa: S311  # jitter, not a secret
        pause_s = min(pause_s * 1.5, _LONGEST_PAUSE_S)
    raise TransientError(f"no lock within {lock_attempts} tries: {last.diag.message_primary}") from last


def keep_vacuum_out(connection: Connection, relation: sql.Composable) -> None:
    """Wait for a vacuum of ``relation`` to end, and keep the next one out until the transaction ends. To be called
    within `run_ddl`, before anything else is locked.

    The lock that is waited for stops no reader and no writer. PostgreSQL itself cancels an autovacuum that somebody has
    waited for as long as ``deadlock_timeout``, but for one that prevents wraparound. The short lock timeout of DDL
    would always end first.
    """
    timeout_ms = connection.execute("SELECT setting::int FROM pg_settings WHERE name = 'deadlock_timeout'").fetchone()
    before = connection.execute("SHOW lock_timeout").fetchone()
    assert timeout_ms is not None and before is not None  # noqa: S101, PT018  # PostgreSQL has both settings
    _set_lock_timeout(connection, min(int(timeout_ms[0]) + _CANCELLED_MS, QUEUE_TIMEOUT_MS))
    connection.execute(sql.SQL("LOCK TABLE {} IN SHARE UPDATE EXCLUSIVE MODE").format(relation))
    connection.execute("SELECT set_config('lock_timeout', %s, true)", before)


def _enter(connection: Connection) -> None:
    """Take the maintenance lock. Waiting for it is not tried again: whoever holds it for so long is in trouble."""
    _set_lock_timeout(connection, QUEUE_TIMEOUT_MS)
    try:
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (MAINTENANCE_LOCK,))
    except errors.LockNotAvailable as error:
        raise TransientError(f"the maintenance lock was not free within {QUEUE_TIMEOUT_MS // 1000} s") from error


def _set_lock_timeout(connection: Connection, timeout_ms: int) -> None:
    connection.execute(sql.SQL("SET LOCAL lock_timeout = {}").format(sql.Literal(f"{timeout_ms}ms")))
