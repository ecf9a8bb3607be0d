"""Group commit: while one flush is being committed the next requests queue, and each flush takes what is queued.

A request is answered only after the COMMIT of its rows. Its idempotency key is claimed in the same statement, so key
and rows are there together or not at all. That also makes every flush safe to repeat. A request whose COMMIT arrived
although its connection broke finds its own answer under its key.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from api.connections.database import AsyncConnection, Database, OutOfTimeError
from api.logs.error_description import describe
from api.logs.json_lines import LOGGER
from api.monitoring import metrics
from api.routing.problems import IN_FLIGHT, KEY_REUSED, RETRY_AFTER_S, HttpError
from api.transactions import statements
from ledger.errors import LateRowsError, TransientError
from ledger.tables import TieredTable
from sql.arrays import bytea_array, text_array
from sql.queries import load
from sql.relations import ledger_schema_of

_HELD = load("idempotency")["held"]
_FLUSH_ROWS = 1000
_GIVE_UP_S = 1.0
_MOST_RENEWALS = 2
_LOG = logging.getLogger(f"{LOGGER}.writer")

Key = tuple[str, str]
Rows = Sequence[dict[str, Any]]
AfterCommit = Callable[[TieredTable, Sequence[dict[str, Any]]], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Write:
    """A request to be stored: its rows, complete, and the answer that it gets when they are.

    ``renew`` makes rows and answer for the present moment of rows that waited too long; None: they are refused then.
    """

    client_id: str
    idempotency_key: str
    fingerprint: bytes
    status_code: int
    response: bytes
    rows: Rows
    renew: Callable[[Rows], tuple[Rows, bytes]] | None = None

    @property
    def key(self) -> Key:
        """What makes the request one of its kind."""
        return self.client_id, self.idempotency_key

    @property
    def weight(self) -> int:
        """Its share of the queue and of a flush. A batch of which no row is good claims its key all the same."""
        return max(1, len(self.rows))


@dataclass(frozen=True, slots=True)
class Stored:
    """The answer to a request whose rows are durable. ``replayed`` when they were so before it came; else ``rows`` are
    those that were stored.
    """

    status_code: int
    response: bytes
    replayed: bool
    rows: Rows = field(default=(), compare=False)


Outcome = Stored | HttpError | TransientError


@dataclass(slots=True)
class _Waiting:
    write: Write
    answer: asyncio.Future[Stored]
    answered: bool = False
    renewals: int = 0


class TableWriter:
    """The queue of one table and the task that empties it."""

    def __init__(
        self,
        database: Database,
        table: TieredTable,
        queue_rows: int,
        after_commit: AfterCommit,
        delay_s: float = 10.0,
    ) -> None:
        self._database = database
        self._delay_s = delay_s
        self._after_commit = after_commit
        self._table = table
        self._queue_rows = queue_rows
        self._queue: deque[_Waiting] = deque()
        self._queued_rows = 0
        self._in_flight: set[Key] = set()
        self._wake = asyncio.Event()
        self._closing = False
        self._task: asyncio.Task[None] | None = None

    def open(self) -> None:
        """Start to take requests."""
        self._closing = False
        self._start()

    def _start(self) -> None:
        self._task = asyncio.create_task(self._run(), name=f"writer of {self._table.name}")
        self._task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        """Only `close` ends the task, or the loop: any other end is a defect, and posts must not hang for it."""
        if self._closing or task.cancelled():
            return
        error = task.exception()
        fields = describe(error) if isinstance(error, Exception) else {"error": type(error).__name__}
        _LOG.critical("the writer ended and is started again", extra={"fields": {"table": self._table.name, **fields}})
        self._start()

    async def close(self, within_s: float | None = None) -> None:
        """Refuse further requests, store those that wait, then end. None: however long it takes.

        What is not stored within so many seconds is given up with a TransientError: none of it was acknowledged.
        """
        self._closing = True
        self._wake.set()
        if self._task is None:
            return
        _, late = await asyncio.wait([self._task], timeout=within_s)
        if late:
            _LOG.error(
                "queued rows were not stored", extra={"fields": {"table": self._table.name, "rows": self._queued_rows}}
            )
            self._database.give_up()  # each flush fails at once from now on
            await asyncio.wait([self._task], timeout=_GIVE_UP_S)

    def note_queue(self) -> None:
        """Write the number of waiting rows to the metrics."""
        metrics.queue_is(self._table.name, self._queued_rows)

    async def submit(self, write: Write) -> Stored:
        """Wait until ``write`` is durable. Raises a 409 problem while the same key is under way in this process (across
        processes PostgreSQL makes the second one wait). Raises 422 when the key belongs to another request, and
        TransientError when the queue is full or PostgreSQL is away.
        """
        if self._closing or self._queued_rows + write.weight > self._queue_rows:
            raise _closed()
        if write.key in self._in_flight:
            raise HttpError(IN_FLIGHT, headers={"Retry-After": str(RETRY_AFTER_S)})
        waiting = _Waiting(write, asyncio.get_running_loop().create_future())
        # The key is free again when the flush has ended, not when the caller gives up: two requests with one key must
        # never be in one flush, and queued rows are stored whether or not a request still waits for them.
        self._in_flight.add(write.key)
        self._queue.append(waiting)
        self._queued_rows += write.weight
        self._wake.set()
        return await waiting.answer

    async def _run(self) -> None:
        while self._queue or not self._closing:
            if not self._queue:
                self._wake.clear()
                await self._wake.wait()
                continue
            await self._flush(self._take())

    def _take(self) -> list[_Waiting]:
        """Return what the next flush stores: all that waits, up to a bound; a request is never divided."""
        taken = [self._queue.popleft()]
        rows = taken[0].write.weight
        while self._queue and rows + self._queue[0].write.weight <= _FLUSH_ROWS:
            taken.append(self._queue.popleft())
            rows += taken[-1].write.weight
        self._queued_rows -= rows
        return taken

    def _take_all(self) -> list[_Waiting]:
        taken = list(self._queue)
        self._queue.clear()
        self._queued_rows = 0
        return taken

    async def _flush(self, taken: list[_Waiting]) -> None:
        """Answer every one of ``taken``. When PostgreSQL refuses some of them the bad one is found by halving.

        Whatever fails here, nobody is left without an answer, and no key under way: the next flush must come. When the
        time is up those who queue are refused too, with nothing stored: behind a PostgreSQL that is silent everybody
        waits for one time limit, not for one after the other.
        """
        parts = [taken]
        try:
            while parts:
                parts += await self._flush_part(parts.pop())
        except OutOfTimeError as error:
            late = [waiting for waiting in taken if not waiting.answered] + self._take_all()
            self._answer(late, [error] * len(late))
        except Exception as error:  # noqa: BLE001  # a defect; it is logged, and those it concerns are answered below
            _LOG.error("a flush failed", extra={"fields": {"table": self._table.name, **describe(error)}})
        finally:
            left = [waiting for waiting in taken if not waiting.answered]
            self._answer(left, [TransientError("the outcome is not known: send the request again")] * len(left))

    async def _flush_part(self, part: list[_Waiting]) -> list[list[_Waiting]]:
        """Answer ``part``, or give its halves when one of them may be stored without the other. Raises OutOfTimeError,
        and then has answered nobody.
        """
        started_s = time.perf_counter()
        try:
            outcomes = await self._database.flush(partial(self._store, part=part), "store")
        except LateRowsError as error:
            return self._renewed(part, error)
        except TransientError as error:
            await self._forget(part)  # the COMMIT may have arrived all the same
            if isinstance(error, OutOfTimeError):
                raise
            self._answer(part, [error] * len(part))
        except Exception as error:  # noqa: BLE001  # whatever it is, it is answered, and the queue goes on
            if len(part) > 1:
                middle = len(part) // 2
                return [part[:middle], part[middle:]]
            self._answer(part, [error])
        else:
            try:
                metrics.flushed(self._table.name, *_tally(part, outcomes), time.perf_counter() - started_s)
                await self._forget(part)
            finally:  # it is durable, whatever fails after the COMMIT
                self._answer(part, outcomes)
        return []

    def _renewed(self, part: Sequence[_Waiting], error: LateRowsError) -> list[list[_Waiting]]:
        """``part`` with rows of this moment, to be stored now. Those that are late again and again are refused."""
        again: list[_Waiting] = []
        for waiting in part:
            if waiting.write.renew is None or waiting.renewals == _MOST_RENEWALS:
                self._answer([waiting], [error])
                continue
            rows, response = waiting.write.renew(waiting.write.rows)
            waiting.write = replace(waiting.write, rows=rows, response=response)
            waiting.renewals += 1
            again.append(waiting)
        return [again] if again else []

    def _answer(self, part: Sequence[_Waiting], outcomes: Sequence[Stored | Exception]) -> None:
        for waiting, outcome in zip(part, outcomes, strict=True):
            waiting.answered = True
            self._in_flight.discard(waiting.write.key)
            if waiting.answer.done():  # its caller has given up
                continue
            if isinstance(outcome, Stored):
                waiting.answer.set_result(outcome)
            else:
                waiting.answer.set_exception(outcome)

    async def _forget(self, part: Sequence[_Waiting]) -> None:
        await self._after_commit(self._table, [row for waiting in part for row in waiting.write.rows])

    async def _store(self, connection: AsyncConnection, part: Sequence[_Waiting]) -> list[Outcome]:
        writes = [waiting.write for waiting in part]
        statement = statements.store(self._table, await ledger_schema_of(connection, self._table))
        cursor = await connection.execute(statement, self._parameters(writes))
        claimed = {(client_id, key) for client_id, key, _ in await cursor.fetchall()}
        taken = [write for write in writes if write.key not in claimed]
        held = await _held(connection, taken) if taken else {}
        return [_outcome(write, write.key in claimed, held.get(write.key)) for write in writes]

    def _parameters(self, writes: Sequence[Write]) -> dict[str, Any]:
        rows = [row for write in writes for row in write.rows]
        columns = {name: text_array([row[name] for row in rows]) for name in statements.columns_of(self._table)}
        oldest = min((row[self._table.time_column] for row in rows), default=None)
        return columns | {
            "oldest": None if oldest is None else str(oldest),
            "delay_s": self._delay_s,
            "client_ids": text_array([write.client_id for write in writes]),
            "keys": text_array([write.idempotency_key for write in writes]),
            "fingerprints": bytea_array([write.fingerprint for write in writes]),
            "status_codes": text_array([write.status_code for write in writes]),
            "responses": bytea_array([write.response for write in writes]),
            "row_counts": text_array([len(write.rows) for write in writes]),
            "row_keys": text_array([write.idempotency_key for write in writes for _ in write.rows]),
        }


class Writer:
    """The writers of every table that the API stores into.

    A row that is more than ``delay_s`` old when it is stored gets the time of that moment and another id. The feed may
    have gone past the former one.

    ``after_commit`` is called with the rows of each flush before their requests are answered. It must not fail, and
    must not wait long: nothing is stored meanwhile.
    """

    def __init__(
        self,
        database: Database,
        tables: Iterable[TieredTable],
        queue_rows: int,
        after_commit: AfterCommit,
        delay_s: float,
    ) -> None:
        self._writers = {
            table.name: TableWriter(database, table, queue_rows, after_commit, delay_s) for table in tables
        }

    def open(self) -> None:
        """Start to take requests."""
        for writer in self._writers.values():
            writer.open()

    async def close(self, within_s: float | None = None) -> None:
        """Refuse further requests and store those that wait, within so many seconds."""
        await asyncio.gather(*(writer.close(within_s) for writer in self._writers.values()))

    def note_queues(self) -> None:
        """Write the number of waiting rows of each table to the metrics."""
        for writer in self._writers.values():
            writer.note_queue()

    async def submit(self, table: TieredTable, write: Write) -> Stored:
        """Wait until ``write`` is durable; raises as `TableWriter.submit`."""
        return await self._writers[table.name].submit(write)


def _closed() -> TransientError:
    return TransientError("the queue of writes is full or closed")


async def _held(connection: AsyncConnection, writes: Sequence[Write]) -> dict[Key, tuple[bytes, int, bytes]]:
    parameters = {
        "client_ids": [write.client_id for write in writes],
        "keys": [write.idempotency_key for write in writes],
    }
    rows = await (await connection.execute(_HELD, parameters)).fetchall()
    return {
        (client_id, key): (fingerprint, status_code, response)
        for client_id, key, fingerprint, status_code, response in rows
    }


def _outcome(write: Write, claimed: bool, held: tuple[bytes, int, bytes] | None) -> Outcome:
    if claimed:
        return Stored(write.status_code, write.response, replayed=False, rows=write.rows)
    if held is None:  # it expired between the two statements
        return TransientError("the idempotency key has just expired")
    fingerprint, status_code, response = held
    if fingerprint != write.fingerprint:
        return HttpError(KEY_REUSED)
    # The very answer of this request, with the ids made for it: an earlier try of this flush did commit. Without a row
    # there is no id to recognise it by, and a key that is held counts as held by an earlier request.
    replayed = not write.rows or response != write.response
    return Stored(status_code, response, replayed, () if replayed else write.rows)


def _tally(part: Sequence[_Waiting], outcomes: Sequence[Outcome]) -> tuple[int, int]:
    """Of one flush: the rows that it stored, and the requests that had been answered before."""
    pairs = zip(part, outcomes, strict=True)
    stored = [(waiting, outcome) for waiting, outcome in pairs if isinstance(outcome, Stored)]
    rows = sum(len(waiting.write.rows) for waiting, outcome in stored if not outcome.replayed)
    return rows, sum(outcome.replayed for _, outcome in stored)
