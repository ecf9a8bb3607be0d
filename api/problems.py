"""Which error becomes which answer, in one table: problem+json (RFC 9457) that shows nothing of the inside."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
from starlette.responses import Response

from ledger.errors import ConflictError, FieldError, NotStoredError, RefusalError, TransientError, TreasuryError

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_S = 1
_LONGEST_NAME = 64


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of problem: its HTTP status, the last part of its type, its title, and a detail fit for anyone."""

    status: int
    name: str
    title: str
    detail: str

    @property
    def type(self) -> str:
        """The problem's type: a name, not an address."""
        return f"urn:treasury:problem:{self.name}"


BAD_REQUEST = Kind(400, "bad-request", "The request cannot be understood", "The body is not valid JSON.")
KEY_MISSING = Kind(
    400, "idempotency-key", "An Idempotency-Key is required", "Send an Idempotency-Key of 1 to 255 visible characters."
)
UNAUTHORIZED = Kind(401, "unauthorized", "No valid API key", "Send Authorization: Bearer with a valid API key.")
UNSIGNED = Kind(401, "signature", "No valid signature", "The signature is not that of this payload.")
FORBIDDEN = Kind(403, "forbidden", "The API key may not do this", "The API key lacks a scope.")
NOT_FOUND = Kind(404, "not-found", "There is no such thing", "Nothing that this API key may see is at this address.")
NO_METHOD = Kind(405, "method-not-allowed", "The method is not allowed", "This address does not take this method.")
TIMEOUT = Kind(408, "timeout", "The request took too long", "It did not arrive in time; send it again.")
CONFLICT = Kind(
    409, "conflict", "It conflicts with the present state", "It was changed meanwhile, or takes no more changes."
)
IN_FLIGHT = Kind(
    409, "in-flight", "The same request is being worked on", "A request with this Idempotency-Key is still under way."
)
TOO_LARGE = Kind(413, "too-large", "The body is too large", "The body has more bytes than the API takes.")
URL_TOO_LONG = Kind(414, "url-too-long", "The address is too long", "The address has more bytes than the API takes.")
NOT_JSON = Kind(415, "not-json", "The body must be JSON", "Send Content-Type: application/json.")
EXPECTATION = Kind(417, "expectation", "The expectation cannot be met", "The only expectation met is 100-continue.")
MISDIRECTED = Kind(421, "misdirected", "This host is not served here", "The name in Host is none of this API's names.")
INVALID = Kind(422, "invalid", "A value breaks a rule", "See errors for the field and the rule.")
KEY_REUSED = Kind(
    422, "idempotency-key-reused", "The Idempotency-Key was used before", "This key belongs to another request."
)
TOO_MANY = Kind(429, "too-many-requests", "Too many requests", "Send fewer requests; see Retry-After.")
ADDRESS_REFUSED = Kind(
    429, "address-refused", "This address is refused for a while", "Requests from this address looked like an attack."
)
HEADER_TOO_LARGE = Kind(
    431, "header-too-large", "The header is too large", "The header has more bytes or more fields than the API takes."
)
INTERNAL = Kind(500, "internal", "Something went wrong here", "It was logged; the request id finds it.")
NOT_STORED = Kind(
    500,
    "not-stored",
    "The database did not store it as it was sent",
    "Nothing of the request was stored. The operator of this API must look at the database; it was logged.",
)
UNAVAILABLE = Kind(503, "unavailable", "It cannot be done right now", "Send the same request again a little later.")

_BY_ERROR: tuple[tuple[type[Exception], Kind], ...] = (
    (FieldError, INVALID),
    (ConflictError, CONFLICT),
    (TransientError, UNAVAILABLE),
    (NotStoredError, NOT_STORED),
)


class HttpError(TreasuryError):
    """An answer that only HTTP knows: no key, no such row, a body that is no JSON. ``detail`` is for anyone."""

    def __init__(self, kind: Kind, detail: str | None = None, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail or kind.detail)
        self.kind = kind
        self.headers = dict(headers or {})


def kind_of(error: Exception) -> Kind:
    """The kind of problem that ``error`` is to a client."""
    if isinstance(error, HttpError):
        return error.kind
    return next((kind for cause, kind in _BY_ERROR if isinstance(error, cause)), INTERNAL)


def document(error: Exception) -> dict[str, Any]:
    """The problem document of ``error``: only texts that were written for clients, never PostgreSQL's own."""
    kind = kind_of(error)
    body: dict[str, Any] = {"type": kind.type, "title": kind.title, "status": kind.status, "detail": kind.detail}
    if isinstance(error, HttpError | RefusalError):
        body["detail"] = str(error)
    elif isinstance(error, FieldError):
        field = _printable(error.field)
        body |= {"detail": f"{field}: {error.rule}", "errors": [{"field": field, "rule": error.rule}]}
    return body


def _printable(name: str) -> str:
    """A name that a client made up, cut short; a lone surrogate in it could not be written as UTF-8."""
    return name.encode(errors="backslashreplace").decode()[:_LONGEST_NAME]


def response(error: Exception, request_id: str | None = None) -> Response:
    """The answer to a request that ended in ``error``."""
    body = document(error)
    if request_id is not None:
        body["request_id"] = request_id
    headers = dict(error.headers) if isinstance(error, HttpError) else {}
    if body["status"] == UNAVAILABLE.status:
        headers.setdefault("Retry-After", str(RETRY_AFTER_S))
    return Response(msgspec.json.encode(body), body["status"], headers, MEDIA_TYPE)
