"""Things that go wrong on purpose, by a seeded share of all requests or by a header on one of them.

Each may strike before the request is worked on or after. A client must not be able to distinguish the two, and must be
right both times.
"""

import random
from enum import StrEnum
from threading import Lock

import anyio
from starlette.datastructures import Headers
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from config.suppliers import SimulatorSettings

HEADER = "x-simulate"
CONTROL = "/_"  # addresses that no supplier has: the book, the statement, the webhooks


class Fault(StrEnum):
    """The kinds of faults. Those that end in ``after`` strike once the request was carried out."""

    NONE = "none"
    BUSY = "busy"
    BROKEN = "broken"
    CUT = "cut"
    HANG = "hang"
    PAGE = "page"
    BROKEN_AFTER = "broken-after"
    CUT_AFTER = "cut-after"
    HANG_AFTER = "hang-after"
    PAGE_AFTER = "page-after"


DRAWN = tuple(fault for fault in Fault if fault is not Fault.NONE)
_AFTER = frozenset({Fault.BROKEN_AFTER, Fault.CUT_AFTER, Fault.HANG_AFTER, Fault.PAGE_AFTER})


class Faults:
    """Draws the fault of each request: the same seed draws the same ones in the same order."""

    def __init__(self, share: float, seed: int) -> None:
        self._share = share
        self._chance = random.Random(seed)  # noqa: S311  # no secret: it must be repeatable
        self._lock = Lock()
        self._next: list[Fault] = []

    def plan(self, *faults: Fault) -> None:
        """The faults of the next requests, one each, before any are drawn again."""
        with self._lock:
            self._next = list(faults)

    def draw(self, headers: Headers) -> Fault:
        """Choose the fault of this request."""
        wanted = headers.get(HEADER)
        if wanted is not None:
            return Fault(wanted) if wanted in set(Fault) else Fault.NONE
        with self._lock:
            if self._next:
                return self._next.pop(0)
            return self._chance.choice(DRAWN) if self._chance.random() < self._share else Fault.NONE


class Faulty:
    """An app between which and its clients things go wrong."""

    def __init__(self, app: ASGIApp, faults: Faults, settings: SimulatorSettings, retry_after_s: int | None) -> None:
        self._app = app
        self._faults = faults
        self._settings = settings
        self._retry_after_s = retry_after_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or not, and its answer, or not."""
        if scope["type"] != "http" or scope["path"].removeprefix(scope.get("root_path", "")).startswith(CONTROL):
            await self._app(scope, receive, send)
            return
        fault = self._faults.draw(Headers(scope=scope))
        await anyio.sleep(self._settings.latency_ms / 1000)
        if fault is Fault.NONE:
            await self._app(scope, receive, send)
            return
        if fault in _AFTER:
            await self._app(scope, receive, _nowhere)
        await self._strike(fault, scope, receive, send)

    async def _strike(self, fault: Fault, scope: Scope, receive: Receive, send: Send) -> None:
        match fault:
            case Fault.BUSY:
                await self._busy()(scope, receive, send)
            case Fault.BROKEN | Fault.BROKEN_AFTER:
                await JSONResponse({"error": "internal"}, 500)(scope, receive, send)
            case Fault.PAGE | Fault.PAGE_AFTER:
                await page(502)(scope, receive, send)
            case Fault.CUT | Fault.CUT_AFTER:
                await _cut(send)
            case _:
                await self._hang(scope, receive, send)

    def _busy(self) -> Response:
        headers = {} if self._retry_after_s is None else {"Retry-After": str(self._retry_after_s)}
        return JSONResponse({"title": "Too many requests", "status": 429}, 429, headers)

    async def _hang(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Keep silent until the client has left, or for as long as is set."""
        with anyio.move_on_after(self._settings.hang_s) as patience:
            while (await receive())["type"] != "http.disconnect":
                pass
        if patience.cancelled_caught:
            await page(504)(scope, receive, send)


async def _nowhere(_: Message) -> None:
    """Drop an answer that nobody is to get."""


async def _cut(send: Send) -> None:
    """Begin an answer and break the connection: a server closes it when an app returns before its answer ends."""
    headers = [(b"content-type", b"application/json"), (b"content-length", b"64")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b'{"respon', "more_body": True})


def page(status: int) -> Response:
    """Return a page for people, as a gateway or a wrong address answers."""
    return HTMLResponse(f"<!DOCTYPE html><html><body><h1>{status}</h1></body></html>", status)
