"""The conditions of every request before a route sees it: for a host that is served here, and said in one way only.

A header that two readers could read differently is refused. A proxy in front might believe the first of two, and this
process the second (RFC 9112, 11.2).
"""

import logging
from collections.abc import Iterable
from typing import Final

from starlette.types import ASGIApp, Receive, Scope, Send

from api.logs.access_log import of_request
from api.logs.error_description import describe
from api.logs.json_lines import LOGGER
from api.routing import problems
from api.routing.problems import BAD_REQUEST, EXPECTATION, MISDIRECTED, HttpError

_LOG = logging.getLogger(LOGGER)
ANY_HOST: Final = "*"
_WILDCARD_BINDS = frozenset({"0.0.0.0", "::", "[::]"})  # noqa: S104  # compared with, not bound to
# Load balancers ask by address, and in HTTP/1.0 without a Host. The answers are the same for everyone.
_OF_ANY_HOST = frozenset({"/health/live", "/health/ready"})
_ONCE = frozenset({b"host", b"authorization", b"content-type", b"content-encoding", b"content-length", b"expect"})


def allowed_hosts(hosts: Iterable[str], bind: str) -> frozenset[bytes]:
    """The names that a Host header may have: those of the settings, and the address that is listened at."""
    own = f"[{bind}]" if ":" in bind and not bind.startswith("[") else bind
    names = {*hosts} | (set() if bind in _WILDCARD_BINDS else {own.lower()})
    return frozenset(name.encode() for name in names)


class Hosts:
    """The hosts that are served here, by the names of `allowed_hosts`."""

    def __init__(self, names: frozenset[bytes]) -> None:
        self._names = names
        self._any = ANY_HOST.encode() in names

    def serve(self, host: bytes) -> bool:
        """Return whether ``host``, as a Host header has it, is one of them."""
        return self._any or _without_port(host).lower() in self._names


class Admission:
    """ASGI middleware in front of the routes. It knows no keys: that is the endpoint's work."""

    def __init__(self, app: ASGIApp, hosts: Hosts) -> None:
        self._app = app
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        objection = self._objection(scope)
        if objection is not None:
            await problems.response(objection, of_request(scope).request_id)(scope, receive, send)
            return
        try:
            await self._app(scope, receive, send)
        except Exception as error:  # what no endpoint has answered is answered here
            record = of_request(scope)
            _LOG.error("request failed", extra={"fields": {"request_id": record.request_id, **describe(error)}})
            if record.status:
                raise  # the answer has begun: it can only be broken off
            await problems.response(error, record.request_id)(scope, receive, send)

    def _objection(self, scope: Scope) -> HttpError | None:
        seen: dict[bytes, bytes] = {}
        for name, value in scope["headers"]:
            if name in _ONCE:
                if name in seen:
                    return HttpError(BAD_REQUEST, f"The header {name.decode()} was sent twice.")
                seen[name] = value
        if b"expect" in seen and seen[b"expect"].lower() != b"100-continue":
            return HttpError(EXPECTATION)
        return self._objection_to_host(scope, seen.get(b"host"))

    def _objection_to_host(self, scope: Scope, host: bytes | None) -> HttpError | None:
        of_any_host = scope["path"] in _OF_ANY_HOST
        if of_any_host and host is None and scope["http_version"] == "1.0":
            return None
        if not host:
            return HttpError(BAD_REQUEST, "The Host header is missing.")
        return None if of_any_host or self._hosts.serve(host) else HttpError(MISDIRECTED)


def _without_port(host: bytes) -> bytes:
    name, colon, port = host.rpartition(b":")
    return name if colon and port.isdigit() else host
