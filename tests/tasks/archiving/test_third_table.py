"""A third monthly table, registered by configuration alone: no code knows of it."""

from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from config import Settings
from ledger.errors import ConfigError
from ledger.months import Month
from ledger.tables import TieredTable
from sql.connection import connect
from sql.partitions import ensure_partition, prepare_table
from tasks.archiving.move_month import move_month
from tasks.archiving.outcome import Result
from tasks.archiving.plan import plan_table
from tasks.archiving.rollover import roll_table
from tasks.archiving.tiers import tier_rows
from tasks.querying.query import run_query
from tests.tasks.archiving.ledger import TODAY

_DDL = """
    CREATE TABLE loyalty_events_partitioned (
        event_id    uuid NOT NULL,
        occurred_at timestamptz NOT NULL,
        member      text NOT NULL,
        points      numeric(20, 4) NOT NULL,
        visits      smallint,
        balance     bigint,
        is_gift     boolean,
        valid_until date,
        extra       jsonb,
        PRIMARY KEY (event_id, occurred_at)
    ) PARTITION BY RANGE (occurred_at);
    CREATE INDEX idx_loyalty_events_member ON loyalty_events_partitioned (member);
"""
_CONFIGURED: dict[str, Any] = {
    "time_column": "occurred_at",
    "key_column": "event_id",
    "key_is_uuid7": False,
    "money_columns": ["points"],
    "currency_column": None,
    "status_column": None,
    "cold_sort": ["member", "occurred_at"],
    "bloom_columns": ["event_id"],
    "warm_indexes": ["member"],
    "policy": {"hot_months": 1, "warm_months": 2, "cold_months": 24, "retention_months": 36},
}
OLD, RECENT = Month(2026, 5), Month(2026, 9)


@pytest.fixture
def registered(settings: Settings) -> Settings:
    with psycopg.connect(settings.database_dsn) as connection:
        connection.execute(_DDL)
    fields = settings.model_dump() | {"tables": {"loyalty_events": _CONFIGURED}}
    return Settings.model_validate(fields)


@pytest.fixture
def table(registered: Settings) -> TieredTable:
    return registered.table("loyalty_events")


def _insert(settings: Settings, table: TieredTable, month: Month, rows: int) -> Decimal:
    values = [
        (uuid4(), month.lower + timedelta(hours=7 * number, microseconds=number), f"m-{number % 3}",
         Decimal(number) / 7, number % 4 or None, None if number % 5 else -number, number % 2 == 1, TODAY, '{"a": [1]}')
        for number in range(rows)
    ]  # fmt: skip
    with connect(settings.database_dsn, "tests") as connection:
        prepare_table(connection, settings, table)
        ensure_partition(connection, settings, table, month)
        with connection.cursor() as cursor:
            cursor.executemany(f"INSERT INTO {table.hot_parent} VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)", values)
        total = connection.execute(f"SELECT sum(points) FROM {table.hot_parent}").fetchone()
    assert total is not None
    return Decimal(total[0])


def test_it_rolls_moves_and_answers_like_the_built_in_ones(registered: Settings, table: TieredTable) -> None:
    _insert(registered, table, OLD, 60)
    total = _insert(registered, table, RECENT, 40)
    rolled = roll_table(registered, table, TODAY)
    assert Month.of(TODAY) in rolled.created
    moves = plan_table(registered, table, TODAY, TODAY)
    assert [(move.month, str(move.due)) for move in moves] == [
        (OLD, "cold"),
        (Month(2026, 9), "warm"),
    ]
    outcomes = [outcome for move in moves for outcome in move_month(registered, move)]
    assert {outcome.result for outcome in outcomes} == {Result.MOVED}
    with run_query(
        registered, "SELECT tier, count(*) AS n, sum(points) AS points FROM loyalty_events GROUP BY 1 ORDER BY 1"
    ) as answer:
        rows = answer.batches.read_all().to_pylist()
    assert [(row["tier"], row["n"]) for row in rows] == [("cold", 60), ("warm", 40)]
    assert sum(row["points"] for row in rows) == total
    (cold,) = (row for row in tier_rows(registered, [table]) if row.tier == "cold")
    assert (cold.rows, list(cold.sums)) == (60, [""])


def test_its_values_come_back_from_the_archive_exactly(registered: Settings, table: TieredTable) -> None:
    _insert(registered, table, OLD, 12)
    roll_table(registered, table, TODAY)
    with connect(registered.database_dsn, "tests") as connection:
        before = connection.execute(f"SELECT * FROM {table.hot_parent} ORDER BY occurred_at").fetchall()
    for move in plan_table(registered, table, TODAY, TODAY):
        move_month(registered, move)
    names = "event_id, occurred_at, member, points, visits, balance, is_gift, valid_until"
    with run_query(registered, f"SELECT {names} FROM loyalty_events_archive_cold ORDER BY occurred_at") as answer:
        after = [tuple(row.values()) for row in answer.batches.read_all().to_pylist()]
    assert [row[:8] for row in before] == after
    assert isinstance(after[0][0], UUID)


def test_a_table_that_the_database_has_not_is_named(settings: Settings) -> None:
    fields = settings.model_dump() | {"tables": {"ghosts": _CONFIGURED}}
    absent = Settings.model_validate(fields)
    with pytest.raises(ConfigError, match="ghosts_partitioned"):
        roll_table(absent, absent.table("ghosts"), TODAY)
