"""A share as people read it: in per cent, and as all of it only when it is."""

from decimal import ROUND_DOWN, ROUND_HALF_UP, Decimal

_TENTH = Decimal("0.1")


def percent(share: Decimal) -> str:
    """A share of 0 to 1 in per cent, rounded to one place; less than the whole is never 100.0 %."""
    rounded = (share * 100).quantize(_TENTH, rounding=ROUND_HALF_UP)
    if rounded == 100 and share < 1:
        rounded = (share * 100).quantize(_TENTH, rounding=ROUND_DOWN)
    return f"{rounded} %"
