"""Money is an exact decimal string; whatever else could be read as a number is refused."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.currencies import CURRENCIES, check_currency
from ledger.errors import FieldError
from ledger.money import AMOUNT_RULE, parse_amount, parse_not_negative, parse_positive

REFUSED = [
    "",
    " ",
    "NaN",
    "nan",
    "sNaN",
    "Infinity",
    "-Infinity",
    "inf",
    "1e3",
    "1E3",
    "1E-2",
    "+1",
    "--1",
    "-",
    "1.",
    ".5",
    ".",
    "1.234",
    "0.001",
    "12345678901234567",
    "-12345678901234567.00",
    "1,000",
    "1 000",
    " 1",
    "1 ",
    "1\n",
    "1.0\n",
    "1_000",
    "0x10",
    "1.2.3",
    "R100",
    "\uff11\uff12",
    "\u0661\u0662",
    "1\u066b5",
    "\u22121",
    "1\x00",
]
amounts = st.integers(-(10**18) + 1, 10**18 - 1)


@pytest.mark.parametrize("text", REFUSED)
def test_no_other_form_of_a_number_is_money(text: str) -> None:
    for parse in (parse_amount, parse_positive, parse_not_negative):
        with pytest.raises(FieldError) as caught:
            parse("amount", text)
        assert (caught.value.field, caught.value.rule) == ("amount", AMOUNT_RULE)


@given(st.text(max_size=8))
def test_any_text_is_either_refused_or_read_as_exactly_what_it_says(text: str) -> None:
    try:
        value = parse_amount("amount", text)
    except FieldError:
        return
    assert value == Decimal(text)
    assert text.isascii()


@given(amounts)
def test_every_amount_of_18_digits_is_read_exactly_with_two_places(cents: int) -> None:
    sign, (rand, rest) = "-" if cents < 0 else "", divmod(abs(cents), 100)
    value = parse_amount("amount", f"{sign}{rand}.{rest:02d}")
    assert int(value.scaleb(2)) == cents
    assert value.as_tuple().exponent == -2


@pytest.mark.parametrize(
    ("text", "expected"),
    [("100", "100.00"), ("100.5", "100.50"), ("0", "0.00"), ("007.10", "7.10"), ("-3.2", "-3.20"), ("-0", "0.00")],
)
def test_an_amount_has_two_places_even_in_a_currency_without_cents(text: str, expected: str) -> None:
    assert str(parse_amount("amount", text)) == expected


@given(amounts)
def test_signs_are_ruled_on_where_they_matter(cents: int) -> None:
    text = str(Decimal(cents).scaleb(-2))
    if cents > 0:
        assert parse_positive("amount", text) == Decimal(text)
    else:
        with pytest.raises(FieldError, match="amount: must be more than 0"):
            parse_positive("amount", text)
    if cents >= 0:
        assert parse_not_negative("fee", text) == Decimal(text)
    else:
        with pytest.raises(FieldError, match="fee: must be 0 or more"):
            parse_not_negative("fee", text)


@pytest.mark.parametrize("parse", [parse_amount, parse_not_negative])
def test_there_is_no_negative_zero(parse: object) -> None:
    assert callable(parse)
    assert not parse("fee", "-0.00").is_signed()


@pytest.mark.parametrize("code", ["ZAR", "USD", "EUR", "JPY", "KWD"])
def test_active_currencies_are_taken(code: str) -> None:
    assert check_currency("currency", code) == code


@pytest.mark.parametrize("code", ["", "zar", "ZA", "ZARR", "ZAR ", "XXX", "XAU", "DEM", "R", "ZAR\n"])
def test_anything_else_is_no_currency(code: str) -> None:
    with pytest.raises(FieldError, match="currency: must be an ISO 4217"):
        check_currency("currency", code)


def test_the_list_holds_well_formed_codes_only() -> None:
    assert all(len(code) == 3 and code.isascii() and code.isupper() for code in CURRENCIES)
