"""Suppliers' ways to write money, converted exactly, once, at the edge: whole cents, decimal rand, text."""

from decimal import ROUND_HALF_UP, Decimal, InvalidOperation

from ledger.currencies import decimal_places
from ledger.errors import DataError

CURRENCY = "ZAR"  # of every supplier; one in another currency needs that currency's minor units below
_PLACES = decimal_places(CURRENCY)
_CENT = Decimal(1).scaleb(-_PLACES)
_LARGEST = Decimal(10) ** 16


def to_cents(amount: Decimal) -> int:
    """Whole cents. Raises DataError for a part of a cent: rounding here would change what somebody pays."""
    cents = amount.scaleb(_PLACES)
    if not cents.is_finite() or cents != cents.to_integral_value():
        raise DataError("amount: must be whole cents")
    return int(cents)


def from_cents(cents: int) -> Decimal:
    """The rand of whole cents, with two places."""
    return Decimal(cents).scaleb(-_PLACES).quantize(_CENT)


def from_rand(value: Decimal | str | int) -> Decimal:
    """The exact value of a decimal amount, with two places. Further places must be zero. Raises DataError.

    Never takes a float: answers are decoded with their numbers as Decimal.
    """
    try:
        amount = Decimal(value)
        exact = amount.quantize(_CENT)
    except InvalidOperation:
        raise DataError("amount: is not money") from None
    if exact != amount or abs(exact) >= _LARGEST:
        raise DataError("amount: must have at most two decimal places and 16 digits before them")
    return exact


def to_text(amount: Decimal) -> str:
    """The amount with exactly two places and a point."""
    return f"{from_cents(to_cents(amount)):.2f}"


def share(amount: Decimal, rate: Decimal) -> Decimal:
    """``amount`` times ``rate``, rounded half up to the cent."""
    return (amount * rate).quantize(_CENT, ROUND_HALF_UP)
