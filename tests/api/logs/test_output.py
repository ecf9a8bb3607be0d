"""A log that nobody reads: no request waits for it, memory is bounded, and what is lost is told."""

import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import httpx
import pytest

from api.logs.output import OUTPUT, LogOutput
from api.monitoring import metrics
from config import Settings
from tests.api.conftest import serving

LINE = b'{"message":"x"}\n'


@contextmanager
def full_pipe() -> Iterator[tuple[int, int]]:
    """A pipe that takes nothing more until it is read."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with suppress(BlockingIOError):
        while True:
            os.write(writer, b"#" * 4096)
    os.set_blocking(writer, True)
    try:
        yield reader, writer
    finally:
        os.close(reader)


def drain(reader: int, until: bytes) -> bytes:
    """Read until ``until`` has come."""
    read, deadline_s = b"", time.monotonic() + 20
    while until not in read and time.monotonic() < deadline_s:
        read += os.read(reader, 65_536)
    return read.lstrip(b"#")


def test_a_full_standard_output_holds_no_request_up(shared: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    assert OUTPUT.flush(10)
    with full_pipe() as (reader, writer), os.fdopen(writer, "w") as stdout, serving(shared) as url:
        monkeypatch.setattr(sys, "__stdout__", stdout)
        with httpx.Client(base_url=url, timeout=5) as client:
            ids = [client.get("/health/live").headers["x-request-id"] for _ in range(20)]
        assert not OUTPUT.flush(0.1), "the pipe was not full"
        lines = [json.loads(line) for line in drain(reader, ids[-1].encode()).splitlines() if line.endswith(b"}")]
        monkeypatch.undo()
        assert OUTPUT.flush(10)
    assert [line["request_id"] for line in lines if line.get("route") == "/health/live"][:20] == ids


def test_what_does_not_fit_is_dropped_counted_and_told() -> None:
    counted = metrics.LOG_LINES_DROPPED._value.get()
    with full_pipe() as (reader, writer):
        output = LogOutput(lambda text: os.write(writer, text), most_bytes=10 * len(LINE))
        output.put(LINE)
        deadline_s = time.monotonic() + 10
        while not output._writing and time.monotonic() < deadline_s:  # the thread stands before the pipe
            time.sleep(0.01)
        started_s = time.monotonic()
        for _ in range(25):
            output.put(LINE)
        assert time.monotonic() - started_s < 1
        written = drain(reader, b'"dropped":15')
        assert output.flush(10)
        os.close(writer)
    assert written.count(LINE) == 11
    assert metrics.LOG_LINES_DROPPED._value.get() == counted + 15


def test_an_output_that_fails_is_tried_again_with_the_next_lines() -> None:
    taken: list[bytes] = []
    failures = iter([OSError("no space")])

    def write(text: bytes) -> None:
        for error in failures:
            raise error
        taken.append(text)

    output = LogOutput(write)
    output.put(LINE)
    assert output.flush(10)
    output.put(LINE)
    assert output.flush(10)
    assert b"".join(taken).startswith(LINE)
    assert b'"dropped":1' in b"".join(taken)


def test_lines_of_many_threads_are_whole() -> None:
    taken: list[bytes] = []
    output = LogOutput(taken.append)
    threads = [threading.Thread(target=lambda: [output.put(LINE) for _ in range(200)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert output.flush(10)
    assert b"".join(taken) == LINE * 800
