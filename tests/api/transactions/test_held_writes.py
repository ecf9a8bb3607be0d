"""What is answered while a COMMIT is held up: to the same request, to one too many, to all at the end."""

import json
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import httpx
import psycopg
import pytest

from api.routing.bodies import Bodies
from api.serve import DRAIN_S
from api.server.app import LAST_LINES_S
from api.server.services import ALERTS_S, CONNECTIONS_S, VENDS_S, WRITER_S
from config import Settings
from servers.api import STOP_S
from tests.api.conftest import MakeKey, serving
from tests.api.ledger_rows import BODIES, BODY, PATHS, keyed
from tests.api.server.conftest import Connection
from tests.api.transactions.test_durability import workers

PATH = PATHS[0]
QUICK_S = 2.0  # of a busy machine; the statement that holds everything up may run for ten
Held = Callable[[], AbstractContextManager[Callable[[], None]]]


@pytest.fixture
def held(ready: Settings, database: psycopg.Connection[Any]) -> Held:
    """For the length of the block no row can be stored: a lock is in the way of every flush."""

    @contextmanager
    def hold() -> Iterator[Callable[[], None]]:
        with psycopg.connect(ready.database_dsn) as locking:
            locking.execute("LOCK TABLE idempotency_keys IN EXCLUSIVE MODE")
            yield locking.rollback

    return hold


def wait_for_a_flush(database: psycopg.Connection[Any], flushes: int = 1) -> None:
    """Wait until so many flushes stand before the lock."""
    deadline_s = time.monotonic() + 20
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    while database.execute(waiting).fetchone() != (flushes,):
        assert time.monotonic() < deadline_s, "no flush came to the lock"
        time.sleep(0.01)


def post(client: httpx.Client, key: str) -> httpx.Response:
    return client.post(PATH, json=BODY, headers=keyed(key))


def test_the_same_request_again_is_409_while_it_is_under_way(
    api: httpx.Client, held: Held, database: psycopg.Connection[Any]
) -> None:
    with ThreadPoolExecutor(1) as pool:
        with held():
            first = pool.submit(post, api, "k")
            wait_for_a_flush(database)
            started_s = time.monotonic()
            again = post(api, "k")
            took_s = time.monotonic() - started_s
        stored, replayed = first.result(), post(api, "k")

    assert (again.status_code, again.headers["retry-after"]) == (409, "1")
    assert again.json()["type"] == "urn:treasury:problem:in-flight"
    assert took_s < QUICK_S
    assert (stored.status_code, replayed.content) == (201, stored.content)
    assert replayed.headers["idempotent-replayed"] == "true"


def sent(url: str, key: str, headers: dict[str, str], path: str = PATH) -> Connection:
    """A connection whose request was sent and not yet answered."""
    connection, body = Connection(url), json.dumps(BODIES[path]).encode()
    fields = [f"{name}: {value}" for name, value in {**headers, **keyed(key), "Content-Length": len(body)}.items()]
    connection.request(f"POST {path} HTTP/1.1", "Content-Type: application/json", *fields, body=body)
    return connection


def wait_until_read(url: str) -> None:
    """What was sent before is read by now: the process reads what has come before it answers what comes later."""
    for _ in range(3):
        assert httpx.get(f"{url}/health/live").status_code == 200


def test_one_too_many_is_503_at_once_and_says_when_to_come_back(
    ready: Settings, make_key: MakeKey, held: Held, database: psycopg.Connection[Any]
) -> None:
    room, headers = 3, make_key()
    with serving(ready.model_copy(update={"api_queue_rows": room})) as url:
        with held():
            accepted = [sent(url, "first", headers)]
            wait_for_a_flush(database)
            accepted += [sent(url, f"queued-{number}", headers) for number in range(room)]
            wait_until_read(url)
            started_s = time.monotonic()
            refused = httpx.post(f"{url}{PATH}", json=BODY, headers=headers | keyed("one-too-many"))
            took_s = time.monotonic() - started_s
        statuses = [connection.answer().status for connection in accepted]
        retried = httpx.post(f"{url}{PATH}", json=BODY, headers=headers | keyed("one-too-many"))
        for connection in accepted:
            connection.close()

    assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
    assert refused.headers["content-type"] == "application/problem+json"
    assert took_s < QUICK_S
    assert statuses == [201] * (room + 1)
    assert (retried.status_code, "idempotent-replayed" in retried.headers) == (201, False)


def test_bodies_beyond_what_a_process_holds_are_503_until_there_is_room(
    ready: Settings, make_key: MakeKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Bodies] = []

    def make(most_bytes: int) -> Bodies:
        made.append(Bodies(most_bytes))
        return made[-1]

    def wait_until_held(size_bytes: int) -> None:
        deadline_s = time.monotonic() + 30
        while made[-1].held_bytes != size_bytes:
            assert time.monotonic() < deadline_s, made[-1].held_bytes
            time.sleep(0.005)

    monkeypatch.setattr("api.server.services.Bodies", make)
    small, headers = 50_000, make_key()
    with serving(ready.model_copy(update={"api_bodies_limit_bytes": small})) as url:
        slow = Connection(url)
        fields = [f"{name}: {value}" for name, value in {**headers, **keyed(), "Content-Length": small}.items()]
        slow.request(f"POST {PATH} HTTP/1.1", "Content-Type: application/json", *fields, body=b" " * (small - 10))
        wait_until_held(small - 10)
        refused = httpx.post(f"{url}{PATH}", json=BODY, headers=headers | keyed("k"))
        slow.close()
        wait_until_held(0)
        stored = httpx.post(f"{url}{PATH}", json=BODY, headers=headers | keyed("k"))

    assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
    assert stored.status_code == 201


@pytest.mark.heavy("test_posting.py tests one process that ends")
def test_sigterm_stores_and_answers_what_is_under_way(
    ready: Settings, make_key: MakeKey, held: Held, database: psycopg.Connection[Any]
) -> None:
    headers, count = make_key(), 20
    with workers(ready, 1) as (process, url):
        with held() as release:
            first = [sent(url, f"first{path}", headers, path) for path in PATHS]
            wait_for_a_flush(database, len(PATHS))
            queued = [sent(url, f"{number}{path}", headers, path) for path in PATHS for number in range(count)]
            wait_until_read(url)
            process.send_signal(signal.SIGTERM)
            ended_s = time.monotonic()
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(1)  # it waits for the rows
            release()
            answers = [connection.answer() for connection in first + queued]
        process.wait(15 - (time.monotonic() - ended_s))
        for connection in first + queued:
            connection.close()

    assert [answer.status for answer in answers] == [201] * len(answers)
    stored = {
        str(row_id)
        for (row_id,) in database.execute(
            "SELECT id FROM transactions_partitioned UNION ALL SELECT id FROM vas_transactions_partitioned"
        )
    }
    assert {json.loads(answer.body)["id"] for answer in answers} == stored
    assert len(stored) == 2 * (count + 1)


def test_the_shutdown_ends_before_the_keeper_kills() -> None:
    """Each step is bounded; what a step waits for those that it cancels is a second at most."""
    cancelled_s = 2.0
    assert DRAIN_S + WRITER_S + VENDS_S + ALERTS_S + 2 * CONNECTIONS_S + LAST_LINES_S + cancelled_s <= STOP_S
