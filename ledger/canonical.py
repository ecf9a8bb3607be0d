"""The one canonical text of a row, version ``row-v1``: what is hashed into a month's digest.

This module is the definition and its reference implementation in Python. PostgreSQL (`sql.digest`) and DuckDB over
Parquet (`storage.digest`) compute the same text by expressions of their own; a property test holds the three together.

A row is its fields in the order of the table's columns, joined by ``|``. A field is

* NULL: nothing at all (no other value is empty)
* uuid: 36 lower-case characters with hyphens
* boolean: ``t`` or ``f``
* integer, date (days since 1970-01-01), timestamp (microseconds since 1970 UTC): decimal digits
* decimal: digits, a point and exactly ``scale`` digits; no point when the scale is 0; ``-`` before a negative value
* text, json: length in bytes of the UTF-8, ``:``, then the text itself

Text carries its length, so no two different rows have one text, whatever the text holds.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from ledger.columns import Column, ColumnKind
from ledger.identifiers import unix_us

ROW_FORMAT = "row-v1"
FIELD_SEPARATOR = "|"

_EPOCH_ORDINAL = date(1970, 1, 1).toordinal()


def _text(value: str) -> str:
    return f"{len(value.encode())}:{value}"


def _date(value: date) -> str:
    return str(value.toordinal() - _EPOCH_ORDINAL)


def _timestamp(value: datetime) -> str:
    return str(unix_us(value))


def _boolean(value: bool) -> str:
    return "t" if value else "f"


def _uuid(value: UUID) -> str:
    return str(value)


_BY_KIND: Mapping[ColumnKind, Callable[[Any], str]] = {
    ColumnKind.UUID: _uuid,
    ColumnKind.TEXT: _text,
    ColumnKind.JSON: _text,
    ColumnKind.BOOLEAN: _boolean,
    ColumnKind.INTEGER: str,
    ColumnKind.TIMESTAMP: _timestamp,
    ColumnKind.DATE: _date,
}


def _field(column: Column, value: Any) -> str:
    if value is None:
        return ""
    if column.kind is ColumnKind.DECIMAL:
        return format(Decimal(value) + 0, f".{column.scale}f")  # + 0: PostgreSQL has no negative zero
    return _BY_KIND[column.kind](value)


def canonical_row(columns: Sequence[Column], values: Sequence[Any]) -> bytes:
    """The canonical text of a row as UTF-8. ``values`` are in the order of ``columns``, in Python's exact types."""
    fields = (_field(column, value) for column, value in zip(columns, values, strict=True))
    return FIELD_SEPARATOR.join(fields).encode()
