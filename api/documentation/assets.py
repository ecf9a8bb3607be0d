"""Static files that browsers keep. Each address carries a digest of its file, so its content never changes."""

import gzip
from hashlib import sha256

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from api.routing import conditional
from api.routing.endpoint import refuse_method

FOREVER = "public, max-age=31536000, immutable"
_DIGITS = 16  # of the digest in an address: enough that two versions of a file never share one


class Asset:
    """One file and its address below ``folder``. Text is also kept compressed, because Swagger UI has 1.7 MB."""

    def __init__(self, folder: str, name: str, body: bytes, media_type: str) -> None:
        digest = sha256(body).hexdigest()
        stem, _, suffix = name.rpartition(".")
        self.path = f"{folder}/{stem}-{digest[:_DIGITS]}.{suffix}"
        self._plain = _Variant(body, f'"{digest}"', media_type, None)
        self._packed = self._plain
        if media_type.startswith("text/"):
            self._packed = _Variant(gzip.compress(body, mtime=0), f'"{digest}-gzip"', media_type, "gzip")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer GET and HEAD with the file, or with 304 when the client has it. Other methods get 405."""
        if scope["method"] not in {"GET", "HEAD"}:
            await refuse_method(scope, receive, send, "GET, HEAD")
            return
        headers = Request(scope).headers
        variant = self._packed if _takes_gzip(headers.get("accept-encoding", "")) else self._plain
        await variant.answer(headers.get("if-none-match"))(scope, receive, send)


class _Variant:
    """A file in one encoding, with its own validator as RFC 9110 asks."""

    def __init__(self, body: bytes, etag: str, media_type: str, encoding: str | None) -> None:
        headers = {"ETag": etag, "Cache-Control": FOREVER, "Vary": "Accept-Encoding"}
        self._etag = etag
        self._unchanged = Response(status_code=304, headers=headers)
        if encoding is not None:
            headers["Content-Encoding"] = encoding
        self._whole = Response(body, headers=headers, media_type=media_type)

    def answer(self, wanted: str | None) -> Response:
        """Return the file, or 304 when the If-None-Match header ``wanted`` names it."""
        if wanted is not None and conditional.names(wanted, self._etag):
            return self._unchanged
        return self._whole


def _takes_gzip(accepted: str) -> bool:
    """Return whether Accept-Encoding lists gzip without a weight, as browsers do. Other forms get the plain file."""
    return "gzip" in (item.strip().lower() for item in accepted.split(","))
