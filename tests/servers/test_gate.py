"""The gate before the embedded HTTP servers: whose names are answered, and whose pages."""

import threading
import time
from collections.abc import Iterator

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket

from servers import ports
from servers.gate import Gate
from tests.servers.raw import SOCKET, exchange

FOREIGN_HOSTS = (
    "evil.example",
    "evil.example:4200",
    "127.0.0.1.evil.example",
    "127.0.0.1@evil.example",
    "127.0.0.1/@evil.example",
    "127.0.0.2",
    "[::1]",
    "0x7f.1",
    "127.0.0.1:x",
    "",
)
FOREIGN_ORIGINS = (
    "https://evil.example",
    "http://evil.example",
    "http://127.0.0.1:1",
    "http://localhost",
    "null",
    "file://",
    "",
    "chrome-extension://abcdef",
    "http://127.0.0.1.evil.example",
    "http://127.0.0.1/path",
)


SWITCHING = 101


async def _echo(socket: WebSocket) -> None:
    await socket.accept()
    await socket.close()


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    """The port of a server whose application is behind the gate."""
    number = ports.choose(0)
    routes = [Route("/", lambda _: PlainTextResponse("open"), methods=["GET", "POST", "OPTIONS"])]
    routes += [Route("/docs", lambda _: PlainTextResponse("a page"))]
    app = Starlette(routes=[*routes, WebSocketRoute("/ws", _echo)])
    gate = Gate(app, ("127.0.0.1", "localhost", "prefect.internal"), number, ("/docs",))
    server = uvicorn.Server(uvicorn.Config(gate, port=number, log_level="critical", ws="websockets-sansio"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.01)
    yield number
    server.should_exit = True
    thread.join()


def status(port: int, host: str | None, origin: str | None = None, method: str = "GET", path: str = "/") -> int:
    """What a request of ``host`` from a page of ``origin`` is answered with."""
    headers = [(name, value) for name, value in (("Host", host), ("Origin", origin)) if value is not None]
    upgrade = SOCKET if path == "/ws" else ()
    return exchange(port, (*headers, *upgrade), path, method)[0]


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:{}", "localhost", "LocalHost:{}", "prefect.internal"])
def test_the_server_s_own_names_are_answered(port: int, host: str) -> None:
    assert status(port, host.format(port)) == 200
    assert status(port, host.format(port), path="/ws") == SWITCHING


@pytest.mark.parametrize("host", FOREIGN_HOSTS)
def test_any_other_name_is_refused_for_pages_and_sockets(port: int, host: str) -> None:
    assert status(port, host) in (400, 421)
    assert status(port, host, path="/ws") in (400, 403)


def test_a_request_without_a_name_or_with_two_is_refused(port: int) -> None:
    assert status(port, None) in (400, 421)
    assert exchange(port, (("Host", "127.0.0.1"), ("Host", "evil.example")))[0] in (400, 421)


@pytest.mark.parametrize("origin", FOREIGN_ORIGINS)
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
def test_a_page_of_another_site_is_refused_whatever_it_asks(port: int, origin: str, method: str) -> None:
    answer, head = exchange(port, (("Host", f"127.0.0.1:{port}"), ("Origin", origin)), method=method)
    assert answer == 403
    assert "access-control-allow-origin" not in head


@pytest.mark.parametrize("origin", FOREIGN_ORIGINS)
def test_a_page_of_another_site_gets_no_socket(port: int, origin: str) -> None:
    assert status(port, f"127.0.0.1:{port}", origin, path="/ws") == 403


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("127.0.0.1:{}", "http://127.0.0.1:{}"),
        ("127.0.0.1:{}", "http://localhost:{}"),
        ("prefect.internal", "https://prefect.internal"),
    ],
)
def test_the_server_s_own_pages_may_ask_it(port: int, host: str, origin: str) -> None:
    assert status(port, host.format(port), origin.format(port), "POST") == 200
    assert status(port, host.format(port), origin.format(port), path="/ws") == SWITCHING


def test_answers_are_not_shown_inside_other_pages(port: int) -> None:
    head = exchange(port, (("Host", "127.0.0.1"),))[1]
    assert "x-frame-options: deny" in head
    assert "frame-ancestors 'none'" in head
    assert f"connect-src 'self' http://127.0.0.1:{port} ws://127.0.0.1:{port}" in head


def test_a_closed_path_is_not_there(port: int) -> None:
    assert [status(port, "127.0.0.1", path=path) for path in ("/docs", "/docs/")] == [404, 404]
