"""The purchases of the supplier tests at Flash: one purchase to reverse, one of each kind, and every class of error."""

from decimal import Decimal

from ledger.transactions import VasType
from suppliers.trials import REFUSED_METER, REFUSED_MOBILE, Trial
from suppliers.verdicts import PurchaseState, Verdict, state_of

_MAGIC = "999"  # at the simulator, a product whose amount in cents is the response code
_EXAMPLES = {
    Verdict.RETRY_LATER: 2001,
    Verdict.OUT_OF_FUNDS: 2003,
    Verdict.DUPLICATE: 2201,
    Verdict.DECLINED: 2401,
    Verdict.UNCERTAIN: 9998,
}


def _coded(verdict: Verdict, code: int) -> Trial:
    amount = Decimal(code) / 100
    return Trial(f"{verdict} ({code})", VasType.VOUCHER_TOPUP, _MAGIC, amount, state_of(verdict), verdict)


TRIALS = (
    Trial("voucher", VasType.VOUCHER_TOPUP, "311", Decimal("20.00"), reversible=True, simulator_only=False),
    Trial("airtime", VasType.AIRTIME, "101", Decimal("5.00"), simulator_only=False),
    Trial("electricity", VasType.ELECTRICITY, "301", Decimal("10.00"), simulator_only=False),
    Trial("cash out", VasType.CASH_OUT, "401", Decimal("50.00"), reversible=True, simulator_only=False),
    *(_coded(verdict, code) for verdict, code in _EXAMPLES.items()),
    Trial("resubmit (2210)", VasType.VOUCHER_TOPUP, _MAGIC, Decimal("22.10"), PurchaseState.COMPLETED, Verdict.SUCCESS),
    Trial("busy (2220)", VasType.VOUCHER_TOPUP, _MAGIC, Decimal("22.20"), PurchaseState.FAILED, Verdict.BUSY),
    Trial(
        "refused mobile number",
        VasType.AIRTIME,
        "101",
        Decimal("5.00"),
        PurchaseState.FAILED,
        Verdict.INVALID,
        None,
        REFUSED_MOBILE,
    ),
    Trial(
        "refused meter",
        VasType.ELECTRICITY,
        "301",
        Decimal("10.00"),
        PurchaseState.FAILED,
        Verdict.INVALID,
        None,
        None,
        REFUSED_METER,
    ),
)
