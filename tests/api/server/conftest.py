"""The API of tests/api, seen as an attacker sees it: through a socket."""

import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import pytest

from api.logs.json_lines import write_json_lines
from api.logs.output import OUTPUT
from config import Settings
from ledger.scopes import CLIENT_SCOPES
from tasks.admin.keys import create_key
from tests.api.conftest import (  # noqa: F401  # fixtures are found by their names
    api,
    database,
    http,
    ledger,
    make_key,
    make_shared_key,
    ready,
    serving,
    shared,
    shared_api,
    shared_http,
    shared_url,
    template,
    this_month,
    unlimited,
    with_partitions,
)

WAIT_S = 20.0


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP answer, read to its end."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def problem(self) -> dict[str, Any]:
        """The problem document of an error, which every error must be."""
        assert self.headers["content-type"] == "application/problem+json"
        document: dict[str, Any] = json.loads(self.body)
        assert document["status"] == self.status
        return document


class Connection:
    """A TCP connection that sends what it is told, well-formed or not."""

    def __init__(self, url: str, receive_bytes: int | None = None) -> None:
        parts = urlsplit(url)
        self.host = parts.netloc
        self._socket = socket.socket()
        if receive_bytes is not None:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        self._socket.settimeout(WAIT_S)
        self._socket.connect((str(parts.hostname), parts.port or 0))
        self._buffer = b""

    def send(self, data: bytes) -> None:
        """Send ``data`` as it is; a connection that is closed already is not an error here."""
        try:
            self._socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            return

    def request(self, line: str, *fields: str, body: bytes = b"") -> None:
        """Send a request with a Host."""
        self.send("\r\n".join((line, f"Host: {self.host}", *fields, "", "")).encode() + body)

    def send_no_more(self) -> None:
        """Close the half of the connection that sends."""
        self._socket.shutdown(socket.SHUT_WR)

    def answer(self, head: bool = False) -> Answer:
        """The next answer. Fails when the connection ends first."""
        while True:
            end = self._buffer.find(b"\r\n\r\n")
            if end >= 0:
                break
            assert self._more(), f"the connection ended after {self._buffer!r}"
        status_line, *lines = self._buffer[:end].decode("latin-1").split("\r\n")
        self._buffer = self._buffer[end + 4 :]
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        assert len(headers) == len(lines), f"a header was sent twice: {lines}"
        length = 0 if head else int(headers.get("content-length", "0"))
        while len(self._buffer) < length:
            assert self._more(), "the answer is shorter than it says"
        body, self._buffer = self._buffer[:length], self._buffer[length:]
        return Answer(int(status_line.split()[1]), headers, body)

    def fetch(self, path: str) -> Answer:
        """The answer to a plain GET."""
        self.request(f"GET {path} HTTP/1.1")
        return self.answer()

    def after_silence(self, silence_s: float) -> int:
        """Read nothing for a while, then all that was sent; how many bytes it was until the server cut the line."""
        time.sleep(silence_s)
        while self._more():
            pass
        return len(self._buffer)

    def _more(self) -> bool:
        try:
            data = self._socket.recv(65_536)
        except ConnectionResetError:
            return False
        self._buffer += data
        return bool(data)

    def is_closed(self) -> bool:
        """Waits until the server ends the connection; True when nothing more came before it did."""
        rest = self._buffer
        while self._more():
            rest = self._buffer
        return rest == b""

    def close(self) -> None:
        """End it."""
        self._socket.close()


Connect = Callable[[], Connection]
Figure = Callable[[str, object], None]
Log = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def figure(record_property: Callable[[str, object], None]) -> Figure:
    """Tells what was measured: printed at the end of the run by `tests.figures`."""
    return lambda name, value: record_property(name, str(value))


@pytest.fixture
def log(capfd: pytest.CaptureFixture[str]) -> Log:
    """Gives the lines that the API has logged since the test began: of requests, and of everything else."""
    write_json_lines("INFO")
    found: list[str] = []

    def lines() -> list[dict[str, Any]]:
        assert OUTPUT.flush(WAIT_S)
        found.extend(capfd.readouterr().out.splitlines())
        return [json.loads(text) for text in found if text.startswith("{")]

    return lines


def line_of(request_id: str, log: Log) -> dict[str, Any]:
    """The line of a request; it is written a moment after the answer."""
    deadline_s = time.monotonic() + WAIT_S
    while time.monotonic() < deadline_s:
        for line in log():
            if line.get("request_id") == request_id:
                return line
        time.sleep(0.01)
    raise AssertionError(f"{request_id} was not logged")


@contextmanager
def connections(url: str) -> Iterator[Connect]:
    """Opens connections, and closes them all at the end."""
    opened: list[Connection] = []

    def connect() -> Connection:
        opened.append(Connection(url))
        return opened[-1]

    try:
        yield connect
    finally:
        for connection in opened:
            connection.close()


@pytest.fixture(scope="module")
def shared_key(shared: Settings) -> str:  # noqa: F811  # the fixture
    """A header field that carries a key of it."""
    return f"Authorization: Bearer {create_key(shared, 'acme', CLIENT_SCOPES)}"


@pytest.fixture
def connect(shared_url: str) -> Iterator[Connect]:  # noqa: F811  # the fixture
    """Opens connections to the API with its default limits."""
    with connections(shared_url) as opener:
        yield opener


@pytest.fixture(scope="module")
def hasty_url(shared: Settings) -> Iterator[str]:  # noqa: F811  # the fixture
    """An API whose time limits a test can wait for."""
    short = {"api_header_timeout_s": 0.5, "api_body_timeout_s": 0.5, "api_keep_alive_s": 0.7}
    with serving(shared.model_copy(update=short)) as url:
        yield url


@pytest.fixture
def connect_hasty(hasty_url: str) -> Iterator[Connect]:
    """Opens connections to the API that waits for half a second."""
    with connections(hasty_url) as opener:
        yield opener
