"""The page of a break: both sides, the forms, and the rules of two people."""

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from api.dashboard import reconciliation_words as words
from api.dashboard.reconciliation_break import sides
from config import Settings
from ledger.scopes import Scope
from ledger.statements import BreakClass
from tasks.reconciliation.casework import lists
from tasks.reconciliation.casework.breaks import resolve
from tasks.reconciliation.vocabulary import Action, BreakState, Decision, Verdict
from tests.api.dashboard.desk import FINANCE, Desk, break_page, opened_books, served, with_breaks
from tests.api.dashboard.person import SAME_ORIGIN, Document, Person
from tests.api.dashboard.test_pages import check_html
from tests.tasks.reconciliation.books import DAY

ALL_ROWS = (*FINANCE, Scope.READ_ALL)
HOSTILE = "<script>alert(1)</script>\u202e\"'&"


@pytest.fixture
def desk(settings: Settings, tmp_path: Path) -> Iterator[Desk]:
    with served(with_breaks(opened_books(settings, tmp_path))) as desk:
        yield desk


def decide(person: Person, number: int, decision: str, reason: str = "seen") -> Document:
    """Send the form of a break's page, and read the page that it leads to."""
    page = break_page(number)
    answer = person.send(page, page, decision=decision, reason=reason)
    assert answer.status_code == 303, answer.text
    return person.read(answer.headers["location"])


def refused(person: Person, number: int, status: int, **fields: str) -> Document:
    """Send the form, which must be refused, and read the page with the reason."""
    page = break_page(number)
    given = {"form_token": person.form_token} | fields
    answer = person.client.post(page, data=given, headers=SAME_ORIGIN)
    assert answer.status_code == status
    document = Document(answer.text)
    check_html(document)
    return document


def test_both_sides_are_next_to_each_other_and_what_differs_is_marked(desk: Desk) -> None:
    number = desk.number_of("29.00")
    document = desk.sit_down("thandi").read(break_page(number))
    check_html(document)
    assert "Other amount: 29.00 ZAR" in document.text
    assert "amount 100.00 ZAR 129.00 ZAR differs" in document.text
    assert "status completed completed same" in document.text
    assert "Internal row Statement line" in document.text
    assert "2026-02-03 12:00" in document.text  # noon in Johannesburg
    assert "Nobody has decided anything yet." in document.text


@pytest.mark.parametrize(
    ("money", "said"),
    [("250.00", "The ledger has no row for this line."), ("60.00", "The statement has no line for this row.")],
)
def test_a_side_that_is_missing_is_said(desk: Desk, money: str, said: str) -> None:
    assert said in desk.sit_down("thandi").read(break_page(desk.number_of(money))).text


def test_a_small_break_is_resolved_by_one_person(desk: Desk) -> None:
    number = desk.number_of("250.00")
    document = decide(desk.sit_down("thandi"), number, "write_off", "agreed with the supplier")
    assert "The break is resolved." in document.text
    assert "write the difference off" in document.text
    assert "agreed with the supplier" in document.text
    assert desk.state_of(number) == "resolved"
    assert desk.books.records()[-1] == ("resolved", "write_off")


def test_a_large_break_takes_two_clients(desk: Desk) -> None:
    number = desk.number_of("1000.01")
    thandi, sipho = desk.sit_down("thandi"), desk.sit_down("sipho")
    proposed = decide(thandi, number, "theirs_is_right", "vended by hand")
    assert "The decision is proposed." in proposed.text
    assert "Waits for somebody else" in proposed.text
    assert "Confirm" not in [button.get("value") for button in proposed.all("button")]
    assert desk.state_of(number) == "proposed"

    again = refused(thandi, number, 409, decision="theirs_is_right", reason="me again")
    assert "thandi has proposed it under key " in again.text
    assert "somebody else must confirm" in again.text
    other_key = refused(desk.sit_down("thandi"), number, 409, decision="theirs_is_right", reason="another key")
    assert "somebody else must confirm" in other_key.text

    page = sipho.read(break_page(number))
    assert "Confirm, as the second person" in page.text
    assert "vended by hand" in page.text
    assert {"theirs_is_right", "reject"} <= {button.get("value") for button in page.all("button")}
    assert "The break is resolved." in decide(sipho, number, "theirs_is_right", "checked").text
    assert desk.state_of(number) == "resolved"


def test_a_proposal_is_rejected_by_the_second_person_and_taken_back_by_the_first(desk: Desk) -> None:
    number = desk.number_of("1000.01")
    thandi, sipho = desk.sit_down("thandi"), desk.sit_down("sipho")
    for person in (sipho, thandi):
        decide(thandi, number, "write_off")
        assert "The proposal is rejected. The break is open." in decide(person, number, "reject", "no").text
        assert desk.state_of(number) == "open"


def test_another_decision_than_the_proposed_one_is_refused_in_plain_words(desk: Desk) -> None:
    number = desk.number_of("1000.01")
    decide(desk.sit_down("thandi"), number, "write_off")
    document = refused(desk.sit_down("sipho"), number, 409, decision="theirs_is_right", reason="no")
    assert "“Write the difference off” is proposed; confirm that, or reject it first" in document.text
    assert "write_off" not in document.text


def test_a_decision_is_taken_back_by_two(desk: Desk) -> None:
    number = desk.number_of("250.00")
    thandi, sipho = desk.sit_down("thandi"), desk.sit_down("sipho")
    decide(thandi, number, "write_off")
    assert "Taking the decision back is proposed." in decide(thandi, number, "withdraw", "meant another").text
    assert "somebody else must confirm" in refused(thandi, number, 409, decision="withdraw", reason="x").text
    assert "Taking the decision back is rejected." in decide(sipho, number, "reject", "it was right").text
    assert desk.state_of(number) == "resolved"
    decide(thandi, number, "withdraw", "meant another")
    document = sipho.read(break_page(number))
    assert "to take back the decision “write the difference off”" in document.text
    assert "The decision is taken back. The break is open." in decide(sipho, number, "withdraw", "yes").text
    assert desk.state_of(number) == "open"


def test_an_unfinished_row_is_ended_by_two(desk: Desk) -> None:
    books = desk.books
    row = books.own(status="processing", supplier_transaction_id=None, amount=Decimal("2000.00"))
    books.sql("UPDATE vas_transactions_partitioned SET supplier_reference = id::text WHERE id = %s", row["id"])
    books.run()
    number = desk.number_of("2000.00")
    assert "proposed" in decide(desk.sit_down("thandi"), number, "settle_failed", "asked the supplier").text
    document = decide(desk.sit_down("sipho"), number, "settle_failed", "asked as well")
    assert "its internal row has ended" in document.text
    (ended,) = books.sql("SELECT status FROM vas_transactions WHERE id = %s", row["id"])
    assert ended["status"] == "failed"


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"reason": "agreed"}, "This is required."),
        ({"decision": "write_off"}, "This is required."),
        ({"decision": "write_off", "reason": "  "}, "This must be 1 to 1000 printable characters."),
        ({"decision": "write_off", "reason": "x" * 1001}, "This must be 1 to 1000 printable characters."),
        ({"decision": "forget", "reason": "agreed"}, "This must be one of"),
        ({"decision": "write_off", "reason": "card 4111 1111 1111 1111"}, "This must"),
    ],
)
def test_a_wrong_field_is_named_beside_it_and_what_was_entered_stays(
    desk: Desk, fields: dict[str, str], said: str
) -> None:
    number = desk.number_of("250.00")
    document = refused(desk.sit_down("thandi"), number, 422, **fields)
    assert said in document.text
    assert desk.books.records() == []
    if "reason" in fields:
        assert fields["reason"] in [field.get("value") for field in document.all("input")]
    checked = [field["value"] for field in document.all("input") if "checked" in field]
    assert checked == [one for one in [fields.get("decision")] if one in words.DECISIONS]


def test_without_the_scope_to_decide_there_is_no_form_and_no_way(desk: Desk) -> None:
    number = desk.number_of("250.00")
    auditor = desk.sit_down("auditor", [Scope.RECONCILIATION_READ])
    document = auditor.read(break_page(number))
    assert "lacks the scope reconciliation:resolve" in document.text
    assert not [form for form in document.forms if "/breaks/" in form.action]
    given = {"form_token": auditor.form_token, "decision": "write_off", "reason": "no"}
    assert auditor.client.post(break_page(number), data=given, headers=SAME_ORIGIN).status_code == 403


def test_a_key_that_may_only_decide_sees_nothing_of_a_break(desk: Desk) -> None:
    number = desk.number_of("250.00")
    someone = desk.sit_down("thandi", [Scope.RECONCILIATION_RESOLVE])
    assert someone.open(break_page(number)).status_code == 403
    given = {"form_token": someone.form_token, "decision": "reject", "reason": "no"}
    answer = someone.client.post(break_page(number), data=given, headers=SAME_ORIGIN)
    assert answer.status_code == 409
    assert "250.00" not in Document(answer.text).text


@pytest.mark.parametrize(("number", "status"), [("999", 404), ("0", 422), ("x", 422), ("1%00", 422)])
def test_a_break_that_is_not_there_is_a_page_that_says_so(desk: Desk, number: str, status: int) -> None:
    person = desk.sit_down("thandi")
    assert person.open(f"/dashboard/reconciliation/breaks/{number}").status_code == status
    given = {"form_token": person.form_token, "decision": "write_off", "reason": "no"}
    address = f"/dashboard/reconciliation/breaks/{number}"
    assert person.client.post(address, data=given, headers=SAME_ORIGIN).status_code == status


def test_hostile_and_private_values_are_text_and_masked(settings: Settings, tmp_path: Path) -> None:
    books = opened_books(settings, tmp_path)
    books.line(reference=HOSTILE, product_name="0821234567", supplier_transaction_id="a&b")
    books.run()
    with served(books) as desk:
        number = books.the_break()["break_id"]
        person = desk.sit_down("thandi", ALL_ROWS)
        document = decide(person, number, "write_off", f"told by 0821234567 {'<b>bold</b>'}")
        check_html(document)
        assert "<script>alert(1)</script>" in document.text
        assert "a&b" in document.text
        assert "<b>bold</b>" in document.text
        assert "0821234567" not in document.text


def test_a_break_of_a_changed_closed_day_shows_then_and_now(desk: Desk) -> None:
    (record,) = lists.list_breaks(desk.books.settings, limit=1)
    own = {"rows_then": 3, "rows_now": 4, "value_then": "10.00", "value_now": "12.50", "digest_then": "ab"}
    changed = sides(replace(record, own=own, line=None))
    assert (changed.left, changed.right) == ("When it was closed", "Now")
    assert [(one.own, one.line, one.differs) for one in changed.fields] == [
        ("3", "4", True),
        ("10.00\u202fZAR", "12.50\u202fZAR", True),
    ]


def test_values_that_no_run_has_written_are_text(desk: Desk) -> None:
    (record,) = lists.list_breaks(desk.books.settings, limit=1)
    odd = {"amount": "many", "at_ms": 10**30, "status": ["x"], "commission": "NaN"}
    shown = sides(replace(record, own=odd, line={"amount": "1.00"}))
    assert next(one.own for one in shown.fields) == "many"


def offered(document: Document) -> set[str | None]:
    """The decisions that the form of a break offers."""
    return {field["value"] for field in document.all("input") if field.get("name") == "decision"}


def test_only_decisions_that_fit_are_offered(desk: Desk) -> None:
    always = {"theirs_is_right", "ours_is_right", "write_off"}
    person = desk.sit_down("thandi")
    for money in ("250.00", "60.00", "29.00"):
        assert offered(person.read(break_page(desk.number_of(money)))) == always
    row = desk.books.own(status="processing", supplier_transaction_id=None, amount=Decimal("2000.00"))
    reference = "UPDATE vas_transactions_partitioned SET supplier_reference = id::text WHERE id = %s"
    desk.books.sql(reference, row["id"])
    desk.books.run()
    ends = {"settle_completed", "settle_failed"}
    assert offered(person.read(break_page(desk.number_of("2000.00")))) == always | ends


def test_both_halves_of_a_suggested_match_are_links_and_next_to_each_other(settings: Settings, tmp_path: Path) -> None:
    books = opened_books(settings, tmp_path)
    row = books.own(supplier_transaction_id=None, reference=None, amount=Decimal("70.00"))
    books.own(supplier_transaction_id=None, reference=None, amount=Decimal("70.00"))
    books.line(supplier_transaction_id=None, reference=None, amount=Decimal("70.00"), occurred_at=row["created_at"])
    books.run()
    breaks = {one["class"]: one for one in books.sql("SELECT break_id, class FROM recon_breaks ORDER BY break_id DESC")}
    line, own = (breaks[name]["break_id"] for name in ("missing_here", "missing_there"))
    with served(books) as desk:
        reader = desk.sit_down("thandi", (*ALL_ROWS, Scope.VAS_READ))
        document = reader.read(break_page(line))
        check_html(document)
        assert break_page(own) in document.links
        assert f"/dashboard/find/vas_transactions/{row['id']}" in document.links
        assert f"May be the same transaction as break {own}" in document.text
        assert "amount 70.00 ZAR 70.00 ZAR same" in document.text
        assert "same_transaction" in offered(document)
        finance = desk.sit_down("thandi").read(break_page(own))
        check_html(finance)
        assert break_page(line) in finance.links
        assert not [link for link in finance.links if "/find/" in link]


def test_the_other_match_of_what_is_matched_twice_is_shown(desk: Desk) -> None:
    row = desk.books.both(amount=Decimal("41.00"))
    desk.books.line(row)
    desk.books.run()
    document = desk.sit_down("thandi", (*ALL_ROWS, Scope.VAS_READ)).read(break_page(desk.number_of("41.00")))
    check_html(document)
    assert "The other match of this transaction" in document.text
    assert f"Internal row {row['id']} , completed: it has the identifiers of this break" in document.text
    assert f"/dashboard/find/vas_transactions/{row['id']}" in document.links


def test_times_that_differ_below_a_second_are_shown_with_it(desk: Desk) -> None:
    (record,) = lists.list_breaks(desk.books.settings, limit=1)
    shown = sides(replace(record, own={"at_ms": 1_770_000_000_001}, line={"at_ms": 1_770_000_000_120})).fields
    assert [(one.own[-4:], one.line[-4:]) for one in shown] == [(".001", ".120")]


def test_a_proposal_says_why_two_are_needed_and_who_may_confirm(desk: Desk) -> None:
    number = desk.number_of("1000.01")
    thandi, sipho = desk.sit_down("thandi"), desk.sit_down("sipho")
    decide(thandi, number, "theirs_is_right")
    for person in (thandi, sipho):
        text = person.read(break_page(number)).text
        assert "because 1 000.01 ZAR is decided about, and one may decide about 1 000.00 ZAR." in text
        assert "A key of another client than thandi, with the scope reconciliation:resolve, may confirm it." in text
        assert "“thandi” is the name that the proposal was made in." in text
    small = desk.number_of("250.00")
    books = desk.books
    strict = books.settings.model_copy(
        update={"reconciliation": books.settings.reconciliation.model_copy(update={"four_eyes_above": Decimal(1)})}
    )
    resolve(strict, small, "anna", Decision.WRITE_OFF, "seen", account="root")
    text = sipho.read(break_page(small)).text
    assert "the limit for one person was below 250.00 ZAR when it was proposed. Now it is 1 000.00 ZAR" in text
    assert "“root” is the account behind it" in text
    decide(thandi, desk.number_of("60.00"), "write_off")
    decide(thandi, desk.number_of("60.00"), "withdraw")
    text = sipho.read(break_page(desk.number_of("60.00"))).text
    assert "Taking a decision back always needs two people" in text
    assert "Two people are needed" not in sipho.read(break_page(desk.number_of("29.00"))).text


def test_every_word_of_reconciliation_is_written_for_people() -> None:
    assert set(words.CLASSES) == set(BreakClass)
    assert set(words.STATES) == set(words.STATE_SIGNS) == set(BreakState)
    assert set(words.VERDICTS) == set(Verdict)
    assert set(words.ACTIONS) == set(Action)
    assert all("_" not in words.of_decision(one) for one in Decision)
    assert {*words.DECISIONS, Decision.WITHDRAW, Decision.REJECT} == set(Decision)


@pytest.mark.parametrize("client", ["acme", "globex"])
def test_references_are_compared_and_shown_to_keys_with_read_all_only(desk: Desk, client: str) -> None:
    """A break does not record its client, so a key of the row's own client gets the same page."""
    number = desk.number_of("29.00")
    reference = api_break(desk.sit_down(client, ALL_ROWS), number)["own"]["reference"]
    without = desk.sit_down(client, FINANCE)
    document = without.read(break_page(number))
    check_html(document)
    assert reference not in document.text
    assert "reference not shown not shown same" in document.text
    assert "lacks the scope read:all" in document.text
    assert "amount 100.00 ZAR 129.00 ZAR differs" in document.text
    answer = api_break(without, number)
    assert answer["left_out"] == ["line.reference", "own.reference"]
    assert not {"reference", "supplier_reference"} & (set(answer["own"]) | set(answer["line"]))
    for value in (answer["supplier"], answer["own"]["id"], str(DAY)):
        assert value in document.text

    with_all = desk.sit_down(client, ALL_ROWS)
    shown = with_all.read(break_page(number)).text
    assert f"reference {reference} {reference} same" in shown
    assert "read:all" not in shown
    assert api_break(with_all, number)["left_out"] == []


def api_break(person: Person, number: int) -> dict[str, Any]:
    """The break as the API gives it to a key: read by its number, and the same from the list."""
    headers = {"Authorization": f"Bearer {person.key}"}
    one = person.client.get(f"/api/v1/reconciliation/breaks/{number}", headers=headers).json()
    listed = person.client.get("/api/v1/reconciliation/breaks?state=all", headers=headers).json()["items"]
    assert [break_ for break_ in listed if break_["break_id"] == number] == [one]
    return dict(one)
