"""The gate in front of an embedded HTTP server: a request for another host, or from a page of another site, is refused.

A page in a browser of this machine reaches 127.0.0.1. It must not get further than this. Its origin gives it away, and
where a foreign name was pointed at 127.0.0.1 (DNS rebinding), the Host header does.
"""

from collections.abc import Collection, Mapping
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocketClose

POLICY_VIOLATION = 1008  # RFC 6455, 7.4.1
_SAFETY = {
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
}
# Prefect's pages have scripts in them and compile shaders. They send usage to another site, whatever its settings say.
_POLICY = (
    "default-src 'self'; connect-src 'self' {own}; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; "
    "worker-src 'self' blob:; img-src 'self' data: blob:; style-src 'self' 'unsafe-inline'; font-src 'self' data:; "
    "form-action 'self'; base-uri 'self'; object-src 'none'; frame-ancestors 'none'"
)


class Gate:
    """An ASGI application before ``app``. It lets pass what names one of ``hosts``, and comes from no page or its own.

    ``closed``: paths that are answered 404. Browsers let its pages talk to no other server.
    """

    def __init__(self, app: ASGIApp, hosts: Collection[str], port: int, closed: Collection[str] = ()) -> None:
        self._app = app
        self._hosts = frozenset(hosts)
        self._port = port
        self._closed = frozenset(closed)
        plain = [f"{scheme}://{name}:{port}" for name in sorted(self._hosts) for scheme in ("http", "ws")]
        behind_tls = [f"{scheme}://{name}" for name in sorted(self._hosts) for scheme in ("https", "wss")]
        self._safety = _SAFETY | {"content-security-policy": _POLICY.format(own=" ".join([*plain, *behind_tls]))}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or hand on. Start and stop of the server are handed on as they are."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        refusal = self._refusal(scope)
        if refusal is None:
            await self._app(scope, receive, _with_headers(send, self._safety))
        elif scope["type"] == "websocket":
            await WebSocketClose(POLICY_VIOLATION, refusal[1])(scope, receive, send)
        else:
            await PlainTextResponse(refusal[1], refusal[0])(scope, receive, send)

    def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        """The status and the words that a request is refused with; None for one that may pass."""
        headers = Headers(scope=scope)
        hosts, origins = headers.getlist("host"), headers.getlist("origin")
        if len(hosts) != 1 or not self._is_ours(f"//{hosts[0]}"):
            return 421, "Host: this server has another name"
        if origins and not (len(origins) == 1 and self._is_own_origin(origins[0], hosts[0])):
            return 403, "Origin: pages of other sites are not answered"
        if scope["path"].rstrip("/") in self._closed:
            return 404, "Not Found"
        return None

    def _is_own_origin(self, origin: str, host: str) -> bool:
        """Return whether a page of this server sent the request: also one of its other names, at its own port."""
        if not origin.startswith(("http://", "https://")) or not self._is_ours(origin):
            return False
        return urlsplit(origin).netloc.lower() == host.lower() or urlsplit(origin).port == self._port

    def _is_ours(self, address: str) -> bool:
        try:
            parts = urlsplit(address)
            named = parts.netloc.rpartition("@")[2].removesuffix(f":{parts.port}") if parts.port else parts.netloc
        except ValueError:  # no port, or no address
            return False
        return named.lower() in self._hosts and not parts.path


def _with_headers(send: Send, headers: Mapping[str, str]) -> Send:
    """Headers that keep browsers from showing an answer inside another page, or taking it for something else."""

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            own = [(name.encode(), value.encode()) for name, value in headers.items()]
            message = {**message, "headers": [*message.get("headers", ()), *own]}
        await send(message)

    return sending
