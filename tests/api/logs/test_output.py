"""A log that nobody reads: no request waits for it, memory is bounded, and what is lost is told."""

import json
import logging
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import httpx
import pytest

from api.logs.output import OUTPUT, LogOutput, OutputHandler
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
        while not output._queue.empty() and time.monotonic() < deadline_s:  # until the thread waits for the pipe
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

    def put() -> None:
        for _ in range(200):
            output.put(LINE)

    threads = [threading.Thread(target=put) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert output.flush(10)
    assert b"".join(taken) == LINE * 800


def test_a_notice_comes_where_the_lines_are_missing() -> None:
    taken: list[bytes] = []
    gate, entered = threading.Event(), threading.Event()

    def write(text: bytes) -> None:
        entered.set()
        gate.wait(20)
        taken.append(text)

    output = LogOutput(write, most_bytes=2 * len(LINE))
    output.put(b"1\n")
    assert entered.wait(20)
    for number in (2, 3):
        output.put(str(number).encode() * (len(LINE) - 1) + b"\n")
    output.put(b"4\n" * 7)  # there is no room
    gate.set()
    assert output.flush(10)
    output.put(b"5\n")
    assert output.flush(10)
    first, second, third, notice, last = b"".join(taken).splitlines()
    assert (first, second[:1], third[:1], last) == (b"1", b"2", b"3", b"5")
    assert json.loads(notice)["dropped"] == 7


def test_a_notice_that_could_not_be_written_is_in_the_next_one() -> None:
    taken: list[bytes] = []
    failures = iter([OSError("no space")] * 3)  # the second and the third are of lines with a notice

    def write(text: bytes) -> None:
        for error in failures:
            raise error
        taken.append(text)

    output = LogOutput(write)
    for _ in range(5):
        output.put(LINE)
        assert output.flush(10)
    line, notice, last = b"".join(taken).splitlines(keepends=True)
    assert (line, last) == (LINE, LINE)
    assert json.loads(notice)["dropped"] == 3


def test_records_of_logging_and_finished_lines_keep_their_order() -> None:
    taken: list[bytes] = []
    output = LogOutput(taken.append)
    logger = logging.getLogger("treasury.tests.output")
    logger.propagate = False
    logger.addHandler(OutputHandler(output))
    for number in range(100):
        logger.warning("line %d", number)
        output.put(f"{number}\n".encode())
    assert output.flush(10)
    assert b"".join(taken).decode().splitlines() == [
        text for number in range(100) for text in (f"line {number}", str(number))
    ]
