"""Strict reading of delimited statement text in blocks of whole lines: what suppliers' files share.

UTF-8, with or without a byte order mark at the very start. Lines end in LF, or all of them in CRLF; the last one ends
too, or the file was cut off. Control characters, blank lines and impossible values are refused. A good file is never
looked at row by row: every rule is a mask over a block's column.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from ledger.business_days import OFFSET_MS
from ledger.card_finder import LONG_NUMBER, Search, holds_card_number
from suppliers.statement import StatementError

_BLOCK_BYTES = 8 << 20
_BOM = b"\xef\xbb\xbf"
_ALLOWED = b"\r\n"
_CONTROLS = bytes(code for code in (*range(32), 127) if code not in _ALLOWED)
_CONTROL = re.compile(b"[" + re.escape(_CONTROLS) + b"]")
_NEVER = "\x01"  # a delimiter that no checked text holds
_DAY_MS, _HOUR_MS, _MINUTE_MS, _SECOND_MS = 86_400_000, 3_600_000, 60_000, 1000
_EPOCH = date(1970, 1, 1)
_MONEY = r"^-?(0|[1-9][0-9]{0,13})\.[0-9]{4}$"
_CENTS = r"^(0|-?[1-9][0-9]{0,11})$"  # fewer digits than a card number has
_LONG_NUMBER = r"[0-9]([ -]?[0-9]){12}"  # whatever it is a number of


def open_text(content: bytes, name: str) -> bytes:
    """The file without a byte order mark. Raises StatementError for ends of lines that are not as they must be."""
    text = content.removeprefix(_BOM)
    if not text:
        raise StatementError(name, "is empty")
    lines, returns = text.count(b"\n"), text.count(b"\r")
    if not text.endswith(b"\n"):
        raise StatementError(name, "does not end with a line end: it is cut off", line=lines + 1)
    if returns and not returns == lines == text.count(b"\r\n"):
        raise StatementError(name, "lines must all end in LF, or all in CRLF", line=_odd_line(text))
    return text


def _odd_line(text: bytes) -> int:
    """The first line that does not end as the first one does, or holds a CR elsewhere."""
    crlf = text.split(b"\n", 1)[0].endswith(b"\r")
    odd = re.search(rb"\r(?!\n)|(?<!\r)\n" if crlf else rb"\r", text)
    return text.count(b"\n", 0, odd.start() if odd else 0) + 1


def parse_day(text: str, name: str, field: str, line: int | None = None) -> date:
    """The day of ``CCYYMMDD``. Raises StatementError when there is no such day."""
    if re.fullmatch(r"[0-9]{8}", text) is None:
        raise StatementError(name, "must be a day as CCYYMMDD", line=line, field=field)
    try:
        return date(int(text[:4]), int(text[4:6]), int(text[6:]))
    except ValueError:
        raise StatementError(name, "is not a day of the calendar", line=line, field=field) from None


@dataclass(frozen=True, slots=True)
class Block:
    """Some whole lines of a file; ``first_line`` is the number of the first, counted from 1."""

    name: str
    text: bytes
    first_line: int

    def lines(self) -> pa.Array:
        """Every line as text. Raises StatementError for bytes that are not UTF-8, control characters, blank lines."""
        self._check_bytes()
        lines = _read(self.text, ["line"], ["line"], _NEVER, quoted=False)["line"].combine_chunks()
        self.refuse(pc.equal(lines, ""), None, "is blank")
        return lines

    def _check_bytes(self) -> None:
        if len(self.text.translate(None, _CONTROLS)) < len(self.text):
            control = _CONTROL.search(self.text)
            raise StatementError(
                self.name, "holds a control character", line=self._line_at(control.start() if control else 0)
            )
        try:
            self.text.decode()
        except UnicodeDecodeError as error:
            raise StatementError(self.name, "is not UTF-8", line=self._line_at(error.start)) from None

    def _line_at(self, place: int) -> int:
        return self.first_line + self.text.count(b"\n", 0, place)

    def columns(
        self, names: Sequence[str], wanted: Sequence[str], delimiter: str, *, quoted: bool
    ) -> dict[str, pa.Array]:
        """The ``wanted`` fields of every line; the others are not even decoded. Lines were counted and checked."""
        table = _read(self.text, names, wanted, delimiter, quoted=quoted)
        return {name: table[name].combine_chunks() for name in wanted}

    def refuse(self, wrong: pa.Array, field: str | None, rule: str) -> None:
        """Refuse the file at the first line where ``wrong`` is true."""
        index = pc.index(wrong, pa.scalar(True)).as_py()
        if index >= 0:
            raise StatementError(self.name, rule, line=self.first_line + index, field=field)

    def require(self, text: pa.Array, pattern: str, field: str | None, rule: str) -> None:
        """Refuse the first line whose field does not match ``pattern`` as a whole."""
        self.refuse(pc.invert(pc.match_substring_regex(text, pattern)), field, rule)

    def numbers(self, rows: int) -> pa.Array:
        """The lines' numbers in the file."""
        return pa.array(range(self.first_line, self.first_line + rows), pa.int32())

    def words(self, text: pa.Array, known: Mapping[str, str], field: str) -> pa.Array:
        """Our word for each of the supplier's. An unknown one is refused."""
        places = pc.index_in(text, pa.array(list(known), pa.string()))
        self.refuse(pc.is_null(places), field, f"must be one of {', '.join(known)}")
        return pa.array(list(known.values()), pa.string()).take(places)

    def money(self, text: pa.Array, field: str) -> pa.Array:
        """Decimal rand with exactly four places: no exponent, no grouping, no plus, no zero with a sign."""
        self.require(text, _MONEY, field, "must be money with four places")
        self.refuse(pc.equal(text, "-0.0000"), field, "must be money with four places")
        return text.cast(pa.decimal128(18, 4))

    def amount(self, text: pa.Array, field: str) -> pa.Array:
        """`money` that has no part of a cent."""
        money = self.money(text, field)
        self.refuse(pc.invert(pc.ends_with(text, "00")), field, "must have no part of a cent")
        return money.cast(pa.decimal128(18, 2))

    def cents(self, text: pa.Array, field: str) -> pa.Array:
        """Signed whole cents, as rand."""
        self.require(text, _CENTS, field, "must be whole cents")
        whole = text.cast(pa.int64()).cast(pa.decimal128(19, 0))
        return pc.multiply(whole, pa.scalar("0.01").cast(pa.decimal128(3, 2))).cast(pa.decimal128(18, 2))

    def identifiers(self, text: pa.Array, pattern: str, field: str, *, needed: pa.Array | None = None) -> pa.Array:
        """Texts of a form, NULL where empty. ``needed`` says where they may not be empty; None: nowhere."""
        empty = pc.equal(text, "")
        self.refuse(empty if needed is None else pc.and_(empty, needed), field, "must not be empty")
        self.refuse(
            pc.invert(pc.or_(empty, pc.match_substring_regex(text, pattern))),
            field,
            "has not the form of an identifier",
        )
        return or_null(text)

    def product_names(self, text: pa.Array, field: str) -> pa.Array:
        """Free text, NULL where empty. A number as long as a card's does not belong there, nor a card's in any form."""
        self.refuse(pc.match_substring_regex(text, _LONG_NUMBER), field, "must hold no long number")
        suspects = pc.match_substring_regex(text, LONG_NUMBER)
        if pc.any(suspects).as_py():
            pairs = zip(suspects.to_pylist(), text.to_pylist(), strict=True)
            held = [suspect and holds_card_number(name, Search.STRICT) for suspect, name in pairs]
            self.refuse(pa.array(held, pa.bool_()), field, "must hold no payment card number")
        return or_null(text)

    def day(self, text: pa.Array, written: str, digits: str, field: str) -> None:
        """Refuse a line of another day than the file's, which is ``written``. ``digits`` takes a day apart."""
        wrong = pc.invert(pc.equal(text, written))
        index = pc.index(wrong, pa.scalar(True)).as_py()
        if index < 0:
            return
        parts = re.fullmatch(digits, text[index].as_py())
        line = self.first_line + index
        if parts is None:
            raise StatementError(self.name, "must be a date", line=line, field=field)
        parse_day("".join(parts.groups()), self.name, field, line)
        raise StatementError(self.name, "is of another day than the statement", line=line, field=field)

    def moments(self, clock: pa.Array, day: date, field: str) -> pa.Array:
        """The instants in UTC of times of day ``HHMM`` or ``HHMMSS`` in Johannesburg."""
        self.require(clock, r"^([01][0-9]|2[0-3])[0-5][0-9]([0-5][0-9])?$", field, "is not a time of day")
        hours, minutes = (pc.utf8_slice_codeunits(clock, at, at + 2).cast(pa.int64()) for at in (0, 2))
        seconds = pc.utf8_slice_codeunits(pc.utf8_rpad(clock, 6, "0"), 4, 6).cast(pa.int64())
        in_day = pc.add(
            pc.add(pc.multiply(hours, _HOUR_MS), pc.multiply(minutes, _MINUTE_MS)), pc.multiply(seconds, _SECOND_MS)
        )
        return pc.add(in_day, day_start_ms(day)).cast(pa.timestamp("ms", tz="UTC"))


def day_start_ms(day: date) -> int:
    """Milliseconds since 1970 at which the Johannesburg day begins."""
    return (day - _EPOCH).days * _DAY_MS - OFFSET_MS


def local_time(moments: pa.Array, form: str) -> pa.Array:
    """Instants as Johannesburg's clocks write them, to the second, by a ``strftime`` form."""
    shifted = pc.add(moments.cast(pa.int64()), OFFSET_MS)
    return pc.strftime(pc.floor_temporal(shifted.cast(pa.timestamp("ms")), unit="second").cast(pa.timestamp("s")), form)


def or_null(text: pa.Array) -> pa.Array:
    """NULL for the empty text."""
    return pc.if_else(pc.equal(text, ""), pa.scalar(None, pa.string()), text)


def blocks(text: bytes, name: str, start: int = 0, stop: int | None = None, first_line: int = 1) -> Iterator[Block]:
    """The lines between two places of a checked text, in blocks, so that memory does not grow with the file."""
    stop = len(text) if stop is None else stop
    while start < stop:
        end = text.rfind(b"\n", start, min(start + _BLOCK_BYTES, stop)) + 1
        if end <= start:
            raise StatementError(name, f"is longer than {_BLOCK_BYTES} bytes", line=first_line)
        block = Block(name, text[start:end], first_line)
        yield block
        first_line += block.text.count(b"\n")
        start = end


def _read(text: bytes, names: Sequence[str], wanted: Sequence[str], delimiter: str, *, quoted: bool) -> pa.Table:
    return pa_csv.read_csv(
        pa.BufferReader(text),
        pa_csv.ReadOptions(column_names=list(names), block_size=len(text) + 1, use_threads=False),
        pa_csv.ParseOptions(delimiter=delimiter, quote_char='"' if quoted else False, ignore_empty_lines=False),
        pa_csv.ConvertOptions(
            column_types={name: pa.string() for name in names}, include_columns=list(wanted), strings_can_be_null=False
        ),
    )
