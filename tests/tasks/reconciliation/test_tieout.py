"""Both totals, to the cent, from what was matched and what was not: whatever the two sides hold."""

from collections.abc import Sequence
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from config.reconciliation import ReconciliationSettings
from ledger.business_days import day_of
from ledger.errors import VerificationError
from ledger.statements import ComparedStatus, LineKind
from ledger.transactions import Status
from tasks.reconciliation.engine.commission import vat_included
from tasks.reconciliation.engine.tieout import Commission, FloatMovement, float_figures, tie_outs, verdict_of
from tasks.reconciliation.vocabulary import Verdict
from tests.examples import examples
from tests.tasks.reconciliation.books import DAY, NOON
from tests.tasks.reconciliation.desk import Outcome, Sides, apart, line, own, reconciled

RULES = ReconciliationSettings()
_keys = st.sampled_from([None, "A", "B", "C", "D"])
_cents = st.sampled_from([Decimal("10.00"), Decimal("10.05"), Decimal("99.99"), Decimal("110.04"), Decimal("250.00")])
_hours = st.sampled_from([-30, -13, -11.99, 0, 0.01, 5, 11.99, 13])
_currencies = st.sampled_from(["ZAR", "ZAR", "USD"])
_ours = st.fixed_dictionaries(
    {
        "supplier_transaction_id": _keys,
        "reference": _keys,
        "supplier_reference": st.sampled_from([None, "A", "P1"]),
        "amount": _cents,
        "currency": _currencies,
        "status": st.sampled_from(list(Status)),
        "type": st.sampled_from(["payment", "refund"]),
        "created_at": _hours.map(lambda hours: NOON + timedelta(hours=hours)),
        "taken": st.sampled_from([False, False, False, True]),
    }
)
_theirs = st.fixed_dictionaries(
    {
        "supplier_transaction_id": _keys,
        "reference": _keys,
        "amount": st.builds(lambda amount, sign: amount * sign, _cents, st.sampled_from([1, 1, 1, -1])),
        "currency": _currencies,
        "status": st.sampled_from(list(ComparedStatus)),
        "kind": st.sampled_from(list(LineKind)),
        "payout_reference": st.sampled_from([None, None, "P1"]),
        "occurred_at": _hours.map(lambda hours: NOON + timedelta(hours=hours)),
    }
)
_case = st.tuples(st.lists(_ours, max_size=6), st.lists(_theirs, max_size=6))
_Given = tuple[list[dict[str, Any]], list[dict[str, Any]]]
_SOLD: dict[str, Any] = {"reference": "A", "supplier_transaction_id": "A"}
_BACK: dict[str, Any] = {"reference": "A", "supplier_transaction_id": "B", "kind": "reversal"}
_REFUND: dict[str, Any] = {"reference": "A", "supplier_transaction_id": "B", "type": "refund"}
# A reversal that failed; one event told by status and by line; a line for a purchase and its refund; parts of a row.
_FOUND: list[_Given] = [
    ([_SOLD | {"status": "reversed"}], [_SOLD, _BACK | {"status": "failed"}]),
    ([_SOLD], [_SOLD, _BACK | {"status": "failed"}]),
    ([_SOLD], [_SOLD | {"status": "reversed"}, _BACK]),
    ([_SOLD | {"status": "reversed"}], [_SOLD | {"status": "reversed"}, _BACK]),
    ([_SOLD, _REFUND], [_SOLD | {"status": "reversed"}, _BACK]),
    ([_SOLD, _REFUND], [_SOLD | {"status": "reversed"}]),
    (
        [_SOLD | {"amount": Decimal(30)}],
        [_SOLD | {"amount": Decimal(10)}, _BACK | {"kind": "purchase", "amount": Decimal(20)}],
    ),
    ([_SOLD | {"taken": True, "status": "reversed", "created_at": NOON - timedelta(hours=30)}], [_BACK]),
]  # fmt: skip


@settings(max_examples=examples(12), suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(cases=st.lists(_case, min_size=1, max_size=16), tolerance=st.sampled_from([Decimal(0), Decimal("0.05")]))
@example(cases=_FOUND, tolerance=Decimal(0))
def test_whatever_the_sides_hold_every_row_and_line_is_accounted_for_once(
    tmp_path: Path, cases: list[_Given], tolerance: Decimal
) -> None:
    """`tie_outs` raises when the parts are not the whole; here it is seen from outside that they are, and that nothing
    is in two places. The cases do not meet: one run has many.
    """
    rows, lines = apart([_numbered(*case) for case in cases])
    taken = [UUID(row["id"]).int for row in rows if row.pop("taken")]
    with reconciled(tmp_path, rows, lines, taken=taken, amount_tolerance=tolerance) as outcome:
        _assert_placed_once(outcome, lines)
        for tie in outcome.ties:
            tolerated = tie.item("tolerated")
            explained = tie.variance + tolerated.value
            explained += tie.item("own_of_other_days").value - tie.item("own_on_other_statements").value
            assert explained == tie.statement.value - tie.own.value
            assert abs(tolerated.value) <= tolerated.rows * tolerance
            assert tie.own.value == sum(_moved_here(row) for row in rows if row["currency"] == tie.currency)
            assert tie.statement.value == _moved_there(outcome, lines, tie.currency)


def _numbered(ours: list[dict[str, Any]], theirs: list[dict[str, Any]]) -> Sides:
    rows = [own(number, **({"taken": False} | changes)) for number, changes in enumerate(ours, start=1)]
    return rows, [line(number, **changes) for number, changes in enumerate(theirs, start=1)]


def _assert_placed_once(outcome: Outcome, lines: Sequence[dict[str, Any]]) -> None:
    placed = outcome.ask(
        "SELECT line_no FROM pair WHERE method <> 'payout' UNION ALL SELECT DISTINCT line_no FROM pair"
        " WHERE method = 'payout' UNION ALL SELECT line_no FROM attached UNION ALL SELECT line_no FROM payout_cover"
        " UNION ALL SELECT line_no FROM lost_line"
    )
    assert sorted(number for (number,) in placed) == sorted(one["line_no"] for one in lines)
    own_ids = outcome.ask("SELECT own_id FROM covered_own UNION ALL SELECT own_id FROM lost_own")
    assert len(own_ids) == len(set(own_ids))
    free = outcome.ask("SELECT own_id FROM own WHERE in_period AND NOT taken ORDER BY ALL")
    assert set(free) <= set(own_ids)


def _moved_here(row: dict[str, Any]) -> Decimal:
    """What a row of ours moved on the day, by the row alone."""
    on_the_day = day_of(row["created_at"]) == DAY
    if row["status"] != "completed" or not on_the_day:
        return Decimal(0)
    return Decimal(-row["amount"] if row["type"] == "refund" else row["amount"])


def _moved_there(outcome: Outcome, lines: Sequence[dict[str, Any]], currency: str) -> Decimal:
    """What the statement's lines moved, by the lines alone; what is told twice once, and no payout over its entries."""
    sold = {number for (number,) in outcome.ask("SELECT main_no FROM unfolded")}
    over = {number for (number,) in outcome.ask("SELECT line_no FROM payout_cover")}
    total = Decimal(0)
    for one in lines:
        counts = one["line_no"] not in over and (one["status"] == "completed" or one["line_no"] in sold)
        if one["currency"] == currency and counts:
            total += -abs(one["amount"]) if one["kind"] in ("reversal", "refund") else one["amount"]
    return total


TOTALS = [
    ("ZAR", "statement", 2, Decimal("150.00")),
    ("ZAR", "own", 1, Decimal("100.00")),
    ("ZAR", "matched_statement", 1, Decimal("100.00")),
    ("ZAR", "matched_own", 1, Decimal("100.00")),
    ("ZAR", "unmatched_statement", 1, Decimal("50.00")),
    ("ZAR", "break_missing_here", 1, Decimal("50.00")),
]


@pytest.mark.parametrize("wrong", range(len(TOTALS)))
def test_a_figure_that_is_a_cent_off_is_noticed(wrong: int) -> None:
    assert tie_outs(TOTALS, {}, RULES)[0].difference == Decimal("50.00")
    currency, item, rows, value = TOTALS[wrong]
    changed = [*TOTALS[:wrong], (currency, item, rows, value + Decimal("0.01")), *TOTALS[wrong + 1 :]]
    with pytest.raises(VerificationError, match="tie-out ZAR"):
        tie_outs(changed, {}, RULES)


def test_the_float_ties_to_the_statement_and_to_us() -> None:
    ties = tie_outs(TOTALS, {"ZAR": Commission(net=Decimal("145.5000"), own_net=Decimal("97.0000"))}, RULES)
    movement = FloatMovement(opening=Decimal("1000.00"), deposits=Decimal("200.00"), closing=Decimal("1054.50"))
    figures = float_figures(movement, ties)
    assert figures is not None
    assert (figures["consumed"], figures["statement"], figures["own"]) == ("145.50", "145.5000", "97.0000")
    assert (figures["consumed_less_statement"], figures["consumed_less_own"]) == ("0.0000", "48.5000")
    gross = float_figures(movement.model_copy(update={"basis": "gross"}), ties)
    assert gross is not None
    assert gross["consumed_less_statement"] == "-4.5000"


@pytest.mark.parametrize(
    ("commission", "vat"),
    [("115.00", "15.00"), ("1.00", "0.13"), ("0.03", "0.00"), ("0.04", "0.01"), ("-115.00", "-15.00")],
)
def test_vat_is_the_part_of_a_commission_that_includes_it(commission: str, vat: str) -> None:
    assert vat_included(Decimal(commission)) == Decimal(vat)


@pytest.mark.parametrize(
    ("matched", "variance", "verdict"),
    [
        ("1", "0", Verdict.PASSED),
        ("0.99", "1000.00", Verdict.PASSED),
        ("0.99", "-1000.00", Verdict.PASSED),
        ("0.989999", "0", Verdict.FAILED),
        ("0.99", "1000.01", Verdict.FAILED),
        ("0.95", "2000.00", Verdict.FAILED),
        ("0.949999", "0", Verdict.CRITICAL),
        ("1", "2000.01", Verdict.CRITICAL),
        ("1", "-2000.01", Verdict.CRITICAL),
    ],
)
def test_a_verdict_turns_exactly_at_its_limits(matched: str, variance: str, verdict: Verdict) -> None:
    assert verdict_of(Decimal(matched), Decimal(variance), ReconciliationSettings()) is verdict
