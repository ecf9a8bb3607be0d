"""A share in per cent: never more than it is."""

from decimal import Decimal

import pytest

from ledger.shares import percent


@pytest.mark.parametrize(
    ("share", "told"),
    [("0.884615", "88.5 %"), ("1.000000", "100.0 %"), ("0.999999", "99.9 %"), ("0", "0.0 %"), ("0.5", "50.0 %")],
)
def test_only_the_whole_is_told_as_all(share: str, told: str) -> None:
    assert percent(Decimal(share)) == told
