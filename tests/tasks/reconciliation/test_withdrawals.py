"""Decisions that are taken back: by a record, by two people, with everything that was decided together."""

from datetime import timedelta
from decimal import Decimal

import psycopg
import pytest

from ledger.errors import FieldError, RefusalError
from tasks.reconciliation.casework.breaks import resolve
from tasks.reconciliation.casework.lists import history
from tasks.reconciliation.vocabulary import BreakState, Decision, WithdrawalState
from tests.tasks.reconciliation.books import DAY, Books, closed_by_two
from tests.tasks.reconciliation.test_manual_settlement import look, the_break, vend
from tests.tasks.reconciliation.test_suggestions import by_class, near_tie, payout, whole

WITHDRAW, REJECT, RIGHT = Decision.WITHDRAW, Decision.REJECT, Decision.THEIRS_IS_RIGHT


@pytest.fixture
def decided(books: Books) -> int:
    """A break that thandi has resolved by mistake."""
    books.line(amount=Decimal("40.00"))
    books.run()
    break_id = int(books.the_break()["break_id"])
    resolve(books.settings, break_id, "thandi", Decision.WRITE_OFF, "too small")
    return break_id


def test_a_mistaken_decision_is_taken_back_by_two_people_and_the_break_waits_again(books: Books, decided: int) -> None:
    proposed = resolve(books.settings, decided, "thandi", WITHDRAW, "wrong break")
    assert (proposed.state, proposed.withdrawal) == (BreakState.RESOLVED, WithdrawalState.PROPOSED)
    assert books.breaks("open") == []
    done = resolve(books.settings, decided, "sipho", WITHDRAW, "seen")
    assert (done.state, done.withdrawal) == (BreakState.OPEN, WithdrawalState.CONFIRMED)
    assert books.breaks("open") == [("missing_here",)]
    assert [(one.action, one.actor, one.decision) for one in history(books.settings, decided)] == [
        ("resolved", "thandi", "write_off"),
        ("withdrawal_proposed", "thandi", "withdraw"),
        ("reopened", "sipho", "withdrawn"),
    ]
    whole(books)
    assert resolve(books.settings, decided, "thandi", RIGHT, "row added").state is BreakState.RESOLVED
    whole(books)


@pytest.mark.parametrize("options", [{"actor": " Thandi "}, {"actor": "sipho", "account": "thandi"}])
def test_the_same_person_cannot_confirm_a_withdrawal_however_small_the_break(
    books: Books, decided: int, options: dict[str, str]
) -> None:
    resolve(books.settings, decided, "thandi", WITHDRAW, "wrong break")
    actor = options.pop("actor")
    with pytest.raises(RefusalError, match=f"break {decided}: thandi has proposed to withdraw it"):
        resolve(books.settings, decided, actor, WITHDRAW, "seen", **options)
    assert books.breaks("open") == []


def test_a_withdrawal_can_be_rejected_and_proposed_again(books: Books, decided: int) -> None:
    resolve(books.settings, decided, "thandi", WITHDRAW, "wrong break")
    rejected = resolve(books.settings, decided, "sipho", REJECT, "it was right")
    assert (rejected.state, rejected.withdrawal) == (BreakState.RESOLVED, WithdrawalState.REJECTED)
    with pytest.raises(RefusalError, match=f"break {decided} is resolved already"):
        resolve(books.settings, decided, "sipho", REJECT, "again")
    again = resolve(books.settings, decided, "sipho", WITHDRAW, "it was not")
    assert again.withdrawal is WithdrawalState.PROPOSED
    assert resolve(books.settings, decided, "thandi", WITHDRAW, "no").state is BreakState.OPEN
    whole(books)


@pytest.mark.heavy("a withdrawal by two people is tested beside it")
def test_a_withdrawal_is_of_one_decision_and_says_nothing_of_a_later_one(books: Books, decided: int) -> None:
    resolve(books.settings, decided, "thandi", WITHDRAW, "wrong break")
    resolve(books.settings, decided, "sipho", WITHDRAW, "seen")
    resolve(books.settings, decided, "thandi", RIGHT, "row added")
    assert resolve(books.settings, decided, "sipho", WITHDRAW, "also wrong").withdrawal is WithdrawalState.PROPOSED
    assert resolve(books.settings, decided, "thandi", WITHDRAW, "so it is").state is BreakState.OPEN
    whole(books)


@pytest.mark.heavy("a withdrawal by two people is tested beside it")
def test_what_no_person_decided_cannot_be_withdrawn(books: Books) -> None:
    books.line(books.own(), amount=Decimal("100.05"))
    books.run()
    rule = int(books.the_break()["break_id"])
    with pytest.raises(RefusalError, match=f"break {rule} is resolved by a rule"):
        resolve(books.settings, rule, "thandi", WITHDRAW, "not so")


def test_an_open_or_proposed_break_has_no_decision_to_withdraw(books: Books) -> None:
    books.line(amount=Decimal("1000.01"))
    books.run()
    large = int(books.the_break()["break_id"])
    for state in ("open", "proposed"):
        with pytest.raises(RefusalError, match=f"break {large} is {state}: only a decision that resolved it"):
            resolve(books.settings, large, "sipho", WITHDRAW, "not so")
        if state == "open":
            resolve(books.settings, large, "thandi", RIGHT, "checked")


def test_a_withdrawal_needs_a_person_and_a_reason(books: Books, decided: int) -> None:
    for actor, reason in (("treasury", "why"), ("thandi", " "), ("thandi", "card 4111 1111 1111 1111")):
        with pytest.raises(FieldError):
            resolve(books.settings, decided, actor, WITHDRAW, reason)


@pytest.mark.heavy("a mistaken decision is taken back by two people, too")
@pytest.mark.parametrize("asked", [0, 1])
@pytest.mark.parametrize("make", [near_tie, payout])
def test_a_decided_match_is_taken_back_with_all_its_breaks_and_the_next_run_no_longer_knows_it(
    books: Books, make: object, asked: int
) -> None:
    make(books)  # type: ignore[operator]  # two functions of this shape
    statement = books.statement()
    books.run(statement)
    (line,) = by_class(books)["missing_here"]
    done = resolve(books.settings, line["break_id"], "thandi", Decision.SAME_TRANSACTION, "it seems so")
    members = sorted((line["break_id"], *done.together))
    books.run(statement)
    one = members[asked]
    resolve(books.settings, one, "thandi", WITHDRAW, "another till")
    taken_back = resolve(books.settings, one, "sipho", WITHDRAW, "seen")
    assert sorted((one, *taken_back.together)) == members
    opened = {row["break_id"] for row in books.sql("SELECT break_id FROM recon_breaks WHERE state = 'open'")}
    assert opened >= set(members)
    again = books.run(statement)
    confirmed = books.sql("SELECT * FROM recon_matches WHERE run_id = %s AND method = 'confirmed'", again.run_id)
    assert confirmed == []
    assert {row["break_id"] for row in books.sql("SELECT break_id FROM recon_breaks WHERE state = 'open'")} == opened
    whole(books)


@pytest.mark.heavy("a mistaken decision is taken back in the same way")
def test_a_row_that_the_decision_ended_stays_as_it_is_and_the_break_is_decided_again(books: Books) -> None:
    books.supplier = "peach"
    row = vend(books)
    books.run()
    break_id = int(the_break(books, row)["break_id"])
    resolve(books.settings, break_id, "thandi", Decision.SETTLE_FAILED, "asked the supplier")
    ended = look(books, row)
    proposed = resolve(books.settings, break_id, "thandi", WITHDRAW, "asked about another purchase")
    assert proposed.keeps_ended_row
    done = resolve(books.settings, break_id, "sipho", WITHDRAW, "seen")
    assert (done.state, done.keeps_ended_row) == (BreakState.OPEN, True)
    assert look(books, row) == ended
    assert resolve(books.settings, break_id, "thandi", RIGHT, "a new row corrects it").state is BreakState.RESOLVED
    whole(books)


@pytest.mark.heavy("a mistaken decision is taken back in an open period")
def test_in_a_closed_period_the_break_waits_in_the_next_open_day(books: Books, decided: int) -> None:
    closed_by_two(books, DAY, DAY)
    resolve(books.settings, decided, "thandi", WITHDRAW, "wrong break")
    assert resolve(books.settings, decided, "sipho", WITHDRAW, "seen").state is BreakState.OPEN
    assert books.the_break()["period_day"] == DAY + timedelta(days=1)
    whole(books)


def test_the_record_of_a_withdrawal_can_be_neither_changed_nor_removed(books: Books, decided: int) -> None:
    resolve(books.settings, decided, "thandi", WITHDRAW, "wrong break")
    for change in ("UPDATE recon_withdrawals SET actor = 'x'", "DELETE FROM recon_withdrawals"):
        with pytest.raises(psycopg.Error, match="only added"):
            books.sql(change)
