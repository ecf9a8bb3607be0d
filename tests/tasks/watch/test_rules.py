"""Each rule finds something exactly at its threshold, and not a cent or a moment below."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from ledger.tables import BUILT_IN, VAS_TRANSACTIONS, TieredTable
from tests.tasks.watch.conftest import NOON, Ledger

MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)
tables = pytest.mark.parametrize("table", BUILT_IN, ids=lambda one: one.name)


@tables
def test_a_single_amount_is_found_at_the_threshold(ledger: Ledger, table: TieredTable) -> None:
    ledger.configured(daily={"enabled": False})
    ledger.add(NOON, table, amount="49999.99")
    row = ledger.add(NOON, table, amount="50000.00")
    ledger.watch()
    [(_, found_in, subject, window, evidence)] = ledger.findings()
    assert (found_in, subject, window) == (table.name, "user-1", str(row))
    assert evidence == {
        "row_ids": [str(row)],
        "type": "payment",
        "currency": "ZAR",
        "amount": "50000.00",
        "threshold": "50000.00",
    }


def test_a_currency_without_a_threshold_is_not_watched_and_one_with_its_own_is(ledger: Ledger) -> None:
    ledger.configured(single={"amounts": {"ZAR": "50000", "USD": "3000"}})
    ledger.add(NOON, amount="900000.00", currency="EUR")
    dollars = ledger.add(NOON, amount="3000.00", currency="USD")
    ledger.watch()
    assert [one[3] for one in ledger.findings()] == [str(dollars)]


@pytest.mark.parametrize(("last", "found"), [("4999.99", 0), ("5000.00", 1)])
def test_a_day_is_found_at_the_threshold(ledger: Ledger, last: str, found: int) -> None:
    for number in range(4):
        ledger.add(NOON + number * MINUTE, amount="5000.00", type="send")
    ledger.add(NOON + 5 * MINUTE, amount=last, type="withdraw")
    ledger.watch()
    assert [one[3] for one in ledger.findings("daily")] == ["ZAR 2026-05-20"] * found
    for finding in ledger.findings("daily"):
        assert (finding[4]["total"], finding[4]["count"]) == ("25000.00", 5)


def test_a_day_is_one_of_johannesburg(ledger: Ledger) -> None:
    midnight = datetime(2026, 5, 19, 22, 0, tzinfo=UTC)
    before = midnight - timedelta(milliseconds=1)
    ledger.add(before, amount="20000.00")
    ledger.add(midnight, amount="20000.00")
    ledger.watch(NOON)
    assert ledger.findings() == []
    ledger.add(midnight, user_id="user-2", amount="12500.00")
    ledger.add(midnight + timedelta(hours=1), user_id="user-2", amount="12500.00")
    ledger.connection.execute("DELETE FROM watch_progress")
    ledger.watch(NOON)
    assert [(one[2], one[3]) for one in ledger.findings()] == [("user-2", "ZAR 2026-05-20")]


@pytest.mark.sampled(1)
@pytest.mark.parametrize("column", [{"status": "failed"}, {"status": "cancelled"}, {"type": "fee"}])
def test_what_moved_no_money_and_fees_do_not_count(ledger: Ledger, column: dict[str, Any]) -> None:
    ledger.add(NOON, amount="90000.00", **column)
    report = ledger.watch()
    assert ledger.findings() == []
    assert report.tables[0].rows == 0


@pytest.mark.sampled(2)
@pytest.mark.parametrize(
    ("amount", "kind", "found"),
    [
        ("23999.99", "deposit", False),
        ("24000.00", "deposit", True),
        ("24999.99", "withdraw", True),
        ("25000.00", "deposit", False),
        ("24500.00", "payment", False),
    ],
)
def test_cash_is_found_within_the_band_alone(ledger: Ledger, amount: str, kind: str, found: bool) -> None:
    ledger.add(NOON, amount=amount, type=kind)
    ledger.watch()
    assert ("cash-threshold" in ledger.rules()) is found


@pytest.mark.parametrize(
    ("apart", "found"), [(timedelta(hours=12), False), (timedelta(hours=12) - timedelta(milliseconds=1), True)]
)
def test_structuring_is_several_just_below_within_a_day(ledger: Ledger, apart: timedelta, found: bool) -> None:
    rows = [ledger.add(NOON + (number - 2) * apart, amount="24990.00", type="deposit") for number in range(3)]
    ledger.watch()
    findings = ledger.findings("structuring")
    assert bool(findings) is found
    for finding in findings:
        assert sorted(finding[4]["row_ids"]) == sorted(map(str, rows))
        assert finding[3] == "ZAR 2026-05-20"


@pytest.mark.parametrize(
    ("span", "found"), [(timedelta(minutes=10), False), (timedelta(minutes=10) - timedelta(milliseconds=1), True)]
)
def test_velocity_is_found_at_its_count_within_its_window(ledger: Ledger, span: timedelta, found: bool) -> None:
    ledger.configured(velocity={"count": 4})
    for part in (0, 0.1, 0.2, 1):
        ledger.add(NOON + span * part, amount="10.00")
    ledger.watch()
    assert [one[4]["count"] for one in ledger.findings()] == [4] * found


@pytest.mark.sampled(1)
@pytest.mark.parametrize(
    ("out", "after", "found"),
    [
        ("4500.00", timedelta(minutes=60), True),
        ("4499.99", timedelta(minutes=60), False),
        ("4500.00", timedelta(minutes=60, milliseconds=1), False),
    ],
)
def test_money_that_comes_in_and_goes_out_is_found(ledger: Ledger, out: str, after: timedelta, found: bool) -> None:
    start = NOON - timedelta(minutes=30)
    came = ledger.add(start, amount="5000.00", type="receive")
    first = ledger.add(start + MINUTE, amount="1000.00", type="withdraw")
    left = ledger.add(start + after, amount=str(Decimal(out) - 1000), type="send")
    ledger.add(start + MINUTE, amount="5000.00", type="send", wallet_id="wallet-2")
    ledger.watch()
    assert [one[4]["row_ids"] for one in ledger.findings()] == [[str(came), str(first), str(left)]] * found


@pytest.mark.parametrize(("silence", "found"), [(90 * DAY, True), (90 * DAY - timedelta(milliseconds=1), False)])
def test_a_dormant_user_who_is_active_again_is_found(ledger: Ledger, silence: timedelta, found: bool) -> None:
    before = ledger.add(NOON - silence)
    ledger.add(NOON - 30 * DAY, type="fee")
    row = ledger.add(NOON)
    ledger.add(NOON + MINUTE)
    ledger.watch()
    assert [one[4]["row_ids"] for one in ledger.findings()] == [[str(before), str(row)]] * found


def test_a_user_who_is_new_was_not_dormant(ledger: Ledger) -> None:
    ledger.add(NOON, user_id="user-of-today")
    ledger.watch()
    assert ledger.findings() == []


@pytest.mark.parametrize(("amount", "found"), [("3000.00", False), ("3000.01", True)])
def test_an_amount_is_unusual_above_three_times_the_mean_of_its_type(ledger: Ledger, amount: str, found: bool) -> None:
    ledger.configured(unusual={"minimum_sample": 2, "baseline_days": 2, "amounts": {"ZAR": "1.00"}})
    ledger.add(NOON - DAY, amount="500.00", type="transfer")
    ledger.add(NOON - 2 * DAY, amount="1500.00", type="transfer")
    ledger.add(NOON - DAY, amount="9999.00", type="payment")
    row = ledger.add(NOON, amount=amount, type="transfer")
    ledger.watch()
    assert [one[3] for one in ledger.findings()] == [str(row)] * found
    for finding in ledger.findings():
        assert (finding[4]["mean"], finding[4]["samples"]) == ("1000.00", 2)


def test_a_mean_of_too_few_rows_decides_nothing(ledger: Ledger) -> None:
    ledger.configured(unusual={"minimum_sample": 2, "amounts": {"ZAR": "1.00"}})
    ledger.add(NOON - DAY, amount="10.00")
    ledger.add(NOON, amount="9000.00")
    ledger.watch()
    assert ledger.findings() == []


def test_a_rule_that_is_switched_off_finds_nothing(ledger: Ledger) -> None:
    ledger.configured(single={"enabled": False}, daily={"enabled": False})
    ledger.add(NOON, amount="70000.00")
    ledger.watch()
    assert ledger.findings() == []


def test_each_table_is_watched_by_itself(ledger: Ledger) -> None:
    ids: list[UUID] = [ledger.add(NOON, amount="15000.00"), ledger.add(NOON, VAS_TRANSACTIONS, amount="15000.00")]
    ledger.watch()
    assert len(ids) == 2
    assert ledger.findings() == []
