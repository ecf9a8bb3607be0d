"""Bytes to records: physical lines, quoted line breaks, and what is wrong with a line, in memory that stays bounded.

A line ends with LF, CRLF or CR. A record starts on a physical line and has its number. A line that cannot be read is a
record with a ``problem``, and it costs only itself. After a quote that is never closed, reading continues at the very
next line. Quotes are read by RFC 4180: they surround a whole value, and inside it a quote is doubled. A quote at any
other place is a problem of its line, whatever column it is in: it would decide where records end.
"""

import csv
import re
from collections import deque
from collections.abc import Iterator
from enum import Enum
from typing import BinaryIO, NamedTuple

from tasks.importing.mapping import FileFormat

LINE_LIMIT_BYTES = 1 << 20  # of a physical line, and of a record with line breaks in it
_BLOCK_BYTES = 1 << 16
_SHOWN_BYTES = 4096  # of a line that is too long: enough to find it again
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class Part(Enum):
    """The parts of a file, by the mapping: lines before the header, the records, and the lines behind them."""

    SKIPPED = "skipped"
    RECORDS = "records"
    FOOTER = "footer"


class Line(NamedTuple):
    """A physical line with its line end, and what makes it unreadable, if anything does."""

    number: int
    text: str
    problem: str | None


class FileRecord(NamedTuple):
    """A record: the line it starts on (the first is 1), its text without the line end, its fields or its problem.

    ``lines`` is the number of physical lines that it takes. ``part`` is the part of the file that it is in.
    """

    line: int
    text: str
    fields: list[str]
    problem: str | None
    lines: int = 1
    part: Part = Part.RECORDS


def read_records(stream: BinaryIO, format_: FileFormat) -> Iterator[FileRecord]:
    """Every record of ``stream``, the header among them. A UTF-8 byte order mark is left out."""
    lines = _Lines(_physical_lines(stream, format_.encoding))
    quote, delimiter = format_.quote, format_.delimiter
    quoted = _QuotedRecords(format_) if quote else None
    for line in lines:
        if line.problem is not None:
            yield FileRecord(line.number, line.text, [], line.problem)
        elif quoted is not None and quote in line.text:
            yield quoted.read(line, lines)
        else:
            text = _without_end(line.text)
            yield FileRecord(line.number, text, text.split(delimiter), None if text.strip(" ") else "is empty")


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
    for number, line in enumerate(_raw_lines(stream), start=1):
        raw = line.removeprefix(_BYTE_ORDER_MARK) if number == 1 and encoding == "utf-8" else line
        if len(raw) > LINE_LIMIT_BYTES:
            shown = raw[:_SHOWN_BYTES].decode(encoding, "backslashreplace")
            yield Line(number, shown, f"is longer than {LINE_LIMIT_BYTES} bytes")
        else:
            yield _decoded(number, raw, encoding)


def _raw_lines(stream: BinaryIO) -> Iterator[bytes]:
    """The lines with their ends. Of one that is too long, a beginning that is too long as well."""
    rest, is_skipped = b"", False
    while block := stream.read(_BLOCK_BYTES):
        lines = (rest + block).splitlines(keepends=True)
        # The last line goes on in the next block, or ends with a CR whose LF may be there.
        rest = b"" if lines[-1].endswith(b"\n") else lines.pop()
        for line in lines:
            if not is_skipped:
                yield line
            is_skipped = False
        if len(rest) > LINE_LIMIT_BYTES:
            if not is_skipped:
                yield rest
            rest, is_skipped = rest[-1:], True
    if rest and not is_skipped:
        yield rest


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


class _QuotedRecords:
    """Reads records with quotes in them."""

    def __init__(self, format_: FileFormat) -> None:
        self._quote = format_.quote
        quote, delimiter = re.escape(format_.quote), re.escape(format_.delimiter)
        blanks = "[ \t]*+" if format_.delimiter not in " \t" else ""
        inside = rf"(?:[^{quote}]|{quote}{quote})*+"
        self._field = re.compile(
            rf"{blanks}{quote}({inside}){quote}{blanks}(?={delimiter}|\Z)|([^{quote}{delimiter}]*+)(?={delimiter}|\Z)"
        )
        whole = rf"(?:{quote}{inside}{quote}|[^{quote}{delimiter}]*+)"
        self._whole = re.compile(rf"{whole}(?:{delimiter}{whole})*+\Z")
        self._delimiter = format_.delimiter
        self._opened = re.compile(rf"{blanks}{quote}({inside})\Z")
        self._goes_on = re.compile(rf"({inside})\Z")
        self._closes = re.compile(rf"({inside}){quote}{blanks}(?={delimiter}|\Z)")
        self._starts_quoted = re.compile(rf"{blanks}{quote}")

    def read(self, first: Line, lines: _Lines) -> FileRecord:
        """The record that starts at ``first``, a line with a quote in it, and that may go on over the next lines."""
        bare = _without_end(first.text)
        if len(bare) < csv.field_size_limit() and self._whole.match(bare):
            return FileRecord(first.number, bare, self._split(bare), None)
        return self._read_carefully(first, lines)

    def _split(self, text: str) -> list[str]:
        return next(csv.reader((text,), delimiter=self._delimiter, quotechar=self._quote))

    def _read_carefully(self, first: Line, lines: _Lines) -> FileRecord:
        """As `read`, for a record of several lines, with blanks around quotes, or with a problem."""
        taken: list[Line] = []
        fields: list[str] = []
        text, problem = self._fields(_without_end(first.text), 0, fields)
        opened = [] if text is None else [self._ended(text, first)]
        size = len(first.text)
        while problem is None and opened:
            line = next(lines, None)
            if line is not None:
                taken.append(line)
                size += len(line.text)
            if line is None or size > LINE_LIMIT_BYTES or line.problem is not None:
                problem = "has a quote that is not closed"
                break
            problem = self._go_on(line, opened, fields)
        if problem is not None:
            lines.put_back(taken)  # each is a record of its own
            return FileRecord(first.number, _without_end(first.text), [], problem)
        whole = first.text + "".join(line.text for line in taken) if taken else first.text
        return FileRecord(first.number, _without_end(whole), fields, None, 1 + len(taken))

    def _go_on(self, line: Line, opened: list[str], fields: list[str]) -> str | None:
        """Add ``line`` to the value that is ``opened``, and the fields behind it; returns what is wrong."""
        bare = _without_end(line.text)
        match = self._closes.match(bare)
        if match is None:
            if self._goes_on.match(bare) is None:
                return "has text behind a closing quote"
            opened.append(self._ended(bare, line))
            return None
        fields.append(self._plain("".join([*opened, match[1]])))
        opened.clear()
        if match.end() == len(bare):
            return None
        text, problem = self._fields(bare, match.end() + 1, fields)
        if text is not None:
            opened.append(self._ended(text, line))
        return problem

    def _fields(self, text: str, start: int, fields: list[str]) -> tuple[str | None, str | None]:
        """Add the fields of ``text`` from ``start`` on; returns the beginning of an open one, or a problem."""
        match = self._field.match
        while field_match := match(text, start):
            quoted = field_match[1]
            fields.append(field_match[2] if quoted is None else self._plain(quoted))
            if field_match.end() == len(text):
                return None, None
            start = field_match.end() + 1
        if opened := self._opened.match(text, start):
            return opened[1], None
        if self._starts_quoted.match(text, start):
            return None, "has text behind a closing quote"
        return None, 'has a quote inside a value that has none around it; in a file without quoting say quote = ""'

    def _plain(self, quoted: str) -> str:
        quote = self._quote
        return quoted.replace(quote + quote, quote) if quote in quoted else quoted

    @staticmethod
    def _ended(text: str, line: Line) -> str:
        """``text``, the end of ``line``, with its line end: it belongs to the value."""
        return text + line.text[len(_without_end(line.text)) :]
