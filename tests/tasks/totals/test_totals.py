"""Daily totals are equal to the rows to the cent, wherever the rows are and whoever has changed them."""

import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import settings as examples
from hypothesis import strategies as st

from config import Settings
from config.retention import RetentionSettings
from ledger.errors import ConflictError, FieldError, MissingRowsError, RefusalError, TransientError, TreasuryError
from ledger.months import Month
from ledger.tables import TieredTable
from ledger.totals import Question, TotalsGroup, Zone
from sql.connection import connect
from sql.partitions import ensure_partition
from sql.preparation import prepare_table
from sql.restored import Request
from sql.totals import totals_lock, unkept
from tasks.archiving.late_rows import open_late_rows
from tasks.archiving.move_month import move_month
from tasks.archiving.plan import plan_table
from tasks.archiving.tiers import tier_rows
from tasks.archiving.to_cold import archive_month
from tasks.importing.mapping_text import column, constant, mapping_text
from tasks.importing.run import ImportRequest, import_file
from tasks.restoring.back_to_warm import return_month
from tasks.retention.deletion import DeletionResult
from tasks.totals.answer import answer_totals
from tasks.totals.archived import archive_sums
from tasks.totals.keeping import TotalsResult, keep_daily_totals
from tasks.totals.places import places_of
from tests.archives import Archives, month_in_each_tier
from tests.tasks.archiving.ledger import COLD, HOT, ROWS, TODAY, WARM, Ledger, make_row
from tests.tasks.archiving.test_third_table import _CONFIGURED, _DDL, Points
from tests.tasks.retention.aged import OLD, OLDER, age, approved, delete, hold
from tests.tasks.totals.rows import ALWAYS, PLENTY, answer, check, counted, daily, told

PARTITION = "transactions_2026_10"
NEXT = HOT.plus(-1)
STEPS = ("looked", "marked", "computed", "stored", "kept")
Act = Callable[[Ledger, int], object]


def keep(ledger: Ledger) -> list[TotalsResult]:
    """Keep the totals of the table; raise what went wrong."""
    outcomes = keep_daily_totals(ledger.settings, [ledger.table])
    for outcome in outcomes:
        if outcome.error is not None:
            raise outcome.error
    return [outcome.result for outcome in outcomes]


def kept(ledger: Ledger) -> tuple[int, int]:
    """The places that an answer takes from what is kept, and those whose rows it reads."""
    found = answer(ledger.settings, ledger.table)
    return found.kept, found.read


def insert(
    ledger: Ledger, month: Month, number: int, into: str | None = None, before: str = "", **changes: Any
) -> None:
    """One more row, by whoever: into the hot parent, or into a relation itself, after a statement."""
    row = make_row(ledger.table, month, number) | changes
    names, gaps = ", ".join(row), ", ".join(["%s"] * len(row))
    with psycopg.connect(ledger.settings.database_dsn) as connection:
        if before:
            connection.execute(before)
        connection.execute(f"INSERT INTO {into or ledger.table.hot_parent} ({names}) VALUES ({gaps})", [*row.values()])


@pytest.fixture
def tiers(ledger: Ledger, archives: Archives) -> Ledger:
    """A month in each tier; of the hot one some rows are unfinished."""
    archives.begin(ledger.settings, month_in_each_tier)
    for number in range(500, 505):
        insert(ledger, HOT, number, status="pending")
    return ledger


def test_totals_are_those_of_the_rows_before_and_after_they_are_kept(tiers: Ledger) -> None:
    check(tiers.settings, tiers.table)
    assert kept(tiers) == (0, 3)
    assert keep(tiers) == [TotalsResult.KEPT] * 3
    check(tiers.settings, tiers.table)
    assert kept(tiers) == (3, 0)
    assert keep(tiers) == [TotalsResult.HELD] * 3
    (whole,) = [one for one in answer(tiers.settings, tiers.table).totals if one.currency == "ZAR"]
    (counted_now,) = tiers.ask("SELECT count(*) AS n, sum(amount) AS total FROM transactions WHERE currency = 'ZAR'")
    assert (whole.rows, whole.sums[0]) == (counted_now["n"], counted_now["total"])


def test_of_a_partition_that_a_crash_would_empty_no_totals_are_kept(tiers: Ledger) -> None:
    """After a crash they would hold, and the rows would be gone."""
    assert keep(tiers) == [TotalsResult.KEPT] * 3
    tiers.sql(f"ALTER TABLE {tiers.table.partition(WARM)} SET UNLOGGED")
    assert keep(tiers) == [TotalsResult.HELD] * 2
    assert kept(tiers) == (2, 1)
    check(tiers.settings, tiers.table)


@pytest.mark.heavy("totals are compared with the rows beside it")
def test_each_group_and_each_range_is_that_of_the_rows(tiers: Ledger) -> None:
    for is_kept in (False, True):
        if is_kept:
            keep(tiers)
        for zone in Zone:
            rows = counted(tiers.settings, tiers.table, zone)
            for group, place in ((TotalsGroup.CLIENT, 2), (TotalsGroup.TYPE, 3), (TotalsGroup.STATUS, 4)):
                found = told(answer(tiers.settings, tiers.table, zone, frozenset({group})))
                assert {key[place] for key in found} == {key[place] for key in rows}
                assert sum(n for n, _ in found.values()) == sum(n for n, _ in rows.values())
            day = max(key[0] for key in rows)  # type: ignore[type-var]  # all of them are days
            assert isinstance(day, date)
            groups = frozenset({TotalsGroup.DAY, TotalsGroup.STATUS})
            found = told(answer(tiers.settings, tiers.table, zone, groups, days=(day, day)))
            assert sum(n for n, _ in found.values()) == sum(n for key, (n, _) in rows.items() if key[0] == day)


def test_a_row_between_22_and_24_utc_is_of_the_next_day_in_johannesburg(ledger: Ledger) -> None:
    ledger.fill(HOT, rows=0)
    late = datetime.fromisoformat("2026-10-05T22:00:00+00:00")
    for number, moment in enumerate((late - timedelta(milliseconds=1), late)):
        row = make_row(ledger.table, HOT, number)
        insert(ledger, HOT, number, created_at=moment, id=row["id"], currency="ZAR")
    for _ in range(2):
        days = frozenset({TotalsGroup.DAY})
        found = {zone: told(answer(ledger.settings, ledger.table, zone, days)) for zone in Zone}
        by_zone = {zone: {key[0]: rows for key, (rows, _) in totals.items()} for zone, totals in found.items()}
        assert by_zone[Zone.UTC] == {date(2026, 10, 5): 2}
        assert by_zone[Zone.JOHANNESBURG] == {date(2026, 10, 5): 1, date(2026, 10, 6): 1}
        keep(ledger)


def _others_trigger(ledger: Ledger) -> None:
    insert(ledger, HOT, 900, before=f"ALTER TABLE {PARTITION} DISABLE TRIGGER treasury_mark_totals")
    ledger.sql(f"ALTER TABLE {PARTITION} ENABLE ALWAYS TRIGGER treasury_mark_totals")


def _in_one_transaction(ledger: Ledger) -> None:
    switch = f"ALTER TABLE {PARTITION} {{}} TRIGGER treasury_mark_totals"
    row = make_row(ledger.table, HOT, 901)
    with psycopg.connect(ledger.settings.database_dsn) as connection:
        connection.execute(switch.format("DISABLE"))
        names, gaps = ", ".join(row), ", ".join(["%s"] * len(row))
        connection.execute(f"INSERT INTO {PARTITION} ({names}) VALUES ({gaps})", [*row.values()])
        connection.execute(switch.format("ENABLE ALWAYS"))


def _without_the_trigger(ledger: Ledger) -> None:
    ledger.sql(f"DROP TRIGGER treasury_mark_totals ON {PARTITION}")
    insert(ledger, HOT, 902, into=PARTITION)


def _another_function(ledger: Ledger) -> None:
    ledger.sql(
        "CREATE OR REPLACE FUNCTION treasury.treasury_mark_totals() RETURNS trigger LANGUAGE plpgsql AS"
        " 'BEGIN RETURN NULL; END'"
    )
    insert(ledger, HOT, 903)


def _another_partition(ledger: Ledger) -> None:
    bounds = f"FOR VALUES FROM ('{HOT}-01 00:00+00') TO ('{HOT.plus(1)}-01 00:00+00')"
    ledger.sql(f"ALTER TABLE transactions_partitioned DETACH PARTITION {PARTITION}")
    ledger.sql(f"ALTER TABLE {PARTITION} RENAME TO aside")
    ledger.sql(f"CREATE TABLE {PARTITION} (LIKE aside INCLUDING ALL)")
    ledger.sql(f"INSERT INTO {PARTITION} SELECT * FROM aside WHERE amount > 5000")
    ledger.sql(f"ALTER TABLE transactions_partitioned ATTACH PARTITION {PARTITION} {bounds}")


def _guards_off(statement: str) -> Callable[[Ledger], None]:
    """A statement of a superuser who has turned off this project's guards of history, as for a correction."""

    def act(ledger: Ledger) -> None:
        ledger.sql(f"SET session_replication_role = replica; {statement}")

    return act


@pytest.mark.sampled(1)
@pytest.mark.parametrize(
    "act",
    [
        lambda ledger: insert(ledger, HOT, 910),
        lambda ledger: insert(ledger, HOT, 911, into=PARTITION),
        lambda ledger: insert(ledger, HOT, 912, before="SET session_replication_role = replica"),
        lambda ledger: ledger.sql("UPDATE transactions_partitioned SET status = 'completed' WHERE status = 'pending'"),
        lambda ledger: insert(ledger, WARM, 913, into="transactions_2026_02"),
        _guards_off(f"UPDATE {PARTITION} SET amount = amount + 0.01"),
        _guards_off("DELETE FROM transactions_partitioned WHERE amount > 100"),
        _guards_off(f"TRUNCATE {PARTITION}"),
        _others_trigger,
        _in_one_transaction,
        _without_the_trigger,
        _another_function,
        _another_partition,
    ],
    ids=[
        *("insert", "insert_into_the_partition", "as_a_replica", "status", "warm", "correction", "delete", "truncate"),
        *("trigger_off_and_on", "in_one_transaction", "no_trigger", "another_function", "another_partition"),
    ],
)
def test_what_anybody_writes_is_in_the_next_answer(tiers: Ledger, act: Callable[[Ledger], None]) -> None:
    keep(tiers)
    before = counted(tiers.settings, tiers.table)
    act(tiers)
    assert counted(tiers.settings, tiers.table) != before
    check(tiers.settings, tiers.table)
    keep(tiers)
    check(tiers.settings, tiers.table)


def test_a_row_that_is_committed_after_the_totals_were_kept_is_not_lost(tiers: Ledger) -> None:
    keep(tiers)
    insert(tiers, HOT, 920)  # marks the month: its totals are kept once more while the next row is open
    row = make_row(tiers.table, HOT, 921)
    names, gaps = ", ".join(row), ", ".join(["%s"] * len(row))
    with psycopg.connect(tiers.settings.database_dsn) as writer:
        writer.execute(f"INSERT INTO transactions_partitioned ({names}) VALUES ({gaps})", [*row.values()])
        assert TotalsResult.KEPT in keep(tiers)
        check(tiers.settings, tiers.table)
        assert kept(tiers) == (3, 0)
        writer.commit()
    check(tiers.settings, tiers.table)
    assert kept(tiers) == (2, 1)


@pytest.mark.heavy("rows that are committed after the totals were kept are tested beside it")
def test_writers_who_commit_while_totals_are_kept_lose_nothing(tiers: Ledger) -> None:
    keep(tiers)
    is_over = threading.Event()

    def write() -> None:
        number = 1000
        while not is_over.is_set():
            insert(tiers, HOT, number := number + 1)

    with_rows = threading.Thread(target=write)
    with_rows.start()
    try:
        for _ in range(5):
            keep_daily_totals(tiers.settings, [tiers.table])
    finally:
        is_over.set()
        with_rows.join()
    check(tiers.settings, tiers.table)
    keep(tiers)
    check(tiers.settings, tiers.table)
    assert kept(tiers) == (3, 0)


def test_the_month_that_has_not_ended_is_read(tiers: Ledger) -> None:
    now = Month.of(datetime.now().astimezone())
    tiers.fill(now)
    keep(tiers)
    assert kept(tiers) == (3, 1)
    assert not tiers.sql(
        "SELECT tgname FROM pg_trigger WHERE tgname = 'treasury_mark_totals' AND tgrelid = %s::regclass",
        tiers.table.partition(now),
    )
    check(tiers.settings, tiers.table)


def test_a_month_is_kept_in_each_tier_that_it_comes_to(ledger: Ledger) -> None:
    ledger.warm(COLD)
    keep(ledger)
    assert kept(ledger) == (1, 0)
    ledger.night()
    check(ledger.settings, ledger.table)
    assert kept(ledger) == (0, 1)
    keep(ledger)
    check(ledger.settings, ledger.table)
    assert kept(ledger) == (1, 0)
    assert ledger.sql("SELECT count(*) FROM daily_totals_places") == [(1,)]


@pytest.mark.parametrize("months", [(HOT, NEXT), (COLD,)], ids=["no_objects", "no_partitions"])
def test_what_holds_is_not_computed_again_where_all_months_are_on_one_side(
    ledger: Ledger, months: tuple[Month, ...]
) -> None:
    for month in months:
        ledger.fill(month)
    ledger.night()
    assert keep(ledger) == [TotalsResult.KEPT] * len(months)
    assert keep(ledger) == [TotalsResult.HELD] * len(months)


@pytest.mark.heavy("a month in each tier is tested beside it")
def test_late_rows_are_read_until_they_are_archived(ledger: Ledger) -> None:
    ledger.fill(COLD)
    ledger.night()
    keep(ledger)
    open_late_rows(ledger.settings, ledger.table, COLD)
    for number in range(1000, 1004):
        insert(ledger, COLD, number)
    insert(ledger, COLD, 5)  # it is archived already, and counts once
    check(ledger.settings, ledger.table)
    keep(ledger)
    assert kept(ledger) == (1, 1)
    check(ledger.settings, ledger.table)
    twice = make_row(ledger.table, COLD, 5)["id"]
    ledger.sql(f"SET session_replication_role = replica; DELETE FROM transactions_2024_03 WHERE id = '{twice}'")
    ledger.night()
    keep(ledger)
    assert kept(ledger) == (2, 0)
    check(ledger.settings, ledger.table)


@pytest.mark.heavy("a month in each tier is tested beside it")
def test_totals_follow_a_month_that_goes_back_to_warm_and_is_worked_on(ledger: Ledger) -> None:
    ledger.fill(COLD)
    ledger.night()
    keep(ledger)
    return_month(ledger.settings, ledger.table, COLD, Request("anna", "os anna", "a correction", timedelta(days=7)))
    assert kept(ledger) == (0, 1)
    check(ledger.settings, ledger.table)
    keep(ledger)
    assert kept(ledger) == (1, 0)
    insert(ledger, COLD, 2000, into=ledger.table.warm_parent)
    assert kept(ledger) == (0, 1)
    check(ledger.settings, ledger.table)
    archive_month(ledger.settings, ledger.table, COLD)
    check(ledger.settings, ledger.table)
    keep(ledger)
    assert kept(ledger) == (1, 0)
    check(ledger.settings, ledger.table)


@pytest.mark.heavy("a month in each tier is tested beside it")
def test_of_a_deleted_month_no_totals_are_kept_but_of_its_held_rows(ledger: Ledger) -> None:
    rules = RetentionSettings(grace_days=0, controller="Acme Payments (Pty) Ltd")
    ledger = Ledger(ledger.settings.model_copy(update={"retention": rules}), ledger.store)
    age(ledger, OLDER, OLD)
    hold(ledger, OLD, "wallet-3")
    keep(ledger)
    assert kept(ledger) == (2, 0)
    approved(ledger)
    seen: list[int] = []
    delete(ledger, lambda _: seen.append(ledger.sql("SELECT count(*) FROM daily_totals_places")[0][0]))
    assert seen[-1] == 0
    found = answer(ledger.settings, ledger.table)
    assert set(found.deleted) == {OLDER, OLD}
    assert sum(one.rows for one in found.totals) == ledger.ask("SELECT count(*) AS n FROM transactions")[0]["n"] > 0
    keep(ledger)
    check(ledger.settings, ledger.table)


def test_a_client_gets_the_totals_of_its_rows_alone(ledger: Ledger) -> None:
    ledger.fill(HOT)
    insert(ledger, HOT, 930, client_id="globex")
    for _ in range(2):
        for client in ("acme", "globex", "nobody"):
            found = daily(ledger.settings, ledger.table, Zone.UTC, client)
            assert found == counted(ledger.settings, ledger.table, client=client)
        keep(ledger)


def test_a_month_that_is_not_where_the_catalogue_says_is_refused(tiers: Ledger) -> None:
    keep(tiers)
    tiers.sql(f"ALTER TABLE transactions_partitioned DETACH PARTITION {PARTITION}")
    with pytest.raises(MissingRowsError, match="2026-10"):
        answer(tiers.settings, tiers.table)
    assert answer(tiers.settings, tiers.table, days=(date(2024, 3, 1), date(2024, 3, 31))).kept == 1


def test_another_object_in_the_place_of_an_archived_one_is_not_kept(ledger: Ledger) -> None:
    ledger.fill(COLD)
    ledger.night()
    key = ledger.catalogue(COLD)["object_key"]
    (ledger.store / key).write_bytes(bytes(one ^ 1 for one in (ledger.store / key).read_bytes()))
    (outcome,) = keep_daily_totals(ledger.settings, [ledger.table])
    assert (outcome.result, outcome.month) == (TotalsResult.FAILED, COLD)


def test_reading_archived_months_ends_at_the_time_limit(ledger: Ledger) -> None:
    ledger.fill(COLD)
    ledger.night()
    question = Question(date(2024, 3, 1), date(2024, 3, 31))
    with connect(ledger.settings.database_dsn, "tests") as connection, connection.transaction():
        places = places_of(connection, ledger.settings, ledger.table)
        with pytest.raises(TransientError, match="ask for fewer days"):
            archive_sums(connection, ledger.settings, places, places.places, question, timeout_s=0)
        assert archive_sums(connection, ledger.settings, places, places.places, question, timeout_s=60)[0]


def test_what_cannot_be_answered_is_refused_by_name(tiers: Ledger) -> None:
    day = date(2026, 10, 1)
    with pytest.raises(FieldError, match="to: must not be before `from`"):
        Question(day, day - timedelta(days=1))
    with pytest.raises(FieldError, match="from: must be in the years"):
        Question(date(1, 1, 1), day)
    with pytest.raises(FieldError, match="group_by: transactions has no column for supplier"):
        answer(tiers.settings, tiers.table, groups=frozenset({TotalsGroup.SUPPLIER}))
    question = Question(date(2026, 10, 1), date(2026, 10, 31))
    with pytest.raises(FieldError, match=r"group_by: makes \d+ totals, and 3 fit"):
        answer_totals(tiers.settings, tiers.table, question, 3, timeout_s=60)
    with (
        connect(tiers.settings.database_dsn, "tests") as connection,
        totals_lock(connection),
        pytest.raises(ConflictError, match="another run keeps daily totals"),
    ):
        keep(tiers)


@pytest.mark.sampled(1)
@pytest.mark.parametrize("step", STEPS)
def test_a_run_that_is_killed_leaves_totals_that_hold_or_none(tiers: Ledger, step: str) -> None:
    program = (
        "import os, sys; from config import load_settings; from tasks.totals.keeping import keep_daily_totals\n"
        "settings = load_settings()\n"
        "keep_daily_totals(settings, [settings.table('transactions')],"
        " lambda step: os._exit(9) if step == sys.argv[1] else None)"
    )
    ended = tiers.run(program, step)
    assert ended.returncode == 9, ended.stderr
    check(tiers.settings, tiers.table)
    insert(tiers, HOT, 940)
    check(tiers.settings, tiers.table)
    keep(tiers)
    check(tiers.settings, tiers.table)
    assert kept(tiers) == (3, 0)


@pytest.mark.heavy("totals of the built-in tables are tested beside it")
def test_a_third_table_without_currency_type_and_status_has_totals(settings: Settings) -> None:
    with psycopg.connect(settings.database_dsn) as connection:
        connection.execute(_DDL)
    own = Settings.model_validate(settings.model_dump() | {"tables": {"loyalty_events": _CONFIGURED}})
    table, months = own.table("loyalty_events"), (Month(2026, 5), Month(2026, 9))
    with connect(own.database_dsn, "tests") as connection:
        prepare_table(connection, own, table)
        for month in months:
            ensure_partition(connection, own, table, month)
            for number in range(20):
                values = (uuid4(), month.lower + timedelta(hours=7 * number), f"m-{number % 3}", Decimal(number) / 7)
                names = "event_id, occurred_at, member, points"
                connection.execute(f"INSERT INTO {table.hot_parent} ({names}) VALUES (%s, %s, %s, %s)", values)

    def check_points() -> None:
        (found,) = answer(own, table).totals
        ledger = Ledger(own, own.home)
        ledger.table = table
        (row,) = ledger.ask("SELECT count(*) AS n, sum(points) AS total FROM loyalty_events")
        assert (found.rows, found.sums, found.currency) == (row["n"], (row["total"],), None)
        assert sum(n for n, _ in told(answer(own, table, groups=frozenset({TotalsGroup.DAY}))).values()) == row["n"]

    for _ in range(2):
        check_points()
        assert [one.error for one in keep_daily_totals(own, [table])] == [None, None]
        check_points()
        for move in plan_table(own, table, TODAY, TODAY):
            move_month(own, move)
    with pytest.raises(RefusalError, match="rows of loyalty_events belong to no client"):
        answer(own, table, client="acme")
    with pytest.raises(FieldError, match="no column for status"):
        answer(own, table, groups=frozenset({TotalsGroup.STATUS}))


def described(points: Points, **changes: Any) -> tuple[Settings, TieredTable]:
    """The settings of a process that began after the description of the table was changed, and the table there."""
    fields = points.settings.model_dump()
    fields["tables"]["points"] |= changes
    settings = Settings.model_validate(fields)
    return settings, settings.table("points")


def test_kept_totals_end_where_the_table_is_grouped_by_other_columns(settings: Settings) -> None:
    """Of a partition and of an archived object: what was kept answered for columns that the table has not any more."""
    points = Points(settings)
    for currency in ("ZAR", "ZAR", "USD"):
        points.add("done", currency, "1")
    changed, table = described(points, currency_column=None, type_column="currency", status_column=None)
    by_type = Question(*ALWAYS, groups=frozenset({TotalsGroup.TYPE}))
    for tier in ("hot", "cold"):
        assert [one.result for one in keep_daily_totals(points.settings, [points.table])] == [TotalsResult.KEPT]
        for places in ((0, 1), (1, 0)):
            found = answer_totals(changed, table, by_type, PLENTY, timeout_s=60)
            assert {one.type: (one.rows, one.currency) for one in found.totals} == {"USD": (1, None), "ZAR": (2, None)}
            assert (found.kept, found.read) == places, tier
            with connect(settings.database_dsn, "tests") as connection:
                assert bool(unkept(connection, [table])) is (places == (0, 1))
            keep_daily_totals(changed, [table])
        points.archive()


def test_a_money_column_that_is_summed_from_now_on_is_no_corruption_of_archived_months(settings: Settings) -> None:
    points = Points(settings, money_columns=["amount"])
    points.add("done", "ZAR", "5", "0.25")
    points.archive()
    changed, table = described(points, money_columns=["amount", "share"])
    assert [one.error for one in keep_daily_totals(changed, [table])] == [None]
    (total,) = answer_totals(changed, table, Question(*ALWAYS), PLENTY, timeout_s=60).totals
    assert (total.rows, total.sums) == (1, (Decimal(5), Decimal("0.25")))


def test_a_table_without_money_has_totals_in_every_tier(settings: Settings) -> None:
    points = Points(settings, money_columns=[])
    for currency in ("ZAR", "USD"):
        points.add("done", currency, "1")

    def rows() -> list[tuple[str | None, int, tuple[Decimal, ...]]]:
        found = answer_totals(points.settings, points.table, Question(*ALWAYS), PLENTY, timeout_s=60)
        return [(one.currency, one.rows, one.sums) for one in found.totals]

    for _ in range(2):
        assert rows() == [("USD", 1, ()), ("ZAR", 1, ())]
        assert [one.error for one in keep_daily_totals(points.settings, [points.table])] == [None]
        assert rows() == [("USD", 1, ()), ("ZAR", 1, ())]
        (month,) = tier_rows(points.settings, [points.table])
        assert (month.rows, month.sums) == (2, {"USD": {}, "ZAR": {}})
        points.archive()
    assert month.tier == "cold"


def _write(ledger: Ledger, number: int) -> None:
    status = ("pending", "completed")[number % 3 == 0]
    with suppress(psycopg.errors.CheckViolation):  # a month that is warm takes no rows through the hot parent
        insert(ledger, (NEXT, HOT)[number % 2], 2000 + number, status=status)


def _end(ledger: Ledger, number: int) -> None:
    status = ("completed", "failed")[number % 2]
    unfinished = "status = 'pending' AND amount > %s"
    ledger.sql(f"UPDATE transactions_partitioned SET status = '{status}' WHERE {unfinished}", number)


def _late(ledger: Ledger, number: int) -> None:
    try:
        open_late_rows(ledger.settings, ledger.table, COLD)
    except TreasuryError:
        return  # it is not archived yet
    insert(ledger, COLD, 3000 + number)


def _night(ledger: Ledger, number: int) -> None:
    ledger.night(as_of=TODAY + timedelta(days=100 * (number % 2)), today=TODAY + timedelta(days=100))


def _correct(ledger: Ledger, number: int) -> None:
    """Another status and another amount of rows that have ended, hot and warm, by whoever may turn the guards off."""
    for parent in (ledger.table.hot_parent, ledger.table.warm_parent):
        _guards_off(
            f"UPDATE {parent} SET status = 'reversed', amount = amount + 0.01 "
            f"WHERE status = 'completed' AND amount > {number % 7 * 1000}"
        )(ledger)


def _import(ledger: Ledger, number: int) -> None:
    """A file with two rows that are new and, from the second file on, one that is there already."""
    supplied = {"supplier": constant("flash"), "vas_type": constant("airtime"), "commission": column("commission")}
    fields = {
        **{name: constant("shop") for name in ("client_id", "user_id", "wallet_id")},
        "type": constant("payment"),
        "status": constant("completed"),
        "currency": constant("ZAR"),
        "amount": column("amount"),
        "created_at": column("at", format="iso"),
        **(supplied if ledger.table.name == "vas_transactions" else {}),
    }
    folder = ledger.settings.home / "import"
    folder.mkdir(exist_ok=True)
    file, mapping = folder / "shop.csv", folder / "shop.toml"
    mapping.write_text(mapping_text("shop", ledger.table.name, ["no"], fields), encoding="utf-8")
    lines = [f"{at},{at + 1}.07,0.{at:02},{NEXT}-{1 + at % 28:02}T23:30:00Z" for at in (0, number + 1, number + 2)]
    file.write_text("\n".join(["no,amount,commission,at", *lines, ""]), encoding="utf-8")
    now = datetime.combine(TODAY, datetime.min.time(), UTC)
    report = import_file(ledger.settings, ImportRequest(file, mapping), lambda *_: None, now)
    assert report.read == 3


def _delete(ledger: Ledger, number: int) -> None:
    """A month past its policy: archived, approved by two and deleted with a certificate; of some a wallet is held."""
    month = OLD.plus(ledger.sql("SELECT count(*) FROM deletions")[0][0])
    age(ledger, month)
    if number % 2:
        hold(ledger, month, "wallet-3")
    approved(ledger)
    assert [one.result for one in delete(ledger)] == [DeletionResult.DELETED]


_ACTS: dict[str, Act] = {
    "write": _write,
    "end": _end,
    "late": _late,
    "night": _night,
    "correct": _correct,
    "import": _import,
    "delete": _delete,
    "keep": lambda ledger, _: bool(keep_daily_totals(ledger.settings, [ledger.table])),
}


@pytest.fixture(params=["transactions", "vas_transactions"])
def lived_in(ledger: Ledger, request: pytest.FixtureRequest) -> Ledger:
    """A table with a month in each tier, another hot one, and rows under way; old months may be deleted at once."""
    rules = RetentionSettings(grace_days=0, controller="Acme Payments (Pty) Ltd")
    made = Ledger(ledger.settings.model_copy(update={"retention": rules}), ledger.store)
    made.table = made.settings.table(request.param)
    for month in (COLD, WARM, HOT, NEXT):
        made.fill(month)
    made.night()
    for number in range(500, 505):
        insert(made, HOT, number, status="pending")
    return made


@pytest.mark.heavy("each of these is done alone, too")
@pytest.mark.timeout(900)
def test_in_whatever_order_it_happens_totals_are_those_of_the_rows(lived_in: Ledger) -> None:
    numbers = iter(range(10_000))

    @examples(max_examples=3, suppress_health_check=list(HealthCheck), database=None)
    @given(st.lists(st.sampled_from(sorted(_ACTS)), min_size=3, max_size=6))
    @example(["keep", "import", "correct", "keep", "delete", "late", "end", "import", "delete", "night"])
    @example(["keep", "write", "night", "delete", "keep", "correct", "late", "night", "keep"])
    def happens(acts: list[str]) -> None:
        for act in acts:
            _ACTS[act](lived_in, next(numbers))
        check(lived_in.settings, lived_in.table)

    happens()
    (counted_now,) = lived_in.ask(
        f"SELECT count(*) AS n, count(*) FILTER (client_id = 'shop') AS shop FROM {lived_in.table.name}"
    )
    assert counted_now["n"] >= 4 * ROWS
    assert counted_now["shop"] >= 3
    assert len(answer(lived_in.settings, lived_in.table).deleted) >= 2
