"""Texts that tell a time, read by a format that is compiled once. Only digits count: no month names, no locale."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from functools import lru_cache
from operator import itemgetter
from zoneinfo import ZoneInfo

from ledger.errors import FieldError
from ledger.identifiers import truncate_ms

ISO = "iso"
_CACHED_TEXTS = 8192  # a day's rows often share one text
_DIRECTIVES = {
    "Y": r"(\d{4})",
    "y": r"(\d{2})",
    "m": r"(\d{2})",
    "d": r"(\d{2})",
    "H": r"(\d{2})",
    "M": r"(\d{2})",
    "S": r"(\d{2})",
    "f": r"(\d{1,6})",
    "z": r"(Z|[+-]\d{2}:?\d{2})",
}
_PARTS = ("Y", "m", "d", "H", "M", "S", "f")
_WHEN_MISSING = ("1", "0")  # appended to the groups: the first month and day, the first hour and what follows
_CENTURY_PIVOT = 69  # POSIX strptime: 69 to 99 are 1969 to 1999, 00 to 68 are 2000 to 2068


def compile_instant(field: str, format_: str, zone: str) -> Callable[[str], datetime]:
    """A function from text to an aware UTC datetime, rounded down to the millisecond, the precision of the ledger.

    It raises FieldError for ``field`` where the text does not fit.
    ``format_`` is ``iso`` (ISO 8601) or a pattern of ``%Y %y %m %d %H %M %S %f %z %%``. A text without an offset is
    local time of the IANA ``zone``; of a local time that occurs twice, the first is meant. Parts that the format
    leaves out are the first: a day without a time is its midnight. Raises ValueError for a format that has no day.
    """
    local: tzinfo = UTC if zone == "UTC" else ZoneInfo(zone)
    parse = _by_iso(local) if format_ == ISO else _by_pattern(format_, local)
    rule = "must be an ISO 8601 date and time" if format_ == ISO else f"must be a time of the form {format_}"

    @lru_cache(maxsize=_CACHED_TEXTS)
    def read(text: str) -> datetime:
        try:
            moment = parse(text).astimezone(UTC)
        except (ValueError, OverflowError):  # overflow: the year 1 or 9999, shifted out of the calendar
            raise FieldError(field, rule) from None
        return moment if moment.microsecond % 1000 == 0 else truncate_ms(moment)

    return read


def _by_iso(local: tzinfo) -> Callable[[str], datetime]:
    def parse(text: str) -> datetime:
        moment = datetime.fromisoformat(text)
        return moment if moment.tzinfo else moment.replace(tzinfo=local)

    return parse


def _by_pattern(format_: str, local: tzinfo) -> Callable[[str], datetime]:
    pattern, names = _translate(format_)
    match = re.compile(pattern + r"\Z", re.ASCII).match
    two_digits = "y" in names
    order = ["Y" if name == "y" else name for name in names]
    picked = itemgetter(*(_position(part, order) for part in _PARTS))
    offset_at = order.index("z") if "z" in order else None

    def parse(text: str) -> datetime:
        found = match(text)
        if found is None:
            raise ValueError(text)
        groups = found.groups() + _WHEN_MISSING
        year, month, day, hour, minute, second, fraction = picked(groups)
        zone = local if offset_at is None else _offset(groups[offset_at])
        return datetime(
            _century(int(year)) if two_digits else int(year),
            int(month),
            int(day),
            int(hour),
            int(minute),
            int(second),
            int(fraction.ljust(6, "0")),
            tzinfo=zone,
        )

    return parse


def _translate(format_: str) -> tuple[str, list[str]]:
    """The format as a regular expression, and the directive of each of its groups."""
    pattern, names = "", []
    pieces = re.split(r"%(.)", format_, flags=re.DOTALL)
    for literal, directive in zip(pieces[0::2], [*pieces[1::2], ""], strict=True):
        pattern += re.escape(literal)
        if directive == "%":
            pattern += "%"
        elif directive:
            if directive not in _DIRECTIVES:
                raise ValueError(f"%{directive} is not one of %{' %'.join(_DIRECTIVES)}")
            pattern += _DIRECTIVES[directive]
            names.append(directive)
    if len(set(names)) != len(names) or not {"m", "d"} <= set(names) or len({"Y", "y"} & set(names)) != 1:
        raise ValueError(f"{format_!r} must have a year, %m and %d, and no part twice")
    return pattern, names


def _position(part: str, order: list[str]) -> int:
    if part in order:
        return order.index(part)
    return len(order) + (0 if part in {"m", "d"} else 1)


def _century(year: int) -> int:
    return year + (1900 if year >= _CENTURY_PIVOT else 2000)


def _offset(text: str) -> tzinfo:
    if text == "Z":
        return UTC
    minutes = int(text[1:3]) * 60 + int(text[-2:])
    return timezone(timedelta(minutes=-minutes if text[0] == "-" else minutes))
