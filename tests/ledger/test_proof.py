"""Two accounts of a month agree only when rows and sums do, and what differs is said."""

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from ledger.proof import MonthContent, Totals, differences, sums_per_currency, totals_of
from ledger.tables import TRANSACTIONS

FIRST, LAST = datetime(2026, 2, 1, tzinfo=UTC), datetime(2026, 2, 28, tzinfo=UTC)
NAMES = {"here": "PostgreSQL", "there": "the archive"}
ZAR = Totals("ZAR", "payment", "completed", 2, (Decimal("12.00"), Decimal("0.10")), FIRST, LAST)
USD = Totals("USD", "refund", "failed", 1, (Decimal("5.00"), Decimal("0.00")), FIRST, FIRST)
CONTENT = MonthContent((USD, ZAR))


def test_equal_accounts_have_no_differences() -> None:
    assert differences(CONTENT, MonthContent((USD, ZAR)), NAMES) == []


def test_the_rows_of_a_month_are_those_of_all_its_totals() -> None:
    assert CONTENT.rows == 3
    assert MonthContent(()).rows == 0


@pytest.mark.parametrize(
    "totals",
    [
        replace(ZAR, sums=(Decimal("12.01"), Decimal("0.10"))),
        replace(ZAR, status="failed"),
        replace(ZAR, type="fee"),
        replace(ZAR, currency="EUR"),
        replace(ZAR, first=LAST),
        replace(ZAR, last=FIRST),
    ],
)
def test_a_difference_in_one_currency_type_or_status_is_found(totals: Totals) -> None:
    (found,) = differences(CONTENT, MonthContent((USD, totals)), NAMES)
    assert found == "sums per currency, type and status differ between PostgreSQL and the archive"


def test_a_row_too_many_is_told_with_both_counts() -> None:
    more = MonthContent((USD, replace(ZAR, rows=3)))
    assert "rows: PostgreSQL 3, the archive 4" in differences(CONTENT, more, NAMES)


def test_totals_are_sorted_and_null_has_totals_of_its_own() -> None:
    records = [
        ("ZAR", "payment", "completed", 2, FIRST, LAST, Decimal("12.00"), "0.10"),
        ("", "", "", 1, FIRST, FIRST, None, None),
        (None, None, None, 1, FIRST, FIRST, None, None),
        ("USD", "refund", "failed", 1, FIRST, FIRST, Decimal("5.00"), Decimal("0.00")),
    ]
    totals = totals_of(records)
    assert [(one.currency, one.type, one.status) for one in totals] == [
        (None, None, None),
        ("", "", ""),
        ("USD", "refund", "failed"),
        ("ZAR", "payment", "completed"),
    ]
    assert totals[0].sums == (Decimal(0), Decimal(0))
    assert totals[2:] == (USD, ZAR)
    assert totals_of(reversed(records)) == totals


def test_sums_per_currency_take_all_statuses_together_as_decimal_text() -> None:
    failed = replace(ZAR, status="failed", sums=(Decimal("0.01"), Decimal("0.00")))
    assert sums_per_currency(TRANSACTIONS, (ZAR, USD, failed)) == {
        "USD": {"amount": "5.00", "fee": "0.00"},
        "ZAR": {"amount": "12.01", "fee": "0.10"},
    }


def test_sums_stay_exact_far_beyond_what_a_float_holds() -> None:
    largest = replace(ZAR, sums=(Decimal("9999999999999999.99") * 1_000_000, Decimal(0)))
    sums = sums_per_currency(TRANSACTIONS, (largest, replace(ZAR, status="failed", sums=(Decimal("0.01"), Decimal(0)))))
    assert sums["ZAR"]["amount"] == "9999999999999999990000.01"


def test_sums_beyond_28_digits_keep_every_digit() -> None:
    # Python's decimals are rounded to 28 digits unless they are told otherwise.
    one = replace(ZAR, sums=(Decimal("9" * 36 + ".99"), Decimal("0E-10")))
    sums = sums_per_currency(TRANSACTIONS, (one, replace(ZAR, status="failed", sums=(Decimal("0.02"), Decimal(0)))))
    assert sums["ZAR"] == {"amount": "1" + "0" * 36 + ".01", "fee": "0.0000000000"}


def test_sums_of_values_that_are_no_numbers_say_so() -> None:
    undefined = replace(ZAR, sums=(Decimal("NaN"), Decimal(0)))
    assert sums_per_currency(TRANSACTIONS, (ZAR, undefined))["ZAR"]["amount"] == "NaN"


def test_accounts_that_disagree_about_the_keys_are_told() -> None:
    (found,) = differences(CONTENT, replace(CONTENT, keys_tell_month=True), NAMES)
    assert found == "keys within the month: PostgreSQL False, the archive True"
