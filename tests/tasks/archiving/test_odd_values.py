"""What a company's table may have and the archive may not: found before the month is sealed, and named."""

from typing import Any
from uuid import UUID

import psycopg
import pytest

from config import Settings
from ledger.errors import ConfigError, DataError
from ledger.months import Month
from ledger.tables import TieredTable
from sql.connection import connect
from sql.partitions import ensure_partition
from sql.preparation import prepare_table
from tasks.archiving.move_month import move_month
from tasks.archiving.plan import plan_table
from tasks.archiving.tiers import tier_rows
from tasks.querying.query import run_query
from tests.databases import encoded_database
from tests.tasks.archiving.ledger import TODAY

MAY = Month(2026, 5)
_DDL = """
    CREATE TABLE notes_partitioned (
        id uuid NOT NULL, at timestamptz NOT NULL, amount numeric(18,2) NOT NULL, text text, day date,
        stamp timestamptz, {more}PRIMARY KEY (id, at)
    ) PARTITION BY RANGE (at)
"""
_CONFIGURED: dict[str, Any] = {
    "time_column": "at",
    "key_is_uuid7": False,
    "money_columns": ["amount"],
    "currency_column": None,
    "status_column": None,
    "cold_sort": ["text", "at"],
    "bloom_columns": ["id"],
    "policy": {"hot_months": 1, "warm_months": 2, "cold_months": 24, "retention_months": 84},
}


class Notes:
    """A table of others with one month that is due for the archive."""

    def __init__(self, settings: Settings, more: str = "") -> None:
        with psycopg.connect(settings.database_dsn) as connection:
            connection.execute(_DDL.format(more=more))
        self.settings = Settings.model_validate(settings.model_dump() | {"tables": {"notes": _CONFIGURED}})

    @property
    def table(self) -> TieredTable:
        return self.settings.table("notes")

    def prepare(self) -> None:
        """Set the table up and make the partition of the month."""
        with connect(self.settings.database_dsn, "tests") as connection:
            for table in (self.table, self.settings.table("transactions")):
                prepare_table(connection, self.settings, table)
            ensure_partition(connection, self.settings, self.table, MAY)

    def add(self, values: dict[str, str], row: int = 1) -> None:
        """One row; the values are PostgreSQL's texts."""
        named = {"id": str(UUID(int=row)), "at": "2026-05-03", "amount": "1.00"} | values
        marks = ", ".join(["%s"] * len(named))
        self.sql(f"INSERT INTO notes_partitioned ({', '.join(named)}) VALUES ({marks})", *named.values())

    def sql(self, query: str, *parameters: str) -> None:
        with psycopg.connect(self.settings.database_dsn, autocommit=True) as connection:
            connection.execute(query, parameters or None)

    def archive(self) -> list[str]:
        """What a night makes of the month: the reason of each move that failed."""
        moves = plan_table(self.settings, self.table, TODAY, TODAY)
        return [outcome.reason for move in moves for outcome in move_month(self.settings, move) if outcome.reason]

    def ask(self, query: str) -> list[dict[str, Any]]:
        with run_query(self.settings, query) as answer:
            rows: list[dict[str, Any]] = answer.batches.read_all().to_pylist()
        return rows

    @property
    def sealed(self) -> bool:
        with psycopg.connect(self.settings.database_dsn) as connection:
            row = connection.execute("SELECT count(*) FROM treasury.archive_months WHERE step <> 'idle'").fetchone()
        return bool(row and row[0])


@pytest.mark.sampled(1)
@pytest.mark.parametrize(
    ("column", "value", "what"),
    [
        ("text", "a\x1fb", "text holds U+001E or U+001F"),
        ("text", "\x1e", "text holds U+001E or U+001F"),
        ("day", "infinity", "day holds an infinite date"),
        ("day", "-infinity", "day holds an infinite date"),
        ("stamp", "infinity", "stamp holds an infinite time"),
        ("stamp", "-infinity", "stamp holds an infinite time"),
        ("stamp", "294270-01-01 00:00+00", "stamp holds a time after the year 294246"),
        ("amount", "NaN", "amount holds NaN"),
    ],
)
def test_a_value_that_cannot_be_archived_is_named_and_the_month_takes_writes_again(
    settings: Settings, column: str, value: str, what: str
) -> None:
    notes = Notes(settings)
    notes.prepare()
    notes.add({column: value})
    (reason,) = notes.archive()
    assert f"notes_2026_05.{what} in the row {UUID(int=1)}, which the archive cannot keep" in reason
    assert not notes.sealed
    correct = "1" if column == "amount" else "NULL"
    notes.sql(f"UPDATE notes_2026_05 SET {column} = {correct}")
    assert notes.archive() == []
    assert notes.ask("SELECT tier FROM notes") == [{"tier": "cold"}]


def test_values_at_the_ends_of_the_calendar_are_archived(settings: Settings) -> None:
    notes = Notes(settings)
    notes.prepare()
    notes.add({"day": "4713-01-01 BC", "stamp": "4713-01-01 00:00+00 BC"})
    notes.add({"day": "5874897-12-31", "stamp": "294246-12-31 23:59:59.999999+00"}, row=2)
    asked = "SELECT day::VARCHAR AS day, stamp::VARCHAR AS stamp FROM notes ORDER BY id"
    before = notes.ask(asked)
    assert notes.archive() == []
    assert notes.ask(asked) == before


@pytest.mark.parametrize("name", ["Text", "AMOUNT", "Month", "TIER", "tier"])
def test_a_name_that_differs_by_capitals_alone_is_refused_and_not_read_twice(settings: Settings, name: str) -> None:
    """The engine over all tiers does not tell them apart: one of the two columns would be shown as both."""
    notes = Notes(settings, more=f'"{name}" text, ')
    with pytest.raises(ConfigError, match=rf"notes_partitioned\.{name}: .*rename"):
        notes.prepare()


def test_nor_is_one_read_that_came_later(settings: Settings) -> None:
    notes = Notes(settings)
    notes.prepare()
    notes.add({"text": "small"})
    for parent in ("notes_partitioned", "notes_archive_warm"):
        notes.sql(f'ALTER TABLE {parent} ADD COLUMN "Text" text')
    with pytest.raises(ConfigError, match=r"SQL: table notes cannot be read: .*notes_archive_warm\.Text: .*rename"):
        notes.ask("SELECT text FROM notes")
    assert notes.ask("SELECT count(*) AS n FROM transactions") == [{"n": 0}]


def test_a_not_null_that_is_not_valid_says_nothing_of_the_rows(settings: Settings) -> None:
    """Of PostgreSQL 18. The NULLs that were there before are archived, and two rows do not have one canonical text."""
    notes = Notes(settings)
    notes.prepare()
    notes.add({"text": "x"})
    notes.add({"day": "2026-05-03"}, row=2)
    with psycopg.connect(settings.database_dsn) as connection:
        if connection.info.server_version < 180000:
            pytest.skip("PostgreSQL has NOT NULL ... NOT VALID from 18 on")
    for parent in ("notes_partitioned", "notes_archive_warm"):
        for column in ("text", "day"):
            notes.sql(f"ALTER TABLE {parent} ADD CONSTRAINT known_{column} NOT NULL {column} NOT VALID")
    before = notes.ask("SELECT text, day FROM notes ORDER BY id")
    assert notes.archive() == []
    assert notes.ask("SELECT text, day FROM notes ORDER BY id") == before
    assert {row["day"] is None for row in before} == {True, False}


@pytest.mark.sampled(1)
@pytest.mark.parametrize("at", ["infinity", "-infinity", "20000-01-01 00:00+00", "0044-03-15 00:00+00 BC"])
def test_a_time_that_no_calendar_has_stops_no_question(settings: Settings, at: str) -> None:
    """In a partition that others made: of DEFAULT, or up to MAXVALUE."""
    notes = Notes(settings)
    notes.prepare()
    notes.add({}, row=2)
    notes.sql("CREATE TABLE odd PARTITION OF notes_partitioned DEFAULT")
    notes.add({"at": at})
    assert notes.ask("SELECT count(*) AS n, sum(amount)::INT AS amount FROM notes") == [{"n": 2, "amount": 2}]
    assert notes.ask("SELECT month FROM notes WHERE month = '2026-05'") == [{"month": "2026-05"}]
    assert notes.ask("SELECT count(*) AS n FROM transactions") == [{"n": 0}]
    assert [row.rows for row in tier_rows(notes.settings, [notes.table])] == [1, 1]
    assert notes.archive() == []
    assert notes.ask("SELECT count(*) AS n FROM notes") == [{"n": 2}]


@pytest.mark.sampled(1)
@pytest.mark.parametrize(("encoding", "known", "unknown"), [("LATIN1", "zo\u00eb", "日本"), ("EUC_JP", "日本", "😀")])
def test_a_database_in_another_encoding_is_asked_for_any_text(
    settings: Settings, server_settings: Settings, encoding: str, known: str, unknown: str
) -> None:
    """A text that the database cannot have is in no row: it is not an error."""
    with encoded_database(server_settings, settings, encoding) as encoded:
        notes = Notes(encoded)
        notes.prepare()
        notes.add({"text": known})
        asked = "SELECT count(*) AS n FROM notes WHERE text = '{}'"
        for _ in ("hot", "cold"):
            assert notes.ask(asked.format(known)) == [{"n": 1}]
            assert notes.ask(asked.format(unknown)) == [{"n": 0}]
            assert notes.ask("SELECT text FROM notes") == [{"text": known}]
            assert notes.archive() == []


def test_a_text_that_is_not_utf_8_is_named_before_the_seal(settings: Settings, server_settings: Settings) -> None:
    """Only a database without an encoding can have one."""
    with encoded_database(server_settings, settings, "SQL_ASCII") as encoded:
        notes = Notes(encoded)
        notes.prepare()
        notes.add({"text": "zoë"})
        notes.sql("UPDATE notes_2026_05 SET text = E'zo\\xeb'")
        with pytest.raises(DataError, match="a text in PostgreSQL is not UTF-8"):
            notes.ask("SELECT text FROM notes")
        (reason,) = notes.archive()
        assert "notes_2026_05.text holds a text that is not UTF-8" in reason
        assert not notes.sealed
        notes.sql("UPDATE notes_2026_05 SET text = 'zo'")
        assert notes.archive() == []
