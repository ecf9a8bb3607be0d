"""A PostgreSQL that says nothing: frozen, or with an answer that the network swallows. Nobody waits for ever."""

import asyncio
import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from pydantic import SecretStr

from api.connections.database import MARGIN_S, Database
from api.monitoring.monitor import READY_KEPT_S
from api.transactions.writer import TableWriter
from config import Settings
from ledger.errors import TransientError
from ledger.tables import TRANSACTIONS
from tests.api.conftest import MakeKey, serving, unlimited
from tests.api.ledger_rows import BODY, keyed
from tests.api.transactions.lossy_proxy import LossyProxy
from tests.api.transactions.test_durability import make_write, no_cache

PATH = "/api/v1/transactions"
STATEMENT_S = 0.2
# What a busy machine may add to a limit; without the limits these tests would wait ten times as long.
SLACK_S = 2.0


@pytest.fixture
def hasty(ready: Settings) -> Settings:
    """Settings under which an API gives PostgreSQL little time."""
    return unlimited(ready).model_copy(update={"api_statement_timeout_ms": int(STATEMENT_S * 1000)})


@pytest.fixture
def frozen(database: psycopg.Connection[Any]) -> Iterator[Callable[[], list[int]]]:
    """Stops the servers of this database's connections of the API with SIGSTOP; they go on when the test is over."""
    stopped: list[int] = []

    def freeze() -> list[int]:
        found = database.execute(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'treasury api'"
        ).fetchall()
        for (pid,) in found:
            if Path(f"/proc/{pid}/comm").read_text().startswith("postgres"):
                os.kill(pid, signal.SIGSTOP)
                stopped.append(pid)
        return stopped

    yield freeze
    thaw(stopped)


def thaw(stopped: list[int]) -> None:
    """Let them go on."""
    while stopped:
        os.kill(stopped.pop(), signal.SIGCONT)


@contextmanager
def timed(most_s: float) -> Iterator[None]:
    """The block takes at most so long, and what a busy machine adds."""
    started_s = time.monotonic()
    yield
    took_s = time.monotonic() - started_s
    assert took_s < most_s + SLACK_S, f"it took {took_s:.1f} s"


def test_a_post_is_answered_503_while_postgresql_is_frozen_and_stored_once_when_it_goes_on(
    hasty: Settings, make_key: MakeKey, frozen: Callable[[], list[int]], database: psycopg.Connection[Any]
) -> None:
    with serving(hasty) as url, httpx.Client(base_url=url, headers=make_key(), timeout=30) as client:
        assert client.post(PATH, json=BODY, headers=keyed()).status_code == 201
        stopped = frozen()
        assert stopped
        with timed(STATEMENT_S + MARGIN_S):
            refused = client.post(PATH, json=BODY, headers=keyed("again"))
        thaw(stopped)
        again = client.post(PATH, json=BODY, headers=keyed("again"))

    assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
    assert again.status_code == 201
    assert database.execute("SELECT count(*) FROM transactions_partitioned").fetchone() == (2,)
    assert database.execute("SELECT count(*) FROM idempotency_keys").fetchone() == (2,)


def test_readiness_says_no_in_time_while_postgresql_is_frozen(
    hasty: Settings, frozen: Callable[[], list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.monitoring.monitor.READY_TIMEOUT_S", 0.5)
    slow = hasty.model_copy(update={"api_statement_timeout_ms": 60_000})
    with serving(slow) as url:
        assert httpx.get(f"{url}/health/ready").status_code == 200
        assert frozen()
        time.sleep(READY_KEPT_S)
        with timed(0.5):
            assert httpx.get(f"{url}/health/ready", timeout=30).status_code == 503
        assert httpx.get(f"{url}/health/live").status_code == 200


def test_the_writer_ends_in_time_while_postgresql_is_frozen(ready: Settings, frozen: Callable[[], list[int]]) -> None:
    async def close_it() -> list[Any]:
        pool = Database(ready)  # whose own limit is eleven seconds
        await pool.open()
        writer = TableWriter(pool, TRANSACTIONS, 1000, no_cache)
        writer.open()
        await writer.submit(make_write())
        await asyncio.to_thread(frozen)
        under_way = asyncio.create_task(writer.submit(make_write()))
        await asyncio.sleep(0.1)
        queued = asyncio.create_task(writer.submit(make_write()))
        await asyncio.sleep(0)
        with timed(0.3):
            await writer.close(0.3)
            answers = await asyncio.wait_for(asyncio.gather(under_way, queued, return_exceptions=True), 1)
            await pool.close()
        return list(answers)

    assert [type(answer) for answer in asyncio.run(close_it())] == [TransientError, TransientError]


def test_who_queues_behind_a_silent_postgresql_is_refused_with_the_flush_before_and_keeps_the_key(
    hasty: Settings, frozen: Callable[[], list[int]], database: psycopg.Connection[Any]
) -> None:
    async def refused_and_stored() -> list[Any]:
        pool = Database(hasty)
        await pool.open()
        writer = TableWriter(pool, TRANSACTIONS, 1000, no_cache)
        writer.open()
        await writer.submit(make_write())
        stopped = await asyncio.to_thread(frozen)
        under_way = asyncio.create_task(writer.submit(make_write()))
        await asyncio.sleep(0.1)  # its flush has begun
        waits = make_write()
        queued = asyncio.create_task(writer.submit(waits))
        with timed(STATEMENT_S + MARGIN_S):
            await asyncio.wait({under_way, queued}, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.sleep(MARGIN_S / 4)  # a flush of its own would take four times as long
        refused = queued.exception() if queued.done() else "still waits"
        await asyncio.gather(under_way, queued, return_exceptions=True)
        thaw(stopped)
        again = await writer.submit(waits)
        await writer.close()
        await pool.close()
        return [under_way.exception(), refused, again]

    first, refused, again = asyncio.run(refused_and_stored())
    assert isinstance(first, TransientError)
    assert isinstance(refused, TransientError)
    assert not again.replayed
    kept = database.execute("SELECT count(*) FROM idempotency_keys").fetchone()
    assert kept in ((2,), (3,))  # of the one under way the COMMIT may have arrived


@pytest.fixture
def proxied(hasty: Settings) -> Iterator[tuple[Settings, LossyProxy]]:
    """An API's settings with a proxy before PostgreSQL."""
    with LossyProxy(hasty.for_api().database_dsn).running() as proxy:
        yield hasty.model_copy(update={"api_database_url": SecretStr(proxy.url)}), proxy


def test_a_connection_lost_during_commit_is_answered_201_and_replays(
    proxied: tuple[Settings, LossyProxy], make_key: MakeKey, database: psycopg.Connection[Any]
) -> None:
    settings, proxy = proxied
    body = {**BODY, "reference": "lost-in-commit"}
    with serving(settings) as url, httpx.Client(base_url=url, headers=make_key(), timeout=30) as client:
        proxy.swallow("lost-in-commit", cut=True)
        first = client.post(PATH, json=body, headers=keyed("k"))
        assert proxy.swallowed == 1, "the answer of the COMMIT came through"
        again = client.post(PATH, json=body, headers=keyed("k"))

    assert (first.status_code, "idempotent-replayed" in first.headers) == (201, False)
    assert (again.status_code, again.content) == (201, first.content)
    assert again.headers["idempotent-replayed"] == "true"
    stored = database.execute("SELECT id::text FROM transactions_partitioned").fetchall()
    assert stored == [(first.json()["id"],)]


def test_an_answer_of_commit_that_never_comes_is_503_and_the_retry_replays(
    proxied: tuple[Settings, LossyProxy], make_key: MakeKey, database: psycopg.Connection[Any]
) -> None:
    settings, proxy = proxied
    body = {**BODY, "reference": "swallowed"}
    with serving(settings) as url, httpx.Client(base_url=url, headers=make_key(), timeout=30) as client:
        proxy.swallow("swallowed", cut=False)
        with timed(STATEMENT_S + MARGIN_S):
            first = client.post(PATH, json=body, headers=keyed("k"))
        stored = database.execute("SELECT id::text FROM transactions_partitioned").fetchall()
        again = client.post(PATH, json=body, headers=keyed("k"))

    assert (proxy.swallowed, first.status_code) == (1, 503)
    assert (again.status_code, again.headers["idempotent-replayed"]) == (201, "true")
    assert stored == [(again.json()["id"],)]
    assert database.execute("SELECT count(*) FROM transactions_partitioned").fetchone() == (1,)


def test_every_post_is_answered_in_time_and_new_connections_take_over(
    hasty: Settings, make_key: MakeKey, frozen: Callable[[], list[int]], database: psycopg.Connection[Any]
) -> None:
    with serving(hasty) as url, httpx.Client(base_url=url, headers=make_key(), timeout=30) as client:
        assert client.post(PATH, json=BODY, headers=keyed()).status_code == 201
        frozen()
        with ThreadPoolExecutor(8) as pool, timed(3 * (STATEMENT_S + MARGIN_S)):
            answers = list(pool.map(lambda _: client.post(PATH, json=BODY, headers=keyed()), range(16)))
        assert client.post(PATH, json=BODY, headers=keyed()).status_code == 201

    statuses = [answer.status_code for answer in answers]
    assert set(statuses) <= {201, 503}
    assert 503 in statuses
    assert database.execute("SELECT count(*) FROM transactions_partitioned").fetchone() == (2 + statuses.count(201),)
