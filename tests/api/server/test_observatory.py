"""Every answer carries the security headers, and they are worth an A+ by Mozilla Observatory's rules."""

import re
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from api.documentation import page as docs_page
from api.documentation.assets import FOREVER
from api.server.app import create_app
from config import Settings
from tests.api.ledger_rows import BODY, keyed
from tests.api.server.conftest import Connect
from tests.api.server.observatory import directives, grade, modifiers

PATH = "/api/v1/transactions"
JSON = {"Content-Type": "application/json"}
ANSWERS: dict[str, tuple[int, Callable[[httpx.Client], httpx.Response]]] = {
    "the page": (200, lambda client: client.get("/docs")),
    "its style": (200, lambda client: client.get(docs_page.assets()[docs_page.STYLE].path)),
    "its script": (200, lambda client: client.get(docs_page.assets()[docs_page.BUNDLE].path)),
    "the document": (200, lambda client: client.get("/openapi.json")),
    "health": (200, lambda client: client.get("/health/ready")),
    "head": (200, lambda client: client.head("/health/live")),
    "a stored row": (201, lambda client: client.post(PATH, json=BODY, headers=keyed())),
    "a page of rows": (200, lambda client: client.get(PATH, params={"wallet_id": "w"})),
    "no JSON": (400, lambda client: client.post(PATH, content="{", headers=keyed() | JSON)),
    "no key": (401, lambda client: client.get(PATH, headers={"Authorization": ""})),
    "nowhere": (404, lambda client: client.get("/nowhere")),
    "no such row": (404, lambda client: client.get(f"{PATH}/01a20733-cc6b-74a3-a860-71497a499eb9")),
    "a wrong method": (405, lambda client: client.delete(PATH)),
    "not as JSON": (415, lambda client: client.post(PATH, content="x", headers=keyed())),
    "a broken rule": (422, lambda client: client.post(PATH, json={}, headers=keyed())),
    "another host": (421, lambda client: client.get("/docs", headers={"Host": "elsewhere"})),
    "an expectation": (417, lambda client: client.get("/health/live", headers={"Expect": "wonders"})),
}
# A client may keep what it read, and must ask whether it still holds: it has an ETag.
# The address of a file of the page changes with the file.
KEPT = {"a page of rows": "private, no-cache", "its style": FOREVER, "its script": FOREVER}


@pytest.fixture
def client(shared_url: str, shared_key: str) -> Any:
    name, _, value = shared_key.partition(": ")
    with httpx.Client(base_url=shared_url, headers={name: value}, timeout=30) as client:
        yield client


@pytest.mark.parametrize("name", ANSWERS)
def test_every_answer_is_worth_an_a_plus(client: httpx.Client, name: str) -> None:
    status, ask = ANSWERS[name]
    response = ask(client)
    assert response.status_code == status
    _check(dict(response.headers), response.text, KEPT.get(name, "no-store"))


def _check(headers: dict[str, str], body: str, caching: str = "no-store") -> None:
    score, letter = grade(headers, body)
    assert (score, letter) == (130, "A+"), f"{score} {letter}: {modifiers(headers, body)}"
    policy = directives(headers["content-security-policy"])
    assert (
        policy["default-src"] == policy["form-action"] == policy["frame-ancestors"] == policy["base-uri"] == {"'none'"}
    )
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["cross-origin-opener-policy"] == "same-origin"
    assert headers["cross-origin-embedder-policy"] == "require-corp"
    assert "geolocation=()" in headers["permissions-policy"]
    assert "includeSubDomains" in headers["strict-transport-security"]
    assert headers["cache-control"] == caching
    assert not {"server", "x-powered-by", "set-cookie", "access-control-allow-origin"} & headers.keys()


@pytest.mark.parametrize(
    ("status", "request_text"),
    [
        (400, "rubbish\r\n\r\n"),
        (400, "GET /health/live HTTP/1.1\r\n\r\n"),
        (400, "GET /health/live HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n"),
        (414, f"GET /{'x' * 9000} HTTP/1.1\r\n"),
        (431, f"GET / HTTP/1.1\r\nX: {'x' * 40_000}\r\n\r\n"),
    ],
)
def test_an_answer_of_the_protocol_is_worth_the_same(connect: Connect, status: int, request_text: str) -> None:
    connection = connect()
    connection.send(request_text.encode())
    answer = connection.answer()

    assert answer.problem["status"] == status
    assert answer.problem["request_id"] == answer.headers["x-request-id"]
    _check(answer.headers, "")


def test_an_error_outside_of_every_endpoint_is_too(ready: Settings) -> None:
    import asyncio

    app = create_app(ready)
    app.routes.append(Route("/broken", Broken()))
    transport = httpx.ASGITransport(app)

    async def ask() -> httpx.Response:
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
            return await client.get("/broken")

    response = asyncio.run(ask())
    assert response.status_code == 500
    assert response.json()["type"] == "urn:treasury:problem:internal"
    assert "hunter2" not in response.text
    _check(dict(response.headers), response.text)


class Broken:
    """An address with a defect."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        raise RuntimeError("SELECT secret FROM rows WHERE password = 'hunter2'")


def test_the_page_needs_nothing_that_its_policy_forbids(client: httpx.Client) -> None:
    """What its scripts do is seen by a browser in tests/api/documentation/test_page.py."""
    page = client.get("/docs")
    policy = directives(page.headers["content-security-policy"])

    for directive in ("script-src", "style-src", "connect-src"):
        assert policy[directive] == {"'self'"}
    assert policy["img-src"] == {"'self'", "data:"}
    assert not re.search(r"<style|\sstyle=|\son\w+=|<img|<form|<iframe|<object|url\(", page.text)
    assert re.findall(r"<script[^>]*>(.*?)</script>", page.text, re.DOTALL) == ["", ""]
    sheets = re.findall(r'<link rel="stylesheet" href="(/[^"]+)">', page.text)
    assert [client.get(sheet).headers["content-type"].split(";")[0] for sheet in sheets] == ["text/css"]
    assert not re.search(r"@import|url\((?!\"?data:image/)", client.get(sheets[0]).text)


def test_a_weaker_header_would_be_noticed() -> None:
    """The rules of the Observatory, by known cases: without this the tests above could not fail."""
    best = {
        "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
        "strict-transport-security": "max-age=63072000",
        "x-content-type-options": "nosniff",
        "referrer-policy": "no-referrer",
        "cross-origin-resource-policy": "same-origin",
    }
    assert grade(best) == (130, "A+")
    assert grade({}) == (30, "D")
    assert grade(best | {"strict-transport-security": "max-age=600"}) == (120, "A+")
    assert modifiers(best | {"strict-transport-security": "max-age=600"})["strict-transport-security"] == -10
    for weaker, points in (
        ("default-src 'self'", 5),
        ("default-src 'none'; style-src 'unsafe-inline'", 0),
        ("default-src 'none'; script-src 'unsafe-eval'", -10),
        ("default-src 'none'; script-src 'unsafe-inline'", -20),
        ("default-src https:", -20),
        ("frame-ancestors 'none'", -20),
    ):
        assert modifiers(best | {"content-security-policy": weaker})["content-security-policy"] == points
    assert modifiers({"x-frame-options": "ALLOWALL"})["x-frame-options"] == -20
