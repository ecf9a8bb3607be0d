"""A run of reconciliation ends well only when PostgreSQL stored everything that it found."""

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal

import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from ledger.errors import NotStoredError
from tasks.reconciliation.casework.breaks import resolve
from tasks.reconciliation.closing.periods import close_period
from tasks.reconciliation.vocabulary import Decision
from tests.dropping import dropping
from tests.tasks.reconciliation.books import DAY, NOON, Books

NEXT = DAY + timedelta(days=1)
COUNTED = "recon_runs", "recon_breaks", "recon_matches", "recon_resolutions", "recon_events"


def stored(books: Books) -> dict[str, int]:
    """How many rows there are of everything that a run stores."""
    counting = SQL("SELECT count(*) AS rows FROM {}")
    return {name: books.sql(counting.format(Identifier(name)).as_string())[0]["rows"] for name in COUNTED}


def refused(books: Books, table: str, work: Callable[[], object]) -> None:
    """Do ``work`` while PostgreSQL drops the rows of ``table``: it fails by name and leaves nothing."""
    before = stored(books)
    with psycopg.connect(books.settings.database_dsn, autocommit=True) as connection, dropping(connection, table):
        with pytest.raises(NotStoredError, match=rf"{table}: .* sent and PostgreSQL stored 0: look for a trigger"):
            work()
        assert stored(books) == before


@pytest.mark.sampled(2)
@pytest.mark.parametrize("table", ["recon_breaks", "recon_matches", "recon_runs", "recon_resolutions", "recon_events"])
def test_a_run_whose_rows_are_dropped_fails_by_name_and_leaves_nothing(books: Books, table: str) -> None:
    row = books.own()
    books.run()
    books.line(row, occurred_at=NOON + timedelta(hours=20))
    late = books.statement(NEXT)
    refused(books, table, lambda: books.run(late, NEXT))
    assert books.run(late, NEXT).run_id is not None
    assert books.breaks("open") == [("late_posting",)]
    assert books.records() == [("closed", "counterpart_arrived")]
    assert len(books.sql("SELECT run_id FROM recon_matches")) == 1


@pytest.mark.sampled(1)
@pytest.mark.parametrize("again", [False, True], ids=["closed", "opened again"])
def test_a_run_whose_record_of_a_break_is_dropped_fails_by_name(books: Books, again: bool) -> None:
    row = books.both()
    short = books.statement()
    books.line(row)
    books.line()
    long = books.statement()
    books.run(long)
    if again:
        books.run(short)
    refused(books, "recon_resolutions", lambda: books.run(long if again else short))
    books.run(long if again else short)
    assert [action for action, _ in books.records()] == (["closed", "reopened"] if again else ["closed"])


def test_a_rule_whose_record_is_dropped_resolves_nothing(books: Books) -> None:
    row = books.own()
    books.line(row, amount=Decimal("100.10"))
    statement = books.statement()
    refused(books, "recon_resolutions", lambda: books.run(statement))
    books.run(statement)
    assert books.records() == [("auto_resolved", "rounding")]


def test_a_decision_that_is_dropped_fails_by_name(books: Books) -> None:
    books.own()
    books.run()
    number = books.the_break()["break_id"]

    def decide() -> object:
        return resolve(books.settings, number, "thandi", Decision.OURS_IS_RIGHT, "seen")

    refused(books, "recon_resolutions", decide)
    assert books.the_break()["state"] == "open"


@pytest.mark.sampled(1)
@pytest.mark.parametrize("table", ["recon_resolutions", "recon_periods", "recon_closed_days", "recon_period_proposals"])
def test_a_period_of_which_anything_is_dropped_stays_open(books: Books, table: str) -> None:
    books.own()
    books.run()
    if table != "recon_period_proposals":
        close_period(books.settings, books.supplier, DAY, DAY, "thandi", "month end", carry=True)
    refused(books, table, lambda: close_period(books.settings, books.supplier, DAY, DAY, "sipho", "seen", carry=True))
    assert books.sql("SELECT period_id FROM recon_periods") == []
