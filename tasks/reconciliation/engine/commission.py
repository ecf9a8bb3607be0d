"""Commission by contract, and the VAT that it includes."""

from collections.abc import Mapping
from decimal import ROUND_HALF_UP, Decimal

import pyarrow as pa

from ledger.transactions import VasType

_CENT = Decimal("0.01")


def vat_included(commission: Decimal, rate: Decimal = Decimal("0.15")) -> Decimal:
    """The VAT inside a commission that includes it, to the cent, halves away from zero.

    ``commission * rate / (1 + rate)``: South Africa's VAT Act, 7(1), speaks of the tax fraction r / (100 + r).
    """
    return (commission * rate / (1 + rate)).quantize(_CENT, ROUND_HALF_UP)


def rate_table(rates: Mapping[str, Decimal]) -> pa.Table:
    """A supplier's contract rates, by product code or else by VAS type, as the engine's table ``rate``."""
    names = [(name, name in set(VasType)) for name in sorted(rates)]
    return pa.table(
        {
            "product": pa.array([None if is_type else name for name, is_type in names], pa.string()),
            "vas_type": pa.array([name if is_type else None for name, is_type in names], pa.string()),
            "rate": pa.array([rates[name] for name, _ in names], pa.decimal128(9, 6)),
        }
    )
