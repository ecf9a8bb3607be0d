"""The auditor's SQL: one SELECT over every tier, exact, and nothing besides."""

import csv
import hashlib
import io
import json
import os
import resource
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal, localcontext
from pathlib import Path
from typing import Any
from uuid import UUID

import duckdb
import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from psycopg.conninfo import conninfo_to_dict
from pydantic import SecretStr

from cli.answers import write_answer
from ledger.errors import ConfigError, DataError, TransientError
from tasks.archiving.to_cold import archive_month
from tasks.archiving.to_warm import warm_month
from tasks.querying.failures import TimeLimit
from tasks.querying.query import run_query
from tasks.querying.reading import check_reading
from tests.tasks.archiving.ledger import COLD, HOT, ROWS, WARM, Ledger, moment

REFUSED = {
    "nothing": "",
    "no SQL": "what is the total?",
    "two statements": "SELECT 1; SELECT 2",
    "a change after a question": "SELECT 1; DELETE FROM transactions",
    "DELETE": "DELETE FROM transactions",
    "UPDATE": "UPDATE transactions SET amount = 0",
    "INSERT": "INSERT INTO transactions SELECT * FROM transactions",
    "DROP": "DROP VIEW transactions",
    "CREATE": "CREATE TABLE mine AS SELECT 1",
    "COPY out": "COPY (SELECT 1) TO '/tmp/treasury-test-copy.csv'",
    "COPY of a database": "COPY FROM DATABASE pg_0 TO memory",
    "EXPORT": "EXPORT DATABASE '/tmp/treasury-test-export'",
    "ATTACH": "ATTACH '/tmp/treasury-test.db' AS mine",
    "DETACH": "DETACH pg_0",
    "USE": "USE pg_0",
    "PRAGMA": "PRAGMA database_list",
    "SET": "SET enable_external_access = true",
    "RESET": "RESET lock_configuration",
    "CALL": "CALL postgres_execute('pg_0', 'DELETE FROM api_keys')",
    "INSTALL": "INSTALL httpfs",
    "LOAD": "LOAD httpfs",
    "PREPARE": "PREPARE p AS SELECT 1",
    "EXPLAIN ANALYZE": "EXPLAIN ANALYZE SELECT 1",
    "BEGIN": "BEGIN",
    "VACUUM": "VACUUM",
    "secrets": "CREATE SECRET s (TYPE s3, KEY_ID 'k', SECRET 's')",
    "a file": "SELECT * FROM read_csv('/etc/passwd')",
    "a file as text": "SELECT * FROM read_text('/etc/passwd')",
    "a file by its name": "SELECT * FROM '/etc/passwd'",
    "a folder": "SELECT * FROM glob('/etc/*')",
    "an address": "SELECT * FROM read_csv('http://127.0.0.1:9/x.csv')",
    "another bucket": "SELECT * FROM read_parquet('s3://other/x.parquet')",
    "a table behind the views": "SELECT * FROM pg_0.public.api_keys",
    "a partition": "SELECT * FROM pg_0.public.transactions_2026_10",
    "a query for PostgreSQL": "SELECT * FROM postgres_query('pg_0', 'SELECT * FROM api_keys')",
    "a scan of PostgreSQL": "SELECT * FROM postgres_scan('', 'public', 'api_keys')",
    "a table by a text": "SELECT * FROM query_table('pg_0.public.api_keys')",
    "a query by a text": "SELECT * FROM query('SELECT * FROM pg_0.public.api_keys')",
    "the engine's own clock": "SELECT system.main.now()",
    "an unknown column": "SELECT colour FROM transactions",
    "an unknown table": "SELECT * FROM ledger",
}


def _stored(ledger: Ledger) -> tuple[list[Any], dict[str, str]]:
    """Every row of PostgreSQL's tiers and of the tier map, and the content of every object."""
    parents = (ledger.table.hot_parent, ledger.table.warm_parent, "archive_months")
    rows = [row for parent in parents for row in ledger.sql(f"SELECT one::text FROM {parent} AS one ORDER BY 1")]
    return rows, {key: hashlib.sha256((ledger.store / key).read_bytes()).hexdigest() for key in ledger.objects()}


@pytest.fixture(scope="module")
def untouched(three_tiers: Ledger) -> tuple[list[Any], dict[str, str]]:
    """What was there before any question."""
    return _stored(three_tiers)


@pytest.mark.sampled(12)
@pytest.mark.parametrize("name", REFUSED)
def test_anything_but_one_select_over_the_views_is_refused(
    three_tiers: Ledger, untouched: tuple[list[Any], dict[str, str]], name: str
) -> None:
    with pytest.raises(DataError, match="SQL"):
        three_tiers.ask(REFUSED[name])
    assert _stored(three_tiers) == untouched
    assert list(Path("/tmp").glob("treasury-test-*.csv")) == []  # noqa: S108  # where a breach would leave it


@pytest.mark.parametrize(
    "query",
    ["DESCRIBE transactions", "SHOW TABLES", "SUMMARIZE transactions", "SELECT * FROM (DESCRIBE SELECT 1)", "SHOW ALL"],
)
def test_what_the_engine_calls_a_select_and_is_none_is_refused_with_what_to_do(query: str) -> None:
    with pytest.raises(DataError, match=r"exactly one SELECT .*\\d NAME"):
        check_reading(query)


@pytest.mark.sampled(1)
@pytest.mark.parametrize("catalogue", ["duckdb_databases", "duckdb_views", "pragma_database_list", "duckdb_tables"])
def test_the_engine_s_own_catalogue_tells_no_secret(three_tiers: Ledger, catalogue: str) -> None:
    """Beside a question that has both the database and the store attached."""
    question = f"SELECT told.* FROM {catalogue} AS told, (SELECT max(amount) FROM transactions)"
    password = str(conninfo_to_dict(three_tiers.settings.database_dsn)["password"])
    secret = three_tiers.settings.s3_secret_access_key
    assert secret is not None
    told = str(three_tiers.ask(question))
    assert len(told) > 100
    assert password not in told
    assert secret.get_secret_value() not in told


@pytest.mark.parametrize(
    "source",
    [
        "duckdb_secrets()",
        "query('SELECT * FROM transactions')",
        "query_table('transactions')",
        "postgres_execute('pg_0', 'SELECT 1')",
        "(SELECT * FROM transactions WHERE amount IN (SELECT a FROM query('SELECT 1 AS a')))",
        "query(CASE WHEN current_setting('threads')::VARCHAR = '1' THEN 'SELECT 1' ELSE 'SELECT 2' END)",
    ],
)
def test_a_function_that_could_reach_beyond_the_views_is_refused_wherever_it_stands(
    three_tiers: Ledger, source: str
) -> None:
    with pytest.raises(DataError, match="must not be in FROM"):
        three_tiers.ask(f"WITH asked AS (SELECT * FROM {source}) SELECT * FROM asked")


@pytest.mark.heavy("the answers of each format are tested in tests/cli")
def test_two_columns_of_one_name_are_two_columns(three_tiers: Ledger, tmp_path: Path) -> None:
    query = "SELECT 1 AS a, 2 AS a"
    with run_query(three_tiers.settings, query) as answer:
        write_answer(answer, "csv", tmp_path / "answer.csv")
    assert (tmp_path / "answer.csv").read_text().split() == ["a,a", "1,2"]
    with run_query(three_tiers.settings, query) as answer, pytest.raises(DataError, match="named a"):
        write_answer(answer, "json", tmp_path / "answer.json")


@pytest.mark.parametrize("where", [f"month = '{COLD}'", f"month = '{HOT}'", "true"])
def test_division_is_exact_in_every_tier(three_tiers: Ledger, where: str) -> None:
    """Archived months have an engine that is kept, the others one of their own."""
    (row,) = three_tiers.ask(
        "SELECT exact_div(sum(amount), 7, 4) AS part, avg_exact(amount, 6) AS average,"
        " exact_div(9999999999999999.99, 1) AS large, sum(amount) AS total, count(*) AS n"
        f" FROM transactions WHERE {where}"
    )
    with localcontext(prec=60, rounding=ROUND_HALF_UP):
        assert row["part"] == (row["total"] / 7).quantize(Decimal("0.0001"))
        assert row["average"] == (row["total"] / row["n"]).quantize(Decimal("0.000001"))
    assert row["large"] == Decimal("9999999999999999.99")
    assert row["n"] == (3 * ROWS if where == "true" else ROWS)
    with pytest.raises(DataError, match="division by zero"):
        three_tiers.ask(f"SELECT exact_div(amount, 0) AS part FROM transactions WHERE {where}")


def test_every_tier_is_in_one_answer_and_each_row_once(three_tiers: Ledger) -> None:
    assert {key: rows for key, (rows, _) in three_tiers.whole().items()} == {
        (str(COLD), "cold"): ROWS,
        (str(WARM), "warm"): ROWS,
        (str(HOT), "hot"): ROWS,
    }
    (counted,) = three_tiers.ask("SELECT count(*) AS n, count(DISTINCT id) AS ids FROM transactions")
    assert counted == {"n": 3 * ROWS, "ids": 3 * ROWS}
    (cold,) = three_tiers.ask("SELECT count(*) AS n, min(month) AS month FROM transactions_archive_cold")
    assert cold == {"n": ROWS, "month": str(COLD)}


def test_a_query_opens_only_the_months_it_can_need(three_tiers: Ledger) -> None:
    day = moment(COLD).date()
    questions = {
        f"SELECT count(*) FROM transactions WHERE created_at >= '{day}' AND created_at < '{day}'::DATE + 1": 1,
        "SELECT count(*) FROM transactions WHERE tier = 'cold'": 1,
        f"SELECT count(*) FROM transactions WHERE month IN ('{WARM}', '{HOT}')": 2,
        "SELECT count(*) FROM transactions WHERE id = '00000000-0000-0000-0000-000000000000'": 0,
        "SELECT count(*) FROM transactions": 3,
    }
    for question, months in questions.items():
        with run_query(three_tiers.settings, question) as answer:
            answer.batches.read_all()
            assert (answer.months_read, answer.months_known) == (months, 3), question


def test_values_are_the_same_in_every_tier(ledger: Ledger) -> None:
    ledger.fill(COLD)
    question = "SELECT * EXCLUDE (tier) FROM transactions ORDER BY id"
    hot = ledger.ask(question)
    ledger.night()
    assert ledger.tier(COLD) == "cold"
    cold = ledger.ask(question)
    assert cold == hot
    first = cold[0]
    assert isinstance(first["id"], UUID)
    assert isinstance(first["amount"], Decimal)
    assert first["created_at"] == COLD.lower
    assert {row["description"] for row in cold} >= {None, "", "naïve ☕, 'quoted'\n\"line\""}


@pytest.mark.sampled(1)
@pytest.mark.parametrize(
    ("column", "value"), [("fee", Decimal("NaN")), ("updated_at", "294270-01-01 00:00:00+00")], ids=["NaN", "far time"]
)
def test_a_value_that_the_engine_reads_as_another_one_is_an_error_where_it_is_asked_for(
    ledger: Ledger, column: str, value: object
) -> None:
    ledger.fill(HOT)
    for relation in ("transactions_partitioned", "transactions_2026_10"):
        ledger.sql(f"ALTER TABLE {relation} DROP CONSTRAINT IF EXISTS transactions_fee")
    ledger.sql("ALTER TABLE transactions_2026_10 DISABLE TRIGGER USER")
    ledger.sql(f"UPDATE transactions_2026_10 SET {column} = %s WHERE reference = 'REF-7'", value)
    assert ledger.sql("SELECT count(*) FROM transactions_2026_10 WHERE reference = 'REF-7'") == [(1,)]
    for question in (f"SELECT max({column}) FROM transactions", "SELECT * FROM transactions ORDER BY id LIMIT 1"):
        with pytest.raises(DataError, match=f"transactions_2026_10: {column} has a NaN, or a time after"):
            ledger.ask(question)
    assert ledger.ask("SELECT count(id) AS n FROM transactions") == [{"n": ROWS}]


@pytest.mark.heavy("values of every tier are compared beside it")
def test_infinite_and_far_times_are_what_postgresql_has(ledger: Ledger) -> None:
    ledger.fill(HOT, 1, updated_at="infinity")
    ledger.fill(WARM, 1, updated_at="4713-01-01 00:00:00+00 BC")
    assert ledger.ask("SELECT updated_at::VARCHAR AS at FROM transactions ORDER BY created_at") == [
        {"at": "4713-01-01 (BC) 00:00:00+00"},
        {"at": "infinity"},
    ]


def test_a_column_that_came_later_is_null_in_older_archived_months(ledger: Ledger) -> None:
    newer = COLD.plus(1)
    ledger.warm(COLD, newer)
    archive_month(ledger.settings, ledger.table, COLD)
    for parent in (ledger.table.hot_parent, ledger.table.warm_parent):
        ledger.sql(f"ALTER TABLE {parent} ADD COLUMN channel varchar(16)")
    ledger.fill(HOT, channel="app")
    archive_month(ledger.settings, ledger.table, newer)
    assert ledger.ask("SELECT month, channel, count(*) AS n FROM transactions GROUP BY ALL ORDER BY ALL") == [
        {"month": str(COLD), "channel": None, "n": ROWS},
        {"month": str(newer), "channel": None, "n": ROWS},
        {"month": str(HOT), "channel": "app", "n": ROWS},
    ]


@pytest.mark.sampled(1)
@pytest.mark.parametrize(
    "question",
    [
        "SELECT CAST(user_id AS INTEGER) FROM transactions",
        "SELECT CAST(user_id AS INTEGER) FROM transactions_archive_cold",
        "SELECT error('no ' || user_id) FROM transactions",
        "SELECT CASE WHEN i < 90000 THEN '1' ELSE 'x' END::INTEGER FROM range(100000) AS numbers(i)",
    ],
)
def test_an_error_that_comes_while_rows_are_read_is_the_questioner_s(three_tiers: Ledger, question: str) -> None:
    with pytest.raises(DataError, match="SQL"), run_query(three_tiers.settings, question) as answer:
        answer.batches.read_all()


def test_a_name_that_is_not_there_is_told_with_those_that_are(three_tiers: Ledger) -> None:
    with (
        pytest.raises(DataError) as told,
        run_query(three_tiers.settings, "SELECT count(*) FROM transaction") as answer,
    ):
        answer.batches.read_all()
    assert "Table with name transaction does not exist!" in str(told.value)
    assert "The views are transactions, vas_transactions" in str(told.value)
    assert "EXPLAIN" not in str(told.value)
    assert "Did you mean" not in str(told.value)


def test_a_store_that_is_away_matters_only_to_who_asks_for_cold_months(three_tiers: Ledger) -> None:
    changes = {"s3_endpoint_url": "http://127.0.0.1:9", "store_timeout_s": 0.5, "object_cache_mb": 0}
    away = Ledger(three_tiers.settings.model_copy(update=changes), three_tiers.store)
    assert len(away.ask("SELECT id FROM transactions WHERE tier <> 'cold'")) == 2 * ROWS
    with pytest.raises(TransientError, match="cannot be read now"):
        away.ask("SELECT id FROM transactions")


def test_a_database_that_is_away_is_transient_and_keeps_its_password(three_tiers: Ledger) -> None:
    away = three_tiers.settings.model_copy(
        update={"auditor_database_url": SecretStr("postgresql://u:geheim@127.0.0.1:9/none")}
    )
    with pytest.raises(TransientError) as raised, run_query(away, "SELECT 1"):
        pass
    assert "geheim" not in str(raised.value)


def test_a_question_without_end_is_given_up_in_time_and_holds_no_month(ledger: Ledger) -> None:
    ledger.fill(HOT)
    endless = "SELECT count(*) FROM transactions, range(100000000) AS a(i), range(100000000) AS b(j) WHERE i <> j"
    with pytest.raises(DataError, match=r"no whole answer within 0\.2 s"), run_query(ledger.settings, endless, 0.2):
        pass
    assert warm_month(ledger.settings, ledger.table, HOT)


def test_a_time_limit_holds_in_a_process_with_many_open_files() -> None:
    """Numbers of files beyond 1023, which select() does not take."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard), hard))
    with ExitStack() as files, duckdb.connect() as engine:
        for _ in range(1100):
            files.enter_context(Path(os.devnull).open())
        limit = TimeLimit(0.1)
        with pytest.raises(duckdb.InterruptException), limit.watching(engine):
            engine.execute("SELECT sum(hash(i * 7 + j)) FROM range(100000) a(i), range(30000) b(j)")
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert limit.is_over


def test_a_question_that_waits_for_a_lock_is_given_up_in_time_too(three_tiers: Ledger) -> None:
    with psycopg.connect(three_tiers.settings.database_dsn) as somebody:
        somebody.execute("LOCK TABLE transactions_2026_10 IN ACCESS EXCLUSIVE MODE")
        with (
            pytest.raises(TransientError, match="statement timeout"),
            run_query(three_tiers.settings, "SELECT sum(amount) FROM transactions WHERE tier = 'hot'", 0.5),
        ):
            pass


@pytest.mark.sampled(1)
@pytest.mark.parametrize("output_format", ["table", "csv", "json"])
@pytest.mark.parametrize("time", ["'infinity'::TIMESTAMPTZ", "'290000-01-01'::TIMESTAMP", "'-infinity'::DATE"])
def test_an_infinite_time_is_a_named_error_where_it_cannot_be_written(
    three_tiers: Ledger, tmp_path: Path, output_format: str, time: str
) -> None:
    with pytest.raises(DataError, match=r"SQL: never: .*CAST"):
        written(three_tiers, output_format, tmp_path / "answer", f"SELECT {time} AS never")
    assert b"infinity" in written(
        three_tiers, "csv", tmp_path / "cast", "SELECT CAST('infinity'::TIMESTAMPTZ AS VARCHAR)"
    )


def test_an_interval_that_would_wrap_around_is_a_named_error_and_others_are_exact(
    three_tiers: Ledger, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=r"SQL: .*waited: an INTERVAL of 2562047 hours or more: use CAST"):
        written(three_tiers, "csv", tmp_path / "a", "SELECT to_hours(5200000) AS waited; -- done")
    question = "SELECT to_hours(2562046) AS waited, to_hours(2562046) AS waited, [to_hours(-1)] AS more, 1.50 AS amount"
    assert written(three_tiers, "csv", tmp_path / "b", question).decode() == (
        'waited,waited,more,amount\nPT2562046H,PT2562046H,"[""PT-1H""]",1.50\n'
    )


@pytest.mark.sampled(1)
@pytest.mark.parametrize("output_format", ["table", "csv", "json", "parquet"])
def test_an_output_that_is_a_folder_is_a_named_error(three_tiers: Ledger, tmp_path: Path, output_format: str) -> None:
    with pytest.raises(ConfigError, match=r"^--output: .*Is a directory"):
        written(three_tiers, output_format, tmp_path)


EXACT = """
    SELECT 1234567890123456.78::DECIMAL(18, 2) AS amount, -0.5::DECIMAL(18, 2) AS less, NULL AS nothing,
           TIMESTAMPTZ '2026-03-01 10:20:30.123+02' AS at, DATE '2024-02-29' AS day, true AS yes, 'a;"b"' AS text,
           123456789012345678 AS big, '018df74f-8400-763f-b1b2-6f66afde9c64'::UUID AS id, [1.10::DECIMAL(9, 2)] AS many
"""


def written(ledger: Ledger, output_format: str, file: Path, question: str = EXACT) -> bytes:
    with run_query(ledger.settings, question) as answer:
        write_answer(answer, output_format, file)
    return file.read_bytes()


def test_lines_of_csv_end_with_lf_and_values_keep_their_own_ends(three_tiers: Ledger, tmp_path: Path) -> None:
    question = "SELECT 1 AS a, chr(13) AS cr, 'x' || chr(13) || chr(10) AS both, 'y' || chr(10) AS lf UNION ALL "
    question += "SELECT 2, 'a', 'b', 'c' ORDER BY a"
    content = written(three_tiers, "csv", tmp_path / "answer.csv", question)
    assert content == b'a,cr,both,lf\n1,"\r","x\r\n","y\n"\n2,a,b,c\n'


def test_csv_is_exact(three_tiers: Ledger, tmp_path: Path) -> None:
    text = written(three_tiers, "csv", tmp_path / "answer.csv").decode()
    (row,) = csv.DictReader(io.StringIO(text))
    assert row == {
        "amount": "1234567890123456.78",
        "less": "-0.50",
        "nothing": "",
        "at": "2026-03-01T08:20:30.123000+00:00",
        "day": "2024-02-29",
        "yes": "True",
        "text": 'a;"b"',
        "big": "123456789012345678",
        "id": "018df74f-8400-763f-b1b2-6f66afde9c64",
        "many": '["1.10"]',
    }


def test_json_is_exact_with_decimals_as_text(three_tiers: Ledger, tmp_path: Path) -> None:
    (row,) = json.loads(written(three_tiers, "json", tmp_path / "answer.json"))
    assert row == {
        "amount": "1234567890123456.78",
        "less": "-0.50",
        "nothing": None,
        "at": "2026-03-01T08:20:30.123000+00:00",
        "day": "2024-02-29",
        "yes": True,
        "text": 'a;"b"',
        "big": 123456789012345678,
        "id": "018df74f-8400-763f-b1b2-6f66afde9c64",
        "many": ["1.10"],
    }


def test_parquet_keeps_the_types(three_tiers: Ledger, tmp_path: Path) -> None:
    file = tmp_path / "answer.parquet"
    written(three_tiers, "parquet", file)
    table = pq.read_table(file)
    assert table.schema.field("amount").type == pa.decimal128(18, 2)
    (row,) = table.to_pylist()
    assert row["amount"] == Decimal("1234567890123456.78")
    assert row["at"] == datetime(2026, 3, 1, 8, 20, 30, 123000, tzinfo=UTC)
    assert (row["nothing"], row["big"]) == (None, 123456789012345678)


def test_a_table_shows_every_digit(three_tiers: Ledger, tmp_path: Path) -> None:
    text = written(three_tiers, "table", tmp_path / "answer.txt").decode()
    assert "1234567890123456.78" in text
    assert "-0.50" in text


@pytest.mark.sampled(1)
@pytest.mark.parametrize(
    ("output_format", "read"),
    [
        ("csv", lambda content: list(csv.DictReader(io.StringIO(content.decode())))),
        ("json", json.loads),
        ("parquet", lambda content: pq.read_table(io.BytesIO(content)).to_pylist()),
    ],
)
def test_an_empty_answer_is_an_empty_document(
    three_tiers: Ledger, tmp_path: Path, output_format: str, read: Callable[[bytes], object]
) -> None:
    assert read(written(three_tiers, output_format, tmp_path / "answer", "SELECT 1 AS one WHERE false")) == []
