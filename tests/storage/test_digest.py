"""One row, three computations, one leaf: PostgreSQL, DataFusion over the Parquet file, and the definition in Python."""

import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Context, Decimal
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import duckdb
import psycopg
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from psycopg.sql import SQL, Placeholder

from config import Settings
from ledger.canonical import FIELD_SEPARATOR, NULL_MARK, canonical_row
from ledger.columns import Column, ColumnKind
from ledger.errors import DataError, VerificationError
from ledger.merkle import EMPTY_ROOT, leaf_hash, merkle_root
from ledger.month_tree import Layout, leaf_texts
from ledger.months import Month
from ledger.tables import TieredTable
from sql.catalog import columns_of
from sql.connection import Connection, connect
from sql.proof import LAST_BLOCK, leaves_query
from sql.proof import leaf_expression as postgres_leaf_expression
from storage.engine import engine, identifier
from storage.month_tree import ReadFile, read_file
from storage.second_reader import SOURCE, leaf_expression, open_file, second_reader
from tasks.archiving.export import export_partition
from tasks.archiving.verify import compare, read_held_rows
from tests.relations import relation

TABLE = TieredTable(name="kinds", money_columns=("money",), cold_sort=("word",), bloom_columns=("id", "word"))
TYPES = {
    "id": "uuid NOT NULL",
    "created_at": "timestamptz(3) NOT NULL",
    "money": "numeric(18,2) NOT NULL",
    "currency": "varchar(3)",
    "status": "text",
    "word": "text",
    "short": "varchar(8)",
    "flag": "boolean",
    "small": "smallint",
    "middle": "integer",
    "big": "bigint",
    "rate": "numeric(38,10)",
    "whole": "numeric(5)",
    "fraction": "numeric(5,5)",
    "finest": "numeric(38,38) NOT NULL",
    "exact": "timestamptz",
    "day": "date",
    "document": "jsonb",
    'Odd "Name': "text NOT NULL",
    "always": "boolean NOT NULL",
    "born": "date NOT NULL",
}
WIDE = Context(prec=60)
MONTH = Month(2026, 2)


def _integers(bits: int) -> st.SearchStrategy[int]:
    return st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def _decimals(digits: int, scale: int) -> st.SearchStrategy[Decimal]:
    largest = 10**digits - 1
    return st.integers(-largest, largest).map(lambda units: Decimal(units).scaleb(-scale, WIDE))


EDGES = [
    "",
    " ",
    "\t\n",
    "a\u0301\u0327",
    "\u202eabc\u202c",
    "\u0645\u0631\u062d\u0628\u0627",
    "\U0001f9d1\u200d\U0001f680",
]
EDGES += ["\U0010ffff", "\ufeff", "\u0085\u2028", "\\N", "'\"\\", "NULL", "\x01\x1d\x7f", "\u00e9" * 5000]
texts = st.sampled_from(EDGES) | st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters=f"\x00{FIELD_SEPARATOR}{NULL_MARK}"), max_size=20
)
json_texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=5)
documents = st.recursive(
    st.none() | st.booleans() | _integers(64) | st.floats(allow_nan=False, allow_infinity=False) | json_texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(json_texts, inner, max_size=3),
    max_leaves=5,
)
instants = st.datetimes(timezones=st.just(UTC))
milliseconds = instants.map(lambda moment: moment.replace(microsecond=moment.microsecond // 1000 * 1000))
rows = st.fixed_dictionaries(
    {
        "id": st.uuids(),
        "created_at": milliseconds,
        "money": _decimals(18, 2),
        "currency": st.none() | st.sampled_from(["ZAR", "USD", ""]),
        "status": st.none() | st.sampled_from(["completed", "failed"]),
        "word": st.none() | texts,
        "short": st.none() | texts.map(lambda text: text[:8]),
        "flag": st.none() | st.booleans(),
        "small": st.none() | _integers(16),
        "middle": st.none() | _integers(32),
        "big": st.none() | _integers(64),
        "rate": st.none() | _decimals(38, 10),
        "whole": st.none() | _decimals(5, 0),
        "fraction": st.none() | _decimals(5, 5),
        "finest": _decimals(38, 38),
        "exact": st.none() | instants,
        "day": st.none() | st.dates(),
        "document": st.none() | documents.map(lambda value: json.dumps(value, ensure_ascii=True)),
        'Odd "Name': texts,
        "always": st.booleans(),
        "born": st.dates(),
    }
)
EXTREME: dict[str, Any] = {
    "id": UUID(int=0),
    "created_at": datetime(1, 1, 1, tzinfo=UTC),
    "money": Decimal("-0.00"),
    "currency": "",
    "status": None,
    "word": "x" * 1_000_000,
    "short": "",
    "flag": False,
    "small": -(2**15),
    "middle": -(2**31),
    "big": -(2**63),
    "rate": Decimal("-9999999999999999999999999999.9999999999"),
    "whole": Decimal(-99999),
    "fraction": Decimal("-0.99999"),
    "finest": Decimal("0." + "9" * 38),
    "exact": datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
    "day": date(1, 1, 1),
    "document": r'{"b": "\ud83d\ude00 \u001e \u001f \u0085", "a": [1e2, 1.50, -0.0, 1E-5, 12345678901234567890]}',
    'Odd "Name': "a\u0301",
    "always": True,
    "born": date(9999, 12, 31),
}
CHANGED = {"id": UUID(int=2**128 - 1), "money": Decimal("9999999999999999.99"), "big": 2**63 - 1, "word": ""}


@dataclass
class Bench:
    """A partition of every kind of column, and the engine that exports and reads it."""

    settings: Settings
    connection: Connection
    duck: duckdb.DuckDBPyConnection
    columns: tuple[Column, ...]
    file: Path

    def fill(self, values: Sequence[dict[str, Any]]) -> None:
        self.connection.execute("TRUNCATE kinds_2026_02")
        names = SQL(", ").join(map(SQL, (identifier(name) for name in TYPES)))
        marks = SQL(", ").join(Placeholder() for _ in TYPES)
        insert = SQL("INSERT INTO kinds_2026_02 ({}) VALUES ({})").format(names, marks)
        with self.connection.cursor() as cursor:
            cursor.executemany(insert, [[row[name] for name in TYPES] for row in values])

    def export(self) -> int:
        # A new file each time, as in the archive: the engine keeps what it has read of a path, and may not see at once
        # that another file has taken its place.
        self.file = self.file.with_name(f"{uuid4()}.parquet")
        partition = relation(self.connection, "kinds_2026_02")
        return export_partition(self.duck, self.settings, TABLE, self.columns, partition, self.file, {}, 0)

    def texts(self, values: Sequence[dict[str, Any]]) -> dict[UUID, str]:
        """The canonical text of every row, by the definition."""
        # jsonb has a text of its own: the only value that is not taken from what was put in.
        kept: dict[UUID, str] = dict(self.connection.execute("SELECT id, document::text FROM kinds_2026_02").fetchall())
        return {
            row["id"]: canonical_row(
                self.columns, [{**row, "document": kept[row["id"]]}[name] for name in TYPES]
            ).decode()
            for row in values
        }

    def by_postgresql(self) -> dict[UUID, bytes]:
        leaf = postgres_leaf_expression(self.columns)
        return dict(self.connection.execute(SQL("SELECT id, {} FROM kinds_2026_02").format(leaf)).fetchall())

    def by_datafusion(self) -> dict[UUID, bytes]:
        with second_reader(self.settings, 1) as context:
            open_file(context, Layout.of(TABLE, self.columns), self.file)
            found = context.sql(f"SELECT id, {leaf_expression(self.columns)} FROM {SOURCE}").to_arrow_table()
        ids, leaves = (column.to_pylist() for column in found.columns)
        return {UUID(bytes=key): leaf for key, leaf in zip(ids, leaves, strict=True)}

    def read(self) -> ReadFile:
        return read_file(self.settings, TABLE, self.columns, MONTH, self.file, self.file.parent)


@pytest.fixture
def bench(settings: Settings, tmp_path: Path) -> Iterator[Bench]:
    with ExitStack() as stack:
        connection = stack.enter_context(connect(settings.database_dsn, "tests"))
        lines = ", ".join(f"{identifier(name)} {kind}" for name, kind in TYPES.items())
        connection.execute(f"CREATE TABLE kinds_2026_02 ({lines})")
        duck = stack.enter_context(engine(settings))
        columns = columns_of(connection, relation(connection, "kinds_2026_02"))
        yield Bench(settings, connection, duck, columns, tmp_path / "kinds.parquet")


def _unique(values: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return list({row["id"]: row for row in values}.values())


def test_the_table_has_every_kind_of_column_with_null_and_without(bench: Bench) -> None:
    assert {column.kind for column in bench.columns} == set(ColumnKind)
    assert {column.nullable for column in bench.columns} == {True, False}


@hypothesis_settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(rows, min_size=1, max_size=30).map(_unique))
def test_three_computations_of_a_leaf_agree_on_every_row(bench: Bench, values: list[dict[str, Any]]) -> None:
    _agree(bench, values)


def test_they_agree_at_the_ends_of_every_range(bench: Bench) -> None:
    nulls = {column.name: None for column in bench.columns if column.nullable}
    _agree(bench, [EXTREME, {**EXTREME, **CHANGED}, {**EXTREME, **nulls, "id": UUID(int=1 << 127)}])


def _agree(bench: Bench, values: list[dict[str, Any]]) -> None:
    bench.fill(values)
    assert bench.export() == len(values)
    texts = bench.texts(values)
    expected = {key: leaf_hash(text.encode()) for key, text in texts.items()}
    assert bench.by_postgresql() == expected
    assert bench.by_datafusion() == expected
    query = leaves_query(bench.columns, relation(bench.connection, "kinds_2026_02"), range(LAST_BLOCK))
    together, rows = bench.connection.execute(query).fetchall()[0]
    assert (rows, sorted(together[at : at + 32] for at in range(0, len(together), 32))) == (
        len(values),
        sorted(expected.values()),
    )
    read = bench.read()
    leaves = [leaf_hash(text.encode()) for text in leaf_texts(Layout.of(TABLE, bench.columns), texts.values())]
    assert (read.tree.head.leaves, read.tree.head.root) == (len(leaves), merkle_root(leaves))
    assert read.content.rows == len(values)


def test_a_month_without_rows_has_the_root_of_nothing(bench: Bench) -> None:
    assert bench.export() == 0
    tree = bench.read().tree
    assert (tree.head.leaves, tree.head.root, tree.chunk_roots) == (0, EMPTY_ROOT, b"")


def test_dates_beyond_pythons_agree_too(bench: Bench) -> None:
    bench.fill([EXTREME, {**EXTREME, **CHANGED}])
    bench.connection.execute(
        "UPDATE kinds_2026_02 SET day = '4713-01-01 BC', exact = '4713-01-01 BC', born = '5874897-12-31',"
        " created_at = '0044-03-15 12:00:00 BC'"
    )
    bench.export()
    assert bench.by_datafusion() == bench.by_postgresql()


@pytest.mark.parametrize("column", ["day", "exact"])
@pytest.mark.parametrize("value", ["infinity", "-infinity"])
def test_an_infinite_date_is_refused_on_both_sides_and_the_archives_names_the_row(
    bench: Bench, column: str, value: str
) -> None:
    bench.fill([EXTREME])
    bench.connection.execute(f"UPDATE kinds_2026_02 SET {column} = '{value}'")
    bench.export()
    with pytest.raises(DataError, match=r"kinds: row 00000000-.* an infinite date or instant, and cannot be archived"):
        bench.read()
    with pytest.raises(psycopg.Error, match="infinit"):
        bench.by_postgresql()


@pytest.mark.parametrize("column", ["money", "rate"])
def test_nan_can_never_pass_for_the_zero_that_parquet_would_hold(bench: Bench, column: str) -> None:
    """DuckDB reads PostgreSQL's NaN as 0: only the digest, over PostgreSQL's own text, tells them apart."""
    bench.fill([EXTREME])
    bench.connection.execute(f"UPDATE kinds_2026_02 SET {column} = 'NaN'")
    bench.export()
    partition = relation(bench.connection, "kinds_2026_02")
    held = read_held_rows(bench.settings, TABLE, bench.columns, partition, MONTH, bench.file.parent)
    with pytest.raises(VerificationError, match=r"1 row of PostgreSQL not .*; 1 row of the archive not"):
        compare(TABLE, partition, held, bench.read())


@pytest.mark.parametrize("mark", [FIELD_SEPARATOR, NULL_MARK])
def test_a_text_with_a_reserved_character_is_refused_by_its_row(bench: Bench, mark: str) -> None:
    for column in ("word", "short", 'Odd "Name'):
        bench.fill([{**EXTREME, column: f"a{mark}b"}])
        bench.export()
        with pytest.raises(DataError, match=r"kinds: row 00000000-.* has U\+001E or U\+001F in a text"):
            bench.read()


def test_a_reserved_character_in_a_document_is_escaped_by_postgresql_and_harmless(bench: Bench) -> None:
    bench.fill([{**EXTREME, "document": r'["\u001e\u001f"]'}])
    kept = bench.connection.execute("SELECT document::text FROM kinds_2026_02").fetchone()
    assert kept == (r'["\u001e\u001f"]',)
