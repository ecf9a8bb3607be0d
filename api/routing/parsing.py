"""Reading a request: its body, JSON, query and path. Everything that is not exactly right is refused by name."""

import json
import re
from collections.abc import Collection, Iterator, Mapping
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from itertools import accumulate
from typing import Any, NoReturn, TypeVar
from urllib.parse import unquote_to_bytes
from uuid import UUID

from starlette.requests import Request

from api.routing.bodies import Bodies
from api.routing.problems import BAD_REQUEST, KEY_MISSING, NOT_FORM, NOT_JSON, TOO_LARGE, HttpError
from ledger.business_days import DAY_RULE, parse_day
from ledger.errors import ConfigError, FieldError
from ledger.identifiers import truncate_ms
from ledger.instants import INSTANT_RULE, parse_instant
from ledger.months import MONTH_RULE, Month

Member = TypeVar("Member", bound=StrEnum)
_JSON_TYPE = re.compile(r"application/json\s*(;\s*charset=\"?utf-8\"?\s*)?\Z", re.IGNORECASE)
_FORM_TYPE = re.compile(r"application/x-www-form-urlencoded\s*(;\s*charset=\"?utf-8\"?\s*)?\Z", re.IGNORECASE)
_IDEMPOTENCY_KEY = re.compile(r"[\x21-\x7e]{1,255}\Z")
_BROKEN_PERCENT = re.compile(rb"%(?![0-9a-fA-F]{2})")
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z", re.ASCII | re.IGNORECASE)
JSON_DEPTH = 32
MOST_CONTAINERS = 50_000  # objects and lists of one body: each costs far more than its bytes
_OPENING = b"{["
_NO_BRACKETS = bytes(set(range(256)) - set(b"{}[]"))
_STEPS = bytes(1 if byte in _OPENING else 255 for byte in range(256))  # as signed bytes: one deeper, one less deep


async def read_body(request: Request, limit_bytes: int, bodies: Bodies) -> bytes:
    """The body, counted while it is read: what Content-Length says is not relied on.

    Raises a 413 problem; TransientError when ``bodies`` has no room left.
    """
    declared = request.headers.get("content-length", "0")
    if declared.isdecimal() and int(declared) > limit_bytes:
        raise HttpError(TOO_LARGE)
    chunks: list[bytes] = []
    size_bytes = 0
    async for chunk in request.stream():
        size_bytes += len(chunk)
        if size_bytes > limit_bytes:
            raise HttpError(TOO_LARGE)
        bodies.take(request.scope, len(chunk))
        chunks.append(chunk)
    return b"".join(chunks)


def require_json(request: Request) -> None:
    """Raises a 415 problem unless the body is declared as JSON in UTF-8, sent as it is."""
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise HttpError(NOT_JSON, "Send the body without Content-Encoding. Compressed bodies are not supported.")
    if not _JSON_TYPE.match(request.headers.get("content-type", "")):
        raise HttpError(NOT_JSON)


def idempotency_key(request: Request) -> str:
    """The Idempotency-Key header. Raises a 400 problem when it is missing, given twice or not of visible ASCII."""
    values = request.headers.getlist("idempotency-key")
    if len(values) != 1 or not _IDEMPOTENCY_KEY.match(values[0]):
        raise HttpError(KEY_MISSING)
    return values[0]


def _once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object. Two members of one name are refused: readers differ in which of them counts (RFC 8259, 4)."""
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("two members of an object have the same name")
    return members


def _no_number(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not a JSON number")


def _fraction(text: str) -> Decimal:
    """A number with every digit that it was given: a float has 17 at most."""
    try:
        return Decimal(text)
    except InvalidOperation:  # an exponent of 19 digits
        raise ValueError("a number has too large an exponent") from None


# msgspec is faster, but it lets the last of two members of one name win without a word.
_DECODER = json.JSONDecoder(object_pairs_hook=_once_each, parse_constant=_no_number, parse_float=_fraction)


def decode_object(body: bytes) -> dict[str, Any]:
    """The JSON object in ``body``. Raises a 400 problem for what is not strict JSON, a FieldError for another value."""
    _refuse_nesting(body)
    try:
        value = _DECODER.decode(body.decode())
    except UnicodeDecodeError:
        raise HttpError(BAD_REQUEST, "The body is not UTF-8.") from None
    except json.JSONDecodeError as error:
        raise HttpError(BAD_REQUEST, f"The body is not valid JSON: {error.msg}, at character {error.pos}.") from None
    except ValueError as error:
        raise HttpError(BAD_REQUEST, f"The body is not valid JSON: {error}.") from None
    if not isinstance(value, dict):
        raise FieldError("body", "must be a JSON object")
    return value


def _refuse_nesting(body: bytes) -> None:
    """Raises a 400 problem when JSON is nested more than `JSON_DEPTH` deep, or has more than `MOST_CONTAINERS`.

    Exact for JSON, whose texts may contain brackets. For anything else the count may be wrong, and the decoder, which
    runs later and costs more, refuses it anyway. All of it is one pass in C.
    """
    if body.count(b"{") + body.count(b"[") <= JSON_DEPTH:
        return
    # Once nothing is escaped, every other piece between quotes is a text.
    plain = body.replace(b"\\\\", b"").replace(b'\\"', b"") if b"\\" in body else body
    brackets = b"".join(plain.split(b'"')[::2]).translate(None, _NO_BRACKETS)
    if len(brackets) > 2 * MOST_CONTAINERS:
        raise HttpError(BAD_REQUEST, f"The body has more than {MOST_CONTAINERS} objects and arrays.")
    if max(accumulate(memoryview(brackets.translate(_STEPS)).cast("b")), default=0) > JSON_DEPTH:
        raise HttpError(BAD_REQUEST, f"The body is nested more than {JSON_DEPTH} levels deep.")


def query(request: Request, known: Collection[str]) -> Mapping[str, str]:
    """The query's parameters. Raises FieldError for an unknown one, or for one given twice."""
    if not request.scope["query_string"]:
        return {}
    return _once(_parameters(request.scope["query_string"], "query"), known, "is not a parameter of this operation")


def require_form(request: Request) -> None:
    """Raises a 415 problem unless the body is declared as a form of HTML, sent as it is."""
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise HttpError(NOT_FORM, "Send the form without Content-Encoding.")
    if not _FORM_TYPE.match(request.headers.get("content-type", "")):
        raise HttpError(NOT_FORM)


def form(body: bytes, known: Collection[str]) -> Mapping[str, str]:
    """The fields of a form in a body. Raises FieldError for an unknown one, or for one given twice."""
    return _once(_parameters(body, "form"), known, "is not a field of this form")


def _once(pairs: Iterator[tuple[str, str]], known: Collection[str], unknown_rule: str) -> dict[str, str]:
    parameters: dict[str, str] = {}
    for name, value in pairs:
        if name not in known:
            raise FieldError(name, unknown_rule)
        if name in parameters:
            raise FieldError(name, "must be given only once")
        parameters[name] = value
    return parameters


def _parameters(text: bytes, where: str) -> Iterator[tuple[str, str]]:
    """Names and values, decoded strictly: what is not UTF-8 must not be read as another value."""
    for part in text.split(b"&"):
        if part:
            name, _, value = part.partition(b"=")
            decoded = _decoded(where, name)
            yield decoded, _decoded(decoded, value)


def _decoded(field: str, text: bytes) -> str:
    if b"%" in text and _BROKEN_PERCENT.search(text):
        raise FieldError(field, "must be percent-encoded: write % as %25")
    try:
        return unquote_to_bytes(text.replace(b"+", b" ")).decode()
    except UnicodeDecodeError:
        raise FieldError(field, "must be percent-encoded UTF-8") from None


def instant(field: str, value: Any) -> datetime:
    """An RFC 3339 date and time as UTC, milliseconds kept. Raises FieldError."""
    return truncate_ms(_moment(field, value))


def _moment(field: str, value: Any) -> datetime:
    if not isinstance(value, str):
        raise FieldError(field, INSTANT_RULE)
    try:
        return parse_instant(value)
    except ValueError:
        raise FieldError(field, INSTANT_RULE) from None


def bound(field: str, value: str) -> datetime:
    """The end of a span of time, an RFC 3339 date and time as UTC with every digit of it. Raises FieldError."""
    return _moment(field, value)


def integer(field: str, text: str, lowest: int, highest: int) -> int:
    """A decimal integer within bounds. Raises FieldError."""
    if not (text.isascii() and text.isdecimal() and len(text) < 10 and lowest <= int(text) <= highest):
        raise FieldError(field, f"must be a whole number from {lowest} to {highest}")
    return int(text)


def choice(field: str, value: Any, choices: Collection[str]) -> str:
    """``value``, which must be one of ``choices``. Raises FieldError that lists them."""
    if not isinstance(value, str) or value not in set(choices):
        raise FieldError(field, f"must be one of {', '.join(choices)}")
    return value


def member(field: str, value: Any, kind: type[Member]) -> Member:
    """The member of the enumeration ``kind`` that ``value`` is. Raises FieldError that lists them."""
    return kind(choice(field, value, tuple(kind)))


def required(field: str, query: Mapping[str, str]) -> str:
    """The parameter ``field`` of a query. Raises FieldError where it is absent or empty."""
    if not query.get(field):
        raise FieldError(field, "is required")
    return query[field]


def day(field: str, text: str) -> date:
    """A day of the calendar. Raises FieldError."""
    try:
        return parse_day(text)
    except ValueError:
        raise FieldError(field, DAY_RULE) from None


def month(field: str, text: str) -> Month:
    """A month. Raises FieldError."""
    try:
        return Month.parse(text)
    except ConfigError:
        raise FieldError(field, MONTH_RULE) from None


def row_id(field: str, text: str) -> UUID:
    """An id: any UUID, because rows that others stored may have another than one of version 7. Raises FieldError."""
    if not _UUID.match(text):
        raise FieldError(field, "must be a UUID")
    return UUID(text)
