"""What is wrong is called by its name: every class, at its limit and just beyond it."""

from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.tasks.reconciliation.books import NOON, Books
from tests.tasks.reconciliation.desk import apart, line, own, reconciled


def test_two_sides_that_agree_have_no_break(books: Books) -> None:
    for number in range(5):
        books.both(amount=Decimal(10 + number))
    result = books.run()
    assert books.breaks() == []
    assert (result.summary.verdict, result.summary.figures["matched_share"]) == ("passed", "1.000000")
    assert result.summary.figures["currencies"]["ZAR"]["statement"] == {"rows": 5, "value": "60.00"}


def test_a_line_that_we_do_not_have_is_missing_here(books: Books) -> None:
    books.both()
    books.line(amount=Decimal("40.00"))
    books.run()
    found = books.the_break()
    assert (found["class"], found["variance"], found["difference"]) == (
        "missing_here",
        Decimal("40.00"),
        Decimal("40.0000"),
    )
    assert (found["line"]["amount"], found["own"], found["state"]) == ("40.00", None, "open")


def test_a_row_that_they_do_not_have_is_missing_there(books: Books) -> None:
    books.both()
    lost = books.own(amount=Decimal("40.00"))
    books.run()
    found = books.the_break()
    assert (found["class"], found["variance"]) == ("missing_there", Decimal("-40.00"))
    assert found["own"]["id"] == str(lost["id"])


CHANGES: list[tuple[dict[str, Any], tuple[str, ...]]] = [
    ({}, ()),
    ({"amount": Decimal("100.01")}, ("amount",)),
    ({"amount": Decimal("99.99")}, ("amount",)),
    ({"occurred_at": NOON + timedelta(seconds=300)}, ()),
    ({"occurred_at": NOON + timedelta(seconds=300, milliseconds=1)}, ("time",)),
    ({"occurred_at": NOON - timedelta(seconds=301)}, ("time",)),
    ({"commission": Decimal("3.01")}, ()),
    ({"commission": Decimal("3.0101")}, ("commission",)),
    ({"commission": None}, ()),
    ({"product_code": "312"}, ("product",)),
    ({"product_code": None}, ()),
    ({"vas_type": "electricity"}, ("product",)),
    ({"vas_type": "Something of theirs"}, ()),
    ({"status": "failed"}, ("status",)),
    ({"status": "reversed"}, ("status",)),
    ({"status": "pending"}, ("status",)),
    ({"amount": Decimal("99.00"), "product_code": "312"}, ("amount", "product")),
    ({"amount": Decimal("1.00"), "status": "failed", "product_code": "9"}, ("amount", "status", "product")),
]


def test_a_difference_is_a_break_just_beyond_its_tolerance(books: Books) -> None:
    expected: dict[int, tuple[str, ...]] = {}
    for number, (change, issues) in enumerate(CHANGES, start=1):
        books.line(books.own(created_at=NOON), **change)
        expected |= {number: issues} if issues else {}
    result = books.run()
    assert {row["line_no"]: tuple(row["issues"]) for row in books.sql("SELECT * FROM recon_breaks")} == expected
    assert result.summary.figures["matched_share"] == "1.000000"


def test_another_commission_because_of_another_amount_is_no_second_issue(tmp_path: Path) -> None:
    amount, wrong = ("amount",), ("amount", "commission")
    cases: list[tuple[dict[str, Any], dict[str, Any], tuple[str, ...]]] = [
        ({"commission": Decimal("3.00")}, {"commission": Decimal("2.70")}, amount),  # 3 % of ours, 3 % of theirs
        ({"commission": Decimal("3.00")}, {"commission": None}, amount),
        ({"commission": Decimal("2.70")}, {"commission": Decimal("2.70")}, amount),  # booked as they told it
        ({"commission": Decimal("3.50")}, {"commission": Decimal("2.70")}, wrong),  # not ours of any amount
        ({"commission": Decimal("3.00")}, {"commission": Decimal("3.00")}, wrong),  # not the contract's of their amount
    ]
    sides = [([own(1, **ours)], [line(1, amount=Decimal("90.00"), **theirs)]) for ours, theirs, _ in cases]
    with reconciled(tmp_path / "desk", *apart(sides), rates={"airtime": Decimal("0.03")}) as outcome:
        for number, (_, _, issues) in enumerate(cases, start=1):
            assert [found[2] for found in outcome.breaks_of(number)] == [issues], number


@pytest.mark.sampled(1)
@pytest.mark.parametrize(
    ("rule", "value", "gone"),
    [
        ("time_tolerance_s", 301, "time"),
        ("amount_tolerance", Decimal("0.01"), "amount"),
        ("commission_tolerance", Decimal("0.02"), "commission"),
    ],
)
def test_a_tolerance_is_what_the_settings_say(books: Books, rule: str, value: Any, gone: str) -> None:
    books.rules(**{rule: value})
    books.line(books.own(created_at=NOON), amount=Decimal("100.01"))
    books.line(books.own(created_at=NOON), occurred_at=NOON + timedelta(seconds=301))
    books.line(books.own(created_at=NOON), commission=Decimal("3.02"))
    result = books.run()
    assert {issue for issues in books.breaks() for issue in issues} == {"time", "amount", "commission"} - {gone}
    tolerated = result.summary.figures["currencies"]["ZAR"]["items"].get("tolerated")
    assert tolerated == ({"rows": 1, "value": "0.01"} if gone == "amount" else None)
