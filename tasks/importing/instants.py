"""Texts that are a time, read by a format that is compiled once. No locale takes part."""

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from functools import lru_cache
from operator import itemgetter
from typing import Literal
from zoneinfo import ZoneInfo

from ledger.errors import FieldError
from ledger.identifiers import truncate_ms
from ledger.instants import LOCAL_RULE, exists, occurs_twice, parse_local_instant

ISO = "iso"
_UNIX_MS = {"unix": 1000, "unix_ms": 1}  # milliseconds of one unit
# From 1973 on. Fewer digits are of another unit, which would be a time in 1970: seconds, or the days of a spreadsheet.
_UNIX = {"unix": re.compile(r"\d{9,11}\Z", re.ASCII), "unix_ms": re.compile(r"\d{12,14}\Z", re.ASCII)}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_CACHED_TEXTS = 8192  # a day's rows often share one text
_DIRECTIVES = {
    "Y": r"(\d{4})",
    "y": r"(\d{2})",
    "m": r"(\d{2})",
    "d": r"(\d{2})",
    "H": r"(\d{2})",
    "I": r"(\d{2})",
    "M": r"(\d{2})",
    "S": r"(\d{2})",
    "f": r"(\d{1,9})",
    "p": r"([AaPp]\.?[Mm]\.?)",
    "b": r"([^\W\d_]+\.?)",
    "z": r"(Z|[+-](?:[01]\d|2[0-3]):?[0-5]\d)",
    "Z": r"(\S+)",
    "-m": r"(\d{1,2})",
    "-d": r"(\d{1,2})",
    "-H": r"(\d{1,2})",
    "-I": r"(\d{1,2})",
}
_BLANK = "[ \u00a0\u2007\u2009\u202f]"  # one is like another: 10:15 PM has U+202F in newer exports
_SAME_PART = {"y": "Y", "b": "m", "I": "H"}  # in one format only one of each pair
_RUN_TOGETHER = re.compile(r"%-.%-?[YymdHIMSf]|%[YymdHIMSf]%-")  # 2026111 is 1 November and 11 January
_WORDS = frozenset({"p", "b", "z", "Z"})
_PARTS = ("Y", "m", "d", "H", "M", "S", "f")
_CENTURY_PIVOT = 69  # POSIX strptime: 69 to 99 are 1969 to 1999, 00 to 68 are 2000 to 2068
_HALF_DAY_H = 12
_SHORT_NAME = 3
_ENGLISH = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)

Nonexistent = Literal["reject", "shift"]
Ambiguous = Literal["first", "second", "reject"]
Parse = Callable[[str], datetime]


def compile_instant(
    field: str,
    format_: str,
    zone: str,
    *,
    nonexistent: Nonexistent = "reject",
    ambiguous: Ambiguous = "first",
    month_names: Sequence[str] = (),
    zones: Mapping[str, str] | None = None,
) -> Parse:
    """A function from text to an aware UTC datetime, rounded down to the millisecond, the precision of the ledger.

    It raises FieldError for ``field`` where the text does not fit. ``format_`` is ``iso`` (RFC 3339), ``unix`` or
    ``unix_ms`` (whole seconds or milliseconds since 1970), or a pattern. A pattern has the directives of strptime ``%Y
    %y %m %d %b %H %I %p %M %S %f %z %Z %%``; ``%-d %-m %-H %-I`` take one digit, too. A text without an offset is local
    time of the IANA ``zone``. ``nonexistent`` says what a local time is that clocks leave out, ``ambiguous`` which one
    is meant of a time that occurs twice. ``month_names`` are what ``%b`` reads, ``zones`` the offsets of the texts that
    ``%Z`` reads. Parts that the format leaves out are the first: a day without a time is its midnight. Raises
    ValueError for a format that has no day.
    """
    local: tzinfo = UTC if zone == "UTC" else ZoneInfo(zone)
    parse, rule = _parser(format_, local, _months(month_names), zones or {})

    @lru_cache(maxsize=_CACHED_TEXTS)
    def read(text: str) -> datetime:
        try:
            moment = parse(text)
            if moment.tzinfo is local and local is not UTC:
                moment = _settled(field, moment, nonexistent, ambiguous)
            moment = moment.astimezone(UTC)
        except (ValueError, OverflowError):  # overflow: the year 1 or 9999, shifted out of the calendar
            raise FieldError(field, rule) from None
        return moment if moment.microsecond % 1000 == 0 else truncate_ms(moment)

    return read


def _parser(format_: str, local: tzinfo, months: Mapping[str, int], zones: Mapping[str, str]) -> tuple[Parse, str]:
    """The reading of a format, and what it says of a text that does not fit."""
    if format_ == ISO:
        return (lambda text: parse_local_instant(text, local)), LOCAL_RULE
    if format_ in _UNIX_MS:
        unit = "seconds since 1970, of 9" if format_ == "unix" else "milliseconds since 1970, of 12"
        return _by_unix(format_), f"must be whole {unit} digits or more"
    return _by_pattern(format_, local, months, zones), f"must be a time of the form {format_}"


def _settled(field: str, moment: datetime, nonexistent: Nonexistent, ambiguous: Ambiguous) -> datetime:
    """A local time as the one instant that is meant. Raises FieldError where none is."""
    if not exists(moment):
        if nonexistent == "reject":
            raise FieldError(
                field, f"must be a local time that exists: clocks of {moment.tzinfo} leave {moment:%H:%M} out"
            )
        return moment  # read with the offset before the change, it comes out behind it
    if ambiguous == "first" or not occurs_twice(moment):
        return moment
    if ambiguous == "reject":
        raise FieldError(
            field, f"must be a local time that occurs once: clocks of {moment.tzinfo} repeat {moment:%H:%M}"
        )
    return moment.replace(fold=1)


def _months(names: Sequence[str]) -> Mapping[str, int]:
    """The number of each month by its name in small letters. English names may have three letters, and a point."""
    if names:
        return {name.casefold().rstrip("."): number for number, name in enumerate(names, start=1)}
    long = {name.casefold(): number for number, name in enumerate(_ENGLISH, start=1)}
    return long | {name[:_SHORT_NAME]: number for name, number in long.items()} | {"sept": 9}


def _by_unix(format_: str) -> Parse:
    match, unit_ms = _UNIX[format_].match, _UNIX_MS[format_]

    def parse(text: str) -> datetime:
        if not match(text):
            raise ValueError(text)
        return _EPOCH + timedelta(milliseconds=int(text) * unit_ms)

    return parse


def _by_pattern(format_: str, local: tzinfo, months: Mapping[str, int], zones: Mapping[str, str]) -> Parse:
    pattern, names = _translate(format_)
    if _WORDS.isdisjoint(names) and "Y" in names:
        return _by_digits(pattern, names, local)
    match = re.compile(pattern + r"\Z").match

    def parse(text: str) -> datetime:
        text_match = match(text)
        if text_match is None:
            raise ValueError(text)
        parts = dict(zip(names, text_match.groups(), strict=True))
        digits = "".join(text for name, text in parts.items() if name not in _WORDS)
        if not digits.isascii():
            raise ValueError(text)
        return datetime(
            _year(parts),
            _month(parts, months),
            int(parts["d"]),
            _hour(parts),
            int(parts.get("M", "0")),
            int(parts.get("S", "0")),
            int(parts.get("f", "0").ljust(6, "0")[:6]),
            tzinfo=_zone(parts, local, zones),
        )

    return parse


def _by_digits(pattern: str, names: Sequence[str], local: tzinfo) -> Parse:
    """As `_by_pattern` for formats of digits alone, which nearly every file has: in a third of the time."""
    match = re.compile(pattern + r"\Z", re.ASCII).match
    picked = itemgetter(*(names.index(part) if part in names else -1 for part in _PARTS))

    def parse(text: str) -> datetime:
        text_match = match(text)
        if text_match is None:
            raise ValueError(text)
        year, month, day, hour, minute, second, fraction = picked((*text_match.groups(), "0"))
        return datetime(
            int(year),
            int(month),
            int(day),
            int(hour),
            int(minute),
            int(second),
            int(fraction.ljust(6, "0")[:6]),
            tzinfo=local,
        )

    return parse


def _translate(format_: str) -> tuple[str, list[str]]:
    """The format as a regular expression, and the directive of each of its groups, without its hyphen."""
    if _RUN_TOGETHER.search(format_):
        raise ValueError(f"{format_!r} must have a mark beside %-d, %-m, %-H and %-I: 1112026 is two days")
    pattern, names = "", []
    pieces = re.split(r"%(-?.)", format_, flags=re.DOTALL)
    for literal, directive in zip(pieces[0::2], [*pieces[1::2], ""], strict=True):
        pattern += re.escape(literal).replace(r"\ ", _BLANK)
        if directive == "%":
            pattern += "%"
        elif directive:
            if directive not in _DIRECTIVES:
                raise ValueError(f"%{directive} is not one of %{' %'.join(_DIRECTIVES)}")
            pattern += _DIRECTIVES[directive]
            names.append(directive.removeprefix("-"))
    parts = [_SAME_PART.get(name, name) for name in names]
    if len(set(parts)) != len(parts) or not {"Y", "m", "d"} <= set(parts):
        raise ValueError(f"{format_!r} must have a year, a month and %d, and no part twice")
    if ("I" in names) != ("p" in names) or {"z", "Z"} <= set(names):
        raise ValueError(f"{format_!r} must have %I and %p together, and one of %z and %Z")
    return pattern, names


def _year(parts: Mapping[str, str]) -> int:
    if "Y" in parts:
        return int(parts["Y"])
    year = int(parts["y"])
    return year + (1900 if year >= _CENTURY_PIVOT else 2000)


def _month(parts: Mapping[str, str], months: Mapping[str, int]) -> int:
    if "m" in parts:
        return int(parts["m"])
    return months.get(parts["b"].casefold().rstrip("."), 0)  # there is no month 0


def _hour(parts: Mapping[str, str]) -> int:
    if "p" not in parts:
        return int(parts.get("H", "0"))
    hour = int(parts["I"])
    if not 1 <= hour <= _HALF_DAY_H:
        raise ValueError(hour)
    return hour % _HALF_DAY_H + (_HALF_DAY_H if parts["p"][0] in "Pp" else 0)


def _zone(parts: Mapping[str, str], local: tzinfo, zones: Mapping[str, str]) -> tzinfo:
    if "Z" in parts:
        if parts["Z"] not in zones:
            raise ValueError(parts["Z"])
        return _offset(zones[parts["Z"]])
    return _offset(parts["z"]) if "z" in parts else local


def _offset(text: str) -> tzinfo:
    if text == "Z":
        return UTC
    minutes = int(text[1:3]) * 60 + int(text[-2:])
    return timezone(timedelta(minutes=-minutes if text[0] == "-" else minutes))
