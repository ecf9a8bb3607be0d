"""The page of periods: proposed by one client, closed by another."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from config import Settings
from ledger.business_days import day_of
from ledger.scopes import Scope
from tests.api.dashboard.desk import PERIODS, QUEUE, Desk, opened_books, served, with_breaks
from tests.api.dashboard.person import SAME_ORIGIN, Document, Person
from tests.api.dashboard.test_pages import check_html
from tests.tasks.reconciliation.books import DAY, Books

DAYS = {"supplier": "flash", "first_day": str(DAY), "last_day": str(DAY)}


@pytest.fixture
def books(settings: Settings, tmp_path: Path) -> Books:
    books = opened_books(settings, tmp_path)
    books.both()
    books.run()
    return books


@pytest.fixture
def desk(books: Books) -> Iterator[Desk]:
    with served(books) as desk:
        yield desk


def propose(person: Person, **changes: str) -> Document:
    fields = DAYS | {"reason": "month end", "decision": "close"} | changes
    answer = person.send(PERIODS, PERIODS, **fields)
    assert answer.status_code == 303, Document(answer.text).text
    return person.read(answer.headers["location"])


def confirm(person: Person, decision: str = "close", reason: str = "seen") -> Document:
    """Decide about the proposal that the page lists, as it is there."""
    answer = person.send(QUEUE, PERIODS, decision=decision, reason=reason)
    assert answer.status_code == 303, Document(answer.text).text
    return person.read(answer.headers["location"])


def refused(person: Person, status: int, **fields: str) -> Document:
    answer = person.client.post(PERIODS, data={"form_token": person.form_token} | fields, headers=SAME_ORIGIN)
    assert answer.status_code == status
    document = Document(answer.text)
    check_html(document)
    return document


def test_a_period_is_proposed_by_one_client_and_closed_by_another(desk: Desk) -> None:
    thandi, sipho = desk.sit_down("thandi"), desk.sit_down("sipho")
    assert "No period is closed yet." in thandi.read(PERIODS).text
    proposed = propose(thandi)
    check_html(proposed)
    assert "Closing the period is proposed." in proposed.text
    assert "You have proposed it." in proposed.text
    own = refused(thandi, 409, **DAYS, reason="me again", decision="close")
    assert "thandi has proposed it under key" in own.text
    assert "me again" in [field.get("value") for field in own.all("input")]
    assert (
        "somebody else must close it"
        in refused(desk.sit_down("thandi"), 409, **DAYS, reason="x", decision="close").text
    )

    shown = next(form for form in sipho.read(QUEUE).forms if form.action == PERIODS).fields
    carrying = refused(sipho, 409, **shown | {"reason": "seen", "decision": "close", "carry": "yes"})
    assert "closing without carrying breaks on is proposed; confirm that, or reject it first" in carrying.text

    document = confirm(sipho)
    assert "The period is closed." in document.text
    assert "flash 2026-02-03 2026-02-03 1 100.00 ZAR thandi sipho" in document.text
    (row,) = desk.books.sql("SELECT actor, account, own_rows FROM recon_periods")
    assert (row["actor"], row["own_rows"]) == ("sipho", 1)
    assert row["account"] == f"key {sipho.key.split('_')[1]}"
    again = refused(thandi, 409, **DAYS, reason="again", decision="close")
    assert "is closed already" in again.text


def test_the_second_person_refuses_and_the_first_takes_back(desk: Desk) -> None:
    thandi, sipho = desk.sit_down("thandi"), desk.sit_down("sipho")
    for person in (sipho, thandi):
        propose(thandi)
        assert "The proposal is rejected." in confirm(person, "reject", "not yet").text
        assert desk.books.sql("SELECT 1 FROM recon_periods") == []
    assert "nothing is proposed" in refused(sipho, 409, **DAYS, reason="no", decision="reject").text


def test_a_form_that_proposes_never_closes_what_somebody_has_proposed_meanwhile(desk: Desk) -> None:
    thandi, sipho = desk.sit_down("thandi"), desk.sit_down("sipho")
    older = next(form for form in sipho.read(PERIODS).forms if form.action == PERIODS).fields
    propose(thandi)
    fields = older | DAYS | {"reason": "month end"}
    document = refused(sipho, 409, **fields, decision="close")
    assert (
        "thandi has proposed to close these days meanwhile: see that proposal, and confirm or refuse it"
        in document.text
    )
    assert "Reason: month end" in document.text  # the proposal, on the page that refuses
    assert "thandi has proposed" in refused(sipho, 409, **fields, decision="reject").text
    assert desk.books.sql("SELECT 1 FROM recon_periods") == []
    assert "The period is closed." in confirm(sipho).text


def test_a_form_that_confirms_is_about_the_proposal_that_it_shows(desk: Desk) -> None:
    thandi, sipho = desk.sit_down("thandi"), desk.sit_down("sipho")
    propose(thandi)
    older = next(form for form in sipho.read(QUEUE).forms if form.action == PERIODS).fields
    fields = older | {"reason": "seen", "decision": "close"}
    confirm(thandi, "reject", "too early")
    gone = "the proposal that you saw is not open any more"
    assert gone in refused(sipho, 409, **fields).text
    assert len(desk.books.sql("SELECT 1 FROM recon_period_proposals")) == 2  # closing is not proposed by that
    propose(thandi, reason="another reason")
    for decision in ("close", "reject"):
        assert gone in refused(sipho, 409, **fields | {"decision": decision}).text
    assert desk.books.sql("SELECT 1 FROM recon_periods") == []
    assert "The period is closed." in confirm(sipho).text


def test_breaks_that_wait_stop_it_unless_they_are_carried(settings: Settings, tmp_path: Path) -> None:
    with served(with_breaks(opened_books(settings, tmp_path))) as desk:
        thandi, sipho = desk.sit_down("thandi"), desk.sit_down("sipho")
        assert "4 breaks still wait" in refused(thandi, 409, **DAYS, reason="end", decision="close").text
        propose(thandi, carry="yes")
        queue = sipho.read(QUEUE)
        assert "4 breaks wait in these days, and move to the next open day" in queue.text
        assert "1 339.01 ZAR" in queue.text
        different = refused(sipho, 409, **DAYS, reason="seen", decision="close")
        assert "4 breaks still wait" in different.text
        confirm(sipho)
        (moved,) = desk.books.sql("SELECT DISTINCT period_day FROM recon_breaks")
        assert moved["period_day"] == DAY + timedelta(days=1)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"supplier": "acme"}, "This must be one of flash"),
        ({"first_day": "2026-02-30"}, "This must be a day of the calendar"),
        ({"last_day": "2026-02-01"}, "This must be the first day or later"),
        ({"last_day": "2028-02-01"}, "This must be the first day or later"),
        ({"reason": ""}, "This is required."),
        ({"reason": "\u202e"}, "This must be 1 to 1000 printable characters."),
        ({"carry": "maybe"}, "This must be yes, or not given."),
        ({"decision": "open"}, "decision: must be one of close, reject"),
        ({"proposal": "x"}, "proposal: must be a whole number"),
    ],
)
def test_a_wrong_field_is_named_and_what_was_entered_stays(desk: Desk, changes: dict[str, str], said: str) -> None:
    fields = DAYS | {"reason": "month <end>", "decision": "close"} | changes
    document = refused(desk.sit_down("thandi"), 422, **fields)
    assert said in document.text
    assert fields["reason"] in [field.get("value") for field in document.all("input")]
    assert desk.books.sql("SELECT 1 FROM recon_period_proposals") == []


def test_days_that_cannot_be_closed_say_what_is_in_the_way(desk: Desk) -> None:
    thandi = desk.sit_down("thandi")
    never = refused(thandi, 409, **(DAYS | {"first_day": "2026-02-01"}), reason="end", decision="close")
    assert "2 days were never reconciled once they were over" in never.text
    day = str(day_of(datetime.now(UTC)) + timedelta(days=1))
    to_come = refused(thandi, 409, **(DAYS | {"first_day": day, "last_day": day}), reason="end", decision="close")
    assert f"{day} is not over yet" in to_come.text


def test_the_form_is_filled_in_by_the_address_else_with_the_last_month(desk: Desk) -> None:
    thandi = desk.sit_down("thandi")
    values = [field.get("value") for field in thandi.read(f"{PERIODS}?first_day={DAY}&last_day={DAY}").all("input")]
    assert values.count(str(DAY)) == 2
    values = [field["value"] for field in thandi.read(PERIODS).all("input") if field.get("type") == "date"]
    assert str(values[0])[-2:] == "01"


def test_without_the_scope_there_is_no_form_and_no_way(desk: Desk) -> None:
    propose(desk.sit_down("thandi"))
    auditor = desk.sit_down("auditor", [Scope.RECONCILIATION_READ])
    document = auditor.read(PERIODS)
    assert "lacks the scope reconciliation:resolve" in document.text
    assert [form.action for form in document.forms] == ["/dashboard/sign-out"]
    given = {"form_token": auditor.form_token, **DAYS, "reason": "x", "decision": "close"}
    assert auditor.client.post(PERIODS, data=given, headers=SAME_ORIGIN).status_code == 403
    decider = desk.sit_down("sipho", [Scope.RECONCILIATION_RESOLVE])
    given = {"form_token": decider.form_token, **DAYS, "reason": "", "decision": "close"}
    assert decider.client.post(PERIODS, data=given, headers=SAME_ORIGIN).status_code == 422
