"""Pages of archived rows: filtered, newest first, going on exactly where the last one ended."""

import hashlib
import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from pydantic import SecretStr

from config import Settings, load_settings
from ledger.errors import DataError, TransientError
from ledger.months import Month
from storage.archive import ColdFilter, ColdReader
from storage.lookups import make_lookup
from storage.object_reader import ArchivedFile
from storage.store import ObjectStore
from tests.examples import examples
from tests.storage.archived_rows import COLUMNS, TABLE, Row, make_month, make_row, write_rows

NAMES = [column.name for column in COLUMNS]
JANUARY, FEBRUARY = Month(2026, 1), Month(2026, 2)
CHANCE = random.Random(11)  # noqa: S311  # a seed, not a secret
# Rows of the same millisecond: the key alone orders them.
TIES = [make_row(CHANCE, FEBRUARY.lower + timedelta(days=9)) for _ in range(6)]
ROWS = {JANUARY: make_month(CHANCE, JANUARY, 40), FEBRUARY: make_month(CHANCE, FEBRUARY, 40) + TIES}
EVERY = sorted(
    (row for rows in ROWS.values() for row in rows), key=lambda row: (row["created_at"], row["id"]), reverse=True
)
KEYS = [f"transactions/month={month}/0123-1.parquet" for month in ROWS]
# Columns that January's file does not have, for it was written before they came.
LATE = {"rate", "flagged"}
FITS: dict[str, Callable[[Row, Any], bool]] = {
    "id": lambda row, value: row["id"] == value,
    "wallet_id": lambda row, value: row["wallet_id"] == value,
    "user_id": lambda row, value: row["user_id"] == value,
    "client_id": lambda row, value: row["client_id"] == value,
    "status": lambda row, value: row["status"] == value,
    "type": lambda row, value: row["type"] == value,
    "created_from": lambda row, value: row["created_at"] >= value,
    "created_before": lambda row, value: row["created_at"] < value,
    "before": lambda row, value: (row["created_at"], row["id"]) < value,
}


def _write(root: Path) -> None:
    for (month, rows), key in zip(ROWS.items(), KEYS, strict=True):
        late = LATE if month == JANUARY else set()
        write_rows(rows, root / key, tuple(column for column in COLUMNS if column.name not in late))


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ColdReader]:
    folder = tmp_path_factory.mktemp("cold")
    _write(folder / "archive")
    reader = ColdReader(load_settings(home=folder, archive_url=f"file://{folder / 'archive'}", archive_threads=1))
    yield reader
    reader.close()


def _expected(where: ColdFilter, limit: int) -> list[Row]:
    wanted = {name: value for name in FITS if (value := getattr(where, name)) is not None}
    fitting = [row for row in EVERY if all(FITS[name](row, value) for name, value in wanted.items())]
    return [
        {**row, **dict.fromkeys(LATE)} if Month.of(row["created_at"]) == JANUARY else row for row in fitting[:limit]
    ]


def test_without_a_filter_every_row_comes_newest_first_in_exact_types(reader: ColdReader) -> None:
    assert reader.rows(TABLE, dict.fromkeys(KEYS), NAMES, ColdFilter(), 1000) == _expected(ColdFilter(), 1000)


def test_a_column_that_a_month_had_not_yet_comes_as_none(reader: ColdReader) -> None:
    for keys in (KEYS, KEYS[:1]):
        rows = reader.rows(
            TABLE, dict.fromkeys(keys), [*NAMES, "never"], ColdFilter(created_before=JANUARY.upper), 1000
        )
        assert len(rows) == 40
        assert {(row["rate"], row["flagged"], row["never"]) for row in rows} == {(None, None, None)}


def test_only_the_columns_asked_for_come_in_their_order(reader: ColdReader) -> None:
    (row,) = reader.rows(TABLE, dict.fromkeys(KEYS), ["amount", "id"], ColdFilter(), 1)
    assert list(row) == ["amount", "id"]


def test_only_the_objects_that_are_named_are_read(reader: ColdReader) -> None:
    assert reader.rows(TABLE, dict.fromkeys([]), NAMES, ColdFilter(), 10) == []
    assert len(reader.rows(TABLE, dict.fromkeys(KEYS[:1]), NAMES, ColdFilter(), 1000)) == len(ROWS[JANUARY])


rows = st.integers(0, len(EVERY) - 1).map(lambda number: EVERY[number])
filters = st.builds(
    ColdFilter,
    id=st.none() | st.none() | rows.map(lambda row: row["id"]) | st.just(UUID(int=0)),
    wallet_id=st.none() | st.sampled_from(["wallet-1", "wallet-2", "", "' OR true --"]),
    user_id=st.none() | st.sampled_from(["user-0", "user-1"]),
    client_id=st.none() | st.sampled_from(["acme", "globex"]),
    status=st.none() | st.sampled_from(["completed", "pending"]),
    type=st.none() | st.sampled_from(["payment", "refund"]),
    created_from=st.none() | rows.map(lambda row: row["created_at"]),
    created_before=st.none() | rows.map(lambda row: row["created_at"]),
    before=st.none() | rows.map(lambda row: (row["created_at"], row["id"])),
)


@hypothesis_settings(max_examples=examples(60), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(filters, st.integers(1, 50))
def test_a_filter_gives_exactly_the_rows_that_fit_and_no_more_than_the_limit(
    reader: ColdReader, where: ColdFilter, limit: int
) -> None:
    assert reader.rows(TABLE, dict.fromkeys(KEYS), NAMES, where, limit) == _expected(where, limit)


@pytest.mark.parametrize("limit", [1, 4, 7, 100])
def test_pages_join_without_gap_or_overlap_even_among_rows_of_one_millisecond(reader: ColdReader, limit: int) -> None:
    seen: list[Row] = []
    place = None
    while page := reader.rows(TABLE, dict.fromkeys(KEYS), NAMES, ColdFilter(client_id="acme", before=place), limit):
        seen += page
        place = (page[-1]["created_at"], page[-1]["id"])
    assert seen == _expected(ColdFilter(client_id="acme"), 1000)


def test_it_may_be_asked_from_many_threads(reader: ColdReader) -> None:
    def ask(number: int) -> bool:
        where = ColdFilter(wallet_id=f"wallet-{number % 5}")
        return reader.rows(TABLE, dict.fromkeys(KEYS), NAMES, where, 1000) == _expected(where, 1000)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(ask, range(24)))


def test_an_archive_in_s3_gives_the_same_rows(settings: Settings, tmp_path: Path) -> None:
    _write(tmp_path / "local")
    store = ObjectStore(settings)
    for key in KEYS:
        store.put(tmp_path / "local" / key, key)
    reader = ColdReader(settings)
    try:
        assert reader.rows(TABLE, dict.fromkeys(KEYS), NAMES, ColdFilter(), 1000) == _expected(ColdFilter(), 1000)
        with pytest.raises(TransientError, match="the archive cannot be read now"):
            reader.rows(TABLE, dict.fromkeys(["transactions/month=2026-03/none.parquet"]), NAMES, ColdFilter(), 1)
    finally:
        reader.close()


def test_an_archive_that_does_not_answer_or_refuses_is_an_error_without_the_secret(settings: Settings) -> None:
    secret = settings.s3_secret_access_key
    assert secret is not None
    for change in ({"s3_endpoint_url": "http://127.0.0.1:1"}, {"s3_secret_access_key": SecretStr("w" * 40)}):
        reader = ColdReader(settings.model_copy(update=change))
        try:
            with pytest.raises(TransientError) as caught:
                reader.rows(TABLE, dict.fromkeys(KEYS), NAMES, ColdFilter(), 1)
        finally:
            reader.close()
        assert secret.get_secret_value() not in str(caught.value)
        assert "wwww" not in str(caught.value)


def test_an_object_that_is_no_parquet_is_one_of_the_projects_errors(in_folder: Settings, tmp_path: Path) -> None:
    key = KEYS[0]
    (tmp_path / "archive" / key).parent.mkdir(parents=True)
    (tmp_path / "archive" / key).write_bytes(b"PAR1 this is no Parquet PAR1")
    reader = ColdReader(in_folder)
    try:
        with pytest.raises(DataError, match="the archive of transactions cannot answer"):
            reader.rows(TABLE, dict.fromkeys([key]), NAMES, ColdFilter(), 1)
    finally:
        reader.close()


def test_a_filter_on_a_column_that_none_of_the_months_has_is_told(in_folder: Settings, tmp_path: Path) -> None:
    older = tuple(column for column in COLUMNS if column.name != "user_id")
    write_rows(ROWS[JANUARY], tmp_path / "archive" / KEYS[0], older)
    reader = ColdReader(in_folder)
    try:
        with pytest.raises(DataError, match="user_id"):
            reader.rows(TABLE, dict.fromkeys(KEYS[:1]), NAMES, ColdFilter(user_id="user-1"), 10)
    finally:
        reader.close()


def _checked(root: Path, key: str) -> ArchivedFile:
    """A file as the catalogue knows it."""
    lookup, content = make_lookup(root / key, [], 0), (root / key).read_bytes()
    return ArchivedFile("transactions 2026", key, hashlib.sha256(content).hexdigest(), lookup.pieces, lookup.footer)


@hypothesis_settings(max_examples=examples(20), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(filters, st.integers(1, 50))
def test_files_with_a_lookup_give_the_same_rows(reader: ColdReader, where: ColdFilter, limit: int) -> None:
    root = Path(urlsplit(reader.location).path)
    reader.add(_checked(root, key) for key in reader.unknown(KEYS[1:]))  # the first has no lookup
    assert reader.unknown(KEYS) == list(KEYS[:1])
    assert reader.rows(TABLE, dict.fromkeys(KEYS), NAMES, where, limit) == _expected(where, limit)


def test_another_file_in_the_place_of_one_with_a_lookup_is_refused_by_name(in_folder: Settings, tmp_path: Path) -> None:
    root, key = tmp_path / "archive", KEYS[1]
    _write(root)
    reader = ColdReader(in_folder)
    try:
        reader.add([_checked(root, key)])
        (root / key).write_bytes((root / KEYS[0]).read_bytes())
        with pytest.raises(DataError, match=key):
            reader.rows(TABLE, dict.fromkeys([key]), NAMES, ColdFilter(), 10)
    finally:
        reader.close()


def test_closing_twice_is_no_error(in_folder: Settings) -> None:
    reader = ColdReader(in_folder)
    reader.close()
    reader.close()
