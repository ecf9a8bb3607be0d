"""The request id and the access log: one JSON line for each request, without query, body or secret."""

import ipaddress
import logging
import re
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache

import msgspec
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.logs.json_lines import LOGGER
from api.logs.output import OUTPUT
from api.logs.randomness import RandomNames
from api.logs.turns import EachTurn
from api.monitoring import metrics
from ledger.masking import mask_forms

HEADER = "X-Request-ID"
_GIVEN = re.compile(rb"[A-Za-z0-9._-]{1,64}\Z")
_STATE_KEY = "treasury.request"
_LOG = logging.getLogger(f"{LOGGER}.access")
_NEW_NAME = RandomNames()


@dataclass(slots=True)
class RequestRecord:
    """The content of a request's log line; the endpoint adds what it finds out. ``route`` is a template, never a path
    with an id or a wallet in it.
    """

    request_id: str
    route: str = ""
    key_id: str = ""
    status: int = 0
    size_bytes: int = 0
    address: str = ""  # the client's; of a request that was not examined, the connection's


def of_request(scope: Scope) -> RequestRecord:
    """The record of the request that ``scope`` belongs to."""
    record: RequestRecord = scope[_STATE_KEY]
    return record


class AccessLog:
    """The outcome of requests, counted and logged. One for each application: it writes with its event loop."""

    def __init__(self) -> None:
        self._lines = EachTurn(_write)
        self._counted = EachTurn(metrics.requests_ended)

    def ended(self, method: str, record: RequestRecord, peer: str, started_s: float) -> None:
        """Count and log a request that `metrics.request_began` announced at ``started_s`` (`time.perf_counter`).

        ``peer`` is the connection's address, for a request that was not examined.
        """
        duration_s = time.perf_counter() - started_s
        self._counted.add((method, record.route, record.status, duration_s))
        if _LOG.isEnabledFor(logging.INFO):
            self._lines.add(_line(method, record, peer, duration_s))


class RequestLog:
    """ASGI middleware: takes a client's X-Request-ID or makes one, gives it back, and logs the request when it ends."""

    def __init__(self, app: ASGIApp, log: AccessLog | None = None) -> None:
        self._app = app
        self._log = log or AccessLog()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        record = scope[_STATE_KEY] = RequestRecord(request_id(_given_id(scope)))
        started_s = time.perf_counter()
        metrics.request_began()

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                record.status = message["status"]
                MutableHeaders(scope=message)[HEADER] = record.request_id
            else:
                record.size_bytes += len(message.get("body", b""))
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        finally:
            peer = scope["client"][0] if scope.get("client") else ""
            self._log.ended(scope["method"], record, peer, started_s)


def _given_id(scope: Scope) -> bytes:
    return next((value for name, value in scope["headers"] if name == b"x-request-id"), b"")


def request_id(sent: bytes) -> str:
    """``sent``, the X-Request-ID of a client, if it may be used; else a new one."""
    if sent and _GIVEN.match(sent) and mask_forms(sent.decode()) == sent.decode():  # some send what they should not
        return sent.decode()
    return new_request_id()


def new_request_id() -> str:
    """An id that no other request has."""
    return _NEW_NAME()


@lru_cache(maxsize=4096)
def network(address: str) -> str:
    """The network of an address, or of a network, /24 or /48: enough to find an attack, too little to find a person."""
    try:
        parsed = ipaddress.ip_network(address)
        prefix = min(parsed.prefixlen, 24 if parsed.version == 4 else 48)
        return str(parsed.supernet(new_prefix=prefix))
    except ValueError:  # a Unix socket, or an address with a zone
        return ""


def log_refusal(request_id: str, status: int, client: tuple[str, int] | None) -> None:
    """Log a request that the server refused before it was one: it has no method and no route."""
    fields = {"request_id": request_id, "status": status, "address": network(client[0]) if client else ""}
    _LOG.info("refused", extra={"fields": fields})


def _line(method: str, record: RequestRecord, peer: str, duration_s: float) -> bytes:
    return msgspec.json.encode(
        {
            "time": datetime.now(UTC),
            "level": "INFO",
            "logger": _LOG.name,
            "message": "request",
            "request_id": record.request_id,
            "method": method,
            "route": record.route,
            "status": record.status,
            "bytes": record.size_bytes,
            "address": network(record.address or peer),
            "duration_ms": round(duration_s * 1000, 2),
            "key_id": record.key_id,
        }
    )


def _write(lines: list[bytes]) -> None:
    """One call for many: a record of `logging` for each would cost more than the routing of its request."""
    lines.append(b"")
    OUTPUT.put(b"\n".join(lines))
