"""An answer as Parquet: each column in the type that Parquet has for it (`cli.answer_columns`)."""

from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import reduce
from typing import IO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from cli.answer_columns import WHOLE, stored_type
from cli.answer_values import plain_values
from ledger.errors import DataError


def write_parquet(batches: pa.RecordBatchReader, file: IO[bytes]) -> None:
    """Write the rows, batch by batch. Raises DataError for a value that Parquet cannot hold."""
    schema = pa.schema([pa.field(field.name, stored_type(field.type), field.nullable) for field in batches.schema])
    with pq.ParquetWriter(file, schema, compression="zstd") as writer:
        for batch in batches:
            columns = map(stored_column, batch.columns, schema.names)
            writer.write_batch(pa.RecordBatch.from_arrays(list(columns), schema=schema))


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
    if isinstance(kind, pa.BaseExtensionType):
        return _stored_values(column, wanted)
    return next(stored(column, wanted) for is_kind, stored in _COLUMNS.items() if is_kind(kind))


def _stored_values(column: pa.Array, wanted: pa.DataType) -> pa.Array:
    """Values that are rebuilt one by one: numbers of 128 bits, text, truth values."""
    values = plain_values(column)
    if wanted == WHOLE:
        return pa.array([None if value is None else Decimal(value) for value in values], wanted)
    if wanted == pa.string():
        return pa.array([None if value is None else str(value) for value in values], wanted)
    return pa.array(values, wanted)


def _stored_map(column: pa.Array, wanted: pa.DataType) -> pa.Array:
    return pa.MapArray.from_arrays(_ends(column), _stored(column.keys), _stored(column.items), type=wanted)


def _stored_list(column: pa.Array, wanted: pa.DataType) -> pa.Array:
    return pa.ListArray.from_arrays(_ends(column), _stored(column.values), type=wanted)


def _stored_fixed_list(column: pa.Array, wanted: pa.DataType) -> pa.Array:
    size = wanted.list_size
    values = column.values.slice(column.offset * size, len(column) * size)
    return pa.FixedSizeListArray.from_arrays(_stored(values), type=wanted, mask=column.is_null())


def _stored_struct(column: pa.Array, wanted: pa.DataType) -> pa.Array:
    fields = [_stored(column.field(at)) for at in range(wanted.num_fields)]
    return pa.StructArray.from_arrays(fields, fields=list(wanted), mask=column.is_null())


def _stored_union(column: pa.Array, wanted: pa.DataType) -> pa.Array:
    """A struct of the members, each NULL where another one is the value."""
    codes = column.type_codes.to_pylist()
    members = []
    for at, code in enumerate(column.type.type_codes):
        places = pa.array([row if code == used else None for row, used in enumerate(codes)], pa.int64())
        members.append(_stored(column.field(at).take(places)))
    is_null = reduce(pc.and_, (member.is_null() for member in members))
    return pa.StructArray.from_arrays(members, fields=list(wanted), mask=is_null)


def _ends(column: pa.Array) -> pa.Array:
    """The offsets of a list or a map; NULL where the row is."""
    valid = pa.concat_arrays([column.is_valid(), pa.array([True])])
    return pc.if_else(valid, column.offsets, None)


_COLUMNS: Mapping[Callable[[pa.DataType], bool], Callable[[pa.Array, pa.DataType], pa.Array]] = {
    pa.types.is_interval: _stored_values,
    pa.types.is_dictionary: lambda column, _: column.dictionary_decode(),
    pa.types.is_map: _stored_map,
    pa.types.is_fixed_size_list: _stored_fixed_list,
    pa.types.is_list: _stored_list,
    pa.types.is_struct: _stored_struct,
    pa.types.is_union: _stored_union,
}
