"""The headers that keep browsers from doing anything with an answer but show it. They are on every answer.

What they are worth by Mozilla Observatory's rules is computed in tests/api/server/test_observatory.py.
"""

from collections.abc import Iterable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

Headers = tuple[tuple[bytes, bytes], ...]

_NOTHING = "default-src 'none'; object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
API_POLICY = f"{_NOTHING}; sandbox"
# Swagger UI's style sheet has pictures in data: addresses; its requests go to this API and nowhere else.
PAGE_POLICY = f"{_NOTHING}; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'"
POLICY = "Content-Security-Policy"
_UNUSED = ("camera", "geolocation", "microphone", "payment", "usb", "interest-cohort", "browsing-topics")


def fixed_headers(hsts_s: int) -> Headers:
    """The headers that no handler may change, ready to be sent. ``hsts_s`` is how long browsers keep to HTTPS."""
    named = {
        "strict-transport-security": f"max-age={hsts_s}; includeSubDomains",
        "x-content-type-options": "nosniff",
        "x-frame-options": "DENY",
        "referrer-policy": "same-origin",  # with less, browsers give the origin of our own forms as "null"
        "permissions-policy": ", ".join(f"{feature}=()" for feature in _UNUSED),
        "cross-origin-opener-policy": "same-origin",
        "cross-origin-embedder-policy": "require-corp",
        "cross-origin-resource-policy": "same-origin",
    }
    return tuple((name.encode(), value.encode()) for name, value in named.items())


# A handler may say better: a page that needs a style sheet, a read that may be kept for a moment.
_DEFAULTS: Headers = (
    (b"content-security-policy", API_POLICY.encode()),
    (b"cache-control", b"no-store"),
)


def all_headers(hsts_s: int) -> Headers:
    """The headers of an answer that no handler made."""
    return (*fixed_headers(hsts_s), *_DEFAULTS)


def added_headers(present: Iterable[bytes], fixed: Headers) -> Headers:
    """The headers that are added to an answer in which those named ``present`` are already."""
    names = set(present)
    return (*(header for header in _DEFAULTS if header[0] not in names), *fixed)


class SecurityHeaders:
    """ASGI middleware that puts the headers on every answer that passes."""

    def __init__(self, app: ASGIApp, hsts_s: int) -> None:
        self._app = app
        self._fixed = fixed_headers(hsts_s)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = message["headers"]
                added = added_headers((name for name, _ in headers), self._fixed)
                message["headers"] = [*headers, *added]  # a new list: an answer may be sent twice
            await send(message)

        await self._app(scope, receive, send_with_headers)
