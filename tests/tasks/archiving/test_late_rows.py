"""Rows that come after their month was archived: a further part of the month, proved like the first."""

import json
from datetime import date
from typing import Any

import psycopg
import pytest

from config import Settings
from ledger.errors import ConflictError, DataError, NotFoundError
from ledger.months import Month
from tasks.archiving.late_rows import open_late_rows
from tasks.archiving.outcome import MoveResult
from tasks.archiving.tiers import tier_rows
from tests.archives import Archives
from tests.tasks.archiving.ledger import COLD, HOT, ROWS, Ledger, make_row

PARTS = "SELECT part, tier, row_count, attempt, keys_tell_month FROM archive_months WHERE month = %s ORDER BY part"


def _late(ledger: Ledger, rows: int, first: int = 1000) -> list[dict[str, Any]]:
    return [make_row(ledger.table, COLD, first + number) for number in range(rows)]


def _store(ledger: Ledger, rows: list[dict[str, Any]]) -> None:
    with psycopg.connect(ledger.settings.database_dsn, autocommit=True) as connection:
        ledger.insert(connection, ledger.table, rows)


@pytest.fixture
def archived(ledger: Ledger, archives: Archives) -> Ledger:
    """A ledger with a cold month."""
    archives.begin(ledger.settings, _cold_month)
    return ledger


def _cold_month(settings: Settings) -> None:
    ledger = Ledger(settings, settings.home)
    ledger.fill(COLD)
    ledger.night()


def _count(ledger: Ledger) -> int:
    return sum(rows for rows, _ in ledger.whole().values())


def test_late_rows_become_a_second_part_with_a_proof_of_its_own(archived: Ledger) -> None:
    first = archived.catalogue(COLD)
    opened = open_late_rows(archived.settings, archived.table, COLD)
    assert (opened.part, opened.tier, opened.rows) == (2, "hot", 0)
    _store(archived, _late(archived, 7))
    assert _count(archived) == ROWS + 7
    assert {outcome.result for outcome in archived.night()} == {MoveResult.MOVED}

    assert archived.sql(PARTS, COLD.first_day) == [(1, "cold", ROWS, 1, True), (2, "cold", 7, 2, True)]
    assert _count(archived) == ROWS + 7
    assert [(row.part, row.rows) for row in tier_rows(archived.settings, [archived.table])] == [(1, ROWS), (2, 7)]
    assert archived.catalogue(COLD)["object_key"] == first["object_key"]
    archived.check_archive()
    archived.check_no_partition(COLD)
    (manifest,) = archived.sql("SELECT manifest_key FROM archive_months WHERE part = 2")[0]
    described = json.loads((archived.store / manifest).read_bytes())
    assert (described["part"], described["rows"], described["month"]) == (2, 7, str(COLD))


@pytest.mark.heavy("a second part has a proof of its own, too")
def test_a_third_part_may_follow(archived: Ledger) -> None:
    for part in (2, 3):
        assert open_late_rows(archived.settings, archived.table, COLD).part == part
        _store(archived, _late(archived, 2, first=part * 1000))
        archived.night()
    assert [row[:3] for row in archived.sql(PARTS, COLD.first_day)] == [
        (1, "cold", ROWS),
        (2, "cold", 2),
        (3, "cold", 2),
    ]
    assert _count(archived) == ROWS + 4
    archived.check_archive()


@pytest.mark.sampled(1)
@pytest.mark.parametrize("parent", ["transactions_partitioned", "transactions_archive_warm"])
def test_a_partition_that_somebody_made_is_taken_over(archived: Ledger, parent: str) -> None:
    bounds = f"FROM ('{COLD}-01 00:00+00') TO ('{COLD.plus(1)}-01 00:00+00')"
    archived.sql(f"CREATE TABLE again PARTITION OF {parent} FOR VALUES {bounds}")
    for row in _late(archived, 3):
        archived.sql(f"INSERT INTO again ({', '.join(row)}) VALUES ({', '.join(['%s'] * len(row))})", *row.values())
    opened = open_late_rows(archived.settings, archived.table, COLD)
    assert (opened.part, opened.partition.name, opened.rows) == (2, "again", 3)
    archived.night()
    assert [row[:3] for row in archived.sql(PARTS, COLD.first_day)] == [(1, "cold", ROWS), (2, "cold", 3)]
    assert _count(archived) == ROWS + 3


def test_a_part_that_is_open_is_not_opened_again(archived: Ledger) -> None:
    opened = open_late_rows(archived.settings, archived.table, COLD)
    assert open_late_rows(archived.settings, archived.table, COLD) == opened


def test_a_row_that_is_archived_already_is_refused_before_the_seal(archived: Ledger) -> None:
    open_late_rows(archived.settings, archived.table, COLD)
    _store(archived, [*_late(archived, 2), make_row(archived.table, COLD, 5)])
    assert _count(archived) == ROWS + 2
    (moved, failed) = archived.night()
    assert (moved.result, failed.result) == (MoveResult.MOVED, MoveResult.FAILED)
    assert f"transactions {COLD}: transactions_2024_03 has 1 row that the archive has already" in failed.reason
    assert archived.sql("SELECT step FROM archive_months WHERE part = 2") == [("idle",)]


def test_a_partition_with_archived_rows_is_not_taken_over(archived: Ledger) -> None:
    bounds = f"FROM ('{COLD}-01 00:00+00') TO ('{COLD.plus(1)}-01 00:00+00')"
    archived.sql(f"CREATE TABLE again PARTITION OF transactions_partitioned FOR VALUES {bounds}")
    row = make_row(archived.table, COLD, 5)
    archived.sql(f"INSERT INTO again ({', '.join(row)}) VALUES ({', '.join(['%s'] * len(row))})", *row.values())
    with pytest.raises(DataError, match="again has 1 row that the archive has already"):
        open_late_rows(archived.settings, archived.table, COLD)
    assert len(archived.sql(PARTS, COLD.first_day)) == 1


def test_only_an_archived_month_is_opened(archived: Ledger) -> None:
    archived.fill(HOT)
    with pytest.raises(ConflictError, match=f"{HOT} is hot"):
        open_late_rows(archived.settings, archived.table, HOT)
    with pytest.raises(NotFoundError, match="no tier has this month"):
        open_late_rows(archived.settings, archived.table, Month.of(date(2001, 1, 1)))
