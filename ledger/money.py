"""Money: exact decimals of at most two places. No float ever becomes money."""

import re
from collections.abc import Callable
from decimal import Context, Decimal, Inexact

from ledger.currencies import WITHOUT_CENTS, decimal_places
from ledger.errors import FieldError

AMOUNT = re.compile(r"-?\d{1,16}(?:\.\d{1,2})?\Z", re.ASCII)
AMOUNT_RULE = "must be a decimal string with at most 16 digits before the point and 2 after it"
CENT = Decimal("0.01")
# Python rounds to 28 digits unless set otherwise. PostgreSQL's numeric has at most 131,072 digits before the point and
# 16,383 after it; a result that does not fit raises an error and is never rounded.
_EXACT = Context(prec=200_000, traps=[Inexact])


# The sum of two decimals with every digit, however many there are. NaN with anything is NaN. A function of the decimal
# module itself: totals are thousands of them.
add_exactly: Callable[[Decimal, Decimal], Decimal] = _EXACT.add


def plain(value: Decimal) -> str:
    """A decimal as digits with every place that it has, never with an exponent."""
    return format(value, "f")


def shown(value: Decimal, currency: str) -> str:
    """A decimal for people: the places of its currency, and every further one that is not zero; never rounded."""
    whole, _, places = plain(value).partition(".")
    if not value.is_finite():
        return whole
    places = places.rstrip("0").ljust(decimal_places(currency), "0")
    return f"{whole}.{places}" if places else whole


def parse_amount(field: str, text: str) -> Decimal:
    """The exact value of a decimal string, with two places. Raises FieldError for anything else.

    NaN, Infinity, exponents, signs other than ``-``, spaces, separators and further decimal places are refused.
    """
    if not AMOUNT.match(text):
        raise FieldError(field, AMOUNT_RULE)
    return Decimal(text).quantize(CENT) + 0  # + 0: there is no negative zero, and 18 digits are not rounded


def parse_positive(field: str, text: str) -> Decimal:
    """As `parse_amount`, and more than zero."""
    value = parse_amount(field, text)
    if value <= 0:
        raise FieldError(field, "must be more than 0")
    return value


def parse_not_negative(field: str, text: str) -> Decimal:
    """As `parse_amount`, and zero or more."""
    value = parse_amount(field, text)
    if value < 0:
        raise FieldError(field, "must be 0 or more")
    return value


def check_places(field: str, value: Decimal, currency: str) -> Decimal:
    """``value`` (two places) when ``currency`` has the decimal places that it needs: 120.50 JPY is not an amount.

    Raises FieldError.
    """
    if currency in WITHOUT_CENTS and value % 1:
        raise FieldError(field, f"must be a whole number: {currency} has no decimal places")
    return value
