"""The lookup of an archived file: every byte is in one piece, and the object gives back what was written."""

import hashlib
import random
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from ledger.errors import DataError
from ledger.months import Month
from ledger.tables import TRANSACTIONS
from storage.filters import BLOCK_BYTES, block_number, hash_of, may_have
from storage.lookups import FileLookup, filtered_columns, make_lookup, remake_lookup
from storage.parquet import ROW_GROUP_ROWS, row_group_rows, write_parquet
from storage.pieces import END_BYTES, PIECE_BYTES, column_ranges
from tests.storage.archived_rows import COLUMNS, TABLE, batch_of, make_month, write_rows

ROWS = make_month(random.Random(14), Month(2026, 2), 900)  # noqa: S311  # a seed, not a secret
KEY = "_treasury/trees/transactions/2026-02/1-1.lookup"


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("lookups") / "february.parquet"
    write_parquet([batch_of(ROWS, COLUMNS)], COLUMNS, TABLE, target, group_rows=300)
    return target


def _pieces(lookup: FileLookup) -> list[tuple[int, int, bytes]]:
    found, start = [], 0
    for at in range(0, len(lookup.pieces), PIECE_BYTES):
        end = int.from_bytes(lookup.pieces[at : at + END_BYTES], "big")
        found.append((start, end, lookup.pieces[at + END_BYTES : at + PIECE_BYTES]))
        start = end
    return found


def test_every_byte_of_the_file_is_in_one_piece_with_its_hash(file: Path) -> None:
    content, lookup = file.read_bytes(), make_lookup(file, [], 12)
    pieces = _pieces(lookup)
    assert pieces[-1][1] == len(content) == lookup.size_bytes
    assert all(start < end for start, end, _ in pieces)
    assert all(hashlib.sha256(content[start:end]).digest() == digest for start, end, digest in pieces)


def test_a_column_of_a_row_group_is_a_piece_and_so_is_the_end_of_the_file_with_its_footer(file: Path) -> None:
    lookup, metadata = make_lookup(file, [], 12), pq.read_metadata(file)
    ranges = {(start, end) for start, end, _ in _pieces(lookup)}
    assert metadata.num_row_groups == 3
    assert set(column_ranges(metadata)) <= ranges
    behind = metadata.row_group(2).column(metadata.num_columns - 1)
    columns_end = behind.data_page_offset + behind.total_compressed_size
    assert len(lookup.footer) >= metadata.serialized_size + 8
    assert len(lookup.footer) == max(metadata.serialized_size + 8, min(16 << 10, lookup.size_bytes - columns_end))
    assert (lookup.size_bytes - len(lookup.footer), lookup.size_bytes) in ranges
    assert file.read_bytes().endswith(lookup.footer)


def test_the_filters_are_of_the_columns_that_rows_are_looked_for_by(file: Path) -> None:
    columns = filtered_columns(TRANSACTIONS, COLUMNS)
    assert {column.name for column in columns} >= {"id", "wallet_id", "reference"}
    lookup = make_lookup(file, columns, 12)
    numbers = {column.name: column.field_id for column in columns}
    for row in ROWS:
        hashed, content = hash_of(row["wallet_id"]), lookup.filters[numbers["wallet_id"] or 0]
        at = BLOCK_BYTES * block_number(hashed, len(content) // BLOCK_BYTES)
        assert may_have(content[at : at + BLOCK_BYTES], hashed)
    assert make_lookup(file, columns, 0).filters == {}


def test_the_object_is_read_back_and_follows_from_the_file(file: Path, tmp_path: Path) -> None:
    lookup = make_lookup(file, filtered_columns(TRANSACTIONS, COLUMNS), 12)
    assert FileLookup.from_bytes(lookup.to_bytes(), KEY) == lookup
    assert remake_lookup(file, COLUMNS, lookup) == lookup
    other = write_rows(ROWS[:-1], tmp_path / "other.parquet")
    assert remake_lookup(other, COLUMNS, lookup) != lookup


@pytest.mark.parametrize("change", [lambda one: one[:-1], lambda one: one + b"x", lambda _: b"{}\n", lambda _: b""])
def test_any_other_object_is_refused_by_its_key(file: Path, change: "object") -> None:
    assert callable(change)
    with pytest.raises(DataError, match=KEY):
        FileLookup.from_bytes(change(make_lookup(file, [], 12).to_bytes()), KEY)


def test_a_file_without_rows_has_a_lookup(tmp_path: Path) -> None:
    write_parquet([], COLUMNS, TABLE, tmp_path / "empty.parquet")
    lookup = make_lookup(tmp_path / "empty.parquet", filtered_columns(TRANSACTIONS, COLUMNS), 12)
    assert FileLookup.from_bytes(lookup.to_bytes(), KEY) == lookup


@pytest.mark.parametrize(
    ("rows", "group"),
    [(0, 4096), (4097, 4096), (24_000, 4096), (100_000, 8192), (10**6, 63_488), (10**8, ROW_GROUP_ROWS)],
)
def test_row_groups_are_small_in_small_months_and_bounded_in_large_ones(rows: int, group: int) -> None:
    assert row_group_rows(rows) == group
