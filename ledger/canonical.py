"""The one canonical text of a row, version ``row-v1``: what is hashed into a month's digest.

This module is the definition and its reference implementation in Python. PostgreSQL (`sql.proof`) and DataFusion
over Parquet (`storage.second_reader`) compute the same text by expressions of their own; a property test holds the
three together.

A row is its fields in the order of the table's columns, joined by U+001F (unit separator). A field is

* NULL: the single character U+001E
* uuid: 36 lower-case characters with hyphens
* boolean: ``t`` or ``f``
* integer, date (days since 1970-01-01), timestamp (microseconds since 1970 UTC): decimal digits
* decimal: digits, a point and exactly ``scale`` digits; no point when the scale is 0; ``-`` before a negative value
* text, json: the text itself

Text with U+001E or U+001F in it has no canonical form, nor have NaN and infinite dates. A month that holds one is not
archived (the verification finds it), so no two different rows have one text. Refusing those characters costs PostgreSQL
half of what writing the length before each text costs. The digest is what archiving spends most of its time on.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import date, timedelta
from typing import Any, Literal

from ledger.columns import Column, ColumnKind
from ledger.errors import DataError
from ledger.identifiers import from_unix_us, unix_us

ROW_FORMAT: Literal["row-v1"] = "row-v1"
FIELD_SEPARATOR = "\x1f"
NULL_MARK = "\x1e"

_EPOCH = date(1970, 1, 1)
_EPOCH_ORDINAL = _EPOCH.toordinal()


def _text(value: str) -> str:
    if FIELD_SEPARATOR in value or NULL_MARK in value:
        raise DataError("a text with U+001E or U+001F in it has no canonical form")
    return value


def _date(value: date) -> str:
    return str(value.toordinal() - _EPOCH_ORDINAL)


_BY_KIND: Mapping[ColumnKind, Callable[[Any], str]] = {
    ColumnKind.UUID: str,
    ColumnKind.TEXT: _text,
    ColumnKind.JSON: _text,
    ColumnKind.BOOLEAN: lambda value: "t" if value else "f",
    ColumnKind.INTEGER: str,
    ColumnKind.TIMESTAMP: lambda value: str(unix_us(value)),
    ColumnKind.DATE: _date,
}


def _field(column: Column, value: Any) -> str:
    if value is None:
        return NULL_MARK
    if column.kind is ColumnKind.DECIMAL:
        if not value.is_finite():
            raise DataError(f"{column.name}: {value} has no canonical form")
        # Neither engine has a negative zero. Arithmetic such as + 0 would round to the context's 28 digits.
        return format(value or abs(value), f".{column.scale}f")
    return _BY_KIND[column.kind](value)


def canonical_row(columns: Sequence[Column], values: Sequence[Any]) -> bytes:
    """The canonical text of a row as UTF-8. ``values`` are in the order of ``columns``, in Python's exact types.

    The reference implementation: PostgreSQL and the archive's reader compute the same text, and tests compare them.
    Raises DataError for a value that has no canonical form.
    """
    fields = (_field(column, value) for column, value in zip(columns, values, strict=True))
    return FIELD_SEPARATOR.join(fields).encode()


def readable(column: Column, field: str) -> str | None:
    """A field of a row's text as the API shows it. It is None for NULL; a time in UTC and a date are as RFC 3339 has
    them.

    A time or date that no calendar of Python has stays a number.
    """
    if field == NULL_MARK:
        return None
    try:
        if column.kind is ColumnKind.TIMESTAMP:
            return from_unix_us(int(field)).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"
        if column.kind is ColumnKind.DATE:
            return (_EPOCH + timedelta(days=int(field))).isoformat()
    except (ValueError, OverflowError):
        pass
    return field
