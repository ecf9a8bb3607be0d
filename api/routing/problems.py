"""The answer for each error, in one table: problem+json (RFC 9457) that shows nothing of the inside."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
from starlette.responses import Response

from ledger.errors import (
    ConflictError,
    EncodingError,
    FieldError,
    GoneError,
    NotStoredError,
    NotYetError,
    RefusalError,
    TransientError,
    TreasuryError,
    VerificationError,
)

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_S = 1
_LONGEST_NAME = 64


@dataclass(frozen=True, slots=True)
class ProblemKind:
    """A kind of problem: its HTTP status, the last part of its type, its title, and a detail fit for anyone."""

    status: int
    name: str
    title: str
    detail: str

    @property
    def type(self) -> str:
        """The problem's type: a name, not an address."""
        return f"urn:treasury:problem:{self.name}"


BAD_REQUEST = ProblemKind(400, "bad-request", "Bad request", "The body is not valid JSON.")
KEY_MISSING = ProblemKind(
    400, "idempotency-key", "Idempotency-Key required", "Send an Idempotency-Key of 1 to 255 visible characters."
)
UNAUTHORIZED = ProblemKind(
    401, "unauthorized", "Invalid or missing API key", "Send a valid API key in the header Authorization: Bearer."
)
UNSIGNED = ProblemKind(401, "signature", "Invalid or missing signature", "The signature does not match the payload.")
FORBIDDEN = ProblemKind(403, "forbidden", "Forbidden", "The API key lacks a scope that this operation requires.")
NOT_FOUND = ProblemKind(404, "not-found", "Not found", "No resource that this API key may see has this address.")
NO_METHOD = ProblemKind(
    405, "method-not-allowed", "Method not allowed", "This address does not support this method. See the Allow header."
)
TIMEOUT = ProblemKind(408, "timeout", "Request timeout", "The request did not arrive in time. Send it again.")
CONFLICT = ProblemKind(
    409, "conflict", "Conflict", "The resource has changed, or no longer accepts changes. Read it again."
)
IN_FLIGHT = ProblemKind(
    409, "in-flight", "Request in progress", "A request with this Idempotency-Key is still in progress."
)
GONE = ProblemKind(410, "gone", "Deleted", "The resource was deleted at the end of its retention.")
NOT_YET = ProblemKind(409, "not-yet", "Not available yet", "The resource will be available later.")
TOO_LARGE = ProblemKind(413, "too-large", "Body too large", "The body has more bytes than the API accepts.")
URL_TOO_LONG = ProblemKind(414, "url-too-long", "URL too long", "The URL has more bytes than the API accepts.")
NOT_JSON = ProblemKind(415, "not-json", "Body must be JSON", "Send Content-Type: application/json.")
NOT_FORM = ProblemKind(
    415, "not-a-form", "Body must be a form", "Send Content-Type: application/x-www-form-urlencoded."
)
EXPECTATION = ProblemKind(
    417, "expectation", "Expectation not supported", "The API supports only the expectation 100-continue."
)
MISDIRECTED = ProblemKind(
    421, "misdirected", "Unknown host", "The API does not serve the host that the Host header names."
)
INVALID = ProblemKind(422, "invalid", "Invalid value", "See errors for the field and the rule.")
NO_SUCH_CHARACTER = ProblemKind(
    422, "invalid", "Invalid value", "A text has a character that the encoding of the database does not have."
)
KEY_REUSED = ProblemKind(
    422, "idempotency-key-reused", "Idempotency-Key already used", "Another request has used this Idempotency-Key."
)
TOO_MANY = ProblemKind(
    429, "too-many-requests", "Too many requests", "Wait as long as Retry-After says, then send fewer requests."
)
ADDRESS_REFUSED = ProblemKind(
    429,
    "address-refused",
    "Address blocked temporarily",
    "Requests from this address looked like an attack. See Retry-After.",
)
HEADER_TOO_LARGE = ProblemKind(
    431, "header-too-large", "Header too large", "The header has more bytes or more fields than the API accepts."
)
INTERNAL = ProblemKind(500, "internal", "Internal error", "The server logged the error under this request id.")
NOT_STORED = ProblemKind(
    500,
    "not-stored",
    "Not stored as sent",
    "The database dropped or changed the data, so nothing of the request was stored. The server logged the error under "
    "this request id, for the operator of this API.",
)
DAMAGED = ProblemKind(
    500,
    "damaged",
    "Stored data is damaged",
    "An object of the archive is not what the log says, so nothing was answered from it. The server logged the error "
    "under this request id, for the operator of this API.",
)
UNAVAILABLE = ProblemKind(
    503, "unavailable", "Temporarily unavailable", "Send the same request again later. See Retry-After."
)

_BY_ERROR: tuple[tuple[type[Exception], ProblemKind], ...] = (
    (FieldError, INVALID),
    (EncodingError, NO_SUCH_CHARACTER),
    (ConflictError, CONFLICT),
    (TransientError, UNAVAILABLE),
    (NotStoredError, NOT_STORED),
    (NotYetError, NOT_YET),
    (GoneError, GONE),
    (VerificationError, DAMAGED),
)


class HttpError(TreasuryError):
    """A refusal that only HTTP has: no key, no such row, a body that is not JSON. Every client may see ``detail``."""

    def __init__(self, kind: ProblemKind, detail: str | None = None, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail or kind.detail)
        self.kind = kind
        self.headers = dict(headers or {})


def kind_of(error: Exception) -> ProblemKind:
    """The kind of problem that ``error`` is to a client."""
    if isinstance(error, HttpError):
        return error.kind
    return next((kind for cause, kind in _BY_ERROR if isinstance(error, cause)), INTERNAL)


def document(error: Exception) -> dict[str, Any]:
    """The problem document of ``error``: only texts that were written for clients, never PostgreSQL's own."""
    kind = kind_of(error)
    body: dict[str, Any] = {"type": kind.type, "title": kind.title, "status": kind.status, "detail": kind.detail}
    if isinstance(error, HttpError | RefusalError | NotYetError | GoneError):
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
