"""Both totals, to the cent, from what was matched and what was not: whatever the two sides hold."""

from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from config.reconciliation import ReconciliationSettings
from ledger.errors import VerificationError
from ledger.transactions import Status
from tasks.reconciliation.classes import ComparedStatus, LineKind, Verdict
from tasks.reconciliation.commission import vat_included
from tasks.reconciliation.tieout import FloatMovement, float_figures, tie_outs, verdict_of
from tests.examples import examples
from tests.reconciliation.books import NOON
from tests.reconciliation.desk import line, own, reconciled

ZERO = Decimal(0)
_keys = st.sampled_from([None, "A", "B", "C", "D"])
_cents = st.sampled_from([Decimal("10.00"), Decimal("10.05"), Decimal("99.99"), Decimal("250.00")])
_hours = st.sampled_from([-30, -13, -11.99, 0, 0.01, 5, 11.99, 13])
_currencies = st.sampled_from(["ZAR", "ZAR", "USD"])
_ours = st.fixed_dictionaries(
    {
        "supplier_transaction_id": _keys,
        "reference": _keys,
        "supplier_reference": st.sampled_from([None, "P1"]),
        "amount": _cents,
        "currency": _currencies,
        "status": st.sampled_from(list(Status)),
        "type": st.sampled_from(["payment", "refund"]),
        "created_at": _hours.map(lambda hours: NOON + timedelta(hours=hours)),
    }
)
_theirs = st.fixed_dictionaries(
    {
        "supplier_transaction_id": _keys,
        "reference": _keys,
        "amount": _cents,
        "currency": _currencies,
        "status": st.sampled_from(list(ComparedStatus)),
        "kind": st.sampled_from(list(LineKind)),
        "payout_reference": st.sampled_from([None, None, "P1"]),
        "occurred_at": _hours.map(lambda hours: NOON + timedelta(hours=hours)),
    }
)


@settings(max_examples=examples(20), suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(ours=st.lists(_ours, max_size=8), theirs=st.lists(_theirs, max_size=8))
def test_whatever_the_sides_hold_every_row_and_line_is_accounted_for_once(
    tmp_path: Path, ours: list[dict[str, Any]], theirs: list[dict[str, Any]]
) -> None:
    """`tie_outs` raises when the parts are not the whole; here it is also seen that nothing is in two places."""
    rows = [own(number, **changes) for number, changes in enumerate(ours, start=1)]
    lines = [line(number, **changes) for number, changes in enumerate(theirs, start=1)]
    with reconciled(tmp_path, rows, lines) as outcome:
        placed = [number for (number,) in outcome.ask("SELECT line_no FROM pair WHERE method <> 'payout'")]
        placed += [number for (number,) in outcome.ask("SELECT DISTINCT line_no FROM pair WHERE method = 'payout'")]
        placed += [number for (number,) in outcome.ask("SELECT line_no FROM attached")]
        placed += [number for (number,) in outcome.ask("SELECT line_no FROM payout_cover")]
        placed += [number for (number,) in outcome.ask("SELECT line_no FROM lost_line")]
        assert sorted(placed) == [one["line_no"] for one in lines]
        own_ids = [one for (one,) in outcome.ask("SELECT own_id FROM pair UNION ALL SELECT own_id FROM lost_own")]
        assert len(own_ids) == len(set(own_ids))
        in_period = outcome.ask("SELECT count(*) FROM own WHERE in_period AND own_id NOT IN (SELECT own_id FROM pair)")
        assert in_period == outcome.ask("SELECT count(*) FROM lost_own")
        for tie in outcome.ties:
            explained = tie.variance + tie.item("own_of_other_days").value - tie.item("own_on_other_statements").value
            assert explained == tie.difference


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
    assert tie_outs(TOTALS, {}, Decimal("0.15"))[0].difference == Decimal("50.00")
    currency, item, rows, value = TOTALS[wrong]
    changed = [*TOTALS[:wrong], (currency, item, rows, value + Decimal("0.01")), *TOTALS[wrong + 1 :]]
    with pytest.raises(VerificationError, match="tie-out ZAR"):
        tie_outs(changed, {}, Decimal("0.15"))


def test_the_float_ties_to_the_statement_and_to_us() -> None:
    ties = tie_outs(TOTALS, {"ZAR": (Decimal("4.50"), ZERO, Decimal("3.00"))}, Decimal("0.15"))
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
