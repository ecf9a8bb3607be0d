"""What is answered 201 is stored, whatever happens to connections, flushes and the process."""

import asyncio
import contextlib
import errno
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import httpx
import psycopg
import pytest
from pydantic import SecretStr

from api.connections.database import Database
from api.logs.json_lines import LOGGER
from api.routing.problems import HttpError
from api.transactions.writer import Stored, TableWriter, Write
from config import Settings
from ledger.errors import TransientError
from ledger.identifiers import new_id, truncate_ms
from ledger.tables import TRANSACTIONS, TieredTable
from ledger.transactions import new_transaction
from tests.api.conftest import serving
from tests.api.ledger_rows import BODY, keyed

PATH = "/api/v1/transactions"
Looking = psycopg.Connection[Any]


def make_write(key: str | None = None, **changes: Any) -> Write:
    """A request of one row; ``changes`` are put into the finished row, past every rule."""
    now = truncate_ms(datetime.now(UTC))
    row = new_transaction(TRANSACTIONS, {**BODY, "client_id": "acme"})
    row |= {"id": new_id(now, lambda bits: int.from_bytes(os.urandom(10)) >> (80 - bits))}
    row |= {"created_at": now, "updated_at": now, **changes}
    return Write("acme", key or uuid4().hex, b"f", 201, str(row["id"]).encode(), [row])


async def no_cache(_table: TieredTable, _rows: Sequence[dict[str, Any]]) -> None:
    """Nothing is cached here that a commit would make stale."""


async def submit_all(settings: Settings, writes: list[Write], queue_rows: int = 1000) -> list[Any]:
    """What each of the requests gets when they come at once."""
    database = Database(settings)
    await database.open()
    writer = TableWriter(database, TRANSACTIONS, queue_rows, no_cache)
    waiting = [asyncio.create_task(writer.submit(write)) for write in writes]
    await asyncio.sleep(0)  # all are queued before the writer starts: they are one flush
    writer.open()
    results = await asyncio.gather(*waiting, return_exceptions=True)
    await writer.close()
    await database.close()
    return results


def test_one_bad_row_does_not_fail_its_neighbours(ready: Settings, database: psycopg.Connection[Any]) -> None:
    writes = [make_write() for _ in range(20)]
    writes[7] = make_write(amount="-1.00")  # the database's own CHECK refuses it
    writes[13] = make_write(user_id="\ud800")  # cannot even be sent
    results = asyncio.run(submit_all(ready, writes))

    assert [index for index, result in enumerate(results) if not isinstance(result, Stored)] == [7, 13]
    stored = {str(row_id) for (row_id,) in database.execute("SELECT id FROM transactions_partitioned")}
    assert stored == {write.response.decode() for index, write in enumerate(writes) if index not in (7, 13)}
    assert database.execute("SELECT count(*) FROM idempotency_keys").fetchone() == (18,)


def test_a_full_queue_refuses_at_once_and_keeps_what_it_took(ready: Settings) -> None:
    results = asyncio.run(submit_all(ready, [make_write() for _ in range(12)], queue_rows=10))

    assert [type(result) for result in results] == [Stored] * 10 + [TransientError] * 2


def test_the_same_key_twice_in_one_flush_makes_one_row(ready: Settings, database: psycopg.Connection[Any]) -> None:
    first, second = asyncio.run(submit_all(ready, [make_write("k"), make_write("k")]))

    assert isinstance(first, Stored)
    assert isinstance(second, HttpError)
    assert database.execute("SELECT count(*) FROM transactions_partitioned").fetchone() == (1,)


def test_a_flush_that_is_repeated_finds_its_own_commit(ready: Settings, database: psycopg.Connection[Any]) -> None:
    """As after a connection that broke during COMMIT: the rows are there, and the answer is not a replay."""
    write = make_write()
    results = [asyncio.run(submit_all(ready, [write]))[0] for _ in range(2)]

    assert results == [Stored(201, write.response, replayed=False)] * 2
    assert database.execute("SELECT count(*) FROM transactions_partitioned").fetchone() == (1,)


def test_a_caller_that_gives_up_does_not_free_its_key_early(ready: Settings, database: psycopg.Connection[Any]) -> None:
    async def give_up_and_ask_again() -> None:
        pool = Database(ready)
        await pool.open()
        writer = TableWriter(pool, TRANSACTIONS, 1000, no_cache)
        caller = asyncio.create_task(writer.submit(make_write("k")))
        await asyncio.sleep(0)
        caller.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await caller
        with pytest.raises(HttpError):
            await writer.submit(make_write("k"))
        writer.open()
        await writer.close()
        await pool.close()

    asyncio.run(give_up_and_ask_again())
    assert database.execute("SELECT count(*) FROM transactions_partitioned").fetchone() == (1,)


@pytest.mark.parametrize("halved", [False, True])
def test_what_fails_after_the_commit_leaves_nobody_without_an_answer(
    ready: Settings, database: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch, halved: bool
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("api.monitoring.metrics.flushed", full)
    writes = [make_write("k"), *([make_write(amount="-1.00")] if halved else [])]
    first = asyncio.run(submit_all(ready, writes))[0]
    assert first == Stored(201, writes[0].response, replayed=False)
    assert database.execute("SELECT count(*) FROM transactions_partitioned").fetchone() == (1,)


def test_the_writer_goes_on_after_a_defect(
    ready: Settings, monkeypatch: pytest.MonkeyPatch, database: Looking, heard: pytest.LogCaptureFixture
) -> None:
    """Each of its parts fails once. Nobody hangs, no key stays under way, and the log says it."""
    take = TableWriter._take
    failures = iter(["take", "forget"])

    async def fail_once(_table: TieredTable, _rows: Sequence[dict[str, Any]]) -> None:
        if next(failures, None) is not None:
            raise RuntimeError("forget")

    def take_badly(writer: TableWriter) -> Any:
        monkeypatch.setattr(TableWriter, "_take", take)
        next(failures)
        raise RuntimeError("take")

    async def post_twice() -> list[Stored]:
        pool = Database(ready)
        await pool.open()
        writer = TableWriter(pool, TRANSACTIONS, 1000, fail_once)
        writer.open()
        found = [await asyncio.wait_for(writer.submit(make_write(key)), 10) for key in ("a", "b", "a")]
        await writer.close()
        await pool.close()
        return found

    monkeypatch.setattr(TableWriter, "_take", take_badly)
    assert [stored.status_code for stored in asyncio.run(post_twice())] == [201, 201, 201]
    assert [record.levelname for record in heard.records if record.name == f"{LOGGER}.writer"] == ["CRITICAL", "ERROR"]
    assert database.execute("SELECT count(*) FROM transactions_partitioned").fetchone() == (2,)


def test_a_flush_does_not_wait_behind_readings(ready: Settings) -> None:
    async def store_while_others_read() -> float:
        pool = Database(ready)
        await pool.open()
        writer = TableWriter(pool, TRANSACTIONS, 1000, no_cache)
        writer.open()
        await writer.submit(make_write())
        slow = [asyncio.create_task(pool.run(lambda c: c.execute("SELECT pg_sleep(2)"))) for _ in range(50)]
        await asyncio.sleep(0.2)
        started_s = time.monotonic()
        await writer.submit(make_write())
        took_s = time.monotonic() - started_s
        await writer.close()
        pool.give_up()
        await pool.close()
        await asyncio.gather(*slow, return_exceptions=True)
        return took_s

    assert asyncio.run(store_while_others_read()) < 1.5


def test_without_postgresql_the_answer_is_503_and_says_when_to_come_back(
    ready: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.connections.database.POOL_TIMEOUT_S", 1.0)
    monkeypatch.setattr("api.monitoring.monitor.READY_TIMEOUT_S", 0.5)
    away = SecretStr("postgresql://nobody@127.0.0.1:1/none")
    with serving(ready.model_copy(update={"api_database_url": away})) as url:
        assert httpx.get(f"{url}/health/live").status_code == 200
        for path in ("/health/ready", f"{PATH}?wallet_id=w"):
            response = httpx.get(f"{url}{path}", headers={"Authorization": "Bearer trk_a_b"}, timeout=20)
            assert (response.status_code, response.headers["retry-after"]) == (503, "1")
            assert "127.0.0.1" not in response.text


def test_connections_that_postgresql_ends_are_replaced_without_an_error(
    api: httpx.Client, database: psycopg.Connection[Any]
) -> None:
    for _ in range(3):
        ended = database.execute(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'treasury api'"
            " AND datname = current_database()"
        ).fetchone()
        assert ended is not None
        assert ended[0] > 0
        assert api.post(PATH, json=BODY, headers=keyed()).status_code == 201
        assert api.get(PATH, params={"wallet_id": "wallet-1"}).status_code == 200


@contextlib.contextmanager
def workers(settings: Settings, count: int) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """The API as it is started in production: processes of its own behind one port."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    argv = [sys.executable, "-m", "api.serve", "--port", str(port)]
    environment = {**os.environ, **settings.model_copy(update={"api_workers": count}).environment()}
    process = subprocess.Popen(argv, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait_ready(f"http://127.0.0.1:{port}", 90)
        yield process, f"http://127.0.0.1:{port}"
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def _wait_ready(url: str, timeout_s: float) -> None:
    deadline_s = time.monotonic() + timeout_s
    while time.monotonic() < deadline_s:
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(f"{url}/health/ready").status_code == 200:
                return
        time.sleep(0.1)
    raise TimeoutError("the API did not become ready")


@pytest.mark.heavy("one process is tested for the same in test_posting.py")
def test_two_processes_share_one_idempotency(ready: Settings, make_key: Any, database: psycopg.Connection[Any]) -> None:
    with workers(ready, 2) as (_, url):
        headers = make_key()

        def post(number: int) -> httpx.Response:
            # A connection for each request: uvicorn's processes take them in turn.
            return httpx.post(f"{url}{PATH}", json=BODY, headers=headers | keyed(f"k{number % 8}"), timeout=30)

        with ThreadPoolExecutor(16) as pool:
            answers = list(pool.map(post, range(128)))

    assert {answer.status_code for answer in answers} <= {201, 409}
    assert len({answer.content for answer in answers if answer.status_code == 201}) == 8
    assert database.execute("SELECT count(*) FROM transactions_partitioned").fetchone() == (8,)


def test_what_was_answered_survives_a_killed_api(
    ready: Settings, make_key: Any, database: psycopg.Connection[Any]
) -> None:
    acknowledged: list[str] = []
    with workers(ready, 1) as (process, url):
        headers = make_key()

        def post_until_dead(_: int) -> None:
            client = httpx.Client(base_url=url, headers=headers, timeout=30)
            with client, contextlib.suppress(httpx.TransportError):
                while True:
                    response = client.post(PATH, json=BODY, headers=keyed())
                    assert response.status_code == 201
                    acknowledged.append(response.json()["id"])

        with ThreadPoolExecutor(8) as pool:
            posting = [pool.submit(post_until_dead, number) for number in range(8)]
            deadline = time.monotonic() + 60
            while len(acknowledged) <= 10 and time.monotonic() < deadline:
                time.sleep(0.05)
            process.kill()
            for future in posting:
                future.result()

    stored = {str(row_id) for (row_id,) in database.execute("SELECT id FROM transactions_partitioned")}
    assert len(acknowledged) > 10
    assert set(acknowledged) <= stored
    keys = database.execute("SELECT count(*) FROM idempotency_keys").fetchone()
    assert keys == (len(stored),)
