"""The files that ten years of rows are kept in: exact types, statistics and filters, whoever reads them."""

import random
from datetime import UTC
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ledger.columns import Column, ColumnKind
from ledger.months import Month
from storage.engine import identifier, literal
from storage.parquet import ROW_GROUP_ROWS, arrow_schema, write_parquet
from tests.storage.archived_rows import COLUMNS, TABLE, batch_of, make_month, write_rows

FEBRUARY = Month(2026, 2)
ROWS = make_month(random.Random(1), FEBRUARY, 300)  # noqa: S311  # a seed, not a secret


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_rows(ROWS, tmp_path_factory.mktemp("parquet") / "february.parquet")


def _chunks(file: Path) -> dict[str, Any]:
    group = pq.read_metadata(file).row_group(0)
    return {group.column(number).path_in_schema: group.column(number) for number in range(group.num_columns)}


def test_the_schema_names_every_column_with_its_type_and_its_nullability(file: Path) -> None:
    schema = pq.read_schema(file)
    assert schema.equals(arrow_schema(COLUMNS))
    assert [(field.name, field.nullable) for field in schema] == [(column.name, column.nullable) for column in COLUMNS]
    types = {field.name: str(field.type) for field in schema}
    assert types["id"] == "extension<arrow.uuid>"
    assert types["created_at"] == "timestamp[us, tz=UTC]"
    assert types["amount"] == "decimal128(18, 2)"
    assert types["rate"] == "decimal128(38, 10)"
    assert types["settled_on"] == "date32[day]"
    assert types["retries"] == "int64"


def test_physical_types_are_those_that_other_engines_read_and_prune_by(file: Path) -> None:
    physical = {name: (chunk.physical_type, str(_logical(file, name))) for name, chunk in _chunks(file).items()}
    assert physical["amount"] == ("INT64", "Decimal(precision=18, scale=2)")
    assert physical["whole"] == ("INT32", "Decimal(precision=5, scale=0)")
    assert physical["rate"][0] == "FIXED_LEN_BYTE_ARRAY"
    assert physical["id"] == ("FIXED_LEN_BYTE_ARRAY", "UUID")
    assert physical["created_at"][0] == "INT64"
    assert "isAdjustedToUTC=true" in physical["created_at"][1]
    assert physical["wallet_id"] == ("BYTE_ARRAY", "String")


def _logical(file: Path, name: str) -> object:
    schema = pq.read_metadata(file).schema
    (found,) = [schema.column(number) for number in range(len(schema.names)) if schema.column(number).name == name]
    return found.logical_type


def test_every_column_is_compressed_and_has_statistics(file: Path) -> None:
    for name, chunk in _chunks(file).items():
        assert chunk.compression == "ZSTD", name
        assert chunk.is_stats_set, name
        assert chunk.has_column_index, name
    times = _chunks(file)["created_at"].statistics
    assert (times.min.replace(tzinfo=UTC), times.max.replace(tzinfo=UTC)) == (
        ROWS[0]["created_at"],
        ROWS[1]["created_at"],
    )
    assert _chunks(file)["flagged"].statistics.null_count == sum(row["flagged"] is None for row in ROWS)


def test_text_that_repeats_is_kept_as_a_dictionary_and_instants_as_deltas(file: Path) -> None:
    chunks = _chunks(file)
    assert "RLE_DICTIONARY" in chunks["status"].encodings
    assert "DELTA_BINARY_PACKED" in chunks["created_at"].encodings
    assert "RLE_DICTIONARY" not in chunks["id"].encodings


def test_the_key_and_the_reference_have_bloom_filters_and_no_other_column(
    file: Path, duck: duckdb.DuckDBPyConnection
) -> None:
    query = "SELECT path_in_schema FROM parquet_metadata(?) WHERE bloom_filter_offset IS NOT NULL ORDER BY 1"
    assert duck.execute(query, [str(file)]).fetchall() == [("id",), ("reference",)]


def test_a_bloom_filter_rules_out_what_is_absent_and_never_what_is_there(
    file: Path, duck: duckdb.DuckDBPyConnection
) -> None:
    probe = "SELECT bloom_filter_excludes FROM parquet_bloom_probe(?, 'reference', ?)"
    present = {row["reference"] for row in ROWS if row["reference"] is not None}
    excluded = {text: duck.execute(probe, [str(file), text]).fetchone() for text in present}
    assert set(excluded.values()) == {(False,)}
    absent = [duck.execute(probe, [str(file), f"absent-{number}"]).fetchone() for number in range(50)]
    assert absent.count((True,)) >= 45  # at one per cent of false positives


def test_row_groups_are_of_one_size_whatever_pieces_the_rows_come_in(tmp_path: Path) -> None:
    columns = (Column("id", ColumnKind.INTEGER, nullable=False), Column("note", ColumnKind.TEXT))
    sizes = [ROW_GROUP_ROWS, 7, 2 * ROW_GROUP_ROWS, 1]
    starts = [sum(sizes[:number]) for number in range(len(sizes))]
    batches = [
        pa.record_batch({"id": pa.array(range(start, start + size), pa.int64()), "note": pa.nulls(size, pa.string())})
        for start, size in zip(starts, sizes, strict=True)
    ]
    target = tmp_path / "groups.parquet"
    assert write_parquet(iter(batches), columns, TABLE, target) == sum(sizes)
    metadata = pq.read_metadata(target)
    groups = [metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)]
    assert groups == [ROW_GROUP_ROWS, ROW_GROUP_ROWS, ROW_GROUP_ROWS, 8]
    assert pq.read_table(target)["id"].to_pylist() == list(range(sum(sizes)))


def test_a_file_without_rows_still_has_the_schema(tmp_path: Path) -> None:
    target = tmp_path / "empty.parquet"
    assert write_parquet([], COLUMNS, TABLE, target) == 0
    assert pq.read_schema(target).equals(arrow_schema(COLUMNS))
    assert pq.read_table(target).num_rows == 0


def test_two_readers_give_back_exactly_what_was_written(file: Path, duck: duckdb.DuckDBPyConnection) -> None:
    names = ", ".join(identifier(column.name) for column in COLUMNS)
    rows = duck.execute(f"SELECT {names} FROM read_parquet({literal(str(file))})").fetchall()
    by_duckdb = [dict(zip(ROWS[0], row, strict=True)) for row in rows]
    for row in by_duckdb:
        row["created_at"] = row["created_at"].astimezone(UTC)
    by_pyarrow = pq.read_table(file).to_pylist()
    assert by_duckdb == ROWS
    assert by_pyarrow == ROWS
    assert [str(row["amount"]) for row in by_pyarrow] == [str(row["amount"]) for row in ROWS]


def test_the_same_rows_give_the_same_file(tmp_path: Path, file: Path) -> None:
    assert write_rows(ROWS, tmp_path / "again.parquet").read_bytes() == file.read_bytes()


def test_a_null_where_none_may_be_is_refused(tmp_path: Path) -> None:
    batch = batch_of(ROWS, tuple(Column(c.name, c.kind, True, c.precision, c.scale) for c in COLUMNS))
    place = batch.schema.get_field_index("wallet_id")
    broken = batch.set_column(place, pa.field("wallet_id", pa.string()), pa.nulls(batch.num_rows, pa.string()))
    with pytest.raises(ValueError, match="wallet_id"):
        write_parquet([broken], COLUMNS, TABLE, tmp_path / "broken.parquet")


def test_an_amount_that_does_not_fit_is_refused_and_never_rounded(tmp_path: Path) -> None:
    columns = (Column("id", ColumnKind.INTEGER, nullable=False), Column("amount", ColumnKind.DECIMAL, True, 18, 2))
    finer = pa.record_batch({"id": pa.array([1]), "amount": pa.array(["0.001"]).cast(pa.decimal128(18, 3))})
    with pytest.raises(pa.ArrowInvalid):
        write_parquet([finer], columns, TABLE, tmp_path / "finer.parquet")
