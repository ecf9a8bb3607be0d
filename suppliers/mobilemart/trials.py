"""The purchases of the supplier tests at MobileMart: one purchase to reverse, one of each kind, and every class of
error.
"""

from decimal import Decimal

from ledger.transactions import VasType
from suppliers.trials import REFUSED_METER, REFUSED_MOBILE, Trial
from suppliers.verdicts import PurchaseState, Verdict, state_of

_MAGIC = "9999"  # at the simulator, a product whose amount in cents is the fulcrumErrorCode
_EXAMPLES = {
    1001: Verdict.INVALID,
    1002: Verdict.DECLINED,
    1010: Verdict.INVALID,
    1016: Verdict.DECLINED,
    999: Verdict.UNCERTAIN,
}


def _coded(code: int, verdict: Verdict) -> Trial:
    amount = Decimal(code) / 100
    settles = PurchaseState.UNKNOWN if verdict is Verdict.UNCERTAIN else None
    return Trial(f"{verdict} ({code})", VasType.VOUCHER_TOPUP, _MAGIC, amount, state_of(verdict), verdict, settles)


TRIALS = (
    Trial("data", VasType.DATA, "2001", Decimal("85.00"), reversible=True, simulator_only=False),
    Trial("airtime", VasType.AIRTIME, "1001", Decimal("5.00"), simulator_only=False),
    Trial("voucher", VasType.VOUCHER_TOPUP, "3001", Decimal("10.00"), reversible=True, simulator_only=False),
    Trial("electricity", VasType.ELECTRICITY, "4001", Decimal("10.00"), simulator_only=False),
    Trial("bill payment", VasType.BILL_PAYMENT, "5001", Decimal("10.00"), simulator_only=False),
    *(_coded(code, verdict) for code, verdict in _EXAMPLES.items()),
    Trial(
        "refused mobile number",
        VasType.AIRTIME,
        "1001",
        Decimal("5.00"),
        PurchaseState.FAILED,
        Verdict.INVALID,
        None,
        REFUSED_MOBILE,
    ),
    Trial(
        "refused meter",
        VasType.ELECTRICITY,
        "4001",
        Decimal("10.00"),
        PurchaseState.FAILED,
        Verdict.DECLINED,
        None,
        None,
        REFUSED_METER,
    ),
)
