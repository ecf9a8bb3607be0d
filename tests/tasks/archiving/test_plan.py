"""What is due, what is held back and why: looking changes nothing, and what is shown is what then happens."""

import threading
from datetime import date

import psycopg
import pytest

from config import Settings
from ledger.errors import ConfigError, DataError
from ledger.months import Month
from ledger.policy import Tier
from tasks.archiving.calendar import AsOfError
from tasks.archiving.move_month import move_month
from tasks.archiving.outcome import MoveAction, MoveResult
from tasks.archiving.plan import plan_table
from tasks.archiving.to_cold import HeldBackError, Step, archive_month
from tasks.querying.query import run_query
from tests.tasks.archiving.ledger import COLD, HOT, ROWS, TODAY, WARM, Ledger

CATALOGUE = """
    SELECT to_jsonb(m) FROM archive_months m
    UNION ALL SELECT to_jsonb(u) FROM archive_uploads u
    UNION ALL SELECT to_jsonb(e) FROM archive_events e
    UNION ALL SELECT jsonb_build_array(oid, relname, relpartbound, reltuples) FROM pg_class WHERE relnamespace =
        'public'::regnamespace
    UNION ALL SELECT to_jsonb(i) FROM pg_inherits i
    ORDER BY 1
"""

LATE = """
    INSERT INTO transactions_archive_warm
    SELECT (overlay(id::text placing 'ffff' from 33))::uuid, client_id, user_id, wallet_id, counterparty_wallet_id,
           type, 'completed', amount, fee, currency, reference, description, metadata, created_at, updated_at
    FROM transactions_archive_warm
    ORDER BY id
    LIMIT 1
"""


def test_looking_changes_nothing_and_is_what_then_moves(ledger: Ledger) -> None:
    for month in (COLD, WARM, HOT):
        ledger.fill(month)
    ledger.fill(COLD.plus(1), status="pending")
    before = ledger.sql(CATALOGUE)
    moves = plan_table(ledger.settings, ledger.table, TODAY, TODAY)
    assert ledger.sql(CATALOGUE) == before
    assert ledger.objects() == set()
    assert [(move.month, move.due, move.rows, move.held_at) for move in moves] == [
        (COLD, Tier.COLD, ROWS, None),
        (COLD.plus(1), Tier.COLD, ROWS, MoveAction.TO_COLD),
        (WARM, Tier.WARM, ROWS, None),
    ]
    outcomes = [outcome for move in moves for outcome in move_month(ledger.settings, move)]
    assert [(outcome.month, outcome.action, outcome.result) for outcome in outcomes] == [
        (COLD, MoveAction.TO_WARM, MoveResult.MOVED),
        (COLD, MoveAction.TO_COLD, MoveResult.MOVED),
        (COLD.plus(1), MoveAction.TO_WARM, MoveResult.MOVED),
        (COLD.plus(1), MoveAction.TO_COLD, MoveResult.HELD_BACK),
        (WARM, MoveAction.TO_WARM, MoveResult.MOVED),
    ]
    moved = plan_table(ledger.settings, ledger.table, TODAY, TODAY)
    assert [(move.month, move.held_back) for move in moved] == [(COLD.plus(1), f"{ROWS} unfinished rows")]


def test_the_plan_s_bytes_are_postgresql_s(ledger: Ledger) -> None:
    ledger.fill(COLD)
    (move,) = plan_table(ledger.settings, ledger.table, TODAY, TODAY)
    assert [(move.postgres_bytes,)] == ledger.sql("SELECT pg_total_relation_size(%s)", ledger.table.partition(COLD))


@pytest.mark.sampled(1)
@pytest.mark.parametrize("status", ["pending", "processing"])
def test_a_month_with_one_unfinished_row_stays_warm_until_it_is_finished(ledger: Ledger, status: str) -> None:
    ledger.warm(COLD)
    partition = ledger.table.partition(COLD)
    with psycopg.connect(ledger.settings.database_dsn) as connection:
        connection.execute(f"ALTER TABLE {partition} DISABLE TRIGGER ALL")
        one = f"id = (SELECT id FROM {partition} ORDER BY id LIMIT 1)"
        connection.execute(f"UPDATE {partition} SET status = %s WHERE {one}", (status,))
        connection.execute(f"ALTER TABLE {partition} ENABLE TRIGGER ALL")
    before, picture = ledger.content(), ledger.catalogue(COLD)
    with pytest.raises(HeldBackError, match=r"1 unfinished row$"):
        archive_month(ledger.settings, ledger.table, COLD)
    assert ledger.catalogue(COLD) == picture
    ledger.sql(f"UPDATE {partition} SET status = 'failed' WHERE status = %s", status)
    assert archive_month(ledger.settings, ledger.table, COLD).rows == ROWS
    assert ledger.content() == before


def test_an_insert_under_way_is_waited_for_and_counted(ledger: Ledger) -> None:
    """A writer that has not committed when the month is to be sealed: its row is archived with the others."""
    ledger.warm(COLD)
    with psycopg.connect(ledger.settings.database_dsn) as writer:
        assert writer.execute(LATE).rowcount == 1
        mover = threading.Thread(target=archive_month, args=(ledger.settings, ledger.table, COLD))
        mover.start()
        mover.join(1.0)
        assert mover.is_alive()
        assert ledger.tier(COLD) == "warm"
        writer.commit()
    mover.join(60)
    assert ledger.tier(COLD) == "cold"
    assert ledger.content()[str(COLD)][0] == ROWS + 1
    ledger.check_archive()


def test_an_unfinished_insert_under_way_holds_the_month_back_and_the_seal_is_not_left(ledger: Ledger) -> None:
    ledger.warm(COLD)
    seen = []

    def slip_in(step: Step) -> None:
        if step is Step.CLAIMED:
            ledger.sql(LATE.replace("'completed'", "'pending'"))
            seen.append(step)

    with pytest.raises(HeldBackError, match=r"1 unfinished row$"):
        archive_month(ledger.settings, ledger.table, COLD, slip_in)
    assert seen
    ledger.sql("UPDATE transactions_archive_warm SET status = 'completed' WHERE status = 'pending'")
    assert archive_month(ledger.settings, ledger.table, COLD).rows == ROWS + 1


def test_a_month_that_has_not_ended_stays_whatever_as_of_says(ledger: Ledger) -> None:
    this_month = Month.of(TODAY)
    ledger.fill(this_month)
    ledger.fill(this_month.plus(12), rows=0)
    later = this_month.plus(12).first_day
    (move,) = plan_table(ledger.settings, ledger.table, later, TODAY)[:1]
    assert (move.month, move.held_back) == (this_month, "the month has not ended yet")
    assert {outcome.result for outcome in ledger.night(as_of=later)} == {MoveResult.HELD_BACK}
    assert ledger.tier(this_month) == "hot"


@pytest.mark.parametrize("as_of", [date(2027, 2, 1), date(2199, 12, 31)])
def test_a_day_in_the_future_beyond_the_partitions_is_refused(ledger: Ledger, as_of: date) -> None:
    ledger.fill(COLD)
    ledger.fill(Month(2027, 1), rows=0)
    with pytest.raises(AsOfError, match=r"as_of: .* is in the future, beyond the last month of transactions, 2027-01"):
        ledger.night(as_of=as_of)
    assert ledger.tier(COLD) == "hot"


def test_a_day_in_the_past_may_lie_beyond_an_imported_history(ledger: Ledger) -> None:
    ledger.fill(Month(1993, 1))
    assert {outcome.result for outcome in ledger.night(as_of=date(1995, 6, 15))} == {MoveResult.MOVED}
    assert ledger.tier(Month(1993, 1)) == "cold"


def test_an_unknown_table_is_named_with_the_known_ones(settings: Settings) -> None:
    with pytest.raises(ConfigError, match="unknown table 'ghosts'; known: transactions, vas_transactions"):
        settings.table("ghosts")


def test_a_month_without_a_row_is_archived_and_found_empty(ledger: Ledger) -> None:
    ledger.warm(COLD, rows=0)
    archived = archive_month(ledger.settings, ledger.table, COLD)
    assert archived.rows == 0
    assert ledger.tier(COLD) == "cold"
    ledger.check_no_partition(COLD)
    ledger.check_archive()
    with run_query(ledger.settings, "SELECT * FROM transactions") as answer:
        assert (answer.batches.read_all().num_rows, answer.months_read) == (0, 1)


def test_a_month_that_fails_stops_no_other_and_goes_when_it_is_mended(ledger: Ledger) -> None:
    bad, good = COLD, COLD.plus(1)
    ledger.fill(bad, description="a unit separator \x1f in a text")
    ledger.fill(good)
    before = ledger.content()
    by_month = {(outcome.month, outcome.action): outcome for outcome in ledger.night()}
    assert by_month[bad, MoveAction.TO_COLD].result is MoveResult.FAILED
    assert by_month[good, MoveAction.TO_COLD].result is MoveResult.MOVED
    assert "U+001F" in ledger.catalogue(bad)["last_error"]
    assert ledger.content() == before
    partition = ledger.table.partition(bad)
    ledger.sql(
        f"ALTER TABLE {partition} DISABLE TRIGGER USER;"
        f" UPDATE {partition} SET description = 'corrected'; ALTER TABLE {partition} ENABLE TRIGGER USER"
    )
    assert [outcome.result for outcome in ledger.night()] == [MoveResult.MOVED]
    assert ledger.tier(bad) == "cold"
    assert ledger.content() == before


def test_a_partition_that_was_detached_behind_our_back_is_told_and_stops_no_other(ledger: Ledger) -> None:
    ledger.warm(COLD, COLD.plus(1))
    ledger.sql(f"ALTER TABLE transactions_archive_warm DETACH PARTITION {ledger.table.partition(COLD)}")
    first, second = ledger.night()
    assert (first.result, first.reason) == (
        MoveResult.HELD_BACK,
        "the catalogue says warm, but PostgreSQL has no such partition there",
    )
    assert (second.month, second.result) == (COLD.plus(1), MoveResult.MOVED)
    with pytest.raises(DataError, match="has no such partition"):
        archive_month(ledger.settings, ledger.table, COLD)


@pytest.mark.heavy("a month that fails stops no other in the test beside it")
def test_a_month_whose_seal_cannot_be_had_fails_alone_and_its_writer_does_not(ledger: Ledger) -> None:
    ledger.warm(COLD, COLD.plus(1))
    impatient = Ledger(ledger.settings.model_copy(update={"lock_timeout_ms": 20, "lock_attempts": 3}), ledger.store)
    with psycopg.connect(ledger.settings.database_dsn) as writer:
        writer.execute(f"LOCK TABLE {ledger.table.partition(COLD)} IN ROW EXCLUSIVE MODE")
        failed, moved = impatient.night()
        writer.commit()
    assert (failed.month, failed.result, failed.transient) == (COLD, MoveResult.FAILED, True)
    assert (moved.month, moved.result) == (COLD.plus(1), MoveResult.MOVED)
    assert [outcome.result for outcome in ledger.night()] == [MoveResult.MOVED]
    ledger.check_archive()
