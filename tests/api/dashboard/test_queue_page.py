"""The page *Waits for a second person*: everything that waits for a second person, and what a key may do about it."""

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from api.dashboard.error_pages import HOME
from config import Settings
from config.retention import RetentionSettings
from ledger.holds import HoldScope
from ledger.months import Month
from ledger.people import Person as Somebody
from ledger.scopes import Scope
from sql.connection import connect
from tasks.archiving.calendar import utc_today
from tasks.retention.approvals import approve, request_deletion
from tasks.retention.holds import place_hold, release_hold, show_hold
from tasks.second_person import WaitingKind, list_waiting
from tasks.statements.absences import declare_absence
from tests.api.conftest import unlimited
from tests.api.dashboard.desk import (
    FINANCE,
    PERIODS,
    QUEUE,
    RECONCILIATION,
    Desk,
    break_page,
    opened_books,
    served,
    with_breaks,
)
from tests.api.dashboard.person import SAME_ORIGIN, Document, Person
from tests.api.dashboard.test_pages import check_html
from tests.api.ledger_rows import Ledger
from tests.tasks.reconciliation.books import DAY, Books

OLD = Month(2014, 2)
HOSTILE = "<script>alert(1)</script> 0821234567"


@pytest.fixture
def desk(settings: Settings, tmp_path: Path) -> Iterator[Desk]:
    with served(with_breaks(opened_books(settings, tmp_path))) as desk:
        yield desk


@pytest.fixture
def archive(ready: Settings, tmp_path: Path) -> Iterator[Desk]:
    """A desk at a ledger with an archived month of ten years ago, two approvals, and no grace period."""
    rules = RetentionSettings(grace_days=0, approvals=2)
    settings = unlimited(ready.model_copy(update={"retention": rules}))
    ledger = Ledger(settings)
    table = settings.table("transactions")
    ledger.add(table, [OLD.lower + timedelta(days=day) for day in range(5)])
    ledger.cold(table, OLD)
    with served(Books(settings, tmp_path)) as desk:
        yield desk


def decide(person: Person, number: int, decision: str, reason: str = "seen") -> None:
    page = break_page(number)
    assert person.send(page, page, decision=decision, reason=reason).status_code == 303


def test_now_counts_undecided_breaks_and_what_waits_for_keys_that_may_see_them(desk: Desk) -> None:
    decide(desk.sit_down("thandi"), desk.number_of("1000.01"), "write_off")
    document = desk.sit_down("thandi", (Scope.MONITORING_READ, Scope.RECONCILIATION_READ)).read(HOME)
    check_html(document)
    assert "4 breaks wait for a decision , 2 of them escalated. 1 proposal waits for a second person" in document.text
    assert {f"{RECONCILIATION}#breaks", QUEUE} <= set(document.links)
    without = desk.sit_down("thandi", (Scope.MONITORING_READ,)).read(HOME)
    assert "for a decision" not in without.text
    assert "proposal" not in without.text
    archivist = desk.sit_down("thandi", (Scope.MONITORING_READ, Scope.ARCHIVE_READ)).read(HOME)
    assert "proposal" not in archivist.text  # nobody has asked to delete months


def test_an_empty_queue_says_what_comes_here(desk: Desk) -> None:
    document = desk.sit_down("thandi").read(QUEUE)
    check_html(document)
    assert "Nothing waits for a second person." in document.text
    assert "/dashboard/reconciliation/periods" in document.links


def test_what_one_has_proposed_waits_for_somebody_else(desk: Desk) -> None:
    number = desk.number_of("1000.01")
    thandi, sipho = desk.sit_down("thandi"), desk.sit_down("sipho")
    decide(thandi, number, "theirs_is_right", "vended by hand")
    own, other = thandi.read(QUEUE), sipho.read(QUEUE)
    for document in (own, other):
        check_html(document)
        assert f"Break {number}: missing in the ledger, flash {DAY}" in document.text
        assert "1 000.01 ZAR" in document.text
        assert "vended by hand" in document.text
        assert f"thandi (account key {thandi.key.split('_')[1]}" in document.text
        assert f"{break_page(number)}#decision" in document.links
    assert "waits for somebody else" in own.text
    assert "You have proposed it." in own.text
    assert "This key can confirm 0 of them" in own.text
    assert "waits for a second person" in other.text
    assert "This key can confirm 1 of them" in other.text
    another_key = desk.sit_down("thandi").read(QUEUE)
    assert "waits for somebody else" in another_key.text


@pytest.fixture
def busy(settings: Settings, tmp_path: Path) -> Iterator[Desk]:
    """A desk whose books have an unfinished row, too."""
    books = opened_books(settings, tmp_path)
    row = books.own(status="processing", supplier_transaction_id=None, amount=Decimal("2000.00"))
    books.sql("UPDATE vas_transactions_partitioned SET supplier_reference = id::text WHERE id = %s", row["id"])
    with served(with_breaks(books)) as desk:
        yield desk


def test_every_kind_of_reconciliation_is_there_the_oldest_first(busy: Desk) -> None:
    desk, books, thandi, sipho = busy, busy.books, busy.sit_down("thandi"), busy.sit_down("sipho")
    declare_absence(books.settings, "peach", DAY, "thandi", "no trade that day")
    decide(thandi, desk.number_of("250.00"), "write_off")
    decide(thandi, desk.number_of("250.00"), "withdraw", "meant another")
    decide(thandi, desk.number_of("2000.00"), "settle_failed", "asked")
    decide(thandi, desk.number_of("1000.01"), "theirs_is_right")
    fields = {"supplier": "flash", "first_day": str(DAY), "last_day": str(DAY), "carry": "yes", "reason": "month end"}
    assert thandi.send(PERIODS, PERIODS, decision="close", **fields).status_code == 303

    found = list_waiting(books.settings, set(WaitingKind))
    assert [one.kind for one in found] == ["absence", "withdrawal", "settlement", "decision", "closing"]
    assert [dict(one.money) for one in found[1:4]] == [
        {"ZAR": Decimal("250.00")},
        {"ZAR": Decimal("2000.00")},
        {"ZAR": Decimal("1000.01")},
    ]
    document = sipho.read(QUEUE)
    check_html(document)
    headings = [
        "Day without a statement",
        "Taking a decision back",
        "End of an unfinished row",
        "Decision about a break",
    ]
    places = [document.text.index(heading) for heading in [*headings, "Closing of a period"]]
    assert places == sorted(places)
    assert f"treasury statements none peach {DAY} --reason … --reject" in document.text
    assert "This key can confirm 4 of them" in document.text

    for number, decision in (("250.00", "withdraw"), ("2000.00", "settle_failed"), ("1000.01", "theirs_is_right")):
        decide(sipho, desk.number_of(number), decision)
    assert sipho.send(QUEUE, PERIODS, decision="close", reason="seen").status_code == 303
    assert [one.kind for one in list_waiting(books.settings, set(WaitingKind))] == ["absence"]


def test_a_match_of_two_breaks_is_one_entry(settings: Settings, tmp_path: Path) -> None:
    books = opened_books(settings, tmp_path)
    books.own(supplier_transaction_id="S9", reference="ORD-A", amount=Decimal("1500.00"))
    books.line(supplier_transaction_id="S8", reference="ORD-B", amount=Decimal("1500.00"))
    books.run()
    with served(books) as desk:
        numbers = [row["break_id"] for row in books.sql("SELECT break_id FROM recon_breaks ORDER BY break_id")]
        assert len(numbers) == 2
        decide(desk.sit_down("thandi"), numbers[1], "same_transaction")
        (one,) = list_waiting(books.settings, {WaitingKind.DECISION})
        assert {int(one.number), *one.facts["together"]} == set(numbers)
        assert f"together with break {one.facts['together'][0]}" in desk.sit_down("sipho").read(QUEUE).text
        decide(desk.sit_down("sipho"), int(one.number), "same_transaction")
        assert list_waiting(books.settings, set(WaitingKind)) == []


def test_what_a_run_has_ended_waits_no_longer(desk: Desk) -> None:
    thandi = desk.sit_down("thandi")
    decide(thandi, desk.number_of("1000.01"), "theirs_is_right")
    decide(thandi, desk.number_of("250.00"), "write_off")
    decide(thandi, desk.number_of("250.00"), "withdraw")
    desk.books.both()
    desk.books.run()
    assert [one.kind for one in list_waiting(desk.books.settings, set(WaitingKind))] == ["withdrawal"]


def test_the_reader_sees_and_does_not_decide(desk: Desk) -> None:
    decide(desk.sit_down("thandi"), desk.number_of("1000.01"), "theirs_is_right")
    document = desk.sit_down("auditor", [Scope.RECONCILIATION_READ]).read(QUEUE)
    assert "Deciding needs the scope reconciliation:resolve." in document.text
    assert f"{break_page(desk.number_of('1000.01'))}#decision" not in document.links


def placed(settings: Settings) -> str:
    record = place_hold(
        settings, HoldScope(OLD, OLD), f"CASE {HOSTILE}", "court order", "legal", utc_today() + timedelta(days=9)
    )
    return record.hold.name


def test_a_release_is_confirmed_by_a_third_client_and_by_nobody_else(archive: Desk) -> None:
    settings = archive.books.settings
    name = placed(settings)
    holds = [Scope.ARCHIVE_HOLDS]
    legal, audit, finance = (archive.sit_down(client, holds) for client in ("legal", "audit", "finance"))
    assert "Nothing waits" in finance.read(QUEUE).text
    release_hold(settings, 1, "audit", f"closed {HOSTILE}", account=f"key {audit.key.split('_')[1]}")

    action = f"{QUEUE}/holds/{name}"
    placer = legal.read(QUEUE)
    check_html(placer)
    assert "You have placed this hold." in placer.text
    assert "0821234567" not in placer.text
    assert "You have proposed it." in audit.read(QUEUE).text
    for person, said in ((legal, "two other people must release it"), (audit, "somebody else must confirm it")):
        given = {"form_token": person.form_token, "decision": "release", "reason": "mine"}
        answer = person.client.post(action, data=given, headers=SAME_ORIGIN)
        assert answer.status_code == 409
        document = Document(answer.text)
        check_html(document)
        assert said in document.text
        assert "mine" in [field.get("value") for field in document.all("input")]

    assert finance.send(QUEUE, action, decision="reject", reason="not yet").headers["location"].endswith("rejected")
    assert show_hold(settings, 1).record.state == "open"
    release_hold(settings, 1, "audit", "closed", account="key a")
    done = finance.send(QUEUE, action, decision="release", reason="checked")
    assert "The hold is released." in finance.read(done.headers["location"]).text
    assert show_hold(settings, 1).record.state == "released"


@pytest.mark.parametrize(
    ("number", "fields", "status", "said"),
    [
        ("HOLD-1", {"decision": "release", "reason": ""}, 422, "This is required."),
        ("1", {"decision": "keep", "reason": "x"}, 422, "This must be one of release, reject."),
        ("HOLD-1", {"reason": "x"}, 422, "This is required."),
        ("HOLD-9", {"decision": "release", "reason": "x"}, 404, "There is no such page"),
        ("x", {"decision": "release", "reason": "x"}, 404, "There is no such page"),
    ],
)
def test_a_wrong_form_about_a_hold_is_shown_again(
    archive: Desk, number: str, fields: dict[str, str], status: int, said: str
) -> None:
    placed(archive.books.settings)
    release_hold(archive.books.settings, 1, "audit", "closed")
    finance = archive.sit_down("finance", [Scope.ARCHIVE_HOLDS])
    given = {"form_token": finance.form_token} | fields
    answer = finance.client.post(f"{QUEUE}/holds/{number}", data=given, headers=SAME_ORIGIN)
    assert answer.status_code == status
    check_html(Document(answer.text))
    assert said in Document(answer.text).text


def test_a_hold_whose_release_waits_no_longer_says_so(archive: Desk) -> None:
    placed(archive.books.settings)
    finance = archive.sit_down("finance", [Scope.ARCHIVE_HOLDS])
    given = {"form_token": finance.form_token, "decision": "reject", "reason": "x"}
    answer = finance.client.post(f"{QUEUE}/holds/1", data=given, headers=SAME_ORIGIN)
    assert answer.status_code == 409
    assert "no release is proposed that could be rejected" in Document(answer.text).text


def test_a_deletion_request_names_the_commands_and_who_has_approved(archive: Desk) -> None:
    settings = archive.books.settings
    request = request_deletion(settings, [settings.table("transactions")], "records", "past its policy")
    auditor = archive.sit_down("auditor", [Scope.ARCHIVE_READ])
    document = auditor.read(QUEUE)
    check_html(document)
    assert f"Request {request.request_id}: transactions {OLD}" in document.text
    assert "5 rows; 0 of 2 approvals" in document.text
    assert f"treasury delete approve {request.request_id} --reason …" in document.text
    assert [form.action for form in document.forms] == ["/dashboard/sign-out"]
    approve(settings, request.request_id, "auditor", "seen", account=f"key {auditor.key.split('_')[1]}")
    document = auditor.read(QUEUE)
    assert "You have approved it." in document.text
    assert "1 of 2 approvals, by auditor" in document.text
    approve(settings, request.request_id, "legal", "seen")
    assert "Nothing waits" in auditor.read(QUEUE).text


def test_a_key_sees_the_kinds_of_its_scopes_alone(archive: Desk) -> None:
    settings = archive.books.settings
    request_deletion(settings, [settings.table("transactions")], "records", "past its policy")
    placed(settings)
    release_hold(settings, 1, "audit", "closed")
    seen = {
        Scope.ARCHIVE_HOLDS: ("HOLD-1", "Request 1:"),
        Scope.ARCHIVE_READ: ("Request 1:", "HOLD-1"),
        Scope.RECONCILIATION_READ: ("Nothing waits", "HOLD-1"),
    }
    for scope, (there, absent) in seen.items():
        text = archive.sit_down("someone", [scope]).read(QUEUE).text
        assert there in text
        assert absent not in text
    assert archive.sit_down("app", [Scope.TRANSACTIONS_READ]).open(QUEUE).status_code == 403
    without = archive.sit_down("finance", [*FINANCE, Scope.ARCHIVE_READ])
    given = {"form_token": without.form_token, "decision": "release", "reason": "x"}
    assert without.client.post(f"{QUEUE}/holds/1", data=given, headers=SAME_ORIGIN).status_code == 403


def test_the_kinds_of_reconciliation_are_all_or_none(desk: Desk) -> None:
    decide(desk.sit_down("thandi"), desk.number_of("1000.01"), "theirs_is_right")
    (one,) = list_waiting(desk.books.settings, {WaitingKind.DECISION})
    assert one.is_for(Somebody("sipho", "key 1"))
    assert not one.is_for(Somebody("THANDI ", "key 1"))
    assert list_waiting(desk.books.settings, {WaitingKind.CLOSING, WaitingKind.RELEASE}) == []
    assert list_waiting(desk.books.settings, set()) == []


def test_a_queue_of_a_thousand_is_read_at_once(desk: Desk) -> None:
    with connect(desk.books.settings.database_dsn, "tests") as connection:
        connection.execute(
            "INSERT INTO recon_period_proposals (supplier, first_day, last_day, action, carry, actor, account, reason)"
            " SELECT 'flash', day, day, 'proposed', false, 'thandi', 'key 1', 'end' FROM (SELECT DATE '2020-01-01' + n"
            " FROM generate_series(1, 1000) AS n) AS days(day)"
        )
    document = desk.sit_down("sipho").read(QUEUE)
    check_html(document)
    assert "More than 50 things wait for a second person. These are the oldest" in document.text
    assert "flash, 2020-01-02 to 2020-01-02" in document.text
    assert len(document.html) < 100_000
