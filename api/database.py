"""The API's connections to PostgreSQL: one asynchronous pool in a process, with time limits, that heals by itself."""

import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

import psycopg
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool, PoolClosed, PoolTimeout, TooManyRequests

from api import metrics
from config import Settings
from ledger.errors import TransientError
from sql.connection import connection_parameters
from sql.errors import translate

T = TypeVar("T")
AsyncConnection = psycopg.AsyncConnection[TupleRow]

POOL_TIMEOUT_S = 5.0
# After this long without a server the pool stops trying until someone asks again: its pauses between attempts double,
# and a long outage must not be followed by a long pause.
_RECONNECT_S = 8.0
_MOST_WAITING = 2000
_ATTEMPTS = 2
_LOST = ("08", "57P")  # connection exceptions; shutdown, crash and start-up of the server


class Database:
    """The pool. `open` and `close` belong to the application's lifespan."""

    def __init__(self, settings: Settings) -> None:
        parameters = connection_parameters("api")
        parameters["options"] += (
            " -c synchronous_commit=on"  # what is answered as stored is stored, whatever the server's default
            # Planning for dozens of partitions costs more than running; a generic plan prunes while it runs.
            " -c plan_cache_mode=force_generic_plan"
            f" -c statement_timeout={settings.api_statement_timeout_ms}"
            f" -c idle_in_transaction_session_timeout={settings.api_statement_timeout_ms}"
        )
        self._pool: AsyncConnectionPool[AsyncConnection] = AsyncConnectionPool(
            settings.database_dsn,
            connection_class=psycopg.AsyncConnection[TupleRow],
            kwargs={**parameters, "autocommit": True, "prepare_threshold": 1},
            min_size=settings.api_pool_size,
            max_size=settings.api_pool_size,
            timeout=POOL_TIMEOUT_S,
            max_waiting=_MOST_WAITING,
            reconnect_timeout=_RECONNECT_S,
            open=False,
        )

    async def open(self) -> None:
        """Start connecting in the background: the API starts without PostgreSQL and serves when it is there."""
        await self._pool.open(wait=False)

    async def close(self) -> None:
        """Close every connection."""
        await self._pool.close()

    def note_pool(self) -> None:
        """Tell the metrics how the pool stands."""
        state = self._pool.get_stats()
        metrics.pool_is(state["pool_size"], state["pool_available"], state["requests_waiting"])

    async def run(self, work: Callable[[AsyncConnection], Awaitable[T]], query: str = metrics.OTHER) -> T:
        """Run ``work`` on a connection of the pool, and once more on another one when the first one broke.

        ``query`` is the name that its time is counted under.
        ``work`` must be safe to repeat even if its last COMMIT did arrive. Raises the project's errors.
        """
        for _ in range(_ATTEMPTS):
            try:
                async with self._pool.connection() as connection:
                    return await _timed(work, connection, query)
            except (PoolClosed, PoolTimeout, TooManyRequests) as error:
                raise TransientError("no connection to PostgreSQL within the time limit") from error
            except psycopg.Error as error:
                if not _is_lost(error):
                    raise translate(error) from error
                last = error
            await self._pool.check()  # a restart breaks every connection at once: sort them out before the next try
        raise translate(last) from last


async def _timed(work: Callable[[AsyncConnection], Awaitable[T]], connection: AsyncConnection, query: str) -> T:
    started_s, failed = time.perf_counter(), True
    try:
        result = await work(connection)
        failed = False
    finally:
        metrics.queried(query, time.perf_counter() - started_s, failed)
    return result


def _is_lost(error: psycopg.Error) -> bool:
    if error.sqlstate is None:
        return isinstance(error, psycopg.OperationalError)
    return error.sqlstate.startswith(_LOST)
