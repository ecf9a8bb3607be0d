"""Breaks worked by people: added records, four eyes above a limit, and periods that stay closed."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import psycopg
import pytest

from config.suppliers import Suppliers
from ledger.errors import ConfigError, ConflictError, FieldError
from ledger.statements import BreakClass
from ledger.transparency.events import AuditHead, Event, PeriodClosed
from sql.connection import connect
from tasks.reconciliation.audit.chain import verify_chain
from tasks.reconciliation.casework.breaks import resolve
from tasks.reconciliation.casework.lists import BreakFilter, get_run, history, list_breaks, list_runs
from tasks.reconciliation.closing import periods
from tasks.reconciliation.closing.periods import Closing, PeriodState, close_period, list_periods, reject_closing
from tasks.reconciliation.vocabulary import BreakState, Decision
from tests.tasks.reconciliation.books import DAY, Books, closed_by_two

RIGHT = Decision.THEIRS_IS_RIGHT


@pytest.fixture
def small(books: Books) -> int:
    """A break of little money."""
    books.line(amount=Decimal("1000.00"))
    books.run()
    return int(books.the_break()["break_id"])


@pytest.fixture
def large(books: Books) -> int:
    """A break of more than one person may decide about."""
    books.line(amount=Decimal("1000.01"))
    books.run()
    return int(books.the_break()["break_id"])


def test_a_decision_is_a_record_with_who_when_and_why(books: Books, small: int) -> None:
    done = resolve(books.settings, small, "thandi", RIGHT, "vended by hand, row added")
    assert done.state is BreakState.RESOLVED
    (record,) = history(books.settings, small)
    assert (record.action, record.actor, record.decision) == ("resolved", "thandi", "theirs_is_right")
    assert (record.reason, record.run_id, record.created_at.tzinfo is not None) == (
        "vended by hand, row added",
        None,
        True,
    )


@pytest.mark.heavy("a resolved break is tested beside it")
def test_a_break_that_is_resolved_takes_no_second_decision(books: Books, small: int) -> None:
    resolve(books.settings, small, "thandi", RIGHT, "so it is")
    with pytest.raises(ConflictError, match=f"break {small} is resolved already"):
        resolve(books.settings, small, "sipho", Decision.WRITE_OFF, "no, so")
    assert len(history(books.settings, small)) == 1


def test_above_the_limit_a_second_person_confirms(books: Books, large: int) -> None:
    assert resolve(books.settings, large, "thandi", RIGHT, "checked").state is BreakState.PROPOSED
    for same in ("thandi", " Thandi "):
        with pytest.raises(ConflictError, match=f"break {large}: .* has proposed it; somebody else must confirm"):
            resolve(books.settings, large, same, RIGHT, "checked")
    with pytest.raises(ConflictError, match=f"break {large}: theirs_is_right is proposed"):
        resolve(books.settings, large, "sipho", Decision.WRITE_OFF, "too small")
    assert resolve(books.settings, large, "sipho", RIGHT, "checked too").state is BreakState.RESOLVED
    assert [(r.action, r.actor) for r in history(books.settings, large)] == [
        ("proposed", "thandi"),
        ("resolved", "sipho"),
    ]


@pytest.mark.heavy("a second person is tested beside it")
def test_a_proposal_that_is_rejected_may_be_made_anew(books: Books, large: int) -> None:
    with pytest.raises(ConflictError, match="nothing is proposed"):
        resolve(books.settings, large, "sipho", Decision.REJECT, "no")
    resolve(books.settings, large, "thandi", RIGHT, "checked")
    assert resolve(books.settings, large, "sipho", Decision.REJECT, "not so").state is BreakState.OPEN
    assert resolve(books.settings, large, "sipho", Decision.WRITE_OFF, "rather").state is BreakState.PROPOSED
    assert resolve(books.settings, large, "thandi", Decision.WRITE_OFF, "agreed").state is BreakState.RESOLVED


@pytest.mark.sampled(1)
@pytest.mark.parametrize(
    ("actor", "reason", "field"),
    [("", "why", "actor"), ("x" * 129, "why", "actor"), ("treasury", "why", "actor"), ("a\nb", "why", "actor"),
     ("thandi", "paid by 4111 1111 1111 1111", "reason"), ("4111-1111-1111-1111", "why", "actor"),
     ("thandi", "", "reason"), ("thandi", "  ", "reason"), ("thandi", "x" * 1001, "reason")],
)  # fmt: skip
def test_nobody_decides_without_a_name_or_a_reason(
    books: Books, small: int, actor: str, reason: str, field: str
) -> None:
    with pytest.raises(FieldError) as raised:
        resolve(books.settings, small, actor, RIGHT, reason)
    assert raised.value.field == field


def test_a_break_that_there_is_not_is_told(books: Books) -> None:
    with pytest.raises(ConfigError, match="break 7 does not exist"):
        resolve(books.settings, 7, "thandi", RIGHT, "why")


def test_a_resolved_break_stays_resolved_when_its_day_is_run_again(books: Books) -> None:
    books.line(amount=Decimal("40.00"))
    statement = books.statement()
    books.run(statement)
    resolve(books.settings, int(books.the_break()["break_id"]), "thandi", RIGHT, "so it is")
    books.run(statement)
    assert books.breaks() == books.breaks("resolved") == [("missing_here",)]


@pytest.mark.heavy("the record of a decision is tested beside it")
def test_what_a_rule_resolves_is_an_added_record_too(books: Books) -> None:
    books.line(books.own(), amount=Decimal("100.05"))
    result = books.run()
    assert (result.waiting, books.records()) == (0, [("auto_resolved", "rounding")])
    (record,) = history(books.settings, int(books.the_break()["break_id"]))
    assert (record.actor, record.run_id) == ("treasury", result.run_id)
    assert "rounding" in record.reason


def test_a_closed_period_takes_no_run_and_no_decision(books: Books) -> None:
    books.both()
    statement = books.statement()
    books.run(statement)
    assert closed_by_two(books, DAY, DAY) == Closing(PeriodState.CLOSED, 0)
    with pytest.raises(ConflictError, match=f"flash {DAY}: the period {DAY} to {DAY} is closed"):
        books.run(statement)
    with pytest.raises(ConflictError, match="is closed already"):
        close_period(books.settings, "flash", DAY, DAY, "thandi", "again")


@pytest.mark.heavy("closing by a second person is tested beside it")
def test_a_closed_period_is_an_event_of_the_public_log_with_the_head_of_the_chain(books: Books) -> None:
    books.both()
    books.run()
    closed_by_two(books, DAY, DAY)
    (row,) = books.sql("SELECT entry FROM log_events WHERE event = 'period_closed'")
    body = Event.from_bytes(bytes(row["entry"])).body
    assert isinstance(body, PeriodClosed)
    assert (body.supplier, body.first_day, body.last_day) == ("flash", DAY, DAY)
    with connect(books.settings.database_dsn, "tests") as connection:
        head = verify_chain(connection)
    assert body.audit_head == AuditHead(event_no=head.event_no, hash=head.hash.hex())


def test_a_period_with_waiting_breaks_is_closed_only_by_carrying_them_on(books: Books, small: int) -> None:
    with pytest.raises(ConflictError, match=f"1 break still waits, such as {small}"):
        close_period(books.settings, "flash", DAY, DAY, "thandi", "month end")
    assert closed_by_two(books, DAY, DAY, carry=True) == Closing(PeriodState.CLOSED, 1)
    (waiting,) = list_breaks(books.settings)
    assert (waiting.day, waiting.period_day) == (DAY, DAY + timedelta(days=1))
    assert waiting.age_days(date(2026, 2, 10)) == 7
    assert resolve(books.settings, small, "thandi", RIGHT, "in the new period").state is BreakState.RESOLVED


@pytest.mark.heavy("carrying on is tested beside it")
def test_many_breaks_are_carried_on_by_no_more_statements_than_one(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And by a record and an event of the chain each."""
    for amount in range(1, 31):
        books.line(amount=Decimal(amount))
    books.run()
    close_period(books.settings, "flash", DAY, DAY, "thandi", "month end", carry=True)
    made: list[tuple[Any, ...]] = []
    real = psycopg.Connection.execute

    def execute(*one: Any, **more: Any) -> Any:
        made.append(one)
        return real(*one, **more)

    monkeypatch.setattr(periods, "publish_for_people", lambda _: None)  # it comes after the closing
    monkeypatch.setattr(psycopg.Connection, "execute", execute)
    assert close_period(books.settings, "flash", DAY, DAY, "sipho", "seen", carry=True).waiting == 30
    monkeypatch.undo()
    # Six of these record the event of the public log, and open the log. With a statement for each break there would be
    # more than 75.
    assert len(made) < 45 + 6
    assert books.records() == [("carried", "carried_on")] * 30
    with connect(books.settings.database_dsn, "tests") as connection:
        assert verify_chain(connection).event_no == 33  # a run, a proposal, thirty records, a period


def test_a_decision_in_a_closed_period_names_the_break(books: Books, small: int) -> None:
    """Only a hand in the database could bring it about; it is refused all the same."""
    insert = (
        "INSERT INTO recon_periods (supplier, first_day, last_day, actor, reason) VALUES ('flash', %s, %s, 'x', 'x')"
    )
    books.sql(insert, DAY, DAY)
    with pytest.raises(ConflictError, match=rf"break {small}: flash {DAY}: the period .* is closed"):
        resolve(books.settings, small, "thandi", RIGHT, "too late")


def test_a_day_that_is_not_over_in_johannesburg_is_not_closed(books: Books) -> None:
    books.both()
    books.run()
    late = datetime(2026, 2, 3, 21, 59, 59, tzinfo=UTC)
    days = (books.settings, "flash", DAY, DAY)
    with pytest.raises(ConflictError, match=f"flash {DAY} to {DAY}: {DAY} is not over yet"):
        close_period(*days, "thandi", "month end", now=late)
    assert close_period(*days, "thandi", "month end", now=late + timedelta(seconds=1)).state is PeriodState.PROPOSED


def test_a_period_of_a_supplier_from_elsewhere_is_closed_like_any_other(books: Books) -> None:
    suppliers = Suppliers.model_validate({"modules": ["examples.fourth_supplier"]})
    settings = books.settings.model_copy(update={"suppliers": suppliers})
    with pytest.raises(ConflictError, match="1 day was never reconciled"):
        close_period(settings, "voucherly", DAY, DAY, "thandi", "month end")
    with pytest.raises(ConfigError, match="supplier: 'ghost' is not known; known: flash, mobilemart, peach, voucherly"):
        close_period(settings, "ghost", DAY, DAY, "thandi", "month end")


@pytest.mark.heavy("the lists of breaks are tested beside it")
def test_the_largest_amount_that_there_is_is_a_break_like_any_other(books: Books) -> None:
    largest = Decimal("9999999999999999.99")
    books.own(amount=largest)  # without a line
    books.line(amount=largest, commission=None)  # without a row
    row = books.own(amount=largest)
    books.line(row, amount=Decimal("100.00"))
    books.run()
    differences = sorted(one.difference for one in list_breaks(books.settings))
    assert differences == [largest - 100, largest, largest]


def test_a_day_that_was_never_reconciled_keeps_its_period_open(books: Books) -> None:
    books.run()
    with pytest.raises(ConflictError, match="1 day was never reconciled once it was over, the first is 2026-02-04"):
        close_period(books.settings, "flash", DAY, DAY + timedelta(days=1), "thandi", "month end")


def test_a_day_whose_run_had_another_statement_than_counts_keeps_its_period_open(books: Books) -> None:
    books.run()
    assert close_period(books.settings, "flash", DAY, DAY, "thandi", "month end").state == "proposed"
    books.sql(
        "INSERT INTO statement_files (supplier, day, name, sha256, size_bytes, state, line_count, sums, object_key,"
        " object_sha256, actor) VALUES ('flash', '2026-02-03', 'later.csv', sha256('b'), 1, 'taken', 1, '[]',"
        " 'statements/flash/later', sha256('o'), 'test')"
    )
    with pytest.raises(ConflictError, match="the first is 2026-02-03: run each with the statement that counts now"):
        close_period(books.settings, "flash", DAY, DAY, "sipho", "month end")


def test_breaks_are_listed_by_what_is_asked_and_in_pages(books: Books) -> None:
    books.own()
    books.line(amount=Decimal("500.00"))
    books.line(amount=Decimal("30.00"))
    result = books.run()
    everything = list_breaks(books.settings)
    assert [one.class_ for one in everything] == ["missing_here", "missing_here", "missing_there"]
    page = list_breaks(books.settings, limit=2)
    assert page + list_breaks(books.settings, after=page[-1].break_id, limit=2) == everything
    for wanted, count in (
        (BreakFilter(break_class=BreakClass.MISSING_HERE), 2),
        (BreakFilter(escalated=True), 1),
        (BreakFilter(supplier="peach"), 0),
        (BreakFilter(first=DAY + timedelta(days=1)), 0),
        (BreakFilter(states=(BreakState.RESOLVED,)), 0),
        (BreakFilter("flash", None, first=DAY, last=DAY), 3),
    ):
        assert len(list_breaks(books.settings, wanted)) == count
    with pytest.raises(FieldError, match="limit: must be 1 to 1000"):
        list_breaks(books.settings, limit=1001)
    (run,) = list_runs(books.settings, "flash", DAY, DAY)
    assert (run.run_id, run.break_count, run.current) == (result.run_id, 3, True)
    assert get_run(books.settings, run.run_id) == run
    assert get_run(books.settings, run.run_id + 1) is None


def test_the_facts_of_a_break_and_every_record_are_fixed(books: Books, small: int) -> None:
    resolve(books.settings, small, "thandi", RIGHT, "so it is")
    for statement in (
        "UPDATE recon_breaks SET variance = 0",
        "DELETE FROM recon_breaks",
        "UPDATE recon_resolutions SET actor = 'sipho'",
        "DELETE FROM recon_resolutions",
        "UPDATE recon_runs SET verdict = 'passed'",
        "TRUNCATE recon_matches",
        "UPDATE recon_events SET content = ''",
        "DELETE FROM recon_events",
        "TRUNCATE recon_periods",
    ):
        with pytest.raises(psycopg.Error) as raised:
            books.sql(f"SET session_replication_role = replica; {statement}")
        assert raised.value.sqlstate == "TR001", statement


@pytest.mark.heavy("the second person is tested beside it")
def test_an_account_is_one_person_whatever_they_call_themselves(books: Books, large: int) -> None:
    resolve(books.settings, large, "thandi", RIGHT, "checked", account="finance1")
    for name, account in (("sipho", "finance1"), ("Thandi", "finance2"), ("finance1", "finance2")):
        with pytest.raises(ConflictError, match="thandi has proposed it under finance1; somebody else must confirm"):
            resolve(books.settings, large, name, RIGHT, "checked", account=account)
    done = resolve(books.settings, large, "sipho", RIGHT, "checked", account="finance2")
    assert done.state is BreakState.RESOLVED
    assert [one.account for one in history(books.settings, large)] == ["finance1", "finance2"]


def test_days_are_closed_by_another_than_who_proposed_it(books: Books) -> None:
    books.both()
    statement = books.statement()
    books.run(statement)
    days = (books.settings, "flash", DAY, DAY)
    with pytest.raises(ConflictError, match="nothing is proposed"):
        reject_closing(*days, "sipho", "no")
    assert close_period(*days, "thandi", "month end", account="finance1").state is PeriodState.PROPOSED
    for name, account in (("thandi", "finance2"), ("sipho", "finance1")):
        with pytest.raises(ConflictError, match="thandi has proposed it under finance1; somebody else must close it"):
            close_period(*days, name, "seen", account=account)
    with pytest.raises(ConflictError, match="closing without carrying breaks on is proposed"):
        close_period(*days, "sipho", "seen", carry=True)
    assert books.run(statement).run_id is not None  # a proposal closes nothing
    assert reject_closing(*days, "sipho", "one more file comes").state is PeriodState.REJECTED
    assert list_periods(books.settings) == []
    assert close_period(*days, "sipho", "now").state is PeriodState.PROPOSED
    (proposed,) = list_periods(books.settings, "flash")
    assert (proposed.state, proposed.actor) == ("proposed", "sipho")
    assert close_period(*days, "thandi", "seen").state is PeriodState.CLOSED
    (closed,) = list_periods(books.settings)
    assert (closed.state, closed.proposed_by, closed.actor) == ("closed", "sipho", "thandi")
    assert list_periods(books.settings, "peach") == []
