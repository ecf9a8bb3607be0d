"""Outcomes from verdicts, and their public texts. The supplier's own words are never passed on:
they may hold a number or a PIN."""

from decimal import Decimal

from ledger.errors import ConfigError, FieldError, TransientError, TreasuryError
from suppliers.errors import BadCredentialsError
from suppliers.protocol import Outcome, PurchaseRequest
from suppliers.transport import SupplierAnswer
from suppliers.verdicts import PurchaseState, Verdict, state_after_doubt, state_of

_DETAILS = {
    Verdict.SUCCESS: "sold",
    Verdict.PENDING: "the supplier has not decided yet",
    Verdict.CANCELLED: "cancelled, and may still become successful",
    Verdict.UNCERTAIN: "the supplier's answer does not contain the outcome",
    Verdict.DUPLICATE: "the reference is taken; the answer does not contain the outcome",
    Verdict.RESUBMIT: "the supplier does not know the outcome yet",
    Verdict.ABSENT: "the supplier knows of no such purchase",
    Verdict.DECLINED: "the supplier declined",
    Verdict.INVALID: "the supplier finds a value invalid",
    Verdict.OUT_OF_FUNDS: "our account with the supplier has not enough funds",
    Verdict.RETRY_LATER: "the supplier cannot sell this now",
    Verdict.BUSY: "the supplier is busy",
    Verdict.CREDENTIALS: "the supplier does not accept our credentials",
}


def outcome(
    request: PurchaseRequest,
    verdict: Verdict,
    *,
    code: str | None = None,
    transaction_id: str | None = None,
    amount: Decimal | None = None,
    in_doubt: bool = False,
) -> Outcome:
    """The outcome of ``request`` by the supplier's verdict; ``in_doubt`` when an earlier try may have been sold."""
    state = state_after_doubt(verdict) if in_doubt else state_of(verdict)
    if verdict is Verdict.SUCCESS and not transaction_id:
        state, verdict = PurchaseState.UNKNOWN, Verdict.UNCERTAIN  # a sale that cannot be named cannot be reconciled
    return Outcome(
        state=state,
        verdict=verdict,
        supplier_reference=request.reference,
        supplier_transaction_id=transaction_id,
        amount=amount,
        code=code,
        detail=_DETAILS[verdict] + (f" ({code})" if code else ""),
    )


def unanswered(request: PurchaseRequest, detail: str = "no answer came") -> Outcome:
    """Sent, and nobody knows what became of it."""
    return Outcome(PurchaseState.UNKNOWN, Verdict.UNCERTAIN, request.reference, detail=detail)


def not_sent(request: PurchaseRequest, error: TreasuryError) -> Outcome:
    """Nothing was sold, because of ``error``."""
    if isinstance(error, BadCredentialsError):
        verdict = Verdict.CREDENTIALS
    elif isinstance(error, FieldError):
        verdict = Verdict.INVALID
    elif isinstance(error, ConfigError):  # our own trouble: nothing is wrong with what was ordered
        verdict = Verdict.RETRY_LATER
    else:
        verdict = Verdict.BUSY if isinstance(error, TransientError) else Verdict.DECLINED
    return Outcome(PurchaseState.FAILED, verdict, request.reference, detail=f"not sent: {error}")


def is_inconclusive(answer: SupplierAnswer) -> bool:
    """Return whether no conclusion can be drawn from an answer to a purchase: a failure of the server, or a page."""
    return answer.status >= 500 or not answer.is_json
