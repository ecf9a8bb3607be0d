"""Two proofs agree only when rows, sums and digest all do, and what differs is said."""

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from ledger.proof import Group, MonthProof, differences, groups_of, sums_per_currency
from ledger.tables import TRANSACTIONS

FIRST, LAST = datetime(2026, 2, 1, tzinfo=UTC), datetime(2026, 2, 28, tzinfo=UTC)
NAMES = {"here": "PostgreSQL", "there": "the archive"}
ZAR = Group("ZAR", "completed", 2, (Decimal("12.00"), Decimal("0.10")), FIRST, LAST)
USD = Group("USD", "failed", 1, (Decimal("5.00"), Decimal("0.00")), FIRST, FIRST)
PROOF = MonthProof(bytes(32), (USD, ZAR))


def test_equal_proofs_have_no_differences() -> None:
    assert differences(PROOF, MonthProof(bytes(32), (USD, ZAR)), NAMES) == []


def test_the_rows_of_a_month_are_those_of_all_its_groups() -> None:
    assert PROOF.rows == 3
    assert MonthProof(bytes(32), ()).rows == 0


@pytest.mark.parametrize(
    "group",
    [
        replace(ZAR, sums=(Decimal("12.01"), Decimal("0.10"))),
        replace(ZAR, status="failed"),
        replace(ZAR, currency="EUR"),
        replace(ZAR, first=LAST),
        replace(ZAR, last=FIRST),
    ],
)
def test_a_difference_in_one_group_is_found(group: Group) -> None:
    (found,) = differences(PROOF, MonthProof(bytes(32), (USD, group)), NAMES)
    assert found == "sums per currency and status differ between PostgreSQL and the archive"


def test_a_row_too_many_is_told_with_both_counts() -> None:
    more = MonthProof(bytes(32), (USD, replace(ZAR, rows=3)))
    assert "rows: PostgreSQL 3, the archive 4" in differences(PROOF, more, NAMES)


def test_another_digest_is_told_with_both_digests() -> None:
    (found,) = differences(PROOF, MonthProof(b"\x01" * 32, (USD, ZAR)), NAMES)
    assert found == f"digest: PostgreSQL {'00' * 32}, the archive {'01' * 32}"


def test_groups_are_sorted_and_null_is_a_group_of_its_own() -> None:
    records = [
        ("ZAR", "completed", 2, FIRST, LAST, Decimal("12.00"), "0.10"),
        ("", "", 1, FIRST, FIRST, None, None),
        (None, None, 1, FIRST, FIRST, None, None),
        ("USD", "failed", 1, FIRST, FIRST, Decimal("5.00"), Decimal("0.00")),
    ]
    groups = groups_of(records)
    assert [(group.currency, group.status) for group in groups] == [
        (None, None),
        ("", ""),
        ("USD", "failed"),
        ("ZAR", "completed"),
    ]
    assert groups[0].sums == (Decimal(0), Decimal(0))
    assert groups[2:] == (USD, ZAR)
    assert groups_of(reversed(records)) == groups


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


def test_proofs_that_disagree_about_the_keys_are_told() -> None:
    (found,) = differences(PROOF, replace(PROOF, keys_tell_month=True), NAMES)
    assert found == "keys within the month: PostgreSQL False, the archive True"
