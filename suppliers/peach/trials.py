"""The payments of the supplier tests through Peach: one payment to refund, and every turn that a payment can take."""

from decimal import Decimal

from ledger.transactions import VasType
from suppliers.trials import Trial
from suppliers.verdicts import PurchaseState, Verdict


def _trial(name: str, amount: str, expected: PurchaseState, verdict: Verdict, settles: PurchaseState) -> Trial:
    """At the simulator the amount chooses what happens (`simulator.STORIES`)."""
    return Trial(name, VasType.VOUCHER_TOPUP, "PAYSHAP", Decimal(amount), expected, verdict, settles)


TRIALS = (
    Trial("payment", VasType.VOUCHER_TOPUP, "PAYSHAP", Decimal("10.00"), reversible=True, simulator_only=False),
    _trial("pending", "9900.07", PurchaseState.PENDING, Verdict.PENDING, PurchaseState.PENDING),
    _trial("cancelled, then successful", "9900.02", PurchaseState.PENDING, Verdict.CANCELLED, PurchaseState.COMPLETED),
    _trial("uncertain, then successful", "9900.03", PurchaseState.UNKNOWN, Verdict.UNCERTAIN, PurchaseState.COMPLETED),
    _trial("declined", "9900.04", PurchaseState.FAILED, Verdict.DECLINED, PurchaseState.FAILED),
    _trial(
        "communication error, paid behind it",
        "9900.05",
        PurchaseState.UNKNOWN,
        Verdict.UNCERTAIN,
        PurchaseState.COMPLETED,
    ),
    _trial("invalid", "9900.06", PurchaseState.FAILED, Verdict.INVALID, PurchaseState.FAILED),
)
