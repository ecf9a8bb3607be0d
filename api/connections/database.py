"""The API's connections to PostgreSQL: one asynchronous pool in a process, with time limits, that heals by itself."""

import asyncio
import contextlib
import os
import socket
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Final, TypeVar

import psycopg
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool, PoolClosed, PoolTimeout, TooManyRequests
from pydantic import SecretStr

from api.monitoring import metrics
from config import Settings
from ledger.errors import TransientError
from sql.connection import check_session_of, connection_parameters, limited
from sql.errors import translate
from sql.relations import forget_schemas

T = TypeVar("T")
AsyncConnection = psycopg.AsyncConnection[TupleRow]

POOL_TIMEOUT_S = 5.0
# After this long without a server the pool stops trying until someone asks again: its pauses between attempts double,
# and a long outage must not be followed by a long pause.
_RECONNECT_S = 8.0
_MOST_WAITING = 2000
_ATTEMPTS = 2
# PostgreSQL ends a statement at its time limit and says so. One that is frozen, or that the network has cut off, says
# nothing: so long after the limit the connection is given up.
MARGIN_S = 1.0
_CLOSE_S = 1.0
_LOST = ("08", "57P")  # connection exceptions; shutdown, crash and start-up of the server


def limited_settings(settings: Settings) -> Settings:
    """``settings`` whose connections end a statement at the API's time limit: for work of `tasks` in a thread."""
    dsn = limited(settings.database_dsn, settings.api_statement_timeout_ms)
    return settings.model_copy(update={"database_url": SecretStr(dsn)})


class OutOfTimeError(TransientError):
    """PostgreSQL gave no connection, no answer or no end of a statement within the time limit: whoever comes next would
    only wait as long again.
    """


class Database:
    """The pools. `open` and `close` belong to the application's lifespan.

    The writer's flushes have connections of their own, at most half of all. However many readings and looked-up keys
    wait for one, a flush does not wait behind them.
    """

    def __init__(self, settings: Settings) -> None:
        self._most_s: Final = settings.api_statement_timeout_ms / 1000 + MARGIN_S
        flushing = max(1, min(len(settings.registry), settings.api_pool_size // 2))
        self._flushes = _pool(settings, flushing)
        self._pool = _pool(settings, settings.api_pool_size - flushing)
        self._at_work: set[AsyncConnection] = set()
        self._given_up = False

    async def open(self) -> None:
        """Start connecting in the background: the API starts without PostgreSQL and serves when it is there."""
        for pool in (self._flushes, self._pool):
            await pool.open(wait=False)

    async def close(self) -> None:
        """Close every connection."""
        await asyncio.gather(*(pool.close(timeout=_CLOSE_S) for pool in (self._flushes, self._pool)))

    def give_up(self) -> None:
        """Break off all work, and let further work fail at once: for a process that ends while PostgreSQL is silent."""
        self._given_up = True
        for connection in self._at_work:
            _break(connection)

    def note_pool(self) -> None:
        """Write the number of connections, and of requests that wait for one, to the metrics."""
        states = [pool.get_stats() for pool in (self._flushes, self._pool)]
        size, available, waiting = (
            sum(state[name] for state in states) for name in ("pool_size", "pool_available", "requests_waiting")
        )
        metrics.pool_is(size, available, waiting)

    async def flush(self, work: Callable[[AsyncConnection], Awaitable[T]], query: str) -> T:
        """As `run`, on a connection that is kept for flushes."""
        return await self._run(self._flushes, work, query, None)

    async def run(
        self,
        work: Callable[[AsyncConnection], Awaitable[T]],
        query: str = metrics.OTHER,
        within_s: float | None = None,
    ) -> T:
        """Run ``work`` on a connection of the pool, and once more on another one when the first one broke.

        ``query`` is the name that its time is counted under. The work may take the time limit of a statement and a
        second; ``within_s`` bounds all of it, the wait for a connection too. To be used in place of asyncio.timeout:
        psycopg takes ten seconds to be cancelled when PostgreSQL does not answer.
        ``work`` must be safe to repeat even if its last COMMIT did arrive. Raises the project's errors.
        """
        return await self._run(self._pool, work, query, within_s)

    async def _run(
        self,
        pool: AsyncConnectionPool[AsyncConnection],
        work: Callable[[AsyncConnection], Awaitable[T]],
        query: str,
        within_s: float | None,
    ) -> T:
        ends_s = None if within_s is None else time.monotonic() + within_s
        attempts, lost = 0, False
        for _ in range(_ATTEMPTS + pool.max_size):  # a restart breaks every connection at once
            if self._given_up:
                raise TransientError("this process ends")
            try:
                async with pool.connection(timeout=_sooner(POOL_TIMEOUT_S, ends_s)) as connection:
                    with self._working(connection, _sooner(self._most_s, ends_s)):
                        if lost:
                            await connection.execute("")  # whether this one is broken, too, before the work is repeated
                        attempts += 1
                        return await _done(work, connection, query)
            except (PoolClosed, PoolTimeout, TooManyRequests) as error:
                raise OutOfTimeError("no connection to PostgreSQL within the time limit") from error
            except psycopg.errors.QueryCanceled as error:
                raise OutOfTimeError("PostgreSQL ended a statement at its time limit") from error
            except psycopg.errors.UndefinedTable as error:
                forget_schemas()  # a table may have been made since, or moved to another schema
                if attempts == _ATTEMPTS:
                    raise translate(error) from error
            except psycopg.Error as error:
                if not _is_lost(error) or attempts == _ATTEMPTS:
                    raise translate(error) from error
                lost = True
        raise TransientError("one connection to PostgreSQL after the other breaks")

    @contextmanager
    def _working(self, connection: AsyncConnection, most_s: float) -> Iterator[None]:
        """Break the connection when the block takes longer. Raises OutOfTimeError then: it is not tried again."""
        late = False

        def end() -> None:
            nonlocal late
            late = True
            _break(connection)

        timer = asyncio.get_running_loop().call_later(most_s, end)
        self._at_work.add(connection)
        try:
            yield
        except psycopg.Error as error:
            if late:
                raise OutOfTimeError("PostgreSQL did not answer within the time limit") from error
            raise
        finally:
            timer.cancel()
            self._at_work.discard(connection)


def _pool(settings: Settings, size: int) -> AsyncConnectionPool[AsyncConnection]:
    parameters = connection_parameters(settings.database_dsn, "api")
    parameters["options"] += (
        " -c synchronous_commit=on"  # what is answered as stored is stored, whatever the server's default
        # Planning for dozens of partitions costs more than running; a generic plan prunes while it runs.
        " -c plan_cache_mode=force_generic_plan"
        f" -c statement_timeout={settings.api_statement_timeout_ms}"
        f" -c idle_in_transaction_session_timeout={settings.api_statement_timeout_ms}"
    )
    return AsyncConnectionPool(
        settings.database_dsn,
        connection_class=psycopg.AsyncConnection[TupleRow],
        kwargs={**parameters, "autocommit": True, "prepare_threshold": 1},
        min_size=size,
        max_size=size,
        timeout=POOL_TIMEOUT_S,
        max_waiting=_MOST_WAITING,
        reconnect_timeout=_RECONNECT_S,
        configure=check_session_of,
        open=False,
    )


def _break(connection: AsyncConnection) -> None:
    """Shut the socket down, not close it: the event loop still looks at it, and sees its end."""
    with (
        contextlib.suppress(OSError, psycopg.Error),  # it is closed already
        socket.socket(fileno=os.dup(connection.pgconn.socket)) as line,
    ):
        line.shutdown(socket.SHUT_RDWR)


def _sooner(most_s: float, ends_s: float | None) -> float:
    """The seconds that are left: ``most_s``, or until ``ends_s`` of the monotonic clock when that comes sooner."""
    return most_s if ends_s is None else max(0.0, min(most_s, ends_s - time.monotonic()))


async def _done(work: Callable[[AsyncConnection], Awaitable[T]], connection: AsyncConnection, query: str) -> T:
    """Do ``work``. A connection that takes no writes is closed: the next one shows whether the database does by now."""
    try:
        return await _timed(work, connection, query)
    except psycopg.errors.ReadOnlySqlTransaction:
        await connection.close()
        raise


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
