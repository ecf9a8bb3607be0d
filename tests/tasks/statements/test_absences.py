"""Days without a statement: declared by two people or by the settings, then reconciled and closed like any other."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from config import Settings
from ledger.business_days import bounds
from ledger.errors import ConfigError, FieldError, RefusalError
from sql.connection import Connection, connect
from sql.preparation import prepare_table
from storage.store import ObjectStore
from tasks.reconciliation.audit.chain import verify_chain
from tasks.reconciliation.audit.objects import verify_objects
from tasks.reconciliation.closing.periods import PeriodState, close_period
from tasks.reconciliation.runs.request import RunRequest
from tasks.reconciliation.runs.run import reconcile_day
from tasks.reconciliation.runs.statements import statement_of
from tasks.statements import absences
from tasks.statements.absences import AbsenceState, declare_absence, declare_by_settings
from tasks.statements.intake import days_to_reconcile, list_statements, store_table, take_in
from tasks.statements.lateness import report_late
from tests.tasks.reconciliation.books import Books, closed_by_two
from tests.tasks.statements.samples import DAY, FLASH, FLASH_NAME, NAMES, TEXTS

AFTER = bounds(DAY)[1]


@pytest.fixture
def books(settings: Settings, tmp_path: Path) -> Books:
    """Books for rows of ours, and an archive."""
    with connect(settings.database_dsn, "tests") as connection:
        prepare_table(connection, settings, settings.table("vas_transactions"))
    ObjectStore(settings)
    return Books(settings, tmp_path)


def declare(books: Books, actor: str, supplier: str = "flash", **options: Any) -> AbsenceState:
    return declare_absence(books.settings, supplier, DAY, actor, "no sales on this day", **options)


def ask(books: Books, question: Callable[[Connection], Any]) -> Any:
    with connect(books.settings.database_dsn, "tests") as connection:
        return question(connection)


@pytest.mark.sampled(1)
@pytest.mark.parametrize("supplier", ["flash", "mobilemart", "peach"])
def test_a_day_without_a_file_is_declared_by_two_reconciled_and_closed(books: Books, supplier: str) -> None:
    assert declare(books, "thandi", supplier) is AbsenceState.PROPOSED
    assert list_statements(books.settings) == []
    assert declare(books, "sipho", supplier) is AbsenceState.CONFIRMED
    assert days_to_reconcile(books.settings, supplier, DAY) == [DAY]
    statement = statement_of(books.settings, supplier, DAY)
    result = reconcile_day(books.settings, RunRequest(supplier, DAY, statement))
    assert result.summary.figures["lines"] == 0
    states = [
        close_period(books.settings, supplier, DAY, DAY, actor, "month end").state for actor in ("thandi", "sipho")
    ]
    assert states == [PeriodState.PROPOSED, PeriodState.CLOSED]
    ask(books, verify_chain)
    assert ask(books, lambda connection: verify_objects(books.settings, connection)) > 0


def test_the_same_person_cannot_confirm_and_a_proposal_can_be_rejected(books: Books) -> None:
    declare(books, "thandi")
    for options in ({"actor": " Thandi "}, {"actor": "sipho", "account": "thandi"}):
        with pytest.raises(RefusalError, match=f"flash {DAY}: thandi has proposed it"):
            declare(books, **options)
    assert declare(books, "sipho", reject=True) is AbsenceState.REJECTED
    with pytest.raises(RefusalError, match="nothing is proposed that could be rejected"):
        declare(books, "sipho", reject=True)
    assert declare(books, "sipho") is AbsenceState.PROPOSED
    assert declare(books, "thandi") is AbsenceState.CONFIRMED
    with pytest.raises(RefusalError, match=f"flash {DAY}: the day has a statement"):
        declare(books, "thandi")
    ask(books, verify_chain)


@pytest.mark.parametrize("proposed_again", [False, True])
def test_a_proposal_that_is_rejected_during_the_upload_is_not_confirmed(
    books: Books, monkeypatch: pytest.MonkeyPatch, proposed_again: bool
) -> None:
    """The same person may have proposed the day again meanwhile, and would have decided alone."""
    declare(books, "thandi")

    def store_then_reject(*arguments: Any) -> Any:
        stored = store_table(*arguments)
        declare(books, "thandi", reject=True)
        if proposed_again:
            declare(books, "sipho")
        return stored

    monkeypatch.setattr(absences, "store_table", store_then_reject)
    with pytest.raises(RefusalError, match=f"flash {DAY}: the proposal was rejected meanwhile"):
        declare(books, "sipho")
    assert list_statements(books.settings) == []
    states = [row[0] for row in ask(books, lambda c: c.execute("SELECT action FROM statement_absences").fetchall())]
    assert states == ["proposed", "rejected"] + ["proposed"] * proposed_again
    ask(books, verify_chain)


def test_what_cannot_be_declared_is_refused_by_name(books: Books) -> None:
    with pytest.raises(RefusalError, match=f"flash {DAY}: the day is not over yet"):
        declare(books, "thandi", now=AFTER - timedelta(milliseconds=1))
    with pytest.raises(ConfigError, match="flush"):
        declare(books, "thandi", "flush")
    with pytest.raises(FieldError):
        declare(books, "treasury")
    with pytest.raises(FieldError):
        declare_absence(books.settings, "flash", DAY, "thandi", " ")
    assert ask(books, lambda c: c.execute("SELECT count(*) FROM statement_absences").fetchone()) == (0,)


def test_a_day_of_a_closed_period_is_refused_and_the_period_named(books: Books) -> None:
    books.run(books.statement(DAY), DAY)
    closed_by_two(books, DAY, DAY)
    with pytest.raises(RefusalError, match=f"flash {DAY}: the period {DAY} to {DAY} is closed"):
        declare(books, "thandi")


@pytest.mark.heavy("a declared day is closed beside it")
def test_rows_of_ours_on_such_a_day_are_breaks(books: Books) -> None:
    row = books.own(created_at=bounds(DAY)[0] + timedelta(hours=10))
    for actor in ("thandi", "sipho"):
        declare(books, actor)
    reconcile_day(books.settings, RunRequest("flash", DAY, statement_of(books.settings, "flash", DAY)))
    assert books.breaks("open") == [("missing_there",)], row


def test_a_statement_that_comes_after_all_takes_its_place(books: Books, tmp_path: Path) -> None:
    for actor in ("thandi", "sipho"):
        declare(books, actor)
    (tmp_path / FLASH_NAME).write_text(FLASH)
    [taken] = take_in(books.settings, "flash", DAY, url=str(tmp_path), actor="test")
    assert (taken.result, taken.line_count) == ("taken", 1)
    assert [record.state for record in list_statements(books.settings)] == ["taken", "superseded"]


@pytest.mark.sampled(1)
@pytest.mark.parametrize("supplier", ["flash", "peach"])
def test_a_file_without_lines_that_comes_after_all_says_the_same(books: Books, tmp_path: Path, supplier: str) -> None:
    for actor in ("thandi", "sipho"):
        declare(books, actor, supplier)
    empty = {"flash": FLASH.partition("\n")[0] + "\n", "peach": "[]"}[supplier]
    assert empty != TEXTS[supplier]
    (tmp_path / NAMES[supplier]).write_text(empty)
    [known] = take_in(books.settings, supplier, DAY, url=str(tmp_path), actor="test")
    assert known.result == "known"


def test_the_alert_about_the_late_statement_ends(books: Books, tmp_path: Path) -> None:
    flash = books.settings.suppliers.flash.model_copy(update={"statement_url": str(tmp_path)})
    settings = books.settings.model_copy(
        update={"suppliers": books.settings.suppliers.model_copy(update={"flash": flash})}
    )
    late = "SELECT subject FROM alerts WHERE state = 'open' ORDER BY 1"
    report_late(settings, AFTER + timedelta(hours=30))
    assert (f"flash/{DAY}",) in ask(books, lambda c: c.execute(late).fetchall())
    for actor in ("thandi", "sipho"):
        declare(books, actor)
    assert (f"flash/{DAY}",) not in ask(books, lambda c: c.execute(late).fetchall())
    assert ("flash", DAY) not in report_late(settings, AFTER + timedelta(hours=30))


@pytest.mark.parametrize(("named", "declared"), [("tuesday", True), (str(DAY), True), ("sunday", False)])
def test_the_settings_declare_weekdays_and_days(books: Books, named: str, declared: bool) -> None:
    assert f"{DAY:%A}" == "Tuesday"
    flash = books.settings.suppliers.flash.model_copy(update={"statement_none_on": (named,)})
    settings = books.settings.model_copy(
        update={"suppliers": books.settings.suppliers.model_copy(update={"flash": flash})}
    )
    assert not declare_by_settings(settings, "flash", DAY, AFTER - timedelta(seconds=1))
    assert declare_by_settings(settings, "flash", DAY, AFTER) is declared
    assert not declare_by_settings(settings, "flash", DAY, AFTER)
    records = ask(books, lambda c: c.execute("SELECT action, actor, reason FROM statement_absences").fetchall())
    assert records == ([("confirmed", "treasury", f"statement_none_on of flash names {named}")] if declared else [])
    ask(books, verify_chain)


def test_a_wrong_weekday_in_the_settings_is_refused() -> None:
    from config.suppliers import FlashSettings

    for wrong in ("Sunday", "2026-02-30", "weekend"):
        with pytest.raises(ValueError, match="must be a weekday in small letters"):
            FlashSettings(statement_none_on=(wrong,))
    assert FlashSettings(statement_none_on=("sunday", "2026-12-25")).statement_none_on == ("sunday", "2026-12-25")


@pytest.mark.heavy("a day without its statement proves no absence, either")
def test_a_declared_day_is_no_proof_that_a_purchase_was_not_made(books: Books) -> None:
    """Such a day does not end our rows: MobileMart's file without lines would."""
    from tasks.reconciliation.runs.automatic_settlement import _all_reconciled

    for actor in ("thandi", "sipho"):
        declare(books, actor, "mobilemart")
    request = RunRequest("mobilemart", DAY, statement_of(books.settings, "mobilemart", DAY))
    reconcile_day(books.settings, request, datetime.now(UTC))
    proved = ask(books, lambda c: _all_reconciled(c, "mobilemart", DAY, DAY, counts_lines=True))
    assert proved is False
