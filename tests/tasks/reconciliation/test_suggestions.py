"""A suggested match that a person confirms is known from then on; a correction that was asked for brings no break."""

from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from ledger.errors import ConflictError
from sql.connection import connect
from tasks.reconciliation.audit.chain import verify_chain
from tasks.reconciliation.casework.breaks import resolve
from tasks.reconciliation.casework.lists import history
from tasks.reconciliation.vocabulary import BreakState, Decision
from tests.tasks.reconciliation.books import DAY, NOON, Books

NEXT = DAY + timedelta(days=1)
SAME = Decision.SAME_TRANSACTION


def near_tie(books: Books) -> None:
    """Two rows and one line that may be either's: nobody but a person can tell."""
    for second in (1, 2):
        books.own(supplier_transaction_id=None, reference=None, created_at=NOON + timedelta(seconds=second))
    books.line(supplier_transaction_id=None, reference=None, occurred_at=NOON + timedelta(seconds=1))


def payout(books: Books) -> None:
    """One payout over two rows, told by its sum alone."""
    for _ in range(2):
        books.own(amount=Decimal("120.00"))
    books.line(kind="payout", amount=Decimal("240.00"), supplier_transaction_id="P1", reference=None, commission=None)


def by_class(books: Books, state: str = "open") -> dict[str, list[dict[str, Any]]]:
    """The breaks of a state by class, in the order of their numbers."""
    found: dict[str, list[dict[str, Any]]] = {}
    for row in books.sql("SELECT * FROM recon_breaks WHERE state = %s ORDER BY break_id", state):
        found.setdefault(row["class"], []).append(row)
    return found


def suggestions(books: Books, run_id: int | None) -> int:
    """How many matches a run suggests."""
    return len(books.sql("SELECT * FROM recon_matches WHERE run_id = %s AND state = 'suggested'", run_id))


def whole(books: Books) -> None:
    """The audit chain is whole."""
    with connect(books.settings.database_dsn, "tests") as connection:
        verify_chain(connection)


@pytest.mark.sampled(1)
@pytest.mark.parametrize("side", ["line", "own"])
def test_a_confirmed_pair_ends_both_breaks_and_no_later_run_brings_it_up(books: Books, side: str) -> None:
    near_tie(books)
    statement = books.statement()
    books.run(statement)
    ((line,), rows) = by_class(books)["missing_here"], by_class(books)["missing_there"]
    (suggested,) = books.sql("SELECT own_id FROM recon_matches WHERE state = 'suggested'")
    row = next(one for one in rows if UUID(one["own"]["id"]) == suggested["own_id"])
    asked, other = (line, row) if side == "line" else (row, line)

    done = resolve(books.settings, asked["break_id"], "thandi", SAME, "the till says so")
    assert (done.state, done.together) == (BreakState.RESOLVED, (other["break_id"],))
    assert by_class(books).keys() == {"missing_there"}

    again = books.run(statement)
    assert suggestions(books, again.run_id) == 0
    (match,) = books.sql("SELECT own_id, method FROM recon_matches WHERE run_id = %s", again.run_id)
    assert match == {"own_id": suggested["own_id"], "method": "confirmed"}
    assert again.summary.figures["matched_lines"] == 1
    assert books.breaks("open") == [("missing_there",)]  # the other row, which has no line
    whole(books)


@pytest.mark.heavy("a confirmed pair ends both breaks")
def test_a_confirmed_payout_covers_all_its_rows_from_then_on(books: Books) -> None:
    payout(books)
    statement = books.statement()
    first = books.run(statement)
    assert suggestions(books, first.run_id) == 2
    (line,) = by_class(books)["missing_here"]
    done = resolve(books.settings, line["break_id"], "thandi", SAME, "their remittance lists both")
    assert len(done.together) == 2
    assert books.breaks("open") == []

    again = books.run(statement)
    assert (again.waiting, suggestions(books, again.run_id)) == (0, 0)
    assert again.summary.figures["breaks"] == 0
    assert again.summary.figures["currencies"]["ZAR"]["difference"] == "0.00"
    whole(books)


def test_of_a_suggestion_all_breaks_are_decided_or_none(books: Books) -> None:
    payout(books)
    books.run()
    (line,), (one, two) = by_class(books)["missing_here"], by_class(books)["missing_there"]
    resolve(books.settings, two["break_id"], "thandi", Decision.WRITE_OFF, "too small")
    for asked in (line, one):
        with pytest.raises(ConflictError, match=f"break {two['break_id']} is resolved already"):
            resolve(books.settings, asked["break_id"], "sipho", SAME, "both")
    assert len(books.breaks("open")) == 2
    assert books.sql("SELECT * FROM recon_confirmations") == []


def test_a_match_above_the_limit_is_proposed_and_confirmed_as_a_whole(books: Books) -> None:
    books.rules(four_eyes_above=Decimal("200.00"))  # the payout is above it, its rows are not
    payout(books)
    books.run()
    (line,), (one, two) = by_class(books)["missing_here"], by_class(books)["missing_there"]
    assert resolve(books.settings, one["break_id"], "thandi", SAME, "both").state is BreakState.PROPOSED
    assert len(books.breaks("proposed")) == 3
    with pytest.raises(ConflictError, match="somebody else must confirm"):
        resolve(books.settings, two["break_id"], "thandi", SAME, "both")
    assert resolve(books.settings, two["break_id"], "sipho", Decision.REJECT, "no").state is BreakState.OPEN
    assert len(books.breaks("open")) == 3
    resolve(books.settings, line["break_id"], "thandi", SAME, "really")
    assert resolve(books.settings, two["break_id"], "sipho", SAME, "now I see").state is BreakState.RESOLVED
    assert len(books.breaks("resolved")) == 3
    assert [one.action for one in history(books.settings, line["break_id"])] == [
        *("proposed", "rejected", "proposed", "resolved")
    ]
    whole(books)


def test_without_a_suggestion_there_is_nothing_to_confirm(books: Books) -> None:
    books.line(amount=Decimal("40.00"))
    books.run()
    number = books.the_break()["break_id"]
    with pytest.raises(ConflictError, match=f"break {number}: no match is suggested for it"):
        resolve(books.settings, number, "thandi", SAME, "surely")
    assert books.breaks("open") == [("missing_here",)]


@pytest.mark.heavy("a confirmed pair is compared by the rules of any pair")
def test_a_difference_of_money_in_a_confirmed_pair_is_still_a_break(books: Books) -> None:
    books.own(supplier_transaction_id=None, reference=None)
    books.own(supplier_transaction_id=None, reference=None)
    books.line(supplier_transaction_id=None, reference=None, amount=Decimal("100.05"), occurred_at=NOON)
    statement = books.statement()
    books.run(statement)
    (line,) = by_class(books)["missing_here"]
    resolve(books.settings, line["break_id"], "thandi", SAME, "five cents off")
    books.rules(auto_rounding=Decimal("0.00"))
    books.run(statement)
    assert sorted(by_class(books)) == ["amount", "missing_there"]


@pytest.mark.heavy("a confirmed pair ends both breaks")
def test_a_confirmed_match_ends_when_a_corrected_statement_drops_its_line(books: Books) -> None:
    payout(books)
    books.run()
    (line,) = by_class(books)["missing_here"]
    resolve(books.settings, line["break_id"], "thandi", SAME, "both")
    again = books.run(books.statement())
    assert again.waiting == 2
    assert by_class(books).keys() == {"missing_there"}
    assert by_class(books, "closed").keys() == {"missing_here"}
    whole(books)


@pytest.mark.heavy("as a missing line that is right")
def test_a_row_of_the_next_day_that_was_confirmed_is_not_missing_on_its_own_day(books: Books) -> None:
    """The pair lies over the edge of the day: the line just before midnight, the row just after."""
    midnight = NOON + timedelta(hours=12)
    for second in (5, 6):
        moment = midnight + timedelta(seconds=second)
        books.own(supplier_transaction_id=None, reference=None, created_at=moment)
    books.line(supplier_transaction_id=None, reference=None, occurred_at=midnight - timedelta(seconds=5))
    books.run()
    line = books.the_break()
    resolve(books.settings, line["break_id"], "thandi", SAME, "the clock of the till")
    books.run(books.statement(NEXT), NEXT)
    assert books.breaks("open") == [("missing_there",)]  # the other row


def test_a_missing_line_that_is_right_waits_for_the_row_and_makes_no_new_break(books: Books) -> None:
    line = books.line()
    statement = books.statement()
    books.run(statement)
    number = books.the_break()["break_id"]
    resolve(books.settings, number, "thandi", Decision.THEIRS_IS_RIGHT, "vended by hand; row added")
    names = ("supplier_transaction_id", "reference")
    books.own(created_at=NOON + timedelta(days=1, hours=2), **{name: line[name] for name in names})
    empty = books.statement(NEXT)
    for _ in range(2):  # and run again
        assert books.run(empty, NEXT).waiting == 0
    assert books.run(statement).waiting == 0  # the line's own day
    assert books.run(empty, NEXT).waiting == 0
    assert books.breaks() == books.breaks("closed") == [("missing_here",)]
    assert books.records() == [("resolved", "theirs_is_right"), ("closed", "counterpart_arrived")]
    whole(books)


@pytest.mark.heavy("as a missing line that is right")
def test_a_row_added_with_another_amount_is_a_break(books: Books) -> None:
    line = books.line()
    books.run()
    resolve(books.settings, books.the_break()["break_id"], "thandi", Decision.THEIRS_IS_RIGHT, "row added")
    names = ("supplier_transaction_id", "reference")
    moment = NOON + timedelta(days=1)
    books.own(created_at=moment, amount=Decimal("90.00"), **{name: line[name] for name in names})
    books.run(books.statement(NEXT), NEXT)
    assert books.breaks("open") == [("amount",)]


@pytest.mark.heavy("as a missing line that is right")
def test_a_missing_row_that_is_right_waits_for_the_supplier_s_line(books: Books) -> None:
    row = books.own()
    books.run()
    resolve(books.settings, books.the_break()["break_id"], "thandi", Decision.OURS_IS_RIGHT, "they will send it")
    for day in (NEXT, DAY + timedelta(days=40)):
        books.line(row, occurred_at=NOON)
        statement = books.statement(day)
        assert books.run(statement, day).waiting == (0 if day == NEXT else 1)
    assert books.breaks("open") == [("duplicate",)] or books.breaks("open") == [("missing_here",)]  # sent twice
