"""The life of all months for people: what is shown is what the plan says, seen by a login that owns nothing."""

from datetime import UTC, date, datetime, timedelta

import pytest

from config import Settings
from ledger.holds import HoldScope
from ledger.months import Month
from ledger.policy import Tier
from sql.connection import connect
from sql.holds import open_holds
from tasks.admin.setup import prepare_database
from tasks.archiving.late_rows import open_late_rows
from tasks.archiving.life import MonthCondition, MonthLife, nightly_schedule, read_life
from tasks.archiving.plan import plan_table
from tasks.retention.holds import place_hold
from tasks.retention.policy import parts_of
from tests.tasks.archiving.ledger import COLD, ROWS, Ledger


def present() -> Month:
    return Month.of(datetime.now(UTC))


def as_api(ledger: Ledger) -> Settings:
    """The settings of an API process, whose role owns nothing."""
    prepare_database(ledger.settings)
    return ledger.settings.for_api()


def shown(ledger: Ledger) -> dict[Month, MonthLife]:
    life = read_life(as_api(ledger), nightly_schedule(ledger.settings))
    return {one.month: one for table in life.tables if table.name == "transactions" for one in table.months}


def test_what_is_shown_to_move_is_what_the_plan_moves(ledger: Ledger) -> None:
    warm = present().plus(-6)
    for month in (COLD, warm):
        ledger.fill(month)
    ledger.fill(COLD.plus(1), status="pending")
    ledger.sql("ANALYZE")
    settings = as_api(ledger)
    night = nightly_schedule(ledger.settings)
    assert night is not None
    life = read_life(settings, night)

    assert life.next_run is not None
    as_of = life.next_run.date()
    planned = plan_table(ledger.settings, ledger.table, as_of, as_of)
    assert {(move.month, move.actions, move.held_at, move.held_back) for move in life.moves} == {
        (move.month, move.actions, move.held_at, move.held_back) for move in planned
    }
    assert {move.month: move.rows for move in life.moves} == {COLD: ROWS, COLD.plus(1): ROWS, warm: ROWS}
    assert [move.held_back for move in life.moves if move.held_at] == [f"{ROWS} unfinished rows"]


def test_each_condition_is_named_with_its_reason(ledger: Ledger) -> None:
    months = [COLD.plus(distance) for distance in range(6)]
    for month in months:
        ledger.warm(month)
    failed, sealed, missing, deleting, due, late = months
    ledger.night()
    for month in (failed, sealed, missing, due):
        assert ledger.tier(month) == "cold"
    ledger.warm(*[COLD.plus(distance) for distance in range(10, 13)])
    failed, sealed, due = (COLD.plus(distance) for distance in range(10, 13))
    ledger.sql("UPDATE archive_months SET last_error = 'the disk is full' WHERE month = %s", failed.first_day)
    ledger.sql("UPDATE archive_months SET step = 'sealed', sealed_at = now() WHERE month = %s", sealed.first_day)
    ledger.sql("UPDATE archive_months SET tier = 'warm' WHERE month = %s", missing.first_day)
    ledger.sql(
        "UPDATE archive_months SET step = 'deleting', certificate = 'DEL-1' WHERE month = %s", deleting.first_day
    )
    open_late_rows(ledger.settings, ledger.table, late)

    found = shown(ledger)
    assert found[failed].condition is MonthCondition.FAILED
    assert found[failed].reason == "the disk is full"
    assert found[sealed].condition is MonthCondition.SEALED
    assert found[missing].condition is MonthCondition.MISSING
    assert found[deleting].condition is MonthCondition.DELETING
    assert found[due].condition is MonthCondition.DUE
    assert (found[due].reason, found[due].tier) == ("due to go cold", Tier.WARM)
    assert (found[late].tiers, found[late].tier) == ((Tier.COLD, Tier.HOT), Tier.COLD)
    assert found[late].condition is MonthCondition.DUE


def test_archived_rows_are_exact_and_those_in_postgresql_are_estimates(ledger: Ledger) -> None:
    ledger.warm(COLD)
    ledger.night()
    ledger.fill(present(), rows=7)
    ledger.sql("ANALYZE")
    found = shown(ledger)
    assert (found[COLD].rows, found[COLD].is_exact, found[COLD].tier) == (ROWS, True, Tier.COLD)
    known = ledger.catalogue(COLD)
    assert (found[COLD].was_bytes, found[COLD].size_bytes) == (known["postgres_bytes"], known["object_bytes"])
    assert (found[present()].rows, found[present()].is_exact) == (7, False)


def test_holds_and_deletions_are_shown(ledger: Ledger) -> None:
    old = present().plus(-125)
    ledger.warm(old)
    ledger.night()
    found = shown(ledger)
    assert (found[old].deletion, found[old].held_by) == ("due", ())


def test_the_parts_know_what_keeps_them_as_those_of_a_forecast_do(ledger: Ledger) -> None:
    """So the page forecasts what the command does; bytes and rows in PostgreSQL are estimates."""
    for month in (COLD, COLD.plus(1)):
        ledger.fill(month)
    ledger.night()
    (key,) = ledger.sql("SELECT object_key FROM archive_months WHERE month = %s", COLD.plus(1).first_day)[0]
    until = datetime(2040, 5, 6, tzinfo=UTC)
    lock = "INSERT INTO archive_locks (object_key, version, table_name, month, part, mode, locked_until) VALUES"
    with connect(ledger.settings.database_dsn, "tests") as connection:
        row = (key, "1", ledger.table.name, COLD.plus(1).first_day, 1, "GOVERNANCE", until)
        connection.execute(f"{lock} (%s, %s, %s, %s, %s, %s, %s)", row)
    place_hold(ledger.settings, HoldScope(COLD, COLD), "CASE 1", "Asked for", "legal", date(2040, 1, 1))
    found = shown(ledger)
    kept = {month: [(part.held, part.locked_until) for part in found[month].parts] for month in (COLD, COLD.plus(1))}
    assert kept == {COLD: [(True, None)], COLD.plus(1): [(False, until.date())]}
    with connect(ledger.settings.database_dsn, "tests") as connection:
        known = parts_of(connection, ledger.table, open_holds(connection), present())
    assert [part for part in known if part.month in kept] == [part for month in kept for part in found[month].parts]


def test_months_ahead_are_counted_and_not_shown(ledger: Ledger) -> None:
    for distance in range(4):
        ledger.fill(present().plus(distance), rows=1)
    life = read_life(as_api(ledger), None)
    table = next(one for one in life.tables if one.name == "transactions")
    assert table.ahead == 3
    assert max(one.month for one in table.months) == life.present == present()
    assert life.next_run is None


def test_how_far_the_proof_has_come(ledger: Ledger) -> None:
    before = read_life(as_api(ledger), None).proof
    assert (before.entries, before.published_at, before.oldest, before.parts) == (0, None, None, 0)
    ledger.warm(COLD)
    ledger.night()
    proof = read_life(as_api(ledger), None).proof
    assert proof.entries > 0
    assert proof.published_at is not None
    assert (proof.waiting, proof.parts) == (0, 1)
    assert proof.oldest is not None
    assert (proof.oldest.table_name, proof.oldest.month) == ("transactions", str(COLD))


def test_looking_changes_nothing(ledger: Ledger) -> None:
    ledger.fill(COLD)
    before = ledger.sql("SELECT to_jsonb(m) FROM archive_months m ORDER BY 1")
    with connect(as_api(ledger).database_dsn, "tests") as connection:
        connection.execute("SET default_transaction_read_only = on")
    read_life(as_api(ledger), None)
    assert ledger.sql("SELECT to_jsonb(m) FROM archive_months m ORDER BY 1") == before


@pytest.mark.parametrize("instant", ["2026-11-30T01:29:59+00:00", "2026-11-30T01:30:00+00:00"])
def test_the_nightly_run_is_the_one_of_the_schedule(settings: Settings, instant: str) -> None:
    night = nightly_schedule(settings)
    assert night is not None
    due, _ = night.due_after(datetime.fromisoformat(instant))
    assert due in (datetime(2026, 11, 30, 1, 30, tzinfo=UTC), datetime(2026, 12, 1, 1, 30, tzinfo=UTC))
    assert due - datetime.fromisoformat(instant) <= timedelta(days=1)
