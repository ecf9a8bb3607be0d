"""Floods: what the API does while somebody tries to keep it busy. Each test says what it measured."""

import asyncio
import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from api.serve import raise_open_files
from config import Settings
from tests.api.conftest import MakeKey, serving
from tests.api.ledger_rows import BODY, keyed
from tests.api.server.conftest import Connection, Figure
from tests.api.transactions.test_durability import workers

PATH = "/api/v1/transactions"
JSON = "Content-Type: application/json"
SLOW_SOCKETS = 500
SAME_KEY = 1000
OPEN_CONNECTIONS = 10_000


@pytest.fixture(autouse=True, scope="module")
def _many_files() -> None:
    raise_open_files()


@contextmanager
def trickling(url: str, count: int) -> Iterator[list[Connection]]:
    """``count`` connections that send a header byte by byte, for ever, from a thread of their own."""
    stop = threading.Event()
    with ExitStack() as stack:
        slow = [Connection(url) for _ in range(count)]
        for connection in slow:
            stack.callback(connection.close)
            connection.send(b"GET /health/live HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: ")

        def trickle() -> None:
            while not stop.wait(0.1):
                for connection in slow:
                    connection.send(b"x")

        thread = threading.Thread(target=trickle)
        thread.start()
        try:
            yield slow
        finally:
            stop.set()
            thread.join()


@pytest.mark.heavy("test_protocol.py tests one slow header")
def test_five_hundred_slow_headers_hold_nobody_up_and_are_all_ended(
    ready: Settings, make_key: MakeKey, figure: Figure
) -> None:
    took_s: list[float] = []
    with serving(ready.model_copy(update={"api_header_timeout_s": 2.0})) as url, trickling(url, SLOW_SOCKETS) as slow:
        with httpx.Client(base_url=url, headers=make_key(), timeout=30) as client:
            for _ in range(50):
                started_s = time.perf_counter()
                posted = client.post(PATH, json=BODY, headers=keyed())
                read = client.get(f"{PATH}/{posted.json()['id']}")
                assert (posted.status_code, read.status_code) == (201, 200)
                took_s.append(time.perf_counter() - started_s)
        statuses = Counter(connection.answer().status for connection in slow)
        ended = sum(connection.is_closed() for connection in slow)
    figure("of 50 posts and reads beside 500 slow sockets the slowest, s", round(max(took_s), 3))
    assert (statuses, ended) == ({408: SLOW_SOCKETS}, SLOW_SOCKETS)


def _memory_kb_from_now_on() -> int:
    """Resident memory of this process, where the API runs; its peak is counted anew from here."""
    Path("/proc/self/clear_refs").write_text("5")
    return _status_kb("VmRSS")


def _most_memory_kb() -> int:
    return _status_kb("VmHWM")


def _status_kb(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{field}:"))


def test_memory_is_seen_even_after_a_higher_peak() -> None:
    """Guards the two tests below: the peak of the process is never lowered by itself."""
    peak = bytearray(b"x" * (200 << 20))
    del peak
    before_kb = _memory_kb_from_now_on()
    held = bytearray(b"x" * (60 << 20))
    assert _most_memory_kb() - before_kb > 55_000
    del held


def test_a_flood_of_headers_is_refused_one_by_one(ready: Settings, figure: Figure) -> None:
    with serving(ready) as url:
        before_kb = _memory_kb_from_now_on()
        statuses: Counter[int] = Counter()
        for _ in range(100):
            connection = Connection(url)
            connection.send(b"GET /health/live HTTP/1.1\r\nHost: 127.0.0.1\r\n" + b"X-Flood: " + b"x" * (1 << 20))
            statuses[connection.answer().status] += 1
            connection.close()
        grown_kb = _most_memory_kb() - before_kb
        assert httpx.get(f"{url}/health/live").status_code == 200
    figure("memory after 100 MiB of headers, KiB more", grown_kb)
    assert statuses == {431: 100}
    assert grown_kb < 50_000, f"{grown_kb} KiB were kept of 100 MiB of headers"


@pytest.mark.parametrize("declared", [True, False])
def test_an_endless_body_is_refused_and_never_held(
    ready: Settings, make_key: MakeKey, figure: Figure, declared: bool
) -> None:
    piece, pieces = b"x" * 65_536, 1024  # 64 MiB
    length = "Content-Length: 67108864" if declared else "Transfer-Encoding: chunked"
    with serving(ready) as url:
        before_kb = _memory_kb_from_now_on()
        connection = Connection(url)
        fields = (f"Authorization: {make_key()['Authorization']}", "Idempotency-Key: k", JSON)
        connection.request(f"POST {PATH} HTTP/1.1", *fields, length)
        for _ in range(pieces):
            connection.send(piece if declared else b"10000\r\n" + piece + b"\r\n")
        answer = connection.answer()
        connection.close()
        grown_kb = _most_memory_kb() - before_kb
        assert httpx.get(f"{url}/health/live").status_code == 200
    figure("memory after a body of 64 MiB, KiB more", grown_kb)
    assert answer.problem["type"] == "urn:treasury:problem:too-large"
    assert grown_kb < 40_000, f"{grown_kb} KiB were kept of a body of 65536 KiB"


@pytest.mark.heavy("two processes share one idempotency key")
def test_a_thousand_posts_of_one_key_at_once_make_one_row(
    ready: Settings, make_key: MakeKey, database: psycopg.Connection[Any], figure: Figure
) -> None:
    body = json.dumps(BODY).encode()
    with workers(ready, 2) as (_, url):
        host, port = url.removeprefix("http://").split(":")
        head = (
            f"POST {PATH} HTTP/1.1\r\nHost: {host}\r\nAuthorization: {make_key()['Authorization']}\r\n{JSON}\r\n"
            f"Connection: close\r\nIdempotency-Key: the-one\r\nContent-Length: {len(body)}\r\n\r\n"
        ).encode()

        async def post(start: asyncio.Event) -> tuple[int, bytes]:
            reader, writer = await asyncio.open_connection(host, int(port))
            await start.wait()
            writer.write(head + body)
            answer = await reader.read()
            writer.close()
            return int(answer.split()[1]), answer.partition(b"\r\n\r\n")[2]

        async def all_at_once() -> list[tuple[int, bytes]]:
            start = asyncio.Event()
            posts = [asyncio.create_task(post(start)) for _ in range(SAME_KEY)]
            await asyncio.sleep(0)
            start.set()
            return await asyncio.gather(*posts)

        answers = asyncio.run(all_at_once())
        same = {**make_key(), "Idempotency-Key": "the-one", "Content-Type": "application/json"}
        again = httpx.post(f"{url}{PATH}", content=body, headers=same)
    statuses = Counter(status for status, _ in answers)
    figure("answers to 1,000 posts of one key", dict(statuses))
    assert set(statuses) <= {201, 409}
    assert {answer for status, answer in answers if status == 201} == {again.content}
    assert again.headers["idempotent-replayed"] == "true"
    assert database.execute("SELECT count(*) FROM transactions_partitioned").fetchone() == (1,)


@pytest.mark.heavy("test_limits_of_the_api.py tests the bounds")
def test_a_burst_of_connections_is_taken_whole(ready: Settings, figure: Figure) -> None:
    """A thousand are asked for before the first is used: those not yet accepted wait in the listening queue."""
    with workers(ready, 1) as (_, url):
        burst = [Connection(url) for _ in range(1000)]
        for connection in burst:
            connection.request("GET /health/live HTTP/1.1")
        answered = Counter(connection.answer().status for connection in burst)
        for connection in burst:
            connection.close()
    figure("answers to 1,000 connections at once", dict(answered))
    assert answered == {200: 1000}


@pytest.mark.slow
def test_ten_thousand_open_connections_are_served(ready: Settings, figure: Figure) -> None:
    raise_open_files()
    request = b"GET /health/live HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    with workers(ready, 1) as (_, url):
        host, port = url.removeprefix("http://").split(":")

        async def serve_all() -> Counter[bytes]:
            opened = [await asyncio.open_connection(host, int(port)) for _ in range(OPEN_CONNECTIONS)]
            found: Counter[bytes] = Counter()
            for _ in range(2):  # each connection is used twice: it was kept
                for _, writer in opened:
                    writer.write(request)
                for reader, _ in opened:
                    head = await reader.readuntil(b"\r\n\r\n")
                    await reader.readexactly(len(b'{"status":"live"}'))
                    found[head[:12]] += 1
            for _, writer in opened:
                writer.close()
            return found

        found = asyncio.run(serve_all())
    figure("answers over 10,000 open connections", found[b"HTTP/1.1 200"])
    assert found == {b"HTTP/1.1 200": 2 * OPEN_CONNECTIONS}
