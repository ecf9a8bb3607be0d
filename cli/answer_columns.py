"""The columns of an answer as Parquet can hold them: integers of 128 bits are decimals, what has no type is text."""

from decimal import Decimal
from functools import reduce

import pyarrow as pa
import pyarrow.compute as pc

from cli.answer_values import plain_values
from ledger.errors import DataError

_WHOLE = pa.decimal128(38, 0)  # the widest that readers of Parquet agree on


def stored_type(kind: pa.DataType) -> pa.DataType:
    """The type in Parquet of a column of type ``kind``; the same where Parquet has it."""
    if isinstance(kind, pa.BaseExtensionType):
        if kind == pa.bool8():
            return pa.bool_()
        if getattr(kind, "vendor_name", None) != "DuckDB":
            return kind
        return _WHOLE if kind.type_name in ("hugeint", "uhugeint") else pa.string()
    if pa.types.is_interval(kind):
        return pa.string()
    if pa.types.is_dictionary(kind):
        return kind.value_type
    if pa.types.is_map(kind):
        return pa.map_(stored_type(kind.key_type), stored_type(kind.item_type))
    if pa.types.is_fixed_size_list(kind):
        return pa.list_(stored_type(kind.value_type), kind.list_size)
    if pa.types.is_list(kind):
        return pa.list_(stored_type(kind.value_type))
    if pa.types.is_struct(kind) or pa.types.is_union(kind):
        return pa.struct(_fields(kind))
    return kind


def _fields(kind: pa.DataType) -> list[pa.Field]:
    """The fields of a struct, or the members of a union. Those without a name are called by their number, from 1."""
    fields = (kind.field(at) for at in range(kind.num_fields))
    return [pa.field(field.name or str(at), stored_type(field.type)) for at, field in enumerate(fields, 1)]


def stored_column(column: pa.Array, name: str) -> pa.Array:
    """``column`` in its type in Parquet. Raises DataError that names it when an integer has more than 38 digits."""
    try:
        return _stored(column)
    except pa.ArrowInvalid:
        raise DataError(
            f"SQL: {name}: Parquet holds integers of at most 38 digits: use CAST({name} AS VARCHAR)"
        ) from None


def _stored(column: pa.Array) -> pa.Array:
    kind, wanted = column.type, stored_type(column.type)
    if wanted == kind:
        return column
    if pa.types.is_map(kind):
        return pa.MapArray.from_arrays(_ends(column), _stored(column.keys), _stored(column.items), type=wanted)
    if pa.types.is_fixed_size_list(kind):
        values = column.values.slice(column.offset * kind.list_size, len(column) * kind.list_size)
        return pa.FixedSizeListArray.from_arrays(_stored(values), type=wanted, mask=column.is_null())
    if pa.types.is_list(kind):
        return pa.ListArray.from_arrays(_ends(column), _stored(column.values), type=wanted)
    if pa.types.is_struct(kind):
        members = [_stored(column.field(at)) for at in range(kind.num_fields)]
        return pa.StructArray.from_arrays(members, fields=list(wanted), mask=column.is_null())
    if pa.types.is_union(kind):
        members = _members(column)
        mask = reduce(pc.and_, (member.is_null() for member in members))
        return pa.StructArray.from_arrays(members, fields=list(wanted), mask=mask)
    if pa.types.is_boolean(wanted):
        return column.storage.cast(pa.bool_())
    if wanted == _WHOLE:
        return pa.array([None if value is None else Decimal(value) for value in plain_values(column)], _WHOLE)
    if pa.types.is_dictionary(kind):
        return column.dictionary_decode()
    return pa.array([None if value is None else str(value) for value in plain_values(column)], pa.string())


def _ends(column: pa.Array) -> pa.Array:
    """The offsets of a list or a map; NULL where the row is."""
    valid = pa.concat_arrays([column.is_valid(), pa.array([True])])
    return pc.if_else(valid, column.offsets, None)


def _members(column: pa.Array) -> list[pa.Array]:
    """The members of a union as columns, each NULL where another one is the value."""
    codes = column.type_codes.to_pylist()
    members = []
    for at, code in enumerate(column.type.type_codes):
        places = pa.array([row if code == used else None for row, used in enumerate(codes)], pa.int64())
        members.append(_stored(column.field(at).take(places)))
    return members
