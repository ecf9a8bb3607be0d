"""The values of an answer in text and in JSON: one way for each type that the engine has.

Decimals stay `Decimal`. Everything else becomes what JSON has: text, numbers, lists, objects.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from math import isfinite, isnan
from typing import Any

import numpy as np
import pyarrow as pa

from ledger.errors import DataError

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECONDS: Mapping[str, int] = {"s": 1_000_000, "ms": 1_000, "us": 1}
_LARGEST_OFFSET_S = 16 * 3600 - 1  # of a TIMETZ; the engine keeps the distance from it
_SECOND_NS = 1_000_000_000

Values = list[Any]


def plain_values(column: pa.Array) -> Values:
    """The values of a column of an answer. NULL is None.

    Raises DataError for a type without a form, OverflowError or ValueError for a time that is infinite or outside the
    years 1 to 9999.
    """
    kind = column.type
    if isinstance(kind, pa.BaseExtensionType):
        return _extension_values(column)
    for is_kind, values in _BY_KIND.items():
        if is_kind(kind):
            return values(column)
    raise DataError(f"SQL: no answer can hold the type {kind}: use CAST(... AS VARCHAR)")


def _extension_values(column: pa.Array) -> Values:
    kind = column.type
    if kind == pa.bool8():
        return _same(column)
    if kind == pa.uuid():
        return [None if value is None else str(value) for value in column.to_pylist()]
    if getattr(kind, "vendor_name", None) != "DuckDB":
        return plain_values(column.storage)
    decode = _OPAQUE.get(kind.type_name)
    if decode is None:
        raise DataError(f"SQL: no answer can hold the type {kind.type_name}: use CAST(... AS VARCHAR)")
    return [None if value is None else decode(value) for value in column.storage.to_pylist()]


def _signed(value: bytes) -> int:
    return int.from_bytes(value, "little", signed=True)


def _unsigned(value: bytes) -> int:
    return int.from_bytes(value, "little")


def _bignum(value: bytes) -> int:
    """Three bytes of sign and length, then the digits, the highest first; all bits are turned over when negative."""
    if value[0] & 0x80:
        return int.from_bytes(value[3:], "big")
    return -int.from_bytes(bytes(0xFF - byte for byte in value[3:]), "big")


def _bits(value: bytes) -> str:
    """The first byte is the number of bits at the beginning of the second that do not belong to it."""
    return "".join(f"{byte:08b}" for byte in value[1:])[value[0] :]


def _time_tz(value: bytes) -> str:
    packed = int.from_bytes(value, "little")
    offset_s = _LARGEST_OFFSET_S - (packed & 0xFF_FFFF)
    hours, rest = divmod(abs(offset_s), 3600)
    minutes, seconds = divmod(rest, 60)
    zone = f"{'-' if offset_s < 0 else '+'}{hours:02d}:{minutes:02d}" + (f":{seconds:02d}" if seconds else "")
    return _time(packed >> 24, 6) + zone


_OPAQUE: Mapping[str, Callable[[bytes], int | str]] = {
    "hugeint": _signed,
    "uhugeint": _unsigned,
    "bignum": _bignum,
    "bit": _bits,
    "time_tz": _time_tz,
}


def _time(units: int, digits: int) -> str:
    """A time of day in units of 10**-digits s. The end of a day, 24:00:00, is one."""
    seconds, fraction = divmod(units, 10**digits)
    text = f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
    return f"{text}.{fraction:0{digits}d}" if fraction else text


def _times(column: pa.Array) -> Values:
    digits = 9 if column.type.unit == "ns" else 6
    units = column.cast(pa.int64()).to_pylist()
    return [None if value is None else _time(value, digits) for value in units]


def _dates(column: pa.Array) -> Values:
    return [None if value is None else value.isoformat() for value in column.to_pylist()]


def _timestamps(column: pa.Array) -> Values:
    zone = None if column.type.tz is None else UTC
    to_text = _nanosecond_text if column.type.unit == "ns" else _scaled_text(_MICROSECONDS.get(column.type.unit, 1))
    return [None if value is None else to_text(value, zone) for value in column.cast(pa.int64()).to_pylist()]


def _scaled_text(microseconds: int) -> Callable[[int, Any], str]:
    return lambda value, zone: (_EPOCH + timedelta(microseconds=value * microseconds)).replace(tzinfo=zone).isoformat()


def _nanosecond_text(value: int, zone: Any) -> str:
    if abs(value) >= (1 << 63) - 1:
        raise OverflowError("an infinite time")
    seconds, fraction = divmod(value, _SECOND_NS)
    text = (_EPOCH + timedelta(seconds=seconds)).replace(tzinfo=None).isoformat()
    return text + (f".{fraction:09d}" if fraction else "") + ("" if zone is None else "+00:00")


def _intervals(column: pa.Array) -> Values:
    return [None if value is None else _duration(*value) for value in column.to_pylist()]


def _duration(months: int, days: int, nanoseconds: int) -> str:
    """An ISO 8601 duration; each part has its own sign, as in PostgreSQL's ``intervalstyle = iso_8601``."""
    years, months = int(months / 12), months - 12 * int(months / 12)
    sign = -1 if nanoseconds < 0 else 1
    seconds, fraction = divmod(abs(nanoseconds), _SECOND_NS)
    date = [(years, "Y"), (months, "M"), (days, "D")]
    time = [(sign * (seconds // 3600), "H"), (sign * (seconds // 60 % 60), "M")]
    dated = "".join(f"{count}{unit}" for count, unit in date if count)
    timed = "".join(f"{count}{unit}" for count, unit in time if count)
    if seconds % 60 or fraction:
        decimals = f".{fraction:09d}".rstrip("0") if fraction else ""
        timed += f"{'-' if sign < 0 else ''}{seconds % 60}{decimals}S"
    return f"P{dated}{'T' + timed if timed else ''}" if dated or timed else "PT0S"


def _floats(column: pa.Array) -> Values:
    """Numbers with as many digits as their type needs. JSON has no NaN and no infinity, so those are texts."""
    values = column.to_pylist()
    if pa.types.is_float32(column.type):
        values = [None if value is None else float(str(np.float32(value))) for value in values]
    return [value if value is None or isfinite(value) else _not_finite(value) for value in values]


def _not_finite(value: float) -> str:
    if isnan(value):
        return "NaN"
    return "Infinity" if value > 0 else "-Infinity"


def _bytes(column: pa.Array) -> Values:
    """Bytes in hexadecimal, as PostgreSQL writes a bytea."""
    return [None if value is None else f"\\x{value.hex()}" for value in column.to_pylist()]


def _lists(column: pa.Array) -> Values:
    return [None if part is None else part[0] for part in _parts(column, plain_values(column.values))]


def _parts(column: pa.Array, *children: Values) -> Iterator[tuple[Values, ...] | None]:
    """For each row of a list or a map its part of each of the children."""
    ends = column.offsets.to_pylist()
    for valid, first, last in zip(column.is_valid().to_pylist(), ends, ends[1:], strict=False):
        yield tuple(child[first:last] for child in children) if valid else None


def _fixed_lists(column: pa.Array) -> Values:
    size = column.type.list_size
    values = plain_values(column.values.slice(column.offset * size, len(column) * size))
    valid = column.is_valid().to_pylist()
    return [values[size * at : size * (at + 1)] if valid[at] else None for at in range(len(column))]


def _structs(column: pa.Array) -> Values:
    """Objects; lists where the fields have no names."""
    names = [field.name for field in column.type]
    rows = zip(*(plain_values(column.field(at)) for at in range(len(names))), strict=True)
    make = list if "" in names else lambda row: dict(zip(names, row, strict=True))
    return [make(row) if valid else None for valid, row in zip(column.is_valid().to_pylist(), rows, strict=True)]


def _maps(column: pa.Array) -> Values:
    """Objects; lists of pairs where keys are not texts."""
    keys, items = plain_values(column.keys), plain_values(column.items)
    kind = column.type.key_type
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind  # an ENUM
    make = dict if pa.types.is_string(kind) or pa.types.is_large_string(kind) else _pairs
    return [None if part is None else make(zip(*part, strict=True)) for part in _parts(column, keys, items)]


def _pairs(pairs: Iterable[tuple[Any, Any]]) -> Values:
    return [list(pair) for pair in pairs]


def _unions(column: pa.Array) -> Values:
    codes = {code: at for at, code in enumerate(column.type.type_codes)}
    members = [plain_values(column.field(at)) for at in range(column.type.num_fields)]
    return [members[codes[code]][row] for row, code in enumerate(column.type_codes.to_pylist())]


def _same(column: pa.Array) -> Values:
    values: Values = column.to_pylist()
    return values


_BY_KIND: Mapping[Callable[[pa.DataType], bool], Callable[[pa.Array], Values]] = {
    pa.types.is_boolean: _same,
    pa.types.is_integer: _same,
    pa.types.is_decimal: _same,
    pa.types.is_string: _same,
    pa.types.is_large_string: _same,
    pa.types.is_null: _same,
    pa.types.is_floating: _floats,
    pa.types.is_timestamp: _timestamps,
    pa.types.is_date: _dates,
    pa.types.is_time: _times,
    pa.types.is_interval: _intervals,
    pa.types.is_binary: _bytes,
    pa.types.is_large_binary: _bytes,
    pa.types.is_dictionary: lambda column: plain_values(column.dictionary_decode()),
    pa.types.is_map: _maps,
    pa.types.is_list: _lists,
    pa.types.is_large_list: _lists,
    pa.types.is_fixed_size_list: _fixed_lists,
    pa.types.is_struct: _structs,
    pa.types.is_union: _unions,
}
