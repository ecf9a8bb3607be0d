"""No row is loaded into a day that two people have closed: it is rejected by name, and the rest is loaded."""

from datetime import timedelta
from pathlib import Path

import psycopg
import pytest

from config import Settings
from sql.connection import connect
from sql.preparation import prepare_table
from tasks.importing.closed_days import ClosedDays
from tasks.importing.rows import Row
from tasks.reconciliation.closing.periods import Closing, close_period
from tasks.synthetic.generate import GenerateParameters, generate
from tests.tasks.importing.conftest import Run
from tests.tasks.reconciliation.books import DAY, Books, closed_by_two

MAPPING = """
name = "vas"
table = "vas_transactions"
key = ["no"]

[fields]
client_id = { constant = "shop" }
user_id = { constant = "u" }
wallet_id = { constant = "w" }
type = { constant = "payment" }
status = { constant = "completed" }
amount = { column = "amount" }
currency = { constant = "ZAR" }
supplier = { column = "supplier" }
vas_type = { constant = "airtime" }
created_at = { column = "at", format = "iso" }
"""
HEADER = "no,supplier,amount,at\n"
BEFORE, FIRST = "1,flash,1.00,2026-02-02T21:59:59.999Z\n", "2,flash,2.00,2026-02-02T22:00:00Z\n"
LAST, AFTER = "3,flash,3.00,2026-02-03T21:59:59.999Z\n", "4,flash,4.00,2026-02-03T22:00:00Z\n"
OTHER = "5,peach,5.00,2026-02-03T12:00:00Z\n"
REASON = f"flash {DAY} is in the closed period {DAY} to {DAY}: it takes no more rows"


@pytest.fixture
def books(settings: Settings, tmp_path: Path) -> Books:
    """Books whose day has a run without rows."""
    with connect(settings.database_dsn, "tests") as connection:
        prepare_table(connection, settings, settings.table("vas_transactions"))
    books = Books(settings, tmp_path)
    books.run()
    return books


def content(*lines: str) -> bytes:
    return (HEADER + "".join(lines)).encode()


@pytest.mark.sampled(1)
@pytest.mark.parametrize("dry_run", [False, True])
def test_rows_of_a_closed_day_are_rejected_by_its_name_and_the_rest_is_loaded(
    books: Books, run: Run, dry_run: bool
) -> None:
    closed_by_two(books, DAY, DAY)
    outcome = run(content(BEFORE, FIRST, LAST, AFTER, OTHER), MAPPING, dry_run=dry_run)
    assert outcome.counts == (5, 3, 2)
    assert [(line, reason, field) for line, reason, field, _ in outcome.rejects] == [
        (3, REASON, "created_at"),
        (4, REASON, "created_at"),
    ]
    there = books.sql("SELECT amount::int AS amount FROM vas_transactions ORDER BY amount")
    assert [row["amount"] for row in there] == ([] if dry_run else [1, 4, 5])


@pytest.mark.heavy("rows of a closed day are rejected by its name")
def test_a_row_of_a_closed_day_that_is_there_already_is_told_so(books: Books, run: Run) -> None:
    run(content(FIRST), MAPPING)
    books.run()
    closed_by_two(books, DAY, DAY, carry=True)
    outcome = run(content(FIRST, LAST), MAPPING)
    assert [(line, reason) for line, reason, *_ in outcome.rejects] == [(2, "already loaded"), (3, REASON)]
    books.run(books.statement(DAY + timedelta(days=1)), DAY + timedelta(days=1))
    assert ("closed_period_changed",) not in books.breaks()


@pytest.mark.heavy("a month that is being loaded is tested beside it")
def test_an_import_while_a_day_is_being_closed_comes_before_it_or_is_rejected(
    books: Books, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The day is closed just after the import has looked, and before it loads."""
    enter = ClosedDays.enter
    closed: list[Closing] = []

    def close_first(days: ClosedDays, rows: list[Row]) -> None:
        if not closed:
            closed.append(closed_by_two(books, DAY, DAY))
        enter(days, rows)

    monkeypatch.setattr(ClosedDays, "enter", close_first)
    outcome = run(content(BEFORE, FIRST), MAPPING)
    assert (outcome.counts, [line for line, *_ in outcome.rejects]) == ((2, 1, 1), [3])


@pytest.mark.heavy("closed days are tested beside it")
def test_rows_that_are_imported_into_a_proposed_day_are_known_to_whoever_closes_it(books: Books, run: Run) -> None:
    close_period(books.settings, "flash", DAY, DAY, "thandi", "month end")
    assert run(content(BEFORE, FIRST, LAST, OTHER), MAPPING).counts == (4, 4, 0)
    assert books.sql("SELECT supplier, day FROM recon_day_changes") == [{"supplier": "flash", "day": DAY}]


def test_a_month_that_is_being_loaded_keeps_closings_out_until_its_commit(books: Books, run: Run) -> None:
    """Neither waits for the other for long: the closing gives up and is tried again."""
    with psycopg.connect(books.settings.database_dsn) as closing:
        closing.execute("SELECT pg_advisory_xact_lock_shared(hashtextextended('flash', 7303016))")
        assert run(content(FIRST), MAPPING).counts == (1, 1, 0)


@pytest.mark.heavy("imported rows are tested beside it")
def test_no_rows_are_generated_into_a_month_with_a_closed_day(books: Books) -> None:
    closed_by_two(books, DAY, DAY)
    wanted = {"months": 2, "rows_per_month": 0, "vas_rows_per_month": 50, "until": "2026-03-01"}
    january, february = generate(books.settings, GenerateParameters.model_validate(wanted), lambda *_: None)
    assert (january.rows, january.skipped) == (50, None)
    assert (february.rows, february.skipped) == (0, f"flash {DAY} to {DAY} is a closed period")
