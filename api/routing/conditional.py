"""Answers with a strong validator: 200 with an ETag, or 304 when the client has that very answer (RFC 9110, 13)."""

import re

from starlette.responses import Response

from api.caching.entry import Entry

_JSON = (b"content-type", b"application/json")
_TAG = re.compile(r'(?:W/)?("[\x21\x23-\x7e\x80-\xff]*")')


class Ready(Response):
    """A response whose headers are complete: Starlette's own would build them again for each hit."""

    def __init__(self, status_code: int, body: bytes, headers: list[tuple[bytes, bytes]]) -> None:
        self.status_code = status_code
        self.body = body
        self.raw_headers = headers
        self.background = None


def answer(if_none_match: str | None, entry: Entry) -> Ready:
    """``entry`` for a request with this If-None-Match header. HEAD gets the same; the server omits the body."""
    if if_none_match is not None and names(if_none_match, entry.etag.decode()):
        return Ready(304, b"", list(entry.headers))
    length = (b"content-length", str(len(entry.body)).encode())
    return Ready(200, entry.body, [_JSON, length, *entry.headers])


def names(if_none_match: str, etag: str) -> bool:
    """Return whether the If-None-Match header names ``etag``, by the weak comparison of RFC 9110."""
    return if_none_match.strip() == "*" or etag in _TAG.findall(if_none_match)
