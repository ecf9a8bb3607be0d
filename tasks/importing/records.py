"""Bytes to records: physical lines, quoted line breaks, and what is wrong with a line, in memory that stays bounded.

A record starts on a physical line and has its number. A line that cannot be read is a record with a ``problem``, and
it costs only itself: after a quote that is never closed, reading goes on at the very next line.
"""

import csv
from collections import deque
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from tasks.importing.mapping import FileFormat

LINE_LIMIT_BYTES = 1 << 20  # of a physical line, and of a record with line breaks in it
_SHOWN_BYTES = 4096  # of a line that is too long: enough to find it again
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class Line(NamedTuple):
    """A physical line with its line end, and what makes it unreadable, if anything does."""

    number: int
    text: str
    problem: str | None


class Record(NamedTuple):
    """A record: the line it starts on (the first is 1), its text without the line end, its fields or its problem."""

    line: int
    text: str
    fields: list[str]
    problem: str | None


def read_records(stream: BinaryIO, format_: FileFormat) -> Iterator[Record]:
    """Every record of ``stream``, the header among them. A UTF-8 byte order mark is left out."""
    lines = _Lines(_physical_lines(stream, format_.encoding))
    quote, delimiter = format_.quote, format_.delimiter
    for line in lines:
        if line.problem is not None:
            yield Record(line.number, line.text, [], line.problem)
        elif quote and quote in line.text:
            yield _quoted(line, lines, format_)
        else:
            text = _without_end(line.text)
            yield Record(line.number, text, text.split(delimiter), None if text.strip(" ") else "is empty")


class _Lines(Iterator[Line]):
    """Physical lines that can be put back."""

    def __init__(self, source: Iterator[Line]) -> None:
        self._source = source
        self._put_back: deque[Line] = deque()

    def __next__(self) -> Line:
        return self._put_back.popleft() if self._put_back else next(self._source)

    def put_back(self, lines: list[Line]) -> None:
        self._put_back.extendleft(reversed(lines))


def _physical_lines(stream: BinaryIO, encoding: str) -> Iterator[Line]:
    number = 0
    while raw := stream.readline(LINE_LIMIT_BYTES + 1):
        number += 1
        if number == 1 and encoding == "utf-8":
            raw = raw.removeprefix(_BYTE_ORDER_MARK)
        if len(raw) > LINE_LIMIT_BYTES:
            _skip_rest(stream, raw)
            shown = raw[:_SHOWN_BYTES].decode(encoding, "backslashreplace")
            yield Line(number, shown, f"is longer than {LINE_LIMIT_BYTES} bytes")
        else:
            yield _decoded(number, raw, encoding)


def _skip_rest(stream: BinaryIO, raw: bytes) -> None:
    while raw and not raw.endswith(b"\n"):
        raw = stream.readline(LINE_LIMIT_BYTES)


def _decoded(number: int, raw: bytes, encoding: str) -> Line:
    try:
        text = raw.decode(encoding)
    except UnicodeDecodeError as error:
        shown = _without_end(raw.decode(encoding, "backslashreplace"))
        return Line(number, shown, f"is not {encoding}: byte {error.start + 1} of the line")
    if "\0" in text:
        return Line(number, _without_end(text), "has a NUL character")
    return Line(number, text, None)


def _without_end(text: str) -> str:
    return text.removesuffix("\n").removesuffix("\r")


def _quoted(first: Line, lines: _Lines, format_: FileFormat) -> Record:
    """The record that starts at ``first``, a line with a quote in it, and that may go on over the next lines."""
    taken: list[Line] = []
    reader = csv.reader(
        _as_far_as_needed(first, lines, taken), delimiter=format_.delimiter, quotechar=format_.quote, strict=True
    )
    try:
        fields = next(reader)
    except csv.Error as error:
        lines.put_back(taken)
        return Record(first.number, _without_end(first.text), [], _explain(error))
    text = first.text + "".join(line.text for line in taken) if taken else first.text
    return Record(first.number, _without_end(text), fields, None)


def _explain(error: csv.Error) -> str:
    text = str(error)
    if "unexpected end of data" in text:
        return "has a quote that is not closed"
    if "field limit" in text:
        return f"has a quote that is not closed, or a value of more than {csv.field_size_limit()} characters"
    return f"is not well-formed: {text}"


def _as_far_as_needed(first: Line, lines: _Lines, taken: list[Line]) -> Iterator[str]:
    """The lines of one record, for csv.reader, which asks for the next only inside quotes."""
    yield first.text
    size = len(first.text)
    for line in lines:
        taken.append(line)
        size += len(line.text)
        if size > LINE_LIMIT_BYTES or line.problem is not None:
            return  # the record is broken off, and this line is reported for itself
        yield line.text
