"""Answers with a strong validator: 200 with an ETag, or 304 when the client has that very answer (RFC 9110, 13)."""

import re

from starlette.responses import Response

from api.caching.question import Kept

_JSON = (b"content-type", b"application/json")
_TAG = re.compile(r'(?:W/)?("[\x21\x23-\x7e\x80-\xff]*")')


class Ready(Response):
    """A response whose headers are complete: Starlette's own would put them together anew for each hit."""

    def __init__(self, status_code: int, body: bytes, headers: list[tuple[bytes, bytes]]) -> None:
        self.status_code = status_code
        self.body = body
        self.raw_headers = headers
        self.background = None


def answer(wanted: str | None, kept: Kept) -> Ready:
    """``kept`` for who sent ``wanted`` as If-None-Match. A HEAD gets the same; the server leaves out the body."""
    if wanted is not None and names(wanted, kept.etag.decode()):
        return Ready(304, b"", list(kept.headers))
    length = (b"content-length", str(len(kept.body)).encode())
    return Ready(200, kept.body, [_JSON, length, *kept.headers])


def names(wanted: str, etag: str) -> bool:
    """Return whether the If-None-Match header ``wanted`` names ``etag``, by the weak comparison of RFC 9110."""
    return wanted.strip() == "*" or etag in _TAG.findall(wanted)
