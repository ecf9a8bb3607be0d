"""What needs no person: every rule fires, at its limit and not beyond it, and never on what is escalated."""

import itertools
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from ledger.statements import ComparedStatus
from ledger.transactions import Status
from tasks.reconciliation.engine.auto_resolution import RULES
from tasks.reconciliation.vocabulary import OWN_STATUS
from tests.tasks.reconciliation.books import NOON
from tests.tasks.reconciliation.desk import line, own, reconciled

MIDNIGHT = NOON + timedelta(hours=12)  # the end of the day in Johannesburg
# name: our row, their line, and the rule that must resolve the break (None: a person must)
CASES: dict[str, tuple[dict[str, Any], dict[str, Any], str | None]] = {
    "midnight between them": (
        {"created_at": MIDNIGHT + timedelta(seconds=100)},
        {"occurred_at": MIDNIGHT - timedelta(seconds=200)},
        "near_in_time",
    ),
    "more than midnight between them": (
        {"created_at": MIDNIGHT + timedelta(seconds=101)},
        {"occurred_at": MIDNIGHT - timedelta(seconds=200)},
        None,
    ),
    "told a day late": (
        {"created_at": MIDNIGHT + timedelta(seconds=100)},
        {"occurred_at": MIDNIGHT + timedelta(seconds=100)},
        None,
    ),
    "ten cents": ({}, {"amount": Decimal("100.10")}, "rounding"),
    "eleven cents": ({}, {"amount": Decimal("100.11")}, None),
    "pending with us": ({"status": "pending"}, {}, None),
    "under way with us": ({"status": "processing"}, {}, None),
    "pending with them": ({}, {"status": "pending"}, None),
    "failed with us": ({"status": "failed"}, {}, None),
    "pending with us, too much": (
        {"status": "pending", "amount": Decimal("100.01")},
        {"amount": Decimal("100.01")},
        None,
    ),
    "a rand of commission": ({}, {"commission": Decimal("4.00")}, "small_commission"),
    "more than a rand": ({}, {"commission": Decimal("4.0001")}, None),
    "another product": ({}, {"product_code": "312"}, None),
    "two small issues": ({}, {"amount": Decimal("100.10"), "commission": Decimal("3.50")}, None),
}


def test_a_single_small_issue_is_resolved_by_its_rule_and_nothing_else_is(tmp_path: Path) -> None:
    rows = [own(number, **ours) for number, (ours, _, _) in enumerate(CASES.values(), start=1)]
    lines = [line(number, **theirs) for number, (_, theirs, _) in enumerate(CASES.values(), start=1)]
    with reconciled(tmp_path, rows, lines) as outcome:
        found = {name: outcome.rules[number] for number, name in enumerate(CASES, start=1)}
    assert found == {name: rule for name, (_, _, rule) in CASES.items()}


def test_every_rule_has_a_case_that_it_resolves() -> None:
    assert {rule for *_, rule in CASES.values()} - {None} == {rule.name for rule in RULES}


def test_a_time_within_the_limit_is_resolved_where_the_tolerance_is_smaller(tmp_path: Path) -> None:
    later = [line(1, occurred_at=NOON + timedelta(seconds=1 + 250))]
    with reconciled(tmp_path, [own(1)], later, time_tolerance_s=60) as outcome:
        assert (outcome.breaks, outcome.rules) == ([(1, 1, ("time",))], {1: "near_in_time"})


@pytest.mark.parametrize(("amount", "escalated"), [("200.00", False), ("200.01", True)])
def test_more_than_a_hundred_rand_is_escalated(tmp_path: Path, amount: str, escalated: bool) -> None:
    with reconciled(tmp_path, [own(1)], [line(1, amount=Decimal(amount))]) as outcome:
        assert outcome.ask("SELECT escalated FROM found") == [(escalated,)]


def test_three_issues_are_escalated(tmp_path: Path) -> None:
    three = line(1, amount=Decimal("100.05"), product_code="9", occurred_at=NOON + timedelta(seconds=400))
    with reconciled(tmp_path, [own(1)], [three]) as outcome:
        assert outcome.breaks == [(1, 1, ("amount", "product", "time"))]
        assert outcome.ask("SELECT escalated, rule FROM found") == [(True, None)]


def test_a_rule_that_would_resolve_an_escalated_break_does_not(tmp_path: Path) -> None:
    with reconciled(tmp_path, [own(1)], [line(1, amount=Decimal("100.10"))], escalate_above=Decimal("0.05")) as outcome:
        assert outcome.ask("SELECT escalated, rule FROM found") == [(True, None)]


def test_every_status_of_ours_is_compared_with_every_one_of_theirs(tmp_path: Path) -> None:
    cases = dict(enumerate(itertools.product(Status, ComparedStatus), start=1))
    rows = [own(number, status=status) for number, (status, _) in cases.items()]
    lines = [line(number, status=told) for number, (_, told) in cases.items()]
    expected = [(n, n, ("status",)) for n, (status, told) in cases.items() if OWN_STATUS[status] != told]
    with reconciled(tmp_path, rows, lines) as outcome:
        assert outcome.breaks == expected


def test_a_failed_send_that_the_supplier_charged_is_found(tmp_path: Path) -> None:
    with reconciled(tmp_path, [own(1, status="failed")], [line(1)]) as outcome:
        assert outcome.breaks == [(1, 1, ("status",))]
        assert outcome.ties[0].variance == Decimal("100.00")


def test_a_failed_send_that_the_supplier_does_not_know_moved_nothing(tmp_path: Path) -> None:
    with reconciled(tmp_path, [own(1, status="failed"), own(2, status="cancelled")], []) as outcome:
        assert outcome.breaks == []
        assert outcome.ties[0].item("own_nothing_expected").rows == 2


def test_a_failed_line_that_we_do_not_know_is_told(tmp_path: Path) -> None:
    with reconciled(tmp_path, [], [line(1, status="failed")]) as outcome:
        assert outcome.breaks == [(1, None, ("missing_here",))]
        assert outcome.ties[0].variance == 0


@pytest.mark.sampled(1)
@pytest.mark.parametrize(
    ("second", "issues"),
    [
        ({"supplier_transaction_id": "S1"}, "duplicate"),
        ({"reference": "ORD-1"}, "duplicate"),
        ({"reference": "ORD-1", "amount": Decimal("99.00")}, "missing_here"),
        ({}, "missing_here"),
    ],
)
def test_a_line_that_tells_a_matched_transaction_again_is_a_duplicate(
    tmp_path: Path, second: dict[str, Any], issues: str
) -> None:
    with reconciled(tmp_path, [own(1)], [line(1), line(2, **second)]) as outcome:
        assert outcome.breaks == [(2, None, (issues,))]
        assert outcome.ties[0].variance == second.get("amount", Decimal("100.00"))


def test_a_row_of_ours_that_is_there_twice_is_a_duplicate(tmp_path: Path) -> None:
    with reconciled(tmp_path, [own(1), own(2, supplier_transaction_id="S1")], [line(1)]) as outcome:
        assert outcome.breaks == [(None, 2, ("duplicate",))]
        assert outcome.ties[0].variance == Decimal("-100.00")


def test_a_reference_that_many_rows_share_makes_no_duplicates(tmp_path: Path) -> None:
    rows = [own(number, reference="airtime") for number in range(1, 7)]
    with reconciled(tmp_path, rows, [line(number, reference=None) for number in range(1, 6)]) as outcome:
        assert outcome.breaks == [(None, 6, ("missing_there",))]


def test_a_row_of_the_day_before_that_comes_with_this_statement_is_posted_late(tmp_path: Path) -> None:
    early = own(1, created_at=NOON - timedelta(hours=20))
    with reconciled(tmp_path, [early], [line(1)]) as outcome:
        assert outcome.breaks == [(1, 1, ("late_posting",))]
        tie = outcome.ties[0]
        assert (tie.own.value, tie.statement.value, tie.variance) == (Decimal(0), Decimal(100), Decimal(0))
        assert tie.item("own_of_other_days").value == 100


RATES = {"airtime": Decimal("0.03"), "data": Decimal("0.04"), "777": Decimal("0.05")}
# our row, their line, and whether the commission is right
COMMISSIONS: list[tuple[dict[str, Any], dict[str, Any], bool]] = [
    ({}, {}, True),
    ({}, {"commission": None}, True),
    ({"commission": Decimal("2.98")}, {"commission": None}, False),
    ({"commission": Decimal("2.99")}, {"commission": None}, True),
    ({"vas_type": "data", "commission": Decimal("4.00")}, {"vas_type": "data", "commission": None}, True),
    ({"supplier_product_id": "777", "commission": Decimal("5.00")}, {"product_code": "777", "commission": None}, True),
    ({"commission": Decimal("2.00")}, {"commission": Decimal("2.00")}, False),  # agreed, but not what was agreed on
    ({"status": "failed", "commission": Decimal("0.00")}, {"status": "failed"}, True),
]


def test_commission_is_recomputed_from_the_contract(tmp_path: Path) -> None:
    cases = dict(enumerate(COMMISSIONS, start=1))
    rows = [own(number, **ours) for number, (ours, _, _) in cases.items()]
    lines = [line(number, **theirs) for number, (_, theirs, _) in cases.items()]
    with reconciled(tmp_path, rows, lines, rates=RATES) as outcome:
        assert outcome.breaks == [(n, n, ("commission",)) for n, (_, _, right) in cases.items() if not right]


def test_our_own_commission_is_left_alone_where_the_settings_say_so(tmp_path: Path) -> None:
    rows = [own(1, commission=Decimal("0.00"))]
    with reconciled(tmp_path, rows, [line(1)], check_own_commission=False) as outcome:
        assert outcome.breaks == []
