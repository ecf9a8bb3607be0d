"""The purchases of the supplier tests at Voucherly."""

from decimal import Decimal

from ledger.transactions import VasType
from suppliers.trials import Trial
from suppliers.verdicts import PurchaseState, Verdict

TRIALS = (
    Trial("voucher", VasType.VOUCHER_TOPUP, "books", Decimal("20.00"), simulator_only=False),
    Trial(
        "refused",
        VasType.VOUCHER_TOPUP,
        "never",
        Decimal("20.00"),
        PurchaseState.FAILED,
        Verdict.DECLINED,
        PurchaseState.UNKNOWN,
    ),
    Trial(
        "no such product",
        VasType.VOUCHER_TOPUP,
        "x",
        Decimal("20.00"),
        PurchaseState.FAILED,
        Verdict.INVALID,
        PurchaseState.UNKNOWN,
    ),
)
