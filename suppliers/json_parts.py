"""A long JSON list cut into lists of a few megabytes, so that nobody has to hold all of its records at once.

A cut is made after a record and before a comma, and believed only when what lies before it is a whole list. JSON that
is valid from one record's start can end nowhere but at another's end.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

import msgspec
import pyarrow as pa

from suppliers.statement import StatementError

_BOM = b"\xef\xbb\xbf"
_PART_BYTES = 4 << 20
_TRIES = 8  # a cut within a record's own list of objects looks like one between records
_SPACES = b" \t\r\n"
_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|[{}\[\]]', re.DOTALL)
_COMMA = re.compile(rb"[ \t\r\n]*,")
_BYTE = re.compile(r"\(byte ([0-9]+)\)")
REPEATED_NAME = "has a name that appears twice"
_RULE = "is not the JSON of a list of transactions, or is cut off"


class RepeatedNameError(Exception):
    """A name appears twice in one object."""


def once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of a JSON text, for `json.loads`. Raises RepeatedNameError."""
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise RepeatedNameError
    return fields


def parts(content: bytes, name: str, list_name: str, part_bytes: int | None = None) -> Iterator[bytes]:
    """The list in ``content``, or in the object's field ``list_name``, as JSON lists of about ``part_bytes``, in order.

    ``part_bytes`` is 4 MiB where it is not given.

    Raises StatementError, naming the file ``name``, for what is not such a list or is cut off. A name
    twice in an object around the list is refused, too: of two lists, a decoder keeps the last alone.
    """
    text, place, end = _inside(content, name, list_name)
    first = True
    while place < end:
        part, place = _part(text, place, end, part_bytes or _PART_BYTES, name)
        if not _whole(part) and not (first and place >= end):
            raise _wrong_at(text, place, name)  # a comma with nothing behind it
        first = False
        yield part


def _inside(content: bytes, name: str, list_name: str) -> tuple[bytes, int, int]:
    """The text, and where in it the list's records begin and end, without a copy where the list is a part of it."""
    start, stop = (len(_BOM) if content.startswith(_BOM) else 0), len(content)
    try:
        if content[start : start + 64].lstrip(_SPACES)[:1] != b"[":
            around = msgspec.json.decode(memoryview(content)[start:], type=dict[str, msgspec.Raw])
            part = pa.py_buffer(around[list_name])
            offset = part.address - pa.py_buffer(content).address
            if 0 <= offset <= len(content) - part.size:
                start, stop = offset, offset + part.size
                around_it = content[:start] + b"[]" + content[stop:]
            else:
                around_it, content = content, part.to_pybytes()
                start, stop = 0, part.size
            _refuse_repeated_names(around_it, name)
    except KeyError:
        raise StatementError(name, f"must hold a list called {list_name}") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _wrong_at(content, start + _byte_of(error, stop - start), name) from None
    start, stop = _trimmed(content, start, stop)
    if stop - start < 2 or content[start : start + 1] != b"[" or content[stop - 1 : stop] != b"]":
        raise _wrong_at(content, max(stop - 1, 0), name)
    return content, start + 1, stop - 1


def _refuse_repeated_names(text: bytes, name: str) -> None:
    """Raise StatementError for an object with a name twice. ``text`` is what is around the list: little, usually."""
    try:
        plain = text.decode(errors="replace").removeprefix("\ufeff")
        json.loads(plain, object_pairs_hook=once_each, parse_int=str, strict=False)
    except RepeatedNameError:
        raise StatementError(name, REPEATED_NAME) from None
    except (ValueError, RecursionError):
        raise StatementError(name, _RULE) from None


def _trimmed(text: bytes, start: int, stop: int) -> tuple[int, int]:
    while start < stop and text[start] in _SPACES:
        start += 1
    while start < stop and text[stop - 1] in _SPACES:
        stop -= 1
    return start, stop


def _part(text: bytes, place: int, end: int, part_bytes: int, name: str) -> tuple[bytes, int]:
    """The next part and where the one after it begins."""
    wrong = place
    for cut, after in _cuts(text, place, end, part_bytes):
        part = b"[" + text[place:cut] + b"]"
        try:
            part.decode()  # msgspec takes the bytes of what it only passes on as they are
            msgspec.json.decode(part, type=list[msgspec.Raw])
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            wrong = place - 1 + _byte_of(error, len(part))  # the last cut is the sure one
            continue
        return part, after
    raise _wrong_at(text, min(wrong, end), name)


def _byte_of(error: Exception, length: int) -> int:
    """Return where in a text of ``length`` the JSON ends to be any: at its end, as cut off, without a place in the
    error.
    """
    if isinstance(error, UnicodeDecodeError):
        return error.start
    place = _BYTE.search(str(error))
    return int(place[1]) if place else length


def _wrong_at(text: bytes, place: int, name: str) -> StatementError:
    return StatementError(name, f"{_RULE}, at byte {place + 1}", line=text.count(b"\n", 0, place) + 1)


def _cuts(text: bytes, place: int, end: int, part_bytes: int) -> Iterator[tuple[int, int]]:
    """Yield where a part may end and the next begin: quick guesses first, then the sure one."""
    limit = place + part_bytes
    if limit < end:
        at = limit
        for _ in range(_TRIES):
            at = text.rfind(b"}", place, at)
            if at < 0:
                break
            comma = _COMMA.match(text, at + 1, end)
            if comma is not None:
                yield at + 1, comma.end()
        sure = _sure_cut(text, place, end, limit)
        if sure is not None:
            yield sure
            return
    yield end, end


def _sure_cut(text: bytes, place: int, end: int, limit: int) -> tuple[int, int] | None:
    """The first end of a record at or behind ``limit``, by reading every bracket and string before it."""
    depth = 0
    for token in _TOKEN.finditer(text, place, end):
        depth += {b"{": 1, b"[": 1, b"}": -1, b"]": -1}.get(token.group(), 0)
        if depth == 0 and token.end() >= limit:
            comma = _COMMA.match(text, token.end(), end)
            if comma is not None:
                return token.end(), comma.end()
    return None


def _whole(part: bytes) -> bool:
    """Return whether there is a record in it."""
    return bool(part[1:-1].strip(_SPACES))
