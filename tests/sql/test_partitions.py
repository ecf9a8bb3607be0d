"""Partitions: one UTC month each, checked at birth, made without a writer noticing."""

import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from psycopg.sql import SQL, Identifier, Literal

from config import Settings
from ledger.errors import DataError, NotStoredError
from ledger.identifiers import id_bounds
from ledger.months import Month
from ledger.tables import BUILT_IN, TRANSACTIONS, TieredTable
from sql.connection import Connection, connect
from sql.maintenance import run_ddl
from sql.partitions import create_partition, ensure_partition
from sql.warm import move_to_warm
from tasks.archiving.catalogue import register_months
from tests.dropping import dropping
from tests.relations import hot_months, hot_partitions, relation, warm_months
from tests.sql.conftest import Connector
from tests.sql.ledger_rows import FEBRUARY, add_row

APRIL = Month(2026, 4)
MICROSECOND = timedelta(microseconds=1)
MILLISECOND = timedelta(milliseconds=1)


def _partition_of(connection: Connection, row_id: uuid.UUID) -> Any:
    row = connection.execute(
        "SELECT tableoid::regclass::text FROM transactions_partitioned WHERE id = %s", (row_id,)
    ).fetchone()
    return row and row[0]


@pytest.mark.parametrize("timezone", ["Africa/Johannesburg", "America/New_York", "Asia/Kathmandu", "UTC"])
def test_bounds_are_exact_utc_whatever_the_timezone_of_database_and_session(
    prepared: Settings, another: Connector, timezone: str
) -> None:
    name = psycopg.conninfo.conninfo_to_dict(prepared.database_dsn)["dbname"]
    another().execute(SQL("ALTER DATABASE {} SET timezone = {}").format(Identifier(str(name)), Literal(timezone)))
    with psycopg.connect(prepared.database_dsn, autocommit=True) as local:  # not one of ours: keeps the database's zone
        assert local.execute("SHOW timezone").fetchone() == (timezone,)
        assert ensure_partition(local, prepared, TRANSACTIONS, APRIL)
        (found,) = [part for part in hot_partitions(local, TRANSACTIONS) if part.month == APRIL]
        assert (found.lower, found.upper) == (APRIL.lower, APRIL.upper)
        first = add_row(local, TRANSACTIONS, APRIL.lower)
        last = add_row(local, TRANSACTIONS, APRIL.upper - MILLISECOND)
        before = add_row(local, TRANSACTIONS, APRIL.lower - MILLISECOND)
        assert [_partition_of(local, row_id) for row_id in (first, last, before)] == [
            "transactions_2026_04",
            "transactions_2026_04",
            "transactions_2026_03",
        ]
    with connect(prepared.database_dsn, "tests") as ours:
        assert hot_months(ours, TRANSACTIONS)[APRIL] == found.name


@pytest.mark.parametrize("table", BUILT_IN, ids=lambda table: table.name)
def test_the_check_of_the_bounds_is_there_at_birth_and_valid(
    prepared: Settings, connection: Connection, table: TieredTable
) -> None:
    name = table.partition(FEBRUARY)
    checks = connection.execute(
        "SELECT convalidated, pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = %s", (f"{name}_bounds",)
    ).fetchall()
    assert [valid for valid, _ in checks] == [True]
    first, last = id_bounds(FEBRUARY)
    for bound in ("2026-02-01 00:00:00+00", "2026-03-01 00:00:00+00", str(first), str(last)):
        assert bound in checks[0][1]


def test_an_id_that_does_not_tell_its_month_is_refused(prepared: Settings, connection: Connection) -> None:
    first, last = id_bounds(FEBRUARY)
    inside = [first, uuid.UUID(int=last.int - 1)]
    outside = [uuid.UUID(int=first.int - 1), last, uuid.uuid4(), uuid.UUID(int=0), uuid.UUID(int=2**128 - 1)]
    for row_id in inside:
        add_row(connection, TRANSACTIONS, FEBRUARY.lower, id=row_id)
    for row_id in outside:
        with pytest.raises(psycopg.errors.CheckViolation, match="transactions_2026_02_bounds"):
            add_row(connection, TRANSACTIONS, FEBRUARY.lower, id=row_id)


def test_a_table_whose_key_is_no_uuidv7_has_the_bounds_of_time_alone(
    prepared: Settings, connection: Connection
) -> None:
    table = TRANSACTIONS.model_copy(update={"key_is_uuid7": False})
    ensure_partition(connection, prepared, table, APRIL)
    add_row(connection, table, APRIL.lower, id=uuid.uuid4())


def test_a_row_outside_every_partition_is_a_clear_error(prepared: Settings, connection: Connection) -> None:
    with pytest.raises(psycopg.errors.CheckViolation, match="no partition of relation"):
        add_row(connection, TRANSACTIONS, APRIL.lower)


def test_making_a_partition_again_does_nothing(prepared: Settings, connection: Connection) -> None:
    before = hot_partitions(connection, TRANSACTIONS)
    assert not ensure_partition(connection, prepared, TRANSACTIONS, FEBRUARY)
    assert hot_partitions(connection, TRANSACTIONS) == before


def test_of_many_callers_at_once_one_makes_it(prepared: Settings, connection: Connection) -> None:
    def make(_: int) -> bool:
        with connect(prepared.database_dsn, "tests") as own:
            return ensure_partition(own, prepared, TRANSACTIONS, APRIL)

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(make, range(4))) == [False, False, False, True]
    assert APRIL in hot_months(connection, TRANSACTIONS)


@pytest.mark.parametrize("tier", ["warm", "deleted"])
def test_a_month_that_has_left_hot_is_not_made_anew(prepared: Settings, connection: Connection, tier: str) -> None:
    connection.execute(
        "INSERT INTO archive_months (table_name, month, tier, certificate) VALUES ('transactions', %s, %s, 'DEL-1')",
        (APRIL.first_day, tier),
    )
    assert not ensure_partition(connection, prepared, TRANSACTIONS, APRIL)
    assert APRIL not in hot_months(connection, TRANSACTIONS)


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE public.transactions_2026_04 (x int)",
        "CREATE VIEW public.transactions_2026_04 AS SELECT 1 AS x",
        "CREATE SEQUENCE public.transactions_2026_04",
    ],
)
def test_a_relation_in_the_way_is_told_and_nothing_is_registered(
    prepared: Settings, connection: Connection, statement: str
) -> None:
    connection.execute(statement)
    with pytest.raises(DataError, match=r"transactions 2026-04: a relation called transactions_2026_04 is in the way"):
        ensure_partition(connection, prepared, TRANSACTIONS, APRIL)
    known = connection.execute("SELECT 1 FROM archive_months WHERE month = %s", (APRIL.first_day,)).fetchall()
    assert known == []


def test_open_transactions_of_writers_and_readers_do_not_hold_it_up(
    prepared: Settings, connection: Connection, another: Connector
) -> None:
    writer, reader = another(), another()
    with writer.transaction(), reader.transaction():
        add_row(writer, TRANSACTIONS, FEBRUARY.lower)
        reader.execute("SELECT * FROM transactions")
        at_once = prepared.model_copy(update={"lock_attempts": 1})
        assert ensure_partition(connection, at_once, TRANSACTIONS, APRIL)
        add_row(writer, TRANSACTIONS, FEBRUARY.lower)


def test_writers_go_on_while_it_is_being_made(prepared: Settings, connection: Connection, another: Connector) -> None:
    writer = another()
    writer.execute("SET lock_timeout = '50ms'")

    def work() -> None:
        create_partition(connection, TRANSACTIONS, relation(connection, TRANSACTIONS.hot_parent), APRIL)
        add_row(writer, TRANSACTIONS, FEBRUARY.lower)  # while the attach holds its locks

    run_ddl(connection, prepared, work)


def test_a_partition_with_other_bounds_than_a_month_has_no_month(prepared: Settings, connection: Connection) -> None:
    connection.execute(
        "CREATE TABLE odd PARTITION OF transactions_partitioned"
        " FOR VALUES FROM ('2030-01-01 02:00+02') TO ('2030-02-01 02:00+02');"
        "CREATE TABLE local PARTITION OF transactions_partitioned"
        " FOR VALUES FROM ('2031-01-01 00:00+02') TO ('2031-02-01 00:00+02');"
        "CREATE TABLE long PARTITION OF transactions_partitioned FOR VALUES FROM ('2032-01-01') TO ('2032-03-01');"
        "CREATE TABLE past PARTITION OF transactions_partitioned FOR VALUES FROM (MINVALUE) TO ('1990-01-01');"
        "CREATE TABLE rest PARTITION OF transactions_partitioned DEFAULT"
    )
    found = {part.name: part for part in hot_partitions(connection, TRANSACTIONS)}
    assert found["odd"].month == Month(2030, 1)  # written in local time, and exactly a UTC month
    assert [found[name].month for name in ("local", "long", "past", "rest")] == [None] * 4
    assert (found["past"].lower, found["past"].upper) == (None, datetime(1990, 1, 1, tzinfo=UTC))
    assert (found["rest"].lower, found["rest"].bound) == (None, "DEFAULT")
    assert set(hot_months(connection, TRANSACTIONS)) == {FEBRUARY, FEBRUARY.plus(1), Month(2030, 1)}


def test_a_partition_goes_by_its_bounds_and_not_by_its_name(prepared: Settings, connection: Connection) -> None:
    connection.execute("ALTER TABLE transactions_2026_02 RENAME TO transactions_2031_07")
    assert hot_months(connection, TRANSACTIONS)[FEBRUARY] == "transactions_2031_07"
    assert move_to_warm(connection, prepared, TRANSACTIONS, FEBRUARY)
    assert warm_months(connection, TRANSACTIONS) == {FEBRUARY: "transactions_2031_07"}


def test_a_month_that_the_catalogue_does_not_store_is_an_error_by_name(
    prepared: Settings, connection: Connection
) -> None:
    not_stored = pytest.raises(NotStoredError, match="archive_months: 1 row was sent and PostgreSQL stored 0")
    with dropping(connection, "archive_months"), not_stored:
        ensure_partition(connection, prepared, TRANSACTIONS, APRIL)
    assert ensure_partition(connection, prepared, TRANSACTIONS, APRIL)


def test_a_partition_of_others_that_the_catalogue_does_not_store_is_an_error_by_name(
    prepared: Settings, connection: Connection
) -> None:
    bounds = SQL("FROM ({}) TO ({})").format(Literal(APRIL.lower), Literal(APRIL.upper))
    connection.execute(SQL("CREATE TABLE other PARTITION OF transactions_partitioned FOR VALUES {}").format(bounds))
    not_stored = pytest.raises(NotStoredError, match="archive_months: 3 rows were sent and PostgreSQL stored 2")
    with dropping(connection, "archive_months"), not_stored:
        register_months(connection, TRANSACTIONS)
    register_months(connection, TRANSACTIONS)
    assert not ensure_partition(connection, prepared, TRANSACTIONS, APRIL)
