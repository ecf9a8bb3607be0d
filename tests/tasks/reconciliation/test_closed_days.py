"""Our side of a closed day: it is what the run read, and nothing in it changes without a word."""

import random
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import psycopg
import pytest

from ledger.business_days import day_start
from ledger.errors import ConflictError, RefusalError, TransientError, TreasuryError, VerificationError
from ledger.months import Month
from ledger.transactions import Status
from sql.connection import connect
from sql.errors import DAY_IS_CLOSED
from storage.store import ObjectStore
from suppliers.references import plain_reference
from tasks.alerting.store import list_alerts
from tasks.archiving.to_cold import archive_month
from tasks.archiving.to_warm import warm_month
from tasks.reconciliation.audit.chain import verify_chain
from tasks.reconciliation.audit.objects import verify_objects
from tasks.reconciliation.casework.breaks import resolve
from tasks.reconciliation.closing import closed_days
from tasks.reconciliation.closing.closed_days import verify_closed_days
from tasks.reconciliation.closing.internal_days import own_days
from tasks.reconciliation.closing.periods import PeriodState, close_period, list_periods, reject_closing
from tasks.reconciliation.vocabulary import BreakState, Decision
from tasks.vending.rows import Finish, finish_in
from tests.tasks.reconciliation.books import DAY, NOON, PARENT, Books, closed_by_two

NEXT = DAY + timedelta(days=1)
LATER = DAY + timedelta(days=2)


@pytest.fixture
def closed(books: Books) -> Books:
    """A day with a completed row and one that is processing, both as the statement has them; closed."""
    books.both()
    books.both(status="processing", amount=Decimal("40.00"))
    books.run()
    closed_by_two(books, DAY, DAY)
    return books


def vend(books: Books, **changes: Any) -> dict[str, Any]:
    """A purchase of ours that is processing."""
    row = books.own(status="processing", **changes)
    reference = plain_reference(row["id"])
    books.sql(f"UPDATE {PARENT} SET supplier_reference = %s WHERE id = %s", reference, row["id"])
    return row | {"supplier_reference": reference}


def end(books: Books, row: dict[str, Any], status: Status = Status.COMPLETED) -> bool:
    """End a purchase as the sweep, a webhook and people do."""
    finish = Finish(status, row["supplier_reference"], commission=Decimal("1.00"))
    with connect(books.settings.database_dsn, "tests") as connection:
        table = books.settings.table("vas_transactions")
        return finish_in(connection, table, row["id"], finish, datetime.now(UTC))


def past_guards(books: Books, statement: str) -> None:
    """What somebody does who may switch triggers off."""
    books.sql(f"SET session_replication_role = replica; {statement}")


def run_next(books: Books, day: date = NEXT) -> tuple[str, ...]:
    """Reconcile an open day with an empty statement; returns its warnings about closed days."""
    return tuple(one for one in books.run(books.statement(day), day).warnings if "closed period" in one)


def proved(books: Books) -> None:
    """The chain, the archive and the closed days are as recorded."""
    with connect(books.settings.database_dsn, "tests") as connection:
        verify_chain(connection)
        verify_objects(books.settings, connection)
        verify_closed_days(books.settings, connection)


def refused(books: Books) -> str:
    with pytest.raises(ConflictError, match=r"run the day again") as raised:
        closed_by_two(books, DAY, DAY)
    return str(raised.value)


@pytest.mark.heavy("a writer that has not ended is tested beside it")
def test_rows_that_came_in_behind_the_run_refuse_the_closing_by_name(books: Books) -> None:
    books.both()
    books.run()
    books.own(amount=Decimal("40.00"))
    books.own(amount=Decimal("2.00"))
    told = refused(books)
    assert f"the internal rows of {DAY} are not those that run 1 read: 2 came in in ZAR" in told
    assert "1 row (100.00 ZAR) then, 3 rows (142.00 ZAR) now" in told
    books.run(books.statement())
    assert closed_by_two(books, DAY, DAY, carry=True).state is PeriodState.CLOSED


@pytest.mark.heavy("a write before the closing is tested beside it")
def test_rows_that_changed_ended_or_went_behind_the_run_refuse_it_too(books: Books) -> None:
    changed, ended, gone = (books.both(status="processing") for _ in range(3))
    books.run()
    books.sql(f"UPDATE {PARENT} SET amount = 101 WHERE id = %s", changed["id"])
    books.sql(f"UPDATE {PARENT} SET status = 'completed' WHERE id = %s", ended["id"])
    past_guards(books, f"DELETE FROM {PARENT} WHERE id = '{gone['id']}'")
    assert "1 changed, 1 ended, 1 are gone in ZAR" in refused(books)


def test_a_proposal_is_refused_as_the_closing_is(books: Books) -> None:
    books.run()
    books.own()
    with pytest.raises(ConflictError, match="1 came in"):
        close_period(books.settings, "flash", DAY, DAY, "thandi", "month end")
    assert list_periods(books.settings) == []


def test_rows_that_came_in_after_the_proposal_refuse_the_closing(books: Books) -> None:
    books.run()
    close_period(books.settings, "flash", DAY, DAY, "thandi", "month end")
    books.own()
    with pytest.raises(ConflictError, match="1 came in"):
        close_period(books.settings, "flash", DAY, DAY, "sipho", "seen")


@pytest.mark.heavy("an end that no record holds refuses the closing")
def test_ends_that_a_record_of_a_break_tells_of_do_not_refuse_it(books: Books) -> None:
    """Those that the run itself made, and those that people decided after it."""
    sold, unknown = vend(books), vend(books, amount=Decimal("40.00"))
    books.line(sold, status="completed", reference=sold["supplier_reference"])
    books.sql(f"UPDATE {PARENT} SET updated_at = updated_at - interval '1 day'")
    books.run()
    (waits,) = books.sql("SELECT break_id FROM recon_breaks WHERE own ->> 'id' = %s", str(unknown["id"]))
    resolve(books.settings, waits["break_id"], "thandi", Decision.SETTLE_FAILED, "never sold")
    assert closed_by_two(books, DAY, DAY).state is PeriodState.CLOSED
    (period,) = list_periods(books.settings)
    assert period.own_sums is not None
    assert (period.own_rows, period.own_sums["ZAR"]["under_way"], period.own_sums["ZAR"]["value"]) == (2, 0, "100.00")
    assert run_next(books) == ()
    proved(books)


def test_an_end_that_no_record_tells_of_refuses_it(books: Books) -> None:
    row = vend(books)
    books.line(row, status="pending", reference=row["supplier_reference"])
    books.run()
    assert end(books, row)
    assert "1 ended in ZAR" in refused(books)


@pytest.mark.heavy("a proposal that is refused is tested beside it")
def test_a_day_whose_run_kept_no_rows_is_to_be_run_again(books: Books) -> None:
    statement = books.statement()
    books.run(statement)
    books.sql("ALTER TABLE recon_runs DISABLE TRIGGER USER")
    books.sql("UPDATE recon_runs SET figures = figures - 'own_day'")
    with pytest.raises(ConflictError, match="run 1 was made before the rows that a run reads were kept"):
        closed_by_two(books, DAY, DAY)
    books.run(statement)
    assert closed_by_two(books, DAY, DAY).state is PeriodState.CLOSED


@pytest.mark.heavy("the chain is tested in test_chain.py")
def test_the_closing_s_record_shows_what_was_closed_and_the_chain_holds_it(closed: Books) -> None:
    (period,) = list_periods(closed.settings)
    assert (period.own_rows, period.days_changed) == (2, 0)
    assert period.own_sums == {
        "ZAR": {"rows": 2, "amount": "140.00", "value": "100.00", "commission": "6.00", "under_way": 1}
    }
    assert period.own_digest is not None
    proved(closed)
    closed.sql("ALTER TABLE recon_closed_days DISABLE TRIGGER USER")
    closed.sql("UPDATE recon_closed_days SET row_count = 3")
    with (
        pytest.raises(VerificationError, match="period 1 was changed"),
        connect(closed.settings.database_dsn, "tests") as connection,
    ):
        verify_chain(connection)


def test_nothing_of_a_row_in_a_closed_day_changes_but_what_no_statement_sees(closed: Books) -> None:
    (row,) = closed.sql(f"SELECT id FROM {PARENT} WHERE status = 'processing'")
    for change in ("status = 'completed'", "amount = 1", "supplier = 'peach'", "commission = 0", "reference = NULL"):
        with pytest.raises(psycopg.Error, match=f"flash {DAY} is in the closed period {DAY} to {DAY}") as raised:
            closed.sql(f"UPDATE {PARENT} SET {change} WHERE id = %s", row["id"])
        assert raised.value.sqlstate == DAY_IS_CLOSED, change
    closed.sql(f"UPDATE {PARENT} SET metadata = '{{}}', description = 'seen' WHERE id = %s", row["id"])
    assert run_next(closed) == ()


def test_the_guard_holds_in_warm_and_for_no_other_day_or_supplier(closed: Books) -> None:
    last, first = day_start(NEXT) - timedelta(milliseconds=1), day_start(DAY)
    inside = [closed.own(status="pending", created_at=at) for at in (first, last)]
    outside = [
        closed.own(status="pending", created_at=first - timedelta(milliseconds=1)),
        closed.own(status="pending", created_at=day_start(NEXT)),
        closed.own(status="pending", supplier="peach"),
    ]
    assert warm_month(closed.settings, closed.settings.table("vas_transactions"), Month.of(NOON))
    warm = closed.settings.table("vas_transactions").warm_parent
    for row in outside:
        closed.sql(f"UPDATE {warm} SET status = 'failed' WHERE id = %s", row["id"])
    for row in inside:
        with pytest.raises(psycopg.Error, match="closed period"):
            closed.sql(f"UPDATE {warm} SET status = 'failed' WHERE id = %s", row["id"])


@pytest.mark.heavy("a stranger's change is found in the same way")
def test_a_purchase_that_ends_after_the_closing_is_a_break_of_the_next_open_day(books: Books) -> None:
    row = vend(books)
    books.line(row, status="pending", reference=row["supplier_reference"])
    books.run()
    closed_by_two(books, DAY, DAY)
    assert end(books, row)
    (told,) = run_next(books)
    assert "ZAR: 1 ended" in told
    assert "1 row (0.00 ZAR) then, 1 row (100.00 ZAR) now" in told
    found = books.the_break()
    assert (found["class"], found["day"], found["period_day"]) == ("closed_period_changed", DAY, NEXT)
    assert (found["variance"], found["difference"], found["state"]) == (Decimal("-100.00"), Decimal(100), "open")
    assert (found["own"]["rows_then"], found["own"]["rows_now"], found["own"]["ended"]) == (1, 1, 1)
    assert found["own"]["examples"] == [f"{row['id']} ended: processing 100.00, now completed 100.00"]
    assert run_next(books) == run_next(books, LATER) == ()
    proved(books)
    (period,) = list_periods(books.settings)
    assert period.days_changed == 1
    with connect(books.settings.database_dsn, "tests") as connection:
        (alert,) = list_alerts(connection, rule="closed-period-changed")
    assert (alert.subject, alert.count, str(alert.severity)) == (f"flash/{DAY}", 1, "critical")
    done = resolve(books.settings, found["break_id"], "thandi", Decision.OURS_IS_RIGHT, "Flash told us late")
    assert done.state is BreakState.RESOLVED
    with connect(books.settings.database_dsn, "tests") as connection:
        assert [one.state for one in list_alerts(connection)] == ["resolved"]


def test_a_purchase_is_not_begun_in_a_closed_day(closed: Books) -> None:
    with pytest.raises(psycopg.Error, match="closed period"):
        closed.sql(f"UPDATE {PARENT} SET supplier_reference = 'x' WHERE status = 'processing'")


def test_a_row_that_a_stranger_puts_in_changes_or_takes_away_is_a_break_once_each(closed: Books) -> None:
    closed.own(amount=Decimal("7.00"))
    assert "1 came in" in run_next(closed)[0]
    past_guards(closed, f"UPDATE {PARENT} SET amount = 8 WHERE amount = 7")
    assert "1 changed" in run_next(closed)[0]
    past_guards(closed, f"DELETE FROM {PARENT} WHERE amount = 8")
    assert "1 are gone" in run_next(closed)[0]
    assert run_next(closed) == ()
    found = closed.sql("SELECT variance FROM recon_breaks ORDER BY break_id")
    assert [row["variance"] for row in found] == [Decimal("-7.00"), Decimal("-1.00"), Decimal("8.00")]
    proved(closed)


@pytest.mark.heavy("a row of a stranger is tested beside it")
def test_a_part_of_a_cent_that_a_stranger_adds_to_an_amount_is_found(books: Books) -> None:
    books.widen_amounts()
    books.both()
    books.run()
    closed_by_two(books, DAY, DAY)
    past_guards(books, f"UPDATE {PARENT} SET amount = amount + 0.0049")
    with (
        pytest.raises(VerificationError, match=rf"flash {DAY}: 1 row"),
        connect(books.settings.database_dsn, "tests") as connection,
    ):
        verify_closed_days(books.settings, connection)


@pytest.mark.heavy("a row of a stranger is tested beside it")
def test_verify_names_what_no_run_has_found_yet(closed: Books) -> None:
    proved(closed)
    closed.own(amount=Decimal("7.00"))
    with pytest.raises(VerificationError, match=rf"flash {DAY}: 2 rows \(100.00 ZAR\) when it was closed, 3 rows"):
        proved(closed)
    run_next(closed)
    proved(closed)


@pytest.mark.heavy("a stranger's change is found in the same way")
def test_what_is_wrong_in_two_currencies_is_two_breaks(closed: Books) -> None:
    closed.own(amount=Decimal("7.00"))
    closed.own(amount=Decimal("9.00"), currency="USD")
    run_next(closed)
    found = closed.sql("SELECT currency, variance FROM recon_breaks ORDER BY currency")
    assert [tuple(row.values()) for row in found] == [("USD", Decimal("-9.00")), ("ZAR", Decimal("-7.00"))]


@pytest.mark.heavy("an end that no record holds refuses the closing")
def test_an_end_that_people_decide_about_a_carried_break_is_accounted_with_that(books: Books) -> None:
    row = vend(books)
    books.sql(f"UPDATE {PARENT} SET updated_at = updated_at - interval '1 day'")
    books.run()
    closed_by_two(books, DAY, DAY, carry=True)
    resolve(books.settings, books.the_break()["break_id"], "thandi", Decision.SETTLE_COMPLETED, "Flash says so")
    assert books.sql(f"SELECT status FROM {PARENT} WHERE id = %s", row["id"]) == [{"status": "completed"}]
    assert run_next(books) == ()
    assert len(books.breaks()) == 1
    assert len(books.sql("SELECT * FROM recon_closed_days")) == 2
    proved(books)


@pytest.mark.heavy("rows of a closed day are tested beside it")
def test_a_row_that_is_no_purchase_is_ended_by_people_once_its_day_is_closed(books: Books) -> None:
    """Whoever posted it cannot any more, and its month would be held back from the archive for ever."""
    row = books.own(status="pending")
    books.sql(f"UPDATE {PARENT} SET updated_at = updated_at - interval '1 day'")
    books.run()
    number = books.the_break()["break_id"]
    with pytest.raises(ConflictError, match="is not a vend of ours: whoever posted it moves its status"):
        resolve(books.settings, number, "thandi", Decision.SETTLE_COMPLETED, "shop says so")
    closed_by_two(books, DAY, DAY, carry=True)
    assert resolve(books.settings, number, "thandi", Decision.SETTLE_COMPLETED, "shop says so").ended_row == row["id"]


@pytest.mark.heavy("a stranger's change is found in the same way")
def test_the_next_open_day_is_the_first_that_no_period_holds(books: Books) -> None:
    for day in (DAY, NEXT):
        books.run(books.statement(day), day)
        closed_by_two(books, day, day)
    books.own()
    run_next(books, LATER + timedelta(days=3))
    assert books.the_break()["period_day"] == LATER


@pytest.mark.heavy("a day of Johannesburg is tested with the runs")
def test_the_edges_of_a_day_are_johannesburg_s_also_over_a_month_s_end(books: Books) -> None:
    first = date(2026, 3, 1)
    start, finish = day_start(first), day_start(first + timedelta(days=1))
    millisecond = timedelta(milliseconds=1)
    inside = [start, finish - millisecond]
    for moment in (start - millisecond, *inside, finish):
        books.own(created_at=moment)
    books.run(books.statement(first), first)
    (run,) = books.sql("SELECT figures -> 'own_day' AS own FROM recon_runs")
    assert run["own"]["rows"] == 2
    with own_days(books.settings, "flash", first, first) as reader:
        assert reader.read([first])[first].digest == run["own"]["digest"]
    books.own(created_at=start - millisecond)
    books.own(created_at=finish)
    closed_by_two(books, first, first, carry=True)
    for number, moment in enumerate(inside, 3):
        books.own(created_at=moment)
        (told,) = run_next(books, first + timedelta(days=number))
        assert "1 came in" in told


@pytest.mark.heavy("a stranger's change is found in the same way")
@pytest.mark.parametrize("tier", ["warm", "cold"])
def test_a_closed_day_is_compared_wherever_its_rows_are_now(books: Books, tier: str) -> None:
    books.both()
    books.run()
    table, month = books.settings.table("vas_transactions"), Month.of(NOON)
    if tier == "cold":
        assert warm_month(books.settings, table, month)
        archive_month(books.settings, table, month)
        closed_by_two(books, DAY, DAY)
    else:
        closed_by_two(books, DAY, DAY)
        assert warm_month(books.settings, table, month)
    proved(books)
    if tier == "warm":
        past_guards(books, f"UPDATE {table.warm_parent} SET amount = 1")
        assert "1 changed" in run_next(books)[0]
        archive_month(books.settings, table, month)
    assert run_next(books) == ()
    proved(books)


@pytest.mark.heavy("a stranger's change is found in the same way")
def test_days_beyond_the_newest_are_looked_at_when_they_were_written_to(books: Books) -> None:
    books.rules(closed_days_checked=0)
    row = vend(books)
    books.line(row, status="pending", reference=row["supplier_reference"])
    books.run()
    closed_by_two(books, DAY, DAY)
    books.own(amount=Decimal("7.00"))
    assert run_next(books) == ()  # a stranger's row in an old day is for `treasury verify`
    assert end(books, row)
    assert "1 came in, 1 ended" in run_next(books)[0]
    assert books.sql("SELECT * FROM recon_day_changes") == []


@pytest.mark.heavy("a stranger's change is found in the same way")
def test_a_change_is_a_break_also_when_the_rows_as_they_were_are_gone_from_the_archive(closed: Books) -> None:
    (state,) = closed.sql("SELECT object_key FROM recon_closed_days")
    ObjectStore(closed.settings).remove(state["object_key"])
    closed.own(amount=Decimal("7.00"))
    assert "1 came in" in run_next(closed)[0]


@pytest.mark.heavy("a stranger's change is found in the same way")
def test_a_run_that_cannot_be_written_down_leaves_its_finding_to_the_next(closed: Books) -> None:
    closed.own(amount=Decimal("7.00"))
    closed.sql("ALTER TABLE recon_events ADD CONSTRAINT full_disk CHECK (event_no < 5)")
    with pytest.raises(TreasuryError):
        run_next(closed)
    assert closed.breaks() == []
    closed.sql("ALTER TABLE recon_events DROP CONSTRAINT full_disk")
    assert len(run_next(closed)) == 1
    assert closed.breaks() == [("closed_period_changed",)]
    proved(closed)


def test_a_writer_that_has_not_ended_keeps_a_day_from_being_closed(books: Books) -> None:
    """And one that ends while the day is being closed is seen: the rows are compared again."""
    row = books.both(status="processing")
    books.run()
    close_period(books.settings, "flash", DAY, DAY, "thandi", "month end")
    with psycopg.connect(books.settings.database_dsn) as writer:
        writer.execute(f"UPDATE {PARENT} SET amount = 101 WHERE id = %s", (row["id"],))
        with pytest.raises(TransientError, match="rows of these days are being changed"):
            close_period(books.settings, "flash", DAY, DAY, "sipho", "seen")
        with ThreadPoolExecutor(1) as pool:
            closing = pool.submit(close_period, books.settings, "flash", DAY, DAY, "sipho", "seen")
            writer.commit()
            with pytest.raises(ConflictError, match="1 changed"):
                closing.result()


def test_a_writer_that_began_before_the_proposal_is_waited_for(books: Books) -> None:
    """It knew of no proposal, so it noted nothing."""
    row = books.both(status="processing")
    books.run()
    with psycopg.connect(books.settings.database_dsn) as writer:
        writer.execute(f"UPDATE {PARENT} SET amount = 101 WHERE id = %s", (row["id"],))
        with ThreadPoolExecutor(1) as pool:
            closing = pool.submit(closed_by_two, books, DAY, DAY)
            writer.commit()
            with pytest.raises(ConflictError, match="1 changed"):
                closing.result()
    assert books.sql("SELECT * FROM recon_day_changes") == []


@pytest.mark.heavy("a writer that has not ended is tested beside it")
def test_a_write_between_the_reading_and_the_closing_is_seen(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    row = books.both(status="processing")
    books.run()
    close_period(books.settings, "flash", DAY, DAY, "thandi", "month end")
    compare = closed_days.compare_with_runs

    def compare_then_write(*arguments: Any) -> closed_days.Compared:
        compared = compare(*arguments)
        books.sql(f"UPDATE {PARENT} SET status = 'completed' WHERE id = %s", row["id"])
        return compared

    monkeypatch.setattr(closed_days, "compare_with_runs", compare_then_write)
    with pytest.raises(ConflictError, match="1 ended"):
        close_period(books.settings, "flash", DAY, DAY, "sipho", "seen")


def test_a_run_of_another_day_leaves_the_note_of_a_write_to_the_closing(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = books.both(status="processing")
    books.run()
    close_period(books.settings, "flash", DAY, DAY, "thandi", "month end")
    compare = closed_days.compare_with_runs

    def compare_then_write_and_run(*arguments: Any) -> closed_days.Compared:
        monkeypatch.setattr(closed_days, "compare_with_runs", compare)
        compared = compare(*arguments)
        books.sql(f"UPDATE {PARENT} SET status = 'completed' WHERE id = %s", row["id"])
        run_next(books)
        return compared

    monkeypatch.setattr(closed_days, "compare_with_runs", compare_then_write_and_run)
    with pytest.raises(ConflictError, match="1 ended"):
        close_period(books.settings, "flash", DAY, DAY, "sipho", "seen")


@pytest.mark.heavy("a note that a run must leave is tested beside it")
def test_the_note_of_a_write_is_forgotten_once_nobody_proposes_to_close_its_day(books: Books) -> None:
    row = books.both(status="processing")
    books.run()
    close_period(books.settings, "flash", DAY, DAY, "thandi", "month end")
    books.sql(f"UPDATE {PARENT} SET status = 'completed' WHERE id = %s", row["id"])
    run_next(books)
    assert len(books.sql("SELECT * FROM recon_day_changes")) == 1
    reject_closing(books.settings, "flash", DAY, DAY, "thandi", "too early")
    run_next(books, LATER)
    assert books.sql("SELECT * FROM recon_day_changes") == []


def test_a_closing_compares_again_under_a_proposal_that_is_newer_than_its_comparison(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Runs forget the notes of writes to days that nobody proposes to close."""
    row = books.both(status="processing")
    books.run()
    close_period(books.settings, "flash", DAY, DAY, "thandi", "month end")
    reject_closing(books.settings, "flash", DAY, DAY, "thandi", "too early")
    compare = closed_days.compare_with_runs

    def compare_then_propose(*arguments: Any) -> closed_days.Compared:
        monkeypatch.setattr(closed_days, "compare_with_runs", compare)
        compared = compare(*arguments)
        close_period(books.settings, "flash", DAY, DAY, "thandi", "month end")
        past_guards(books, f"UPDATE {PARENT} SET amount = 101 WHERE id = '{row['id']}'")
        return compared

    monkeypatch.setattr(closed_days, "compare_with_runs", compare_then_propose)
    with pytest.raises(ConflictError, match="1 changed"):
        close_period(books.settings, "flash", DAY, DAY, "sipho", "seen")


def test_a_day_that_is_not_over_by_postgresql_s_clock_is_not_closed(books: Books) -> None:
    (row,) = books.sql("SELECT (now() AT TIME ZONE 'UTC' + interval '2 hours')::date AS today")
    ahead = datetime.now(UTC) + timedelta(days=2)
    with pytest.raises(ConflictError, match=f"{row['today']} is not over yet"):
        close_period(books.settings, "flash", row["today"], row["today"], "thandi", "month end", now=ahead)


class Events:
    """What may happen to a day, in an order that follows from a number."""

    def __init__(self, books: Books, seed: int) -> None:
        self.books = books
        self.chance = random.Random(seed)  # noqa: S311  # a made-up order of events
        self.rows: list[UUID] = []

    def put(self) -> None:
        row = self.books.own(status="processing", amount=Decimal(self.chance.randrange(1, 100)))
        self.rows.append(row["id"])

    def end(self) -> None:
        for row_id in self.rows[:1]:
            change = f"UPDATE {PARENT} SET status = 'completed', processed_at = now() WHERE id = %s"
            self.books.sql(change, self.rows.pop(self.rows.index(row_id)))

    def change(self) -> None:
        for row_id in self.rows[-1:]:
            past_guards(self.books, f"UPDATE {PARENT} SET amount = amount + 1 WHERE id = '{row_id}'")

    def run(self) -> None:
        if not list_periods(self.books.settings):
            self.books.run(self.books.statement())

    def close(self) -> None:
        with suppress(RefusalError):  # by name: a row came in behind the run, or it is closed already
            closed_by_two(self.books, DAY, DAY, carry=True)

    def run_next(self) -> None:
        run_next(self.books)

    def happen(self, number: int) -> None:
        every = (self.put, self.put, self.end, self.change, self.run, self.close, self.close, self.run_next)
        for _ in range(number):
            self.chance.choice(every)()


@pytest.mark.heavy("a row that comes, changes or goes is a break, one by one")
@pytest.mark.parametrize("seed", range(5))
def test_whatever_comes_between_a_closed_day_is_as_recorded_or_breaks_say_so(books: Books, seed: int) -> None:
    """Rows come in, change and end between runs and attempts to close, in any order."""
    events = Events(books, seed)
    events.happen(8)
    events.run()
    events.close()
    events.put()
    events.run_next()
    proved(books)
    states = [row["digest"].hex() for row in books.sql("SELECT digest FROM recon_closed_days ORDER BY state_id")]
    found = books.sql("SELECT own FROM recon_breaks WHERE class = 'closed_period_changed' ORDER BY break_id")
    assert [row["own"]["digest_then"] for row in found] == states[:-1]
    assert [row["own"]["digest_now"] for row in found] == states[1:]
    assert len(states) > 1
