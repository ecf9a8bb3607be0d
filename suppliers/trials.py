"""The purchases of the supplier tests, and the outcomes that they must have. Each supplier's folder has its own list,
as data.

Numbers and meters are made up. ``simulator_only``: an error that only the simulator gives on demand.
"""

from dataclasses import dataclass
from decimal import Decimal

from ledger.transactions import VasType
from suppliers.verdicts import PurchaseState, Verdict

MOBILE = "0830000001"
METER = "04000000011"
ACCOUNT = "700000001"
REFUSED_MOBILE = "0830000000"
REFUSED_METER = "04000000000"


@dataclass(frozen=True, slots=True)
class Trial:
    """One purchase and its expected end. ``settles`` is its state once it was asked for, where that differs."""

    name: str
    vas_type: VasType
    product_code: str
    amount: Decimal
    expected: PurchaseState = PurchaseState.COMPLETED
    verdict: Verdict | None = None
    settles: PurchaseState | None = None
    mobile_number: str | None = MOBILE
    meter_number: str | None = METER
    account_number: str | None = ACCOUNT
    reversible: bool = False
    simulator_only: bool = True
