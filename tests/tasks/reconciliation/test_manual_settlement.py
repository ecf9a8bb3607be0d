"""Rows under way that people end, where neither the supplier nor a statement tells how they ended."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from ledger.errors import ConflictError
from sql.connection import connect
from suppliers.references import short_reference
from tasks.reconciliation.audit.chain import verify_chain
from tasks.reconciliation.casework import manual_settlement
from tasks.reconciliation.casework.breaks import ResolvedBreak, resolve
from tasks.reconciliation.casework.fitting import Fitting, read_fitting
from tasks.reconciliation.casework.lists import find_break, history
from tasks.reconciliation.vocabulary import BreakState, Decision
from tests.tasks.reconciliation.books import DAY, Books, closed_by_two

NEXT = DAY + timedelta(days=1)
NO_TIME = UUID("019c22f1-d8e8-426b-b2a7-4de452e6b438")  # of version 4, though within its month
ENDS = {Decision.SETTLE_COMPLETED, Decision.SETTLE_FAILED}
COMPLETED, FAILED, REJECT = Decision.SETTLE_COMPLETED, Decision.SETTLE_FAILED, Decision.REJECT


@pytest.fixture
def books(books: Books) -> Books:
    """Books of Peach, where absence from a statement ends nothing."""
    books.supplier = "peach"
    return books


def vend(books: Books, **changes: Any) -> dict[str, Any]:
    """A row of ours whose purchase was sent, and whose outcome nobody tells."""
    row = books.own(**{"status": "processing", "supplier_transaction_id": None, "commission": Decimal(0)} | changes)
    books.sql("UPDATE vas_transactions_partitioned SET supplier_reference = id::text WHERE id = %s", row["id"])
    return row | {"supplier_reference": str(row["id"])}


def look(books: Books, row: dict[str, Any]) -> dict[str, Any]:
    """The row as it is stored."""
    (found,) = books.sql("SELECT * FROM vas_transactions WHERE id = %s", row["id"])
    return found


def the_break(books: Books, row: dict[str, Any]) -> dict[str, Any]:
    """The newest break that holds a row of ours."""
    return books.sql("SELECT * FROM recon_breaks WHERE own ->> 'id' = %s ORDER BY break_id", str(row["id"]))[-1]


def settle(books: Books, row: dict[str, Any], decision: Decision, who: str = "thandi") -> ResolvedBreak:
    """Decide about the break of a row; proves the chain besides."""
    done = resolve(books.settings, the_break(books, row)["break_id"], who, decision, "asked the supplier")
    with connect(books.settings.database_dsn, "tests") as connection:
        verify_chain(connection)
    return done


def fitting(books: Books, break_id: int) -> Fitting:
    """What fits a break, as its page asks for it."""
    with connect(books.settings.database_dsn, "tests") as connection:
        record = find_break(connection, break_id)
    assert record is not None
    return read_fitting(books.settings, record)


@pytest.mark.sampled(1)
@pytest.mark.parametrize(
    ("decision", "status", "commission"), [(COMPLETED, "completed", "2.00"), (FAILED, "failed", "0")]
)
def test_a_payment_that_stays_pending_is_ended_by_a_person(
    books: Books, decision: Decision, status: str, commission: str
) -> None:
    peach = books.settings.suppliers.peach.model_copy(update={"commission": {"airtime": Decimal("0.02")}})
    suppliers = books.settings.suppliers.model_copy(update={"peach": peach})
    books.settings = books.settings.model_copy(update={"suppliers": suppliers})
    row = vend(books)
    books.run()
    done = settle(books, row, decision)
    assert (done.state, done.ended_row) == (BreakState.RESOLVED, row["id"])
    found = look(books, row)
    assert (found["status"], found["commission"]) == (status, Decimal(commission))
    assert found["processed_at"] is not None
    (record,) = history(books.settings, done.break_id)
    assert (record.action, record.actor, record.decision, record.reason) == (
        ("resolved", "thandi", decision, "asked the supplier")
    )  # fmt: skip


def test_contradicting_lines_leave_a_row_to_people_and_its_own_line_tells_the_rest(books: Books) -> None:
    row = vend(books)
    told = {"reference": row["supplier_reference"], "supplier_transaction_id": "P-1", "commission": Decimal("1.50")}
    books.line(row, **told | {"status": "completed"})
    books.line(row, **told | {"status": "failed", "supplier_transaction_id": "P-2"})
    books.run()
    (matched,) = books.sql(
        "SELECT break_id FROM recon_breaks WHERE own IS NOT NULL AND line ->> 'status' = 'completed'"
    )
    assert look(books, row)["status"] == "processing"
    resolve(books.settings, matched["break_id"], "thandi", COMPLETED, "they say so")
    found = look(books, row)
    assert (found["status"], found["supplier_transaction_id"], found["commission"]) == (
        "completed",
        "P-1",
        Decimal("1.5"),
    )


@pytest.mark.sampled(1)
@pytest.mark.parametrize("short", [False, True])
def test_a_row_that_went_to_a_pending_line_is_ended_by_the_break_of_the_line_that_contradicts(
    books: Books, short: bool
) -> None:
    row = vend(books)
    reference = short_reference(row["id"]) if short else row["supplier_reference"]
    books.sql("UPDATE vas_transactions_partitioned SET supplier_reference = %s WHERE id = %s", reference, row["id"])
    for number, status in enumerate(("pending", "completed")):
        books.line(row, reference=reference, supplier_transaction_id=f"P-{number}", status=status, commission=None)
    books.run()
    found = books.the_break()
    assert (found["class"], found["own"]) == ("duplicate", None)
    done = resolve(books.settings, found["break_id"], "thandi", COMPLETED, "the second line is right")
    assert (done.state, done.ended_row) == (BreakState.OPEN, row["id"])  # the line is still one too many
    stored = look(books, row)
    assert (stored["status"], stored["supplier_transaction_id"]) == ("completed", "P-1")


def test_what_the_end_of_the_row_is_no_answer_to_stays_open(books: Books) -> None:
    row = vend(books, supplier_transaction_id="P-0")  # not what its line says: so no run ends it
    line = {"reference": row["supplier_reference"], "supplier_transaction_id": "P-1", "status": "completed"}
    books.line(row, **line | {"amount": Decimal("90.00")})
    books.run()
    done = settle(books, row, FAILED)
    assert (look(books, row)["status"], done.state) == ("failed", BreakState.OPEN)
    assert [(one.action, one.decision) for one in history(books.settings, done.break_id)] == [
        ("resolved", "settle_failed"), ("reopened", "still_differs"),
    ]  # fmt: skip


def test_above_the_limit_a_second_person_ends_the_row(books: Books) -> None:
    """What counts is the row's whole amount: where the line says failed no money is in question."""
    row = vend(books, amount=Decimal("1000.01"))
    line = {"reference": row["supplier_reference"], "supplier_transaction_id": "P-1"}
    books.line(row, **line | {"status": "failed"})
    books.line(row, **line | {"status": "reversed", "supplier_transaction_id": "P-2"})
    books.run()
    assert the_break(books, row)["difference"] == 0
    assert settle(books, row, COMPLETED).state is BreakState.PROPOSED
    assert look(books, row)["status"] == "processing"
    for who, decision in (("thandi", COMPLETED), ("sipho", FAILED)):
        with pytest.raises(ConflictError, match=r"somebody else must confirm|settle_completed is proposed"):
            settle(books, row, decision, who)
    assert settle(books, row, COMPLETED, "sipho").ended_row == row["id"]
    assert look(books, row)["status"] == "completed"


def test_a_row_that_ended_meanwhile_is_left_as_it_is_and_its_proposal_can_be_taken_back(books: Books) -> None:
    row = vend(books, amount=Decimal("2000.00"))
    books.run()
    settle(books, row, COMPLETED)
    books.sql("UPDATE vas_transactions_partitioned SET status = 'failed' WHERE id = %s", row["id"])
    with pytest.raises(
        ConflictError, match=f"break 1: its row {row['id']} is failed already; a correction is a new row"
    ):
        settle(books, row, COMPLETED, "sipho")
    assert settle(books, row, REJECT, "sipho").state is BreakState.OPEN
    assert look(books, row)["status"] == "failed"


def test_of_a_webhook_at_the_same_moment_and_a_person_one_ends_the_row(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = vend(books)
    books.run()
    real = manual_settlement.carry_out

    def late(*arguments: Any) -> None:
        books.sql("UPDATE vas_transactions_partitioned SET status = 'completed' WHERE id = %s", row["id"])
        real(*arguments)

    monkeypatch.setattr(manual_settlement, "carry_out", late)
    with pytest.raises(ConflictError, match=f"its row {row['id']} is completed by now"):
        settle(books, row, FAILED)
    assert (look(books, row)["status"], books.breaks("open"), books.records()) == (
        "completed",
        [("missing_there",)],
        [],
    )


@pytest.mark.parametrize("reference", ["order00000012345", "ffffffff-ffff-7fff-bfff-ffffffffffff"])
def test_a_line_whose_reference_has_a_time_beyond_all_calendars_names_no_row(books: Books, reference: str) -> None:
    books.line(reference=reference)
    books.run()
    assert not ENDS & fitting(books, books.the_break()["break_id"]).decisions


def test_an_unfinished_row_whose_id_has_no_time_is_not_ended(books: Books) -> None:
    row = vend(books, id=NO_TIME)
    books.run()
    assert not ENDS & fitting(books, the_break(books, row)["break_id"]).decisions
    with pytest.raises(ConflictError, match="holds no internal row, hot or warm, that could be ended"):
        settle(books, row, FAILED)


def test_a_decision_twice_ends_nothing_twice(books: Books) -> None:
    row = vend(books)
    books.run()
    settle(books, row, FAILED)
    with pytest.raises(ConflictError, match=f"its row {row['id']} is failed already"):
        settle(books, row, FAILED)
    assert books.records() == [("resolved", "settle_failed")]


@pytest.mark.sampled(1)
@pytest.mark.parametrize("closed", [False, True])
def test_a_break_that_was_decided_without_an_end_for_its_row_can_still_end_it(books: Books, closed: bool) -> None:
    row = vend(books)
    books.run()
    settle(books, row, Decision.WRITE_OFF)
    if closed:
        closed_by_two(books, DAY, DAY)
    assert settle(books, row, FAILED, "sipho").state is BreakState.RESOLVED
    assert look(books, row)["status"] == "failed"
    assert the_break(books, row)["period_day"] == (NEXT if closed else DAY)
    assert books.records()[1:] == [("reopened", "row_under_way"), ("resolved", "settle_failed")]


def test_a_row_is_not_ended_against_what_it_is(books: Books) -> None:
    never_sent, foreign, fresh = vend(books, status="pending"), vend(books), vend(books)
    books.sql("UPDATE vas_transactions_partitioned SET supplier_reference = 'x' WHERE id = %s", foreign["id"])
    books.sql("UPDATE vas_transactions_partitioned SET updated_at = %s WHERE id = %s", datetime.now(UTC), fresh["id"])
    books.line(supplier_transaction_id="P-9")
    books.run()
    for row, decision, why in (
        (never_sent, COMPLETED, "is pending: it was never sent, so it can only have failed"),
        (foreign, FAILED, "is not a vend of ours"),
        (fresh, FAILED, "may be on its way to peach"),
    ):
        with pytest.raises(ConflictError, match=f"its row {row['id']} {why}"):
            settle(books, row, decision)
    (line,) = books.sql("SELECT break_id FROM recon_breaks WHERE own IS NULL")
    with pytest.raises(ConflictError, match="holds no internal row, hot or warm, that could be ended"):
        resolve(books.settings, line["break_id"], "thandi", FAILED, "why")
    assert settle(books, never_sent, FAILED).state is BreakState.RESOLVED


@pytest.mark.heavy("a payment that stays pending is ended by a person, too")
def test_the_line_of_a_payment_that_was_held_for_completed_comes_later_and_is_no_break(books: Books) -> None:
    row = vend(books)
    books.run()
    settle(books, row, COMPLETED)
    books.run()  # over the same day again, which finds the row with another status
    assert the_break(books, row)["state"] == "resolved"
    books.line(
        row, reference=row["supplier_reference"], status="completed", commission=None, supplier_transaction_id="P-1"
    )
    assert books.run(day=NEXT).summary.figures["breaks"] == 0
    assert the_break(books, row)["state"] == "closed"


def test_what_a_row_was_ended_against_is_not_asked_again(books: Books) -> None:
    """A line contradicts the decision; the day is run again, and the decision still stands."""
    row = vend(books)
    books.line(row, status="completed", reference=row["reference"], commission=None, supplier_transaction_id="P-1")
    statement = books.statement()
    books.run(statement)
    settle(books, row, FAILED)
    assert books.run(statement).summary.figures["breaks"] == 1
    found = books.sql("SELECT class, state FROM recon_breaks")
    assert [(one["class"], one["state"]) for one in found] == [("status", "resolved")]
