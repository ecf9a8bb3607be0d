"""ISO 4217: which currencies there are at what time, and their decimal places."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from ledger.currencies import CURRENCIES, ENDED_CURRENCIES, check_currency, decimal_places
from ledger.errors import FieldError
from ledger.tables import TRANSACTIONS, VAS_TRANSACTIONS
from ledger.transactions import new_columns, new_transaction


@pytest.mark.parametrize(
    ("code", "places"),
    [
        ("ZAR", 2),
        ("JPY", 0),
        ("KRW", 0),
        ("ISK", 0),
        ("UGX", 0),
        ("XOF", 0),
        ("KWD", 3),
        ("TND", 3),
        ("MRU", 2),
        ("ITL", 0),
        ("BYR", 0),
        ("TRL", 0),
        ("ROL", 2),
        ("HRK", 2),
    ],
)
def test_minor_units_are_those_of_iso_4217(code: str, places: int) -> None:
    assert decimal_places(code) == places


def test_no_code_is_active_and_ended_and_every_end_is_behind_its_beginning() -> None:
    assert CURRENCIES.isdisjoint(ENDED_CURRENCIES)
    assert all(len(code) == 3 and code.isascii() and code.isupper() for code in ENDED_CURRENCIES)
    assert all(ended.first <= ended.last for ended in ENDED_CURRENCIES.values())


def test_a_currency_that_ended_is_one_of_its_time_only() -> None:
    last, first_after = datetime(2023, 1, 31, 23, 59, tzinfo=UTC), datetime(2023, 2, 1, tzinfo=UTC)
    assert check_currency("currency", "HRK", last) == "HRK"
    for at in (first_after, None, datetime(1990, 1, 1, tzinfo=UTC)):
        with pytest.raises(FieldError, match="HRK was so from 1994-05 to 2023-01"):
            check_currency("currency", "HRK", at)


ROW = {"client_id": "c", "user_id": "u", "wallet_id": "w", "type": "payment", "amount": "120", "currency": "JPY"}
VAS_ROW = ROW | {"supplier": "flash", "vas_type": "airtime"}


@pytest.mark.parametrize("field", ["amount", "fee", "commission"])
def test_money_has_the_decimal_places_of_its_currency(field: str) -> None:
    whole, broken = VAS_ROW | {field: "120.00"}, VAS_ROW | {field: "120.50"}
    assert new_transaction(VAS_TRANSACTIONS, whole)[field] == 120
    with pytest.raises(FieldError, match=f"{field}: must be a whole number: JPY has no decimal places"):
        new_transaction(VAS_TRANSACTIONS, broken)
    assert new_columns(VAS_TRANSACTIONS, [VAS_ROW, whole]) is not None
    assert new_columns(VAS_TRANSACTIONS, [VAS_ROW | {"currency": "ZAR"}, broken]) is None


ENDED_WITHOUT_PLACES = "ADP BEF BYB BYR ESP GRD ITL LUF MGF PTE TPE TRL"  # by the Java platform, of list three


def test_money_of_an_ended_currency_without_decimal_places_has_none() -> None:
    codes = sorted(ENDED_WITHOUT_PLACES.split())
    assert [code for code in sorted(ENDED_CURRENCIES) if decimal_places(code) == 0] == codes
    for code in codes:
        row, at = ROW | {"currency": code, "amount": "120.50"}, ENDED_CURRENCIES[code].last.lower
        with pytest.raises(FieldError, match=f"amount: must be a whole number: {code} has no decimal places"):
            new_transaction(TRANSACTIONS, row, at=at)
        assert new_transaction(TRANSACTIONS, row | {"amount": "120.00"}, at=at)["amount"] == 120
    kept = ROW | {"currency": "DEM", "amount": "120.50"}
    assert new_transaction(TRANSACTIONS, kept, at=datetime(1999, 1, 1, tzinfo=UTC))["amount"] == Decimal("120.50")


def test_a_row_of_the_past_may_have_a_currency_of_the_past() -> None:
    row = ROW | {"currency": "LTL"}
    assert new_transaction(TRANSACTIONS, row, at=datetime(2014, 5, 1, tzinfo=UTC))["currency"] == "LTL"
    with pytest.raises(FieldError, match="in use at the time"):
        new_transaction(TRANSACTIONS, row)
    assert new_columns(TRANSACTIONS, [row]) is None
