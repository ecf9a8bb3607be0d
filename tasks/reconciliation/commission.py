"""Commission by contract, and the VAT that it includes."""

from collections.abc import Sequence
from decimal import ROUND_HALF_UP, Decimal

import pyarrow as pa

from config.reconciliation import CommissionRate

_CENT = Decimal("0.01")


def vat_included(commission: Decimal, rate: Decimal = Decimal("0.15")) -> Decimal:
    """The VAT inside a commission that includes it, to the cent, halves away from zero.

    ``commission * rate / (1 + rate)``: South Africa's VAT Act, 7(1), speaks of the tax fraction r / (100 + r).
    """
    return (commission * rate / (1 + rate)).quantize(_CENT, ROUND_HALF_UP)


def default_rate(rates: Sequence[CommissionRate], supplier: str) -> Decimal | None:
    """The rate of ``supplier`` for what has no rate of its own; None when the contract names none."""
    return next(
        (one.rate for one in rates if (one.supplier, one.product, one.vas_type) == (supplier, None, None)), None
    )


def rate_table(rates: Sequence[CommissionRate], supplier: str) -> pa.Table:
    """The rates of ``supplier`` for products and kinds of service, as the engine's table ``rate``."""
    mine = [one for one in rates if one.supplier == supplier and (one.product or one.vas_type)]
    return pa.table(
        {
            "product": pa.array([one.product for one in mine], pa.string()),
            "vas_type": pa.array([one.vas_type for one in mine], pa.string()),
            "rate": pa.array([one.rate for one in mine], pa.decimal128(9, 6)),
        }
    )
