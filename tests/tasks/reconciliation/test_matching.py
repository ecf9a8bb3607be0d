"""What belongs together, and what only looks so: the passes, on the engine alone."""

from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.tasks.reconciliation.books import NOON
from tests.tasks.reconciliation.desk import apart, line, own, reconciled


def test_the_supplier_s_id_comes_before_everything_else(tmp_path: Path) -> None:
    rows = [own(1, reference="A"), own(2, reference="B")]
    lines = [line(1, reference="B"), line(2, reference="A")]
    with reconciled(tmp_path, rows, lines) as outcome:
        assert outcome.pairs == {1: (1, "supplier_id"), 2: (2, "supplier_id")}
        assert outcome.breaks == []


def test_a_reference_matches_where_there_is_no_id(tmp_path: Path) -> None:
    rows = [
        own(1, supplier_transaction_id=None),
        own(2, supplier_transaction_id=None, reference=None, supplier_reference="ORD-2"),
    ]
    with reconciled(tmp_path, rows, [line(1), line(2)]) as outcome:
        assert outcome.pairs == {1: (1, "reference"), 2: (2, "supplier_reference")}


@pytest.mark.parametrize(
    ("passes", "method"),
    [
        (["supplier_transaction_id", "reference"], "supplier_id"),
        (["reference", "supplier_transaction_id"], "reference"),
        (["reference"], "reference"),
        (["scored"], None),
    ],
)
def test_the_configured_passes_are_the_ones_that_run(tmp_path: Path, passes: list[str], method: str | None) -> None:
    with reconciled(tmp_path, [own(1)], [line(1)], passes=passes) as outcome:
        assert outcome.pairs == ({1: (1, method)} if method else {})


def test_a_reference_used_again_after_a_failure_keeps_each_attempt_with_its_own(tmp_path: Path) -> None:
    nothing: dict[str, Any] = {"supplier_transaction_id": None, "reference": "ORD-X"}
    rows = [own(1, **nothing, status="failed"), own(2, **nothing)]
    with reconciled(tmp_path, rows, [line(2, reference="ORD-X")]) as outcome:
        assert outcome.pairs == {2: (2, "reference")}
        assert outcome.breaks == []  # the failed attempt is known to nobody else, and moved no money


def test_an_empty_id_is_no_id(tmp_path: Path) -> None:
    rows = [own(1, supplier_transaction_id="", reference="A"), own(2, supplier_transaction_id="", reference="B")]
    lines = [line(1, supplier_transaction_id="", reference="B"), line(2, supplier_transaction_id="", reference="A")]
    with reconciled(tmp_path, rows, lines) as outcome:
        assert outcome.pairs == {1: (2, "reference"), 2: (1, "reference")}


def test_two_currencies_are_never_one_transaction(tmp_path: Path) -> None:
    with reconciled(tmp_path, [own(1)], [line(1, currency="USD")]) as outcome:
        assert outcome.pairs == {}
        assert outcome.breaks == [(1, None, ("missing_here",)), (None, 1, ("missing_there",))]
        assert {tie.currency: tie.difference for tie in outcome.ties} == {"USD": Decimal(100), "ZAR": Decimal(-100)}


def test_a_row_that_a_client_gave_the_reference_of_another_purchase_takes_nothing_from_it(tmp_path: Path) -> None:
    sold = own(1, supplier_transaction_id=None, reference="the client's", supplier_reference="vend-1")
    posing = own(2, supplier_transaction_id=None, reference="vend-1", supplier_reference=None)
    with reconciled(tmp_path, [sold, posing], [line(1, reference="vend-1")]) as outcome:
        assert outcome.pairs == {1: (1, "supplier_reference")}


def unknown(number: int, **changes: Any) -> dict[str, Any]:
    """A row of ours that knows no id of the supplier's."""
    return own(number, supplier_transaction_id=None, **changes)


def bare(number: int, **changes: Any) -> dict[str, Any]:
    """A line without our reference."""
    return line(number, reference=None, **changes)


# what the line says otherwise, and what is wrong with the match; None: they do not match
SCORED: list[tuple[dict[str, Any], tuple[str, ...] | None]] = [
    ({}, ()),
    ({"occurred_at": NOON + timedelta(seconds=901)}, ("time",)),  # 900 s off: 0.40 + 0.15 + 0.30
    ({"occurred_at": NOON + timedelta(seconds=902)}, None),
    ({"amount": Decimal("100.37")}, ("amount",)),  # 0.37 off: 0.252 + 0.30 + 0.30
    ({"amount": Decimal("100.38")}, None),
    ({"product_code": "312"}, None),
    ({"product_code": None}, ()),  # not told: half of the weight, and nothing else may be off
    ({"product_code": None, "occurred_at": NOON + timedelta(seconds=61)}, None),
    ({"product_code": None, "vas_type": "data"}, None),
]


def test_without_identifiers_the_score_decides_at_its_threshold(tmp_path: Path) -> None:
    sides = [([unknown(1)], [bare(1, **changes)]) for changes, _ in SCORED]
    with reconciled(tmp_path, *apart(sides)) as outcome:
        for case, (changes, issues) in enumerate(SCORED, start=1):
            pair = outcome.pairs.get(case * 100 + 1)
            assert pair == (None if issues is None else (case * 100 + 1, "scored")), changes
            both_open = [(1, None, ("missing_here",)), (None, 1, ("missing_there",))]
            assert outcome.breaks_of(case) == (both_open if issues is None else [(1, 1, issues)] if issues else []), (
                changes
            )


def test_the_weights_and_the_threshold_are_the_settings_own(tmp_path: Path) -> None:
    lines = [bare(1, occurred_at=NOON + timedelta(seconds=902))]
    with reconciled(tmp_path, [unknown(1)], lines, threshold=0.84) as outcome:
        assert outcome.pairs == {1: (1, "scored")}


def test_identifiers_that_contradict_each_other_are_not_overruled_by_likeness(tmp_path: Path) -> None:
    """Two breaks that happen to be of one amount and one minute stay two breaks."""
    with reconciled(tmp_path, [own(1)], [line(2)]) as outcome:
        assert outcome.pairs == {}
        assert outcome.breaks == [(2, None, ("missing_here",)), (None, 1, ("missing_there",))]


def test_two_that_are_as_like_are_suggested_and_left_to_people(tmp_path: Path) -> None:
    rows = [unknown(1), unknown(2)]
    with reconciled(tmp_path, rows, [bare(1), bare(2)]) as outcome:
        assert outcome.pairs == {}
        assert outcome.suggestions == {(1, 1), (2, 2)}
        assert [issues for *_, issues in outcome.breaks] == [("missing_here",)] * 2 + [("missing_there",)] * 2
        notes = [note for (note,) in outcome.ask("SELECT note FROM found ORDER BY found_no")]
        assert notes[0].startswith("may be our row 00000000")
        assert notes[2] == "may be line 1"


def test_what_is_far_enough_apart_is_told_apart(tmp_path: Path) -> None:
    rows = [unknown(number, created_at=NOON + timedelta(seconds=400 * number)) for number in range(1, 6)]
    lines = [bare(number, occurred_at=NOON + timedelta(seconds=400 * number + 5)) for number in range(1, 6)]
    with reconciled(tmp_path, rows, lines) as outcome:
        assert outcome.pairs == {number: (number, "scored") for number in range(1, 6)}


def test_thousands_of_equal_amounts_in_one_minute_are_bounded_and_left_to_people(tmp_path: Path) -> None:
    count = 3_000
    same = {"created_at": NOON}, {"occurred_at": NOON}
    rows, lines = ([make(n, **same[side]) for n in range(1, count + 1)] for side, make in enumerate((unknown, bare)))
    with reconciled(tmp_path, rows, lines) as outcome:
        assert outcome.pairs == {}
        assert len(outcome.breaks) == 2 * count


def test_a_payout_line_covers_the_rows_that_carry_its_reference(tmp_path: Path) -> None:
    rows = [unknown(number, reference=None, supplier_reference="PAY-1") for number in (1, 2, 3)]
    payout = line(9, kind="payout", reference=None, amount=Decimal("300.00"), payout_reference="PAY-1")
    with reconciled(tmp_path, rows, [payout]) as outcome:
        assert outcome.ask("SELECT count(*), min(method) FROM pair") == [(3, "payout")]
        assert outcome.breaks == []
        assert (outcome.ties[0].statement.value, outcome.ties[0].own.value) == (Decimal(300), Decimal(300))


def test_a_payout_that_is_not_the_sum_of_its_rows_is_one_amount_break(tmp_path: Path) -> None:
    rows = [unknown(number, reference=None, supplier_reference="PAY-1") for number in (1, 2, 3)]
    payout = line(9, kind="payout", reference=None, amount=Decimal("299.00"), payout_reference="PAY-1")
    with reconciled(tmp_path, rows, [payout]) as outcome:
        assert outcome.breaks == [(9, None, ("amount",))]
        assert outcome.ties[0].variance == Decimal("-1.00")


@pytest.mark.parametrize(("amount", "breaks"), [("200.00", 0), ("194.00", 0), ("193.00", 1)])
def test_a_payout_over_entries_of_its_statement_is_not_counted_twice(tmp_path: Path, amount: str, breaks: int) -> None:
    """Gross, or net of the commission of 3.00 each."""
    lines = [line(number, payout_reference="PAY-1", net=Decimal("97.00")) for number in (1, 2)]
    lines.append(line(3, kind="payout", reference=None, amount=Decimal(amount), payout_reference="PAY-1"))
    with reconciled(tmp_path, [own(1), own(2)], lines) as outcome:
        assert len(outcome.breaks) == breaks
        assert outcome.ties[0].difference == 0


def test_a_payout_without_a_reference_that_is_all_that_is_left_of_a_day_is_suggested(tmp_path: Path) -> None:
    payout = line(9, kind="payout", reference=None, supplier_transaction_id=None, amount=Decimal("300.00"))
    with reconciled(tmp_path, [own(1), own(2), own(3)], [payout]) as outcome:
        assert outcome.suggestions == {(9, 1), (9, 2), (9, 3)}
        assert outcome.pairs == {}


def test_a_reversal_of_its_own_line_belongs_to_the_row_that_was_reversed(tmp_path: Path) -> None:
    lines = [
        line(1),
        line(2, kind="reversal", supplier_transaction_id="R1", reference="ORD-1", amount=Decimal("-100.00")),
    ]
    with reconciled(tmp_path, [own(1, status="reversed")], lines) as outcome:
        assert outcome.breaks == []
        assert outcome.ties[0].statement.value == 0
    with reconciled(tmp_path, [own(1)], lines) as outcome:
        assert outcome.breaks == [(1, 1, ("status",))]
        assert outcome.ties[0].variance == Decimal(-100)


def test_a_refund_is_matched_with_our_refund_and_not_with_the_purchase(tmp_path: Path) -> None:
    nothing = {"supplier_transaction_id": None, "reference": "ORD-1"}
    rows = [own(1, **nothing), own(2, **nothing, type="refund")]
    lines = [line(1), line(2, kind="refund", reference="ORD-1", amount=Decimal("100.00"))]
    with reconciled(tmp_path, rows, lines) as outcome:
        assert outcome.pairs == {1: (1, "reference"), 2: (2, "reference")}
        assert outcome.ties[0].own.value == outcome.ties[0].statement.value == 0
