"""What belongs together though it is not one line and one row: reversals, parts of one amount, payouts."""

import re
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.tasks.reconciliation.books import NOON
from tests.tasks.reconciliation.desk import Outcome, apart, line, own, reconciled

HUNDRED = Decimal("100.00")
Row = dict[str, Any]
Issues = list[tuple[int | None, int | None, tuple[str, ...]]]


@dataclass(frozen=True)
class Case:
    """Two sides, the breaks that must be found, and what the statement has more than us."""

    ours: list[Row]
    theirs: list[Row]
    breaks: Issues
    difference: Decimal = Decimal(0)


def back(number: int, **changes: Any) -> Row:
    """A reversal line, under an id of its own, of purchase 1."""
    return line(number, **{"kind": "reversal", "reference": "ORD-1", "amount": -HUNDRED} | changes)


def refund(number: int, **changes: Any) -> Row:
    """Our refund of purchase 1."""
    return own(number, **{"type": "refund", "reference": "ORD-1", "commission": Decimal("3.00")} | changes)


REVERSED: Row = {"status": "reversed"}
FAILED: Row = {"status": "failed"}
STATUS: Issues = [(1, 1, ("status",))]
REVERSALS = {
    "by a line of its own": Case([own(1, **REVERSED)], [line(1), back(2)], []),
    "and we do not know": Case([own(1)], [line(1), back(2)], STATUS, -HUNDRED),
    "and we refunded": Case([own(1), refund(2)], [line(1), back(2)], []),
    "told by status and by line": Case([own(1, **REVERSED)], [line(1, **REVERSED), back(2)], []),
    "told twice, and we do not know": Case([own(1)], [line(1, **REVERSED), back(2)], STATUS, -HUNDRED),
    "told twice, and we refunded": Case([own(1), refund(2)], [line(1, **REVERSED), back(2)], []),
    "failed, and we hold it for reversed": Case([own(1, **REVERSED)], [line(1), back(2, **FAILED)], STATUS, HUNDRED),
    "failed, and we know nothing of it": Case([own(1)], [line(1), back(2, **FAILED)], []),
    "failed, then done": Case([own(1, **REVERSED)], [line(1), back(2, **FAILED), back(3)], []),
    "done twice": Case([own(1, **REVERSED)], [line(1), back(2), back(3)], [(3, None, ("duplicate",))], -HUNDRED),
    "by status, and we refunded": Case([own(1), refund(2)], [line(1, **REVERSED)], []),
    "by status, and our refund failed": Case([own(1), refund(2, **FAILED)], [line(1, **REVERSED)], STATUS, -HUNDRED),
    "by status, and our refund is another's": Case(
        [own(1), refund(2, reference="ORD-9")], [line(1, **REVERSED)], [*STATUS, (None, 2, ("missing_there",))]
    ),
    "by status, and our refund is of less": Case(
        [own(1), refund(2, amount=Decimal(60))],
        [line(1, **REVERSED)],
        [*STATUS, (None, 2, ("missing_there",))],
        Decimal(-40),
    ),
    "by status, with the id of the purchase": Case(
        [own(1, reference=None), refund(2, reference=None, supplier_transaction_id="S1")], [line(1, **REVERSED)], []
    ),
    "one of two under one reference": Case(
        [own(1, **REVERSED), own(2, reference="ORD-1")],
        [line(1, **REVERSED), line(2, reference="ORD-1"), back(3)],
        [],
    ),
    "refunded here only": Case([own(1), refund(2)], [line(1)], [(None, 2, ("missing_there",))], HUNDRED),
    "refunded here only, with the purchase's id": Case(
        [own(1), refund(2, supplier_transaction_id="S1")], [line(1)], [(None, 2, ("missing_there",))], HUNDRED
    ),
}


def check(folder: Path, cases: dict[str, Case], **changes: Any) -> None:
    """Every case in one run: its breaks, its difference, and that no money goes by without a break."""
    with reconciled(folder, *apart([(case.ours, case.theirs) for case in cases.values()]), **changes) as outcome:
        for number, (name, case) in enumerate(cases.items(), start=1):
            assert outcome.breaks_of(number) == case.breaks, name
            tie = outcome.tie_of(number)
            assert (tie.difference, tie.variance) == (case.difference, case.difference), name


def test_a_reversal_is_one_event_however_it_is_told(tmp_path: Path) -> None:
    check(tmp_path, REVERSALS)


def earlier(number: int, **changes: Any) -> Row:
    """A row of the day before, that its own statement matched."""
    return own(number, created_at=NOON - timedelta(hours=20), **changes)


def test_a_reversal_on_a_later_day_is_told_with_the_purchase_that_it_takes_back(tmp_path: Path) -> None:
    sides = [
        ([earlier(1, **REVERSED)], [back(2)]),
        ([earlier(1, **REVERSED)], [back(2, supplier_transaction_id="S1", reference=None)]),
        ([earlier(1)], [back(2, supplier_transaction_id="S1")]),
        ([earlier(1), refund(2)], [back(2)]),
    ]
    with reconciled(tmp_path, *apart(sides), taken=[101, 201, 301, 401]) as outcome:
        assert outcome.breaks_of(1) == outcome.breaks_of(2) == [(2, 1, ("late_posting",))]
        assert outcome.breaks_of(3) == [(2, None, ("missing_here",))]  # and no duplicate, though the id is known
        assert outcome.breaks_of(4) == []
        assert [outcome.tie_of(case).variance for case in (1, 2, 3, 4)] == [-HUNDRED, -HUNDRED, -HUNDRED, 0]
        assert set(outcome.rules.values()) == {None}
        ((note,),) = outcome.ask("SELECT note FROM found WHERE own_id IS NULL")
        assert re.fullmatch("takes back our row 00000000.* of 2026-02-02", note)
        kept = outcome.ask(f"SELECT count(*) FROM ({outcome.matched}) WHERE method = 'late_reversal'")
        assert kept == [(0,)]  # the row stays its own day's


def part(number: int, amount: int, **changes: Any) -> Row:
    """A line under the reference of row 1."""
    return line(number, **{"reference": "ORD-1", "amount": Decimal(amount), "commission": None} | changes)


def piece(number: int, amount: int, **changes: Any) -> Row:
    """A row of ours under the reference of line 1."""
    return own(number, **{"reference": "ORD-1", "amount": Decimal(amount), "supplier_transaction_id": None} | changes)


SPLITS = {
    "two lines for a row": Case([own(1)], [part(1, 60), part(2, 40)], []),
    "three lines, none with its id": Case([own(1)], [part(2, 50), part(3, 30), part(4, 20)], []),
    "known by our reference to them": Case(
        [own(1, reference=None, supplier_reference="ORD-1")], [part(1, 60), part(2, 40)], []
    ),
    "two rows for a line": Case([piece(1, 60), piece(2, 40)], [line(1, commission=None)], []),
    "not the sum": Case(
        [own(1)], [part(1, 60), part(2, 41)], [(1, 1, ("amount",)), (2, None, ("missing_here",))], Decimal(1)
    ),
    "one of them failed": Case(
        [own(1)],
        [part(1, 60), part(2, 40, **FAILED)],
        [(1, 1, ("amount",)), (2, None, ("missing_here",))],
        Decimal(-40),
    ),
    "two rows under the reference": Case(
        [own(1), own(2, reference="ORD-1", supplier_transaction_id=None)],
        [part(1, 60), part(2, 40)],
        [(1, 1, ("amount",)), (2, 2, ("amount",))],
        -HUNDRED,
    ),
    "a part that is another row's": Case(
        [own(1), own(2, amount=Decimal(40))],
        [part(1, 60), part(2, 40)],
        [(1, 1, ("amount",))],
        Decimal(-40),
    ),
    "refunds in parts": Case(
        [refund(1, commission=Decimal(0))], [part(2, 60, kind="refund"), part(3, 40, kind="refund")], []
    ),
}


def test_parts_under_one_reference_are_the_whole_when_they_add_up_to_it(tmp_path: Path) -> None:
    check(tmp_path, SPLITS, check_own_commission=False)


def test_parts_are_compared_as_a_whole_and_kept_as_matches(tmp_path: Path) -> None:
    """Commission too: 2.00 and 1.00 are the 3.00 that we booked."""
    lines = [part(1, 60, commission=Decimal("2.00")), part(2, 40, commission=Decimal("1.00"))]
    with reconciled(tmp_path, [own(1)], lines, rates={"airtime": Decimal("0.03")}) as outcome:
        assert outcome.breaks == []
        assert outcome.ask(f"SELECT line_no, method, state FROM ({outcome.matched}) ORDER BY line_no") == [
            (1, "split", "confirmed"),
            (2, "split", "confirmed"),
        ]
        assert (outcome.ties[0].commission.statement, outcome.ties[0].commission.expected) == (Decimal(3), Decimal(3))


def test_a_split_of_more_parts_than_are_looked_at_is_left_to_people(tmp_path: Path) -> None:
    with reconciled(tmp_path, [own(1, amount=Decimal(9))], [part(number, 1) for number in range(2, 11)]) as outcome:
        assert (outcome.pairs, len(outcome.breaks)) == ({}, 10)


def payout(amount: str, number: int = 99, **changes: Any) -> Row:
    """A payout line that names nothing that we know."""
    nothing: Row = {"kind": "payout", "reference": None, "supplier_transaction_id": None, "commission": None}
    return line(number, amount=Decimal(amount), **nothing | changes)


def left(*amounts: str, commission: str = "0.00") -> list[Row]:
    """Rows of ours that have no line."""
    return [
        own(number, amount=Decimal(amount), commission=Decimal(commission))
        for number, amount in enumerate(amounts, start=1)
    ]


# our rows, the payouts, which rows must be suggested for which, and what the first payout's note says
PAYOUTS: dict[str, tuple[list[Row], list[Row], set[tuple[int, int]], str]] = {
    "the only two that add up": (left("10.00", "20.00", "40.00"), [payout("50.00")], {(99, 1), (99, 3)}, "may be our"),
    "net of commission": (
        left("10.00", "20.00", "41.00", commission="1.00"),
        [payout("28.00")],
        {(99, 1), (99, 2)},
        "may be our row",
    ),
    "three equal ones": (left("100.00", "100.00", "100.00"), [payout("200.00")], set(), "several sets"),
    "nothing adds up": (left("10.00", "20.00", "40.00"), [payout("15.00")], set(), ""),
    "too many rows": (left(*["7.01"] * 33), [payout("14.02")], set(), "more than 32 rows"),
    "two payouts over one row": (
        left("10.00", "20.00", "40.00"),
        [payout("50.00"), payout("30.00", 98)],
        set(),
        "the rows that add up to it are another payout's too",
    ),
    "two payouts that share none": (
        left("10.00", "20.00", "41.00", "83.00"),
        [payout("51.00"), payout("103.00", 98)],
        {(99, 1), (99, 3), (98, 2), (98, 4)},
        "may be our row",
    ),
    "not paid out yet": (left("10.00", "20.00", "40.00"), [payout("50.00", status="pending")], set(), ""),
}  # fmt: skip


def test_a_payout_s_rows_are_suggested_where_only_they_add_up_to_it(tmp_path: Path) -> None:
    cases = list(PAYOUTS.values())
    with reconciled(tmp_path, *apart([(rows, payouts) for rows, payouts, *_ in cases])) as outcome:
        assert outcome.pairs == {}
        for number, (name, (_, _, suggested, note)) in enumerate(PAYOUTS.items(), start=1):
            mine = {(line_no % 100, row % 100) for line_no, row in outcome.suggestions if line_no // 100 == number}
            assert mine == suggested, name
            ((told,),) = outcome.ask(f"SELECT note FROM found WHERE line_no = {number * 100 + 99}")
            assert re.fullmatch(note and f"{note}.*", told), name
        assert outcome.ask(f"SELECT DISTINCT method, state FROM ({outcome.matched})") == [("payout", "suggested")]


def test_hundreds_of_payouts_and_thousands_of_rows_are_bounded(tmp_path: Path) -> None:
    rows = [own(number, amount=Decimal(number), commission=Decimal(0)) for number in range(1, 3001)]
    payouts = [payout(f"{number}.50", number=number) for number in range(1, 501)]
    with reconciled(tmp_path, rows, payouts) as outcome:
        assert outcome.suggestions == set()
        assert outcome.ask("SELECT count(*) FROM line_note WHERE note LIKE 'more than 32%'") == [(200,)]


def test_what_is_paid_out_of_entries_is_counted_by_the_entries(tmp_path: Path) -> None:
    """Also when an entry was taken back, or did not come to anything: only what moved was paid out."""
    shared: Row = {"payout_reference": "PAY-1"}
    failed = line(3, **shared, **FAILED, net=Decimal("97.00"))
    lines = [line(1, **shared, net=Decimal("97.00")), line(2, **shared, net=Decimal("97.00")), failed]
    lines += [back(4, **shared, net=Decimal("97.00")), payout("97.00", **shared)]
    rows = [own(1, **REVERSED), own(2), own(3, **FAILED)]
    with reconciled(tmp_path, rows, lines) as outcome:
        assert outcome.breaks == []
        assert (outcome.ties[0].statement.value, outcome.ties[0].own.value) == (HUNDRED, HUNDRED)


@pytest.mark.parametrize(("amount", "issues"), [("-100.00", []), ("100.00", [(99, None, ("amount",))])])
def test_a_payout_over_a_refund_is_less_than_nothing(tmp_path: Path, amount: str, issues: Issues) -> None:
    shared: Row = {"payout_reference": "PAY-1"}
    lines = [line(1, kind="refund", commission=None, **shared), payout(amount, **shared)]
    with reconciled(tmp_path, [own(1, type="refund", commission=Decimal(0))], lines) as outcome:
        assert outcome.breaks == issues


def test_a_mistyped_reference_is_suggested_and_never_matched(tmp_path: Path) -> None:
    sides = [
        ([own(1)], [line(1, supplier_transaction_id="S9", reference="ORD-l")]),
        ([own(1)], [line(1, supplier_transaction_id="S9", reference="ORD-l", product_code="312")]),
        ([own(1)], [line(1, supplier_transaction_id="S9", reference="ORD-l", amount=Decimal("100.50"))]),
    ]
    with reconciled(tmp_path, *apart(sides)) as outcome:
        assert (outcome.pairs, outcome.suggestions) == ({}, {(101, 101)})
        assert outcome.breaks_of(1) == [(1, None, ("missing_here",)), (None, 1, ("missing_there",))]


def test_so_many_left_over_that_nobody_looks_at_each_are_not_compared(tmp_path: Path) -> None:
    rows = [own(number, reference=None) for number in (1, 2, 3)]
    lines = [line(number, supplier_transaction_id=f"T{number}") for number in (1, 2, 3)]
    with reconciled(tmp_path, rows, lines, suggestion_limit=2) as outcome:
        assert (outcome.pairs, outcome.suggestions) == ({}, set())


def totals(outcome: Outcome) -> tuple[Decimal, ...]:
    """Commission told, by contract, booked; then what the float should have lost, by them and by us."""
    told = outcome.ties[0].commission
    return told.statement, told.expected, told.own, told.net, told.own_net


RATES = {"airtime": Decimal("0.03")}


@pytest.mark.parametrize("told", ["-3.00", "3.00"])
@pytest.mark.parametrize("amount", ["-100.00", "100.00"])
def test_commission_of_a_refund_is_given_back_whichever_way_it_is_told(tmp_path: Path, amount: str, told: str) -> None:
    lines = [line(1, kind="refund", amount=Decimal(amount), commission=Decimal(told))]
    with reconciled(tmp_path, [own(1, type="refund")], lines, rates=RATES) as outcome:
        assert outcome.breaks == []
        assert totals(outcome) == tuple(map(Decimal, (-3, -3, -3, -97, -97)))


def test_commission_and_float_are_of_everything_that_moved_matched_or_not(tmp_path: Path) -> None:
    """A row without a line, a line without a row, a payout's rows, a fee that only the statement has."""
    rows = [own(1), own(2), own(3, reference=None, supplier_reference="PAY-1")]
    lines = [
        line(1, fee=Decimal("0.50"), net=Decimal("96.50")),
        line(4, commission=None),
        payout("100.00", payout_reference="PAY-1", commission=Decimal("3.00")),
    ]
    with reconciled(tmp_path, rows, lines, rates=RATES) as outcome:
        assert totals(outcome) == (
            Decimal("6.00"),
            Decimal("9.00"),
            Decimal("9.00"),
            Decimal("290.50"),
            Decimal("291.00"),
        )
        assert outcome.ties[0].commission.fee == Decimal("0.50")


def test_what_was_sold_and_taken_back_leaves_the_float_as_it_was(tmp_path: Path) -> None:
    lines = [line(1, net=Decimal("97.00")), back(2, commission=None, net=None), line(3, net=Decimal("97.00"))]
    with reconciled(tmp_path, [own(1, **REVERSED), own(3)], lines, rates=RATES) as outcome:
        assert totals(outcome) == tuple(map(Decimal, (3, 3, 3, 97, 97)))


def test_vat_is_that_of_each_transaction_and_that_of_the_sum(tmp_path: Path) -> None:
    """Three times 0.04: a cent each, and 0.02 of 0.12 in all."""
    numbers = (1, 2, 3)
    rows = [own(number, commission=Decimal("0.04")) for number in numbers]
    lines = [line(number, commission=Decimal("0.04")) for number in numbers]
    with reconciled(tmp_path, [*rows, refund(9, commission=Decimal("0.04"))], lines) as outcome:
        told = outcome.ties[0].commission.as_json(Decimal("0.15"))
        assert (told["statement_vat_by_row"], told["statement_vat"]) == ("0.03", "0.02")
        assert (told["own_vat_by_row"], told["own_vat"]) == ("0.02", "0.01")
