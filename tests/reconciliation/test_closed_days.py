"""Our side of a closed day: what closes it was what the run read, and nothing in it changes without a word."""

from datetime import timedelta
from decimal import Decimal

import psycopg
import pytest

from ledger.errors import ConflictError
from sql.connection import connect
from tasks.reconciliation.chain import verify_chain
from tests.reconciliation.books import DAY, NOON, PARENT, Books, closed_by_two

NEXT = DAY + timedelta(days=1)


def test_a_row_that_came_in_behind_the_run_refuses_the_closing_by_name(books: Books) -> None:
    books.both()
    books.run()
    books.own(amount=Decimal("40.00"))
    with pytest.raises(ConflictError, match="are not those that run 1 read: 1 came in in ZAR") as refused:
        closed_by_two(books, DAY, DAY)
    assert "run the day again" in str(refused.value)


def test_the_closing_keeps_what_it_closed(books: Books) -> None:
    books.both()
    books.run()
    closed_by_two(books, DAY, DAY)
    (period,) = books.sql("SELECT own_rows, own_sums FROM recon_periods")
    assert period["own_rows"] == 1
    assert period["own_sums"]["ZAR"]["value"] == "100.00"
    with connect(books.settings.database_dsn, "tests") as connection:
        verify_chain(connection)


def test_a_row_put_into_a_closed_day_is_a_break_of_the_next_open_day_once(books: Books) -> None:
    books.both()
    books.run()
    closed_by_two(books, DAY, DAY)
    books.own(amount=Decimal("40.00"))
    books.run(books.statement(NEXT), NEXT)
    books.run(books.statement(NEXT), NEXT)
    assert books.breaks() == [("closed_period_changed",)]
    found = books.the_break()
    assert (found["day"], found["period_day"], found["variance"]) == (DAY, NEXT, Decimal("-40.00"))
    with connect(books.settings.database_dsn, "tests") as connection:
        verify_chain(connection)
