"""The types that Parquet has for columns of an answer: integers of 128 bits are decimals, what has no type is text."""

from collections.abc import Callable, Mapping

import pyarrow as pa

WHOLE = pa.decimal128(38, 0)  # the widest that readers of Parquet agree on


def stored_type(kind: pa.DataType) -> pa.DataType:
    """The type in Parquet of a column of type ``kind``; the same where Parquet has it."""
    if isinstance(kind, pa.BaseExtensionType):
        return _stored_extension(kind)
    return next((stored(kind) for is_kind, stored in _TYPES.items() if is_kind(kind)), kind)


def _stored_extension(kind: pa.DataType) -> pa.DataType:
    if kind == pa.bool8():
        return pa.bool_()
    if getattr(kind, "vendor_name", None) != "DuckDB":
        return kind
    return WHOLE if kind.type_name in ("hugeint", "uhugeint") else pa.string()


def _fields(kind: pa.DataType) -> list[pa.Field]:
    """The fields of a struct, or the members of a union. Those without a name are called by their number, from 1."""
    fields = (kind.field(at) for at in range(kind.num_fields))
    return [pa.field(field.name or str(at), stored_type(field.type)) for at, field in enumerate(fields, 1)]


_TYPES: Mapping[Callable[[pa.DataType], bool], Callable[[pa.DataType], pa.DataType]] = {
    pa.types.is_interval: lambda _: pa.string(),
    pa.types.is_dictionary: lambda kind: kind.value_type,
    pa.types.is_map: lambda kind: pa.map_(stored_type(kind.key_type), stored_type(kind.item_type)),
    pa.types.is_fixed_size_list: lambda kind: pa.list_(stored_type(kind.value_type), kind.list_size),
    pa.types.is_list: lambda kind: pa.list_(stored_type(kind.value_type)),
    pa.types.is_struct: lambda kind: pa.struct(_fields(kind)),
    pa.types.is_union: lambda kind: pa.struct(_fields(kind)),
}
