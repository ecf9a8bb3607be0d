"""A third monthly table, registered by configuration alone: no code knows of it."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from pydantic import ValidationError

from config import Settings
from ledger.errors import ConfigError, DataError
from ledger.months import Month
from ledger.tables import TieredTable
from sql.connection import connect
from sql.partitions import ensure_partition
from sql.preparation import prepare_table
from tasks.archiving.move_month import move_month
from tasks.archiving.outcome import MoveAction, MoveResult
from tasks.archiving.plan import plan_table
from tasks.archiving.rollover import roll_table
from tasks.archiving.tiers import tier_rows
from tasks.querying.query import run_query
from tests.tasks.archiving.ledger import TODAY, Ledger

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
    "policy": {"hot_months": 1, "warm_months": 2, "cold_months": 24, "retention_months": 84},
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
    assert {outcome.result for outcome in outcomes} == {MoveResult.MOVED}
    with run_query(
        registered, "SELECT tier, count(*) AS n, sum(points) AS points FROM loyalty_events GROUP BY 1 ORDER BY 1"
    ) as answer:
        rows = answer.batches.read_all().to_pylist()
    assert [(row["tier"], row["n"]) for row in rows] == [("cold", 60), ("warm", 40)]
    assert sum(row["points"] for row in rows) == total
    (cold,) = (row for row in tier_rows(registered, [table]) if row.tier == "cold")
    assert (cold.rows, list(cold.sums)) == (60, [""])


@pytest.mark.heavy("test_odd_values.py keeps values of every type")
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


def test_an_error_that_nobody_foresaw_is_kept_with_the_month(registered: Settings, table: TieredTable) -> None:
    """The month is sealed by then: what keeps it from ending must not be in a log alone."""
    _insert(registered, table, OLD, 3)
    (move,) = plan_table(registered, table, TODAY, TODAY)
    fields = registered.model_dump()
    fields["tables"]["loyalty_events"] |= {"type_column": "visits"}  # an integer: no preparation has seen it
    with pytest.raises(ValidationError):
        move_month(Settings.model_validate(fields), move)
    ledger = Ledger(registered, registered.home)
    ledger.table = table
    assert str(ledger.catalogue(OLD)["last_error"]).startswith("ValidationError: ")
    (outcome,) = move_month(registered, replace(move, actions=(MoveAction.TO_COLD,)))
    assert outcome.result is MoveResult.MOVED


def test_a_table_that_the_database_has_not_is_named(settings: Settings) -> None:
    fields = settings.model_dump() | {"tables": {"ghosts": _CONFIGURED}}
    absent = Settings.model_validate(fields)
    with pytest.raises(ConfigError, match="ghosts_partitioned"):
        roll_table(absent, absent.table("ghosts"), TODAY)


def test_a_table_that_already_has_another_primary_key_is_refused_by_every_question(ledger: Ledger) -> None:
    """As one that was registered by a version that did not look: of the lines of a row it would show one."""
    points = Points(ledger.settings)
    points.add("done", "ZAR", "1.0")
    points.ask("SELECT count(*) FROM points")
    ledger.sql("ALTER TABLE points_partitioned ADD COLUMN line integer NOT NULL DEFAULT 0")
    ledger.sql("ALTER TABLE points_archive_warm ADD COLUMN line integer NOT NULL DEFAULT 0")
    ledger.sql("ALTER TABLE points_partitioned DROP CONSTRAINT points_partitioned_pkey")
    ledger.sql("ALTER TABLE points_partitioned ADD PRIMARY KEY (id, line, occurred_at)")
    reason = r"points_partitioned has the primary key \(id, line, occurred_at\)"
    with pytest.raises(ConfigError, match=f"SQL: table points cannot be read: {reason}"):
        points.ask("SELECT count(*) FROM points")
    with pytest.raises(ConfigError, match=reason):
        roll_table(points.settings, points.table, TODAY)


_LOOSE_DDL = """
    CREATE TABLE points_partitioned (
        id          uuid NOT NULL,
        occurred_at timestamptz NOT NULL,
        state       text,
        currency    text,
        amount      numeric(38, 10),
        share       numeric(5, 5),
        PRIMARY KEY (id, occurred_at)
    ) PARTITION BY RANGE (occurred_at);
"""
_LOOSE: dict[str, Any] = {
    "time_column": "occurred_at",
    "key_is_uuid7": False,
    "money_columns": ["amount", "share"],
    "currency_column": "currency",
    "status_column": "state",
    "terminal_statuses": ["done"],
    "cold_sort": ["occurred_at"],
    "bloom_columns": ["id"],
    "policy": {"hot_months": 1, "warm_months": 2, "cold_months": 24, "retention_months": 84},
}


class Points:
    """A table of others, with NULLs and numbers that the built-in ones do not have."""

    def __init__(self, settings: Settings, **changes: Any) -> None:
        with psycopg.connect(settings.database_dsn) as connection:
            connection.execute(_LOOSE_DDL)
        fields = settings.model_dump() | {"tables": {"points": _LOOSE | changes}}
        self.settings = Settings.model_validate(fields)
        self.table = self.settings.table("points")
        with connect(settings.database_dsn, "tests") as connection:
            prepare_table(connection, self.settings, self.table)
            ensure_partition(connection, self.settings, self.table, OLD)

    def add(self, state: str | None, currency: str | None, amount: str | None, share: str | None = None) -> None:
        """One row of the month `OLD`."""
        row = (uuid4(), OLD.lower + timedelta(days=3), state, currency, amount, share)
        with psycopg.connect(self.settings.database_dsn, autocommit=True) as connection:
            connection.execute("INSERT INTO points_partitioned VALUES (%s, %s, %s, %s, %s, %s)", row)

    def archive(self) -> list[tuple[str, str]]:
        """What a night does with the month: result and reason of each move."""
        moves = plan_table(self.settings, self.table, TODAY, TODAY)
        outcomes = [outcome for move in moves for outcome in move_month(self.settings, move)]
        return [(str(outcome.result), outcome.reason) for outcome in outcomes]

    def ask(self, query: str) -> list[dict[str, Any]]:
        """The answer to an auditor's question."""
        with run_query(self.settings, query) as answer:
            rows: list[dict[str, Any]] = answer.batches.read_all().to_pylist()
        return rows

    @property
    def sealed(self) -> bool:
        """Whether the month takes no more writes."""
        with psycopg.connect(self.settings.database_dsn) as connection:
            query = "SELECT count(*) FROM archive_months WHERE table_name = 'points' AND step <> 'idle'"
            row = connection.execute(query).fetchone()
        assert row is not None
        return bool(row[0])


@pytest.fixture
def points(settings: Settings) -> Points:
    return Points(settings)


def test_random_ids_are_right_under_the_default_description_too(settings: Settings) -> None:
    """The project's partitions refuse them; those that were there are read and archived, and no id says a month."""
    points = Points(settings, key_is_uuid7=True)
    with pytest.raises(psycopg.errors.CheckViolation, match="points_2026_05_bounds"):
        points.add("done", "ZAR", "1")
    ledger = Ledger(points.settings, points.settings.home)
    ledger.sql("ALTER TABLE points_2026_05 DROP CONSTRAINT points_2026_05_bounds")  # as the application made it
    for number in range(9):
        points.add("done", "ZAR", str(number))
    keys = [key for (key,) in ledger.sql("SELECT id FROM points_partitioned ORDER BY id")]
    assert roll_table(points.settings, points.table, TODAY, today=TODAY).problems == []

    def check() -> None:
        assert points.ask("SELECT count(*) AS n, sum(amount) AS total FROM points") == [{"n": 9, "total": Decimal(36)}]
        for key in keys:
            assert points.ask(f"SELECT id FROM points WHERE id = '{key}'") == [{"id": key}]
        assert points.ask(f"SELECT count(*) AS n FROM points WHERE id = '{uuid4()}'") == [{"n": 0}]

    check()
    assert [result for result, _ in points.archive()] == ["moved", "moved"]
    check()
    assert ledger.sql("SELECT tier, keys_tell_month FROM archive_months WHERE month = %s", OLD.first_day) == [
        ("cold", False)
    ]


@pytest.mark.heavy("test_odd_values.py keeps long sums")
def test_sums_keep_every_digit_in_every_tier(points: Points) -> None:
    largest = "9" * 28 + "." + "9" * 10
    for _ in range(200):
        points.add("done", "ZAR", largest, "0.12345")
    points.add("done", "ZAR", "-0.0000000001", None)
    total = str(200 * int("9" * 38) - 1)
    expected = {"ZAR": {"amount": f"{total[:-10]}.{total[-10:]}", "share": "24.69000"}}
    assert [row.sums for row in tier_rows(points.settings, [points.table])] == [expected]
    assert [result for result, _ in points.archive()] == ["moved", "moved"]
    assert [(row.tier, row.sums) for row in tier_rows(points.settings, [points.table])] == [("cold", expected)]


def test_a_number_below_one_without_digits_before_its_point_is_archived(points: Points) -> None:
    for share in ("0.12345", "-0.99999", "0", None):
        points.add("done", "ZAR", "1", share)
    assert [result for result, _ in points.archive()] == ["moved", "moved"]
    found = points.ask("SELECT share FROM points_archive_cold ORDER BY share NULLS LAST")
    assert [row["share"] for row in found] == [Decimal("-0.99999"), Decimal("0.00000"), Decimal("0.12345"), None]


@pytest.mark.parametrize("kind", ["numeric(5,-2)", "numeric(2,5)", "numeric", "numeric(39,2)"])
def test_a_number_that_no_engine_reads_exactly_is_refused_by_name(points: Points, kind: str) -> None:
    with psycopg.connect(points.settings.database_dsn) as connection:
        for parent in (points.table.hot_parent, points.table.warm_parent):
            connection.execute(f"ALTER TABLE {parent} ADD COLUMN rounded {kind}")
    with pytest.raises(ConfigError, match=r"rounded: the archive cannot keep a column of type numeric"):
        points.archive()


def test_null_and_nothing_are_two_currencies(points: Points) -> None:
    points.add("done", None, "1")
    points.add("done", "", "2")
    assert [result for result, _ in points.archive()] == ["moved", "moved"]
    (row,) = tier_rows(points.settings, [points.table])
    assert row.sums == {"": {"amount": "3.0000000000", "share": "0"}}


def test_a_row_without_a_status_is_unfinished(points: Points) -> None:
    points.add("done", "ZAR", "1")
    points.add(None, "ZAR", "2")
    assert points.archive() == [("moved", ""), ("held back", "1 unfinished row")]
    assert not points.sealed


def test_nan_is_refused_by_name_and_never_shown_as_zero(points: Points) -> None:
    points.add("done", "ZAR", "NaN")
    points.add("done", "ZAR", "1")
    with pytest.raises(DataError, match="points_2026_05: amount has a NaN"):
        points.ask("SELECT sum(amount) AS amount FROM points")
    (row,) = tier_rows(points.settings, [points.table])
    assert row.sums["ZAR"]["amount"] == "NaN"
    (_, (result, reason)) = points.archive()
    assert (result, "points_2026_05.amount holds NaN" in reason) == ("failed", True)
    assert not points.sealed


def test_a_month_that_is_divided_itself_is_named_before_it_is_sealed(points: Points) -> None:
    with psycopg.connect(points.settings.database_dsn) as connection:
        connection.execute("DROP TABLE points_2026_05")
        connection.execute(
            "CREATE TABLE points_2026_05 PARTITION OF points_partitioned"
            " FOR VALUES FROM ('2026-05-01 00:00+00') TO ('2026-06-01 00:00+00') PARTITION BY HASH (id)"
        )
        for number in range(2):
            connection.execute(
                f"CREATE TABLE points_{number} PARTITION OF points_2026_05"
                f" FOR VALUES WITH (MODULUS 2, REMAINDER {number})"
            )
    for _ in range(4):
        points.add("done", "ZAR", "1")
    assert points.ask("SELECT count(*) AS n, sum(amount) AS amount FROM points") == [{"n": 4, "amount": Decimal(4)}]
    ((result, reason),) = points.archive()
    assert (result, "points_2026_05 is divided into partitions itself" in reason) == ("failed", True)
    assert not points.sealed
