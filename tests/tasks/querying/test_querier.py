"""Many questions in one process: each is answered as if it were the first, whatever happens between them."""

import os
import random
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from threading import Event, Lock
from typing import Any
from uuid import UUID

import duckdb
import psycopg
import pytest

from config import Settings
from ledger.errors import DataError, TransientError, TreasuryError
from sql.connection import connect
from sql.preparation import prepare_table
from storage.engine import engine
from tasks.archiving.to_cold import archive_month
from tasks.archiving.to_warm import warm_month
from tasks.querying.link import linked
from tasks.querying.places import Places, find_places
from tasks.querying.query import Querier
from tasks.querying.reading import PLAN_CONFIG
from tasks.querying.tier_map import Map
from tests.archives import Archives
from tests.conftest import own_database
from tests.databases import Databases
from tests.tasks.archiving.ledger import COLD, HOT, ROWS, TODAY, WARM, Ledger, make_row

TOTAL = "SELECT count(*) AS n, sum(amount) AS total FROM transactions"


def ask(querier: Querier, query: str) -> list[dict[str, Any]]:
    with querier.answer(query) as answer:
        rows: list[dict[str, Any]] = answer.batches.read_all().to_pylist()
    return rows


def months_read(querier: Querier, query: str) -> int:
    with querier.answer(query) as answer:
        answer.batches.read_all()
        return answer.months_read


def _three_cold_months(settings: Settings) -> None:
    """Archive three months: wallets are named by their month."""
    ledger = Ledger(settings, settings.home)
    for number in range(3):
        month = COLD.plus(number)
        ledger.fill(month, wallet_id=f"wallet-{month}", user_id=f"user-{number}")
        assert warm_month(ledger.settings, ledger.table, month)
        archive_month(ledger.settings, ledger.table, month)


@pytest.fixture
def cold(ledger: Ledger, archives: Archives) -> Ledger:
    archives.begin(ledger.settings, _three_cold_months)
    return ledger


@pytest.fixture(scope="module")
def kept(
    databases: Databases, server_settings: Settings, template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Ledger]:
    """The same for those tests that only look."""
    with own_database(databases, server_settings, template, tmp_path_factory.mktemp("kept")) as settings:
        _three_cold_months(settings)
        yield Ledger(settings, server_settings.home / "s3")


@pytest.mark.parametrize(
    ("condition", "months"),
    [
        (f"wallet_id = 'wallet-{COLD}'", 1),
        (f"wallet_id IN ('wallet-{COLD}', 'wallet-{COLD.plus(2)}')", 2),
        (f"wallet_id = 'wallet-{COLD}' AND user_id = 'user-1'", 0),
        (f"wallet_id = 'wallet-{COLD}' OR user_id = 'user-1'", 3),
        ("user_id = 'user-1'", 1),
        ("user_id = 'nobody'", 0),
        ("reference = 'never'", 0),
        ("wallet_id LIKE 'wallet-%'", 3),
        (f"upper(wallet_id) = 'WALLET-{COLD}'", 3),
        ("wallet_id IS NULL", 3),
        ("reference IS NULL", 3),
        ("wallet_id <> 'x'", 3),
        (f"month >= '{COLD.plus(1)}'", 2),
        (f"month = '{COLD}' OR month > '{COLD.plus(1)}'", 2),
        ("tier = 'hot'", 0),
        (f"created_at >= '{COLD.plus(1)}-01' AND created_at < '{COLD.plus(2)}-01'", 1),
        ("true", 3),
        ("false", 0),
    ],
)
def test_months_that_cannot_have_a_row_are_not_read(kept: Ledger, condition: str, months: int) -> None:
    query = f"SELECT wallet_id, user_id, reference, month FROM transactions_archive_cold WHERE {condition}"
    everything = f"SELECT count(*) AS n FROM (SELECT * FROM transactions_archive_cold OFFSET 0) WHERE {condition}"
    with Querier(kept.settings) as querier:
        assert months_read(querier, query) == months
        assert ask(querier, everything) == [{"n": len(ask(querier, query))}]


def test_a_row_is_found_by_its_id_and_another_id_opens_no_file(kept: Ledger) -> None:
    with Querier(kept.settings) as querier:
        row_id = ask(querier, f"SELECT id FROM transactions WHERE month = '{COLD}' LIMIT 1")[0]["id"]
        (row,) = ask(querier, f"SELECT month FROM transactions WHERE id = '{row_id}'")
        assert row == {"month": str(COLD)}
        other = UUID(int=row_id.int ^ 1)
        assert months_read(querier, f"SELECT * FROM transactions WHERE id = '{other}'") == 0


@pytest.mark.heavy("months that filters deny are tested beside it")
def test_late_rows_of_a_wallet_are_found_by_the_filter_of_their_part(cold: Ledger) -> None:
    cold.sql(
        f"CREATE TABLE late PARTITION OF transactions_partitioned"
        f" FOR VALUES FROM ('{COLD}-01 00:00+00') TO ('{COLD.plus(1)}-01 00:00+00')"
    )
    with psycopg.connect(cold.settings.database_dsn) as connection:
        cold.insert(connection, cold.table, [make_row(cold.table, COLD, 99) | {"wallet_id": "late"}])
    with Querier(cold.settings) as querier:
        assert ask(querier, "SELECT count(*) AS n FROM transactions WHERE wallet_id = 'late'") == [{"n": 1}]


@pytest.mark.heavy("months that filters deny are tested beside it")
def test_a_month_without_filters_is_read(cold: Ledger) -> None:
    cold.sql("DELETE FROM archive_filters")
    with Querier(cold.settings) as querier:
        assert months_read(querier, "SELECT * FROM transactions WHERE wallet_id = 'nobody'") == 3


@pytest.mark.heavy("test_objects.py reads such a month")
def test_a_month_that_was_archived_without_a_lookup_is_read_as_before(cold: Ledger) -> None:
    with Querier(cold.settings) as querier:
        before = ask(querier, TOTAL)
        cold.sql("UPDATE archive_months SET lookup = NULL WHERE month = %s", COLD.first_day)
        cold.sql("DELETE FROM archive_lookups WHERE month = %s", COLD.first_day)
        assert ask(querier, TOTAL) == before
        assert months_read(querier, f"SELECT * FROM transactions WHERE wallet_id = 'wallet-{COLD}'") == 1


def test_a_lookup_that_somebody_removed_from_postgresql_is_an_error_by_name(cold: Ledger) -> None:
    cold.sql("DELETE FROM archive_lookups WHERE month = %s", COLD.first_day)
    with Querier(cold.settings) as querier, pytest.raises(DataError, match=f"transactions {COLD}: archive_lookups"):
        ask(querier, TOTAL)


def test_what_changes_between_two_questions_is_in_the_second_answer(ledger: Ledger) -> None:
    with Querier(ledger.settings) as querier:
        ledger.fill(COLD)
        assert ask(querier, "SELECT DISTINCT tier FROM transactions") == [{"tier": "hot"}]
        warm_month(ledger.settings, ledger.table, COLD)
        assert ask(querier, "SELECT DISTINCT tier FROM transactions") == [{"tier": "warm"}]
        archive_month(ledger.settings, ledger.table, COLD)
        assert ask(querier, "SELECT DISTINCT tier FROM transactions") == [{"tier": "cold"}]
        ledger.sql("ALTER TABLE transactions_partitioned ADD COLUMN colour text")
        ledger.sql("ALTER TABLE transactions_archive_warm ADD COLUMN colour text")
        assert ask(querier, "SELECT DISTINCT colour FROM transactions") == [{"colour": None}]
        ledger.sql("ALTER TABLE transactions_partitioned RENAME COLUMN description TO words")
        ledger.sql("ALTER TABLE transactions_archive_warm RENAME COLUMN description TO words")
        assert ask(querier, "SELECT count(words) > 0 AS some FROM transactions") == [{"some": True}]


def test_the_map_of_an_unchanged_database_is_made_once(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    with connect(ledger.settings.database_dsn, "tests") as connection:
        for table in ledger.settings.registry.values():  # the map of a database with a table missing is not kept
            prepare_table(connection, ledger.settings, table)
    ledger.fill(COLD)
    made = []

    def noted(*arguments: Any) -> Places:
        made.append(arguments)
        return find_places(*arguments)

    monkeypatch.setattr("tasks.querying.tier_map.find_places", noted)
    with Querier(ledger.settings) as querier:
        for _ in range(3):
            assert ask(querier, TOTAL)[0]["n"] == ROWS
        assert len(made) == 1
        warm_month(ledger.settings, ledger.table, COLD)
        for _ in range(3):
            assert ask(querier, "SELECT DISTINCT tier FROM transactions") == [{"tier": "warm"}]
    assert len(made) == 2


def test_a_question_leaves_nothing_to_the_next(kept: Ledger) -> None:
    settings = "SELECT current_setting('threads') AS t, current_setting('TimeZone') AS z, now() AS at"
    with Querier(kept.settings) as querier:
        (first,) = ask(querier, settings)
        for query in (
            "SELECT setseed(0.5)",
            "SELECT 1/0 FROM transactions",
            "SELECT nothing",
            "SELECT sum(amount) FROM (SELECT 1)",
        ):
            try:
                ask(querier, query)
            except TreasuryError:
                continue
        (second,) = ask(querier, settings)
        assert (first["t"], first["z"]) == (second["t"], second["z"])
        assert second["at"] > first["at"]
        for name in ("stand_in_0_all", "temp.transactions", "memory.main.transactions"):
            with pytest.raises(TreasuryError):
                ask(querier, f"SELECT * FROM {name}")
        path = "archive:///" + "0" * 64 + "/tier=cold/month=2024-01/rows.parquet"
        with pytest.raises(TreasuryError):
            ask(querier, f"SELECT * FROM '{path}'")


@pytest.mark.heavy("a month that moves is asked for by many questions beside it")
def test_two_questions_at_the_same_time_see_their_own_months(kept: Ledger) -> None:
    months = [COLD.plus(number) for number in range(3)]
    with Querier(kept.settings) as querier, ThreadPoolExecutor(6) as threads:
        queries = [
            f"SELECT month, count(*) AS n FROM transactions WHERE month = '{month}' GROUP BY 1" for month in months
        ]
        found = list(threads.map(lambda number: ask(querier, queries[number % 3]), range(30)))
    assert found == [[{"month": str(months[number % 3]), "n": ROWS}] for number in range(30)]


def test_an_answer_that_is_left_half_read_is_no_hindrance(kept: Ledger) -> None:
    with Querier(kept.settings) as querier:
        with querier.answer("SELECT * FROM transactions") as answer:
            answer.batches.read_next_batch()
        assert ask(querier, "SELECT count(*) AS n FROM transactions") == [{"n": 3 * ROWS}]


def test_a_connection_that_was_ended_is_replaced(kept: Ledger) -> None:
    with Querier(kept.settings) as querier:
        before = ask(querier, TOTAL)
        kept.sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE application_name = 'treasury auditor sql' AND datname = current_database()"
        )
        assert ask(querier, TOTAL) == before


_PAUSE_S = 0.1  # a move needs a moment in which nobody reads hot or warm months


@pytest.mark.parametrize(
    "questions",
    [
        20,
        pytest.param(100, marks=pytest.mark.heavy("fewer questions see every move, too")),
        pytest.param(1000, marks=[pytest.mark.slow, pytest.mark.timeout(1800)]),
    ],
)
def test_a_month_that_moves_is_counted_once_by_every_question(ledger: Ledger, questions: int) -> None:
    ledger.fill(HOT)
    months = [COLD, COLD.plus(1)]
    for month in months:
        ledger.fill(month)
    ended = Event()

    def move() -> None:
        for month in months:
            warm_month(ledger.settings, ledger.table, month)
            archive_month(ledger.settings, ledger.table, month)
        ended.set()

    with Querier(ledger.settings) as querier, ThreadPoolExecutor(1) as mover:
        whole = ask(querier, TOTAL)
        moved = mover.submit(move)
        asked = 0
        while asked < questions or not ended.is_set():
            assert ask(querier, TOTAL) == whole
            asked += 1
            time.sleep(_PAUSE_S)
            if moved.done():
                moved.result()
        assert ask(querier, "SELECT count(DISTINCT month) AS n FROM transactions_archive_cold") == [{"n": 2}]


def damage(folder: Path, chance: random.Random) -> None:
    """Write nonsense somewhere into each file of a cache."""
    for path in folder.iterdir():
        with path.open("r+b") as file:
            for _ in range(3):
                file.seek(chance.randrange(max(1, path.stat().st_size)))
                file.write(os.urandom(chance.randrange(1, 5_000)))


def test_answers_are_right_while_somebody_writes_into_the_cache(kept: Ledger) -> None:
    chance = random.Random(14)  # noqa: S311  # a seed, not a secret
    with Querier(kept.settings) as querier:
        query = (
            "SELECT month, count(*) AS n, sum(amount) AS total, max(reference) FROM transactions GROUP BY 1 ORDER BY 1"
        )
        whole = ask(querier, query)
        assert sum(row["n"] for row in whole) == 3 * ROWS
        assert all(isinstance(row["total"], Decimal) for row in whole)
        for _ in range(12):
            querier.forget()
            damage(kept.settings.object_cache_folder, chance)
            assert ask(querier, query) == whole


def test_an_object_with_other_bytes_is_refused_by_name_once_it_is_read(cold: Ledger) -> None:
    key = cold.catalogue(COLD)["object_key"]
    content = (cold.store / key).read_bytes()
    (cold.store / key).write_bytes(bytes(byte ^ 1 for byte in content))
    with Querier(cold.settings) as querier:
        with pytest.raises(DataError, match=rf"SQL: transactions {COLD}: bytes \d+ to \d+ of {key}"):
            ask(querier, TOTAL)
        assert ask(querier, f"SELECT count(amount) AS n FROM transactions WHERE month > '{COLD}'") == [{"n": 2 * ROWS}]
        (cold.store / key).write_bytes(content)
        assert ask(querier, "SELECT count(amount) AS n FROM transactions") == [{"n": 3 * ROWS}]


def test_hot_warm_and_cold_rows_are_asked_together(ledger: Ledger) -> None:
    for month in (COLD, WARM, HOT):
        ledger.fill(month)
    ledger.night(TODAY)
    with Querier(ledger.settings) as querier:
        for _ in range(2):
            found = ask(querier, "SELECT tier, count(*) AS n FROM transactions GROUP BY 1 ORDER BY 1")
            assert found == [{"tier": tier, "n": ROWS} for tier in ("cold", "hot", "warm")]
        joined = "SELECT count(*) AS n FROM transactions a JOIN transactions_archive_cold b ON a.id = b.id"
        assert ask(querier, joined) == [{"n": ROWS}]


def test_questions_over_hot_rows_share_the_memory_of_two_engines(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger.fill(HOT)
    under_way, most, lock = [0], [0], Lock()

    @contextmanager
    def counted(settings: Settings) -> Iterator[duckdb.DuckDBPyConnection]:
        with engine(settings) as duck:
            with lock:
                under_way[0] += 1
                most[0] = max(most[0], under_way[0])
            yield duck
            with lock:
                under_way[0] -= 1

    monkeypatch.setattr("tasks.querying.query.engine", counted)
    with Querier(ledger.settings) as querier, ThreadPoolExecutor(6) as threads:
        assert list(threads.map(lambda _: ask(querier, TOTAL)[0]["n"], range(12))) == [ROWS] * 12
    assert most == [2]


def test_a_question_that_gets_no_engine_in_its_time_says_so(three_tiers: Ledger) -> None:
    with Querier(three_tiers.settings) as querier:
        with querier.answer(TOTAL), querier.answer(TOTAL):
            with pytest.raises(TransientError, match="other questions over hot or warm months are under way"):
                querier.answer(TOTAL, timeout_s=0.5).__enter__()
            assert ask(querier, "SELECT count(*) AS n FROM transactions_archive_cold") == [{"n": ROWS}]
        assert ask(querier, "SELECT count(*) AS n FROM transactions") == [{"n": 3 * ROWS}]


@pytest.mark.parametrize(
    ("question", "engines"),
    [
        ("SELECT count(*) AS n FROM transactions_archive_cold", 0),
        (f"SELECT count(*) AS n FROM transactions WHERE month = '{COLD}'", 0),
        (f"SELECT count(*) AS n FROM transactions WHERE created_at < '{COLD.plus(1)}-01'", 0),
        ("SELECT count(*) AS n FROM transactions WHERE tier = 'cold'", 0),
        (f"SELECT count(*) AS n FROM transactions WHERE month IN ('{COLD}', '{HOT}')", 1),
    ],
)
def test_a_question_that_needs_cold_months_alone_makes_no_engine_and_no_link(
    three_tiers: Ledger, monkeypatch: pytest.MonkeyPatch, question: str, engines: int
) -> None:
    made = []

    @contextmanager
    def noted(*arguments: Any, **named: Any) -> Iterator[None]:
        made.append(arguments)
        with linked(*arguments, **named):
            yield

    monkeypatch.setattr("tasks.querying.query.linked", noted)
    with Querier(three_tiers.settings) as querier:
        assert ask(querier, question) == [{"n": ROWS * (1 + engines)}]
    assert len(made) == engines


_OTHER = COLD.plus(1)


_EMPTY = "decode(repeat('00', octet_length(bits)), 'hex')"
_OTHERS = "FROM archive_filters AS o WHERE o.field_id = f.field_id AND o.object_key <> f.object_key"
_BY_HAND = "SELECT object_key, n, decode(repeat('00', 40), 'hex') FROM archive_lookups, generate_series(1, 20) AS n"


@pytest.mark.parametrize(
    "changes",
    [
        [f"UPDATE archive_filters SET bits = {_EMPTY}"],
        ["UPDATE archive_filters SET bits = substring(bits FOR 32) || substring(bits FROM octet_length(bits) - 7)"],
        [f"UPDATE archive_filters AS f SET bits = o.bits {_OTHERS}"],
        ["DELETE FROM archive_filters", f"INSERT INTO archive_filters (object_key, field_id, bits) {_BY_HAND}"],
        ["DELETE FROM archive_filters"],
    ],
)
def test_a_filter_that_somebody_changed_leaves_out_no_month_that_has_rows(cold: Ledger, changes: list[str]) -> None:
    for change in changes:
        cold.sql(change)
    with Querier(cold.settings) as querier:
        for number in range(3):
            where = f"wallet_id = 'wallet-{COLD.plus(number)}' AND user_id = 'user-{number}'"
            assert ask(querier, f"SELECT count(*) AS n FROM transactions WHERE {where}") == [{"n": ROWS}]


@pytest.mark.parametrize("columns", ["pieces = o.pieces, footer = o.footer", "footer = o.footer", "pieces = o.pieces"])
def test_a_lookup_of_another_month_that_somebody_put_into_postgresql_is_refused_by_name(
    cold: Ledger, columns: str
) -> None:
    cold.sql(
        f"UPDATE archive_lookups AS l SET {columns} FROM archive_lookups AS o WHERE l.month = %s AND o.month = %s",
        COLD.first_day,
        _OTHER.first_day,
    )
    with Querier(cold.settings) as querier, pytest.raises(DataError, match=f"transactions {COLD}: the row of"):
        ask(querier, "SELECT count(*) AS n FROM transactions")


# DuckDB 1.5 fails within itself in some runs of this (duckdb/duckdb#22352), and then answers nothing more.
_FAILS = """
WITH numbers AS (SELECT i AS x FROM range(1) t(i)),
     people AS (SELECT * FROM numbers WHERE x >= 5000 UNION ALL
                SELECT * FROM numbers WHERE NOT EXISTS (SELECT 1 FROM numbers WHERE x >= 5000))
SELECT x, count() OVER () AS n FROM people ORDER BY x DESC LIMIT 5
"""
_TRIES = 50_000


def _break(connection: duckdb.DuckDBPyConnection) -> None:
    for _ in range(_TRIES):
        try:
            connection.execute(_FAILS).fetchall()
        except duckdb.InternalException:
            break
    with pytest.raises(duckdb.FatalException):
        connection.execute("SELECT 1")


@pytest.mark.heavy("the engine is broken by some hundred queries")
def test_an_engine_that_failed_within_itself_is_replaced(kept: Ledger) -> None:
    with Querier(kept.settings) as querier:
        before = ask(querier, TOTAL)
        with querier._archive.session("SELECT 1", datetime.now(UTC)) as connection:
            _break(connection)
        assert ask(querier, TOTAL) == before


@pytest.mark.heavy("the engine is broken by some hundred queries")
def test_an_engine_that_failed_within_itself_while_it_planned_is_not_asked_again() -> None:
    made = Map(Places(), PLAN_CONFIG)
    planner = made._outline._connection
    planner.execute("SET threads = 4")
    _break(planner)
    with pytest.raises(duckdb.FatalException):
        made.plan("SELECT 1", datetime.now(UTC), nullcontext)
    assert made.is_broken


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("SELECT " + "+".join(["1"] * 200), "nested too deep"),
        ("SELECT " + "+".join(["1"] * 2000), "Max expression depth"),
        ("SELECT " + "abs(" * 400 + "1" + ")" * 400, "nested too deep"),
        ("SELECT * FROM (" * 300 + "SELECT 1" + ")" * 300, "nested too deep"),
        ("SELECT (" * 40 + "SELECT 1" + ")" * 40, "more than 12 subqueries are within each other"),
        ("SELECT 1 WHERE EXISTS (" * 40 + "SELECT 1" + ")" * 40, "more than 12 subqueries are within each other"),
        ("SELECT '\ud800'", "a character that is none of Unicode's"),
    ],
)
def test_a_query_that_could_be_planned_for_hours_is_refused_before_that(kept: Ledger, query: str, reason: str) -> None:
    with Querier(kept.settings) as querier, pytest.raises(DataError, match=reason):
        ask(querier, query)


@pytest.mark.parametrize(
    "query",
    [
        "SELECT " + "+".join(["1"] * 100) + " AS n",
        "SELECT (" * 10 + "SELECT 100" + ")" * 10 + " AS n",
        "SELECT sum(n)::BIGINT AS n FROM (" + " UNION ALL ".join(["SELECT 1 AS n"] * 100) + ")",
        "SELECT length(bitstring('1', 100)) AS n",
        "SELECT 100 AS n, '101'::BIT AS bits, 1::BIGNUM AS big",
    ],
)
def test_long_queries_and_rare_types_are_answered(kept: Ledger, query: str) -> None:
    with Querier(kept.settings) as querier:
        assert ask(querier, query)[0]["n"] == 100


def test_planning_ends_with_the_time_limit_too(kept: Ledger) -> None:
    doubled = ", ".join(f"c{n} AS NOT MATERIALIZED (SELECT a.x FROM c{n - 1} a, c{n - 1} b)" for n in range(1, 20))
    query = f"WITH c0 AS NOT MATERIALIZED (SELECT 1 AS x), {doubled} SELECT count(*) AS n FROM c19"
    with Querier(kept.settings) as querier:
        with pytest.raises(DataError, match="no whole answer within 1 s"), querier.answer(query, 1):
            pass
        assert ask(querier, "SELECT count(*) AS n FROM transactions") == [{"n": 3 * ROWS}]
