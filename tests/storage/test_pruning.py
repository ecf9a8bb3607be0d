"""A query over ten years reads only the months that can hold its answer, and its answer is the same."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from config import load_settings
from ledger.columns import Column, ColumnKind
from ledger.months import Month, months_between
from ledger.tables import TieredTable
from storage.branches import Branch, Described
from storage.engine import engine, literal
from storage.pruning import plan_of
from storage.views import create_views
from tests.examples import examples
from tests.storage.archived_rows import COLUMNS, TABLE, Row, make_month, write_rows

MONTHS = list(months_between(Month(2025, 11), Month(2026, 4)))
TIERS = ["deep", "cold", "cold", "warm", "warm", "hot"]
CONFIG = {"memory_limit": "256MB", "threads": "1", "enable_external_access": "false"}
OTHER = TieredTable(name="events", key_is_uuid7=False)
OLD_COLUMNS = tuple(column for column in COLUMNS if column.name not in ("rate", "flagged"))
CHANCE = random.Random(7)  # noqa: S311  # a seed, not a secret
ROWS: dict[Month, list[Row]] = {month: make_month(CHANCE, month, 30) for month in MONTHS}
TABLES = [(TABLE, COLUMNS), (OTHER, COLUMNS)]


def needed_branches(tables: Sequence[Described], branches: Sequence[Branch], query: str) -> list[Branch]:
    return [need.branch for need in plan_of(tables, branches, query, CONFIG, datetime.now(UTC)).needs]


@dataclass
class Archive:
    """Six months of two tables as Parquet files, the oldest from before two of the columns came."""

    duck: duckdb.DuckDBPyConnection
    branches: list[Branch]

    def needed(self, query: str) -> list[Branch]:
        return needed_branches(TABLES, self.branches, query)

    def months(self, query: str) -> list[str]:
        return [str(branch.month) for branch in self.needed(query)]

    def answer(self, query: str, branches: list[Branch]) -> list[tuple[Any, ...]]:
        with self.duck.cursor() as cursor:
            cursor.execute("DROP SCHEMA IF EXISTS question CASCADE; CREATE SCHEMA question; USE question")
            create_views(cursor, TABLES, [(branch, branch.source) for branch in branches])
            return sorted(cursor.execute(query).fetchall(), key=repr)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    folder = tmp_path_factory.mktemp("archive")
    branches = [
        Branch(table, month, tier, _source(folder / table.name, month), table.key_is_uuid7)
        for table in (TABLE, OTHER)
        for month, tier in zip(MONTHS, TIERS, strict=True)
    ]
    settings = load_settings(home=folder / "home", archive_url=f"file://{folder}", archive_threads=1)
    with engine(settings) as duck:
        yield Archive(duck, branches)


def _source(folder: Path, month: Month) -> str:
    columns = OLD_COLUMNS if month == MONTHS[0] else COLUMNS
    file = write_rows(ROWS[month], folder / f"{month}.parquet", columns)
    return f"read_parquet({literal(str(file))}, hive_partitioning = false)"


def _ids(*places: tuple[int, int]) -> str:
    return ", ".join(f"'{ROWS[MONTHS[month]][number]['id']}'" for month, number in places)


ALL = [str(month) for month in MONTHS]
PRUNED = [
    ("SELECT * FROM transactions WHERE created_at >= '2026-02-01' AND created_at < '2026-03-01'", ["2026-02"]),
    ("SELECT * FROM transactions WHERE created_at >= TIMESTAMPTZ '2026-02-01 01:00:00+02'", ALL[2:]),
    ("SELECT * FROM transactions WHERE created_at BETWEEN '2025-12-31' AND '2026-01-01'", ["2025-12", "2026-01"]),
    ("SELECT * FROM transactions WHERE created_at = '2026-03-01 00:00:00+00'", ["2026-03"]),
    ("SELECT count(*) FROM transactions WHERE month = '2026-02'", ["2026-02"]),
    ("SELECT count(*) FROM transactions WHERE month IN ('2026-02', '2025-11', '1999-01')", ["2025-11", "2026-02"]),
    ("SELECT count(*) FROM transactions WHERE month > '2026-02'", ALL[4:]),
    ("SELECT count(*) FROM transactions WHERE month LIKE '2025-%'", ALL[:2]),
    ("SELECT count(*) FROM transactions WHERE tier = 'cold'", ["2025-12", "2026-01"]),
    ("SELECT count(*) FROM transactions WHERE tier <> 'cold' AND NOT tier IN ('hot', 'warm')", ["2025-11"]),
    ("SELECT count(*) FROM transactions_archive_cold", ALL[:3]),
    ("SELECT count(*) FROM transactions_archive_cold WHERE tier = 'hot'", []),
    (f"SELECT * FROM transactions WHERE id = {_ids((2, 5))}", ["2026-01"]),
    (f"SELECT * FROM transactions WHERE id = {_ids((2, 5))} AND created_at < '2026-01-01'", []),
    ("SELECT * FROM transactions WHERE month = '2025-11' OR month = '2026-04'", ["2025-11", "2026-04"]),
    ("SELECT * FROM transactions WHERE NOT (month <> '2026-02')", ["2026-02"]),
    ("WITH a AS (SELECT * FROM transactions WHERE month = '2026-02') SELECT count(*) FROM a, a AS b", ["2026-02"]),
    ("SELECT * FROM (SELECT * FROM transactions) WHERE month = '2026-02'", ["2026-02"]),
    (
        (
            "SELECT count(*) FROM transactions AS a JOIN transactions AS b USING (wallet_id)"
            " WHERE a.month = '2025-11' AND b.month = '2026-04'"
        ),
        ["2025-11", "2026-04"],
    ),
    ("SELECT 1 WHERE EXISTS (SELECT 1 FROM transactions WHERE month = '2026-02')", ["2026-02"]),
    ("SELECT 1", []),
]
WHOLE = [
    "SELECT count(*) FROM transactions",
    "SELECT min(created_at), max(created_at) FROM transactions",
    "SELECT * FROM transactions WHERE wallet_id = 'wallet-1'",
    "SELECT * FROM transactions WHERE reference IS NULL OR length(reference) > 50",
    "SELECT * FROM transactions WHERE metadata::JSON ->> 'a' IS NOT NULL",
    "SELECT * FROM transactions WHERE retries = 9223372036854775807 OR retries = -9223372036854775808",
    "SELECT * FROM transactions WHERE whole < 0 OR rate < 0",
    "SELECT * FROM transactions WHERE extract(month FROM created_at) = 2",
    "SELECT status, currency, sum(amount) FROM transactions GROUP BY ALL",
    "SELECT *, row_number() OVER (PARTITION BY wallet_id ORDER BY created_at, id) FROM transactions",
    "SELECT DISTINCT month, tier FROM transactions",
    "SELECT max(id::VARCHAR), month FROM transactions GROUP BY month HAVING count(*) > 1",
    "FROM transactions SELECT wallet_id, count(*) GROUP BY ALL",
    "SELECT e.id FROM events AS e ANTI JOIN transactions AS t ON t.id = e.id AND t.status = 'failed'",
    "SELECT * FROM transactions WHERE flagged UNION ALL SELECT * FROM events WHERE NOT flagged",
    "SELECT * FROM transactions WHERE created_at IN (SELECT max(created_at) FROM events GROUP BY month)",
    "SELECT t.id FROM transactions AS t WHERE amount > (SELECT avg(amount) FROM transactions WHERE month = t.month)",
    (
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5)"
        " SELECT i, count(*) FROM n JOIN transactions ON retries < i GROUP BY i"
    ),
    "PIVOT (SELECT status, currency, amount FROM transactions) ON currency IN ('ZAR', 'USD') USING sum(amount)",
    "SELECT * FROM query_table('transactions') WHERE flagged",
    "SELECT id FROM transactions ORDER BY created_at DESC, id DESC LIMIT 7",
    "SELECT id, (SELECT count(*) FROM events WHERE events.wallet_id = t.wallet_id) FROM transactions AS t",
]


@pytest.mark.sampled(8)
@pytest.mark.parametrize(("query", "months"), PRUNED)
def test_what_bounds_or_labels_rule_out_is_not_read_and_the_answer_is_the_same(
    archive: Archive, query: str, months: list[str]
) -> None:
    needed = archive.needed(query)
    assert [str(branch.month) for branch in needed] == months
    assert archive.answer(query, needed) == archive.answer(query, archive.branches)


@pytest.mark.sampled(8)
@pytest.mark.parametrize("query", WHOLE)
def test_what_bounds_do_not_rule_out_is_read_whole(archive: Archive, query: str) -> None:
    needed = archive.needed(query)
    assert {str(branch.month) for branch in needed} == set(ALL)
    assert archive.answer(query, needed) == archive.answer(query, archive.branches)


def test_a_table_that_the_query_does_not_name_is_never_read(archive: Archive) -> None:
    assert {branch.table.name for branch in archive.needed("SELECT * FROM transactions")} == {"transactions"}
    assert {branch.table.name for branch in archive.needed("SELECT * FROM events")} == {"events"}


def test_a_key_that_does_not_tell_its_month_rules_nothing_out(archive: Archive) -> None:
    assert archive.months(f"SELECT * FROM events WHERE id = {_ids((2, 5))}") == ALL


@pytest.mark.parametrize(
    ("condition", "count"),
    [
        ("created_at >= now() - INTERVAL 1 DAY", 2),
        ("created_at >= date_trunc('month', now())", 1),
        ("created_at < date_trunc('month', now())", 5),
        ("created_at > now() + INTERVAL 40 DAY", 0),
    ],
)
def test_ages_relative_to_now_are_seen_through(archive: Archive, condition: str, count: int) -> None:
    now = datetime.now(UTC)
    this_month, yesterday = Month.of(now), Month.of(now - timedelta(days=1))
    if "1 DAY" in condition:
        count = 1 if this_month == yesterday else 2
    recent = months_between(this_month.plus(-5), this_month)
    branches = [Branch(TABLE, month, "hot", "nothing") for month in recent]
    found = needed_branches([(TABLE, COLUMNS)], branches, f"SELECT * FROM transactions WHERE {condition}")
    assert len(found) == count


def test_a_query_over_no_months_at_all_still_has_its_columns(archive: Archive) -> None:
    assert needed_branches(TABLES, [], "SELECT amount, tier FROM transactions") == []
    assert archive.answer("SELECT amount, tier, month FROM transactions", []) == []


@pytest.mark.parametrize(
    "query",
    [
        "SELECT nowhere FROM transactions",
        "SELECT * FROM secrets",
        "SELEC",
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM '/etc/passwd'",
    ],
)
def test_what_is_no_query_over_the_views_fails_before_anything_is_read(archive: Archive, query: str) -> None:
    with pytest.raises(duckdb.Error):
        archive.needed(query)


def test_every_kind_of_column_has_a_stand_in_that_rules_nothing_out() -> None:
    """A value at each end of every type passes every comparison, so only the bounds decide."""
    columns = (
        Column("id", ColumnKind.UUID),
        Column("created_at", ColumnKind.TIMESTAMP),
        *(Column(f"k_{kind}", kind) for kind in ColumnKind if kind is not ColumnKind.DECIMAL),
        Column("whole", ColumnKind.DECIMAL, precision=38, scale=0),
        Column("fraction", ColumnKind.DECIMAL, precision=4, scale=4),
    )
    branch = Branch(TABLE, MONTHS[0], "cold", "nothing")
    literals = {
        "k_uuid": "'00000000-0000-0000-0000-000000000001'::UUID",
        "k_text": "repeat('\u00e9', 1000)",
        "k_json": "'{}'",
        "k_boolean": "true",
        "k_integer": "-9223372036854775808",
        "k_timestamp": "TIMESTAMPTZ '294000-01-01'",
        "k_date": "DATE '5874897-12-31'",
        "whole": "99999999999999999999999999999999999999",
        "fraction": "-0.9999",
    }
    for name, value in literals.items():
        for condition in (f"{name} = {value}", f"{name} <> {value}", f"{name} IS NULL", f"NOT ({name} = {value})"):
            query = f"SELECT * FROM transactions WHERE {condition}"
            assert needed_branches([(TABLE, columns)], [branch], query) == [branch], query


instants = st.datetimes(datetime(2025, 10, 25), datetime(2026, 5, 5), timezones=st.just(UTC))  # noqa: DTZ001
EVERY = [row for month in MONTHS for row in ROWS[month]]
rows = st.integers(0, len(EVERY) - 1).map(lambda number: EVERY[number])
comparisons = st.sampled_from(["=", "<>", "<", "<=", ">", ">="])


def _compared(column: str, values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    one = st.builds(lambda comparison, value: f"{column} {comparison} {value}", comparisons, values)
    many = st.lists(values, min_size=1, max_size=3).map(lambda chosen: f"{column} IN ({', '.join(chosen)})")
    return one | many | values.map(lambda value: f"{column} IS DISTINCT FROM {value}")


simple = st.one_of(
    _compared("created_at", st.one_of(instants, rows.map(lambda row: row["created_at"])).map(lambda t: f"'{t}'")),
    _compared("id", rows.map(lambda row: f"'{row['id']}'")),
    _compared("month", st.sampled_from(ALL).map(literal)),
    _compared("tier", st.sampled_from(TIERS).map(literal)),
    _compared("wallet_id", st.sampled_from(["'wallet-1'", "''", "'x'"])),
    _compared("amount", st.sampled_from(["0", "5000", "9999999999999999.99"])),
    _compared("retries", st.sampled_from(["0", "9223372036854775807", "NULL"])),
    _compared("settled_on", instants.map(lambda moment: f"DATE '{moment.date()}'")),
    st.sampled_from(["flagged", "reference IS NULL", "rate IS NOT NULL", "whole > 0", "true", "false"]),
)
conditions = st.recursive(
    simple,
    lambda inner: st.one_of(
        st.builds("({} AND {})".format, inner, inner),
        st.builds("({} OR {})".format, inner, inner),
        st.builds("(NOT {})".format, inner),
        st.builds("coalesce({}, {})".format, inner, inner),
    ),
    max_leaves=6,
)
shapes = st.sampled_from(
    [
        "SELECT * FROM transactions WHERE {0}",
        "SELECT month, count(*), sum(amount) FROM transactions WHERE {0} GROUP BY month",
        "WITH a AS (SELECT * FROM transactions WHERE {0}) SELECT a.id, e.month FROM a JOIN events AS e USING (id)",
        "SELECT id FROM events WHERE id IN (SELECT id FROM transactions WHERE {0})",
        "SELECT id FROM events WHERE id NOT IN (SELECT id FROM transactions WHERE {0})",
        "SELECT * FROM transactions_archive_cold WHERE {0} UNION ALL SELECT * FROM events WHERE {1}",
        "SELECT id FROM (SELECT * FROM transactions WHERE {0}) WHERE {1}",
        (
            "WITH t AS (SELECT * FROM transactions WHERE {0}), e AS (SELECT * FROM events WHERE {1})"
            " SELECT t.month, e.month, id FROM t FULL JOIN e USING (id)"
        ),
    ]
)


@pytest.mark.heavy("test_same_answer.py asks random questions of pruned months")
@hypothesis_settings(max_examples=examples(40), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(shapes, conditions, conditions)
@example("SELECT * FROM transactions WHERE {0}", f"id IN ({_ids((1, 0), (2, 1))})", "true")
@example("SELECT * FROM transactions WHERE {0}", "(month = '2025-11' OR created_at >= '2026-04-15')", "true")
def test_any_question_has_the_same_answer_pruned_and_not(archive: Archive, shape: str, one: str, other: str) -> None:
    query = shape.format(one, other)
    assert archive.answer(query, archive.needed(query)) == archive.answer(query, archive.branches)
