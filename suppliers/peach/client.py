"""Peach's client: PayShap payments from server to server, checkouts for a shopper's browser, refunds, statements.

A payment is posted once. Its outcome is looked up by our own reference; a webhook (`webhooks`) may report it sooner.
"""

import secrets
from collections.abc import Sequence
from datetime import date, timedelta
from decimal import Decimal
from types import MappingProxyType
from typing import Any, Final
from uuid import UUID

import msgspec
from aiolimiter import AsyncLimiter

from config.suppliers import PeachSettings
from ledger.business_days import bounds
from ledger.errors import ConfigError, DataError, FieldError
from ledger.transactions import Supplier as Name
from ledger.transactions import VasType
from suppliers.errors import BadCredentialsError, DeclinedError, SupplierFailingError, UnknownOutcomeError
from suppliers.money import CURRENCY, from_rand, to_text
from suppliers.numbers import international
from suppliers.outcomes import is_inconclusive, outcome, unanswered
from suppliers.peach import LARGEST, codes
from suppliers.peach.messages import ANSWER, CHECKOUT, TOKEN, Payment, PeachAnswer
from suppliers.protocol import Outcome, Product, PurchaseRequest
from suppliers.references import short_reference
from suppliers.tokens import Token, TokenCache
from suppliers.transport import SupplierAnswer, SupplierCall, Transport, bearer, may_be_asked_again
from suppliers.verdicts import PurchaseState, Verdict

HOSTS: Final = MappingProxyType(
    {
        ("auth", "sandbox"): "https://sandbox-dashboard.peachpayments.com",
        ("auth", "production"): "https://dashboard.peachpayments.com",
        ("checkout", "sandbox"): "https://testsecure.peachpayments.com",
        ("checkout", "production"): "https://secure.peachpayments.com",
        ("payments", "sandbox"): "https://testapi-v2.peachpayments.com",
        ("payments", "production"): "https://api-v2.peachpayments.com",
        ("reconciliation", "production"): "https://reconciliation.peachpayments.com",
    }
)
BRAND: Final = "PAYSHAP"
DEBIT, REFUND = "DB", "RF"
_RANK = {
    PurchaseState.COMPLETED: 2,
    PurchaseState.FAILED: 0,
}  # of several payments: one that is not decided yet outweighs a refusal
_STATEMENT_PAUSE_S = 1.1  # Peach allows one request a second; a tenth more for requests that overtake on the way


class Peach:
    """The client of Peach Payments, a `SupplierClient`."""

    name: str = Name.PEACH.value

    def __init__(self, settings: PeachSettings) -> None:
        self._settings = settings
        self._payments = self._host("payments")
        secrets = (settings.client_id, settings.client_secret, settings.user_id, settings.password)
        if any(secret is None for secret in secrets) or settings.entity_id is None or settings.merchant_id is None:
            raise ConfigError("TREASURY_SUPPLIERS: peach has no credentials, and no simulator runs")
        self._client_id, self._client_secret, user_id, password = (
            secret.get_secret_value() for secret in secrets if secret
        )
        self._entity_id, self._merchant_id = settings.entity_id, settings.merchant_id
        self._authentication = {"userId": user_id, "password": password, "entityId": self._entity_id}
        self._http = Transport(self.name, settings, (self._payments,))
        self._tokens = TokenCache(self._fetch_token, settings.token_early_s)
        self._statement_rate = AsyncLimiter(1, _STATEMENT_PAUSE_S)

    def reference_of(self, row_id: UUID) -> str:
        """16 letters and digits."""
        return short_reference(row_id)

    def believes(self, outcome: Outcome, age: timedelta) -> bool:
        """Return whether "no such payment" or "cancelled" is old enough to be final: both may still succeed."""
        patience = {
            Verdict.ABSENT: self._settings.absent_after_s,
            Verdict.CANCELLED: self._settings.cancelled_after_s,
        }.get(outcome.verdict)
        return patience is not None and age >= timedelta(seconds=patience)

    async def authenticate(self) -> None:
        """Get a fresh token of the checkout and reconciliation APIs. Raises BadCredentialsError, TransientError."""
        await self._tokens.fresh()

    async def products(self) -> Sequence[Product]:
        """Peach sells no products: its one service is the payment itself."""
        return [Product(BRAND, "PayShap payment", VasType.VOUCHER_TOPUP, Decimal("0.01"), LARGEST, reversible=True)]

    async def purchase(self, request: PurchaseRequest) -> Outcome:
        """Ask the payer's bank for the money. Only what was turned away unseen is tried again."""
        if request.vas_type is not VasType.VOUCHER_TOPUP:
            raise FieldError("vas_type", f"peach takes payments for {VasType.VOUCHER_TOPUP} only")
        if request.amount > LARGEST:
            raise FieldError("amount", f"must be at most {LARGEST} for peach")
        body = self._money(request.amount, DEBIT) | {
            "merchantTransactionId": request.reference,
            "paymentBrand": BRAND,
            "virtualAccount": {
                "bank": request.bank or self._settings.bank,
                "type": "CELLPHONE",
                "accountId": international(request.mobile_number),
            },
        }
        return await self._pay("payments", body, request)

    async def resolve(self, request: PurchaseRequest) -> Outcome:
        """Look the payment up by our reference."""
        parameters = {f"authentication.{name}": value for name, value in self._authentication.items()}
        parameters["merchantTransactionId"] = request.reference
        answer = await self._http.ask(SupplierCall("GET", f"{self._payments}/payments", parameters=parameters))
        return _found(request, answer)

    async def reverse(self, request: PurchaseRequest, sold: Outcome, reference: str) -> Outcome:
        """Refund the payment in full, once. Raises DeclinedError when it has no id."""
        if sold.supplier_transaction_id is None:
            raise DeclinedError("peach: a payment without an id cannot be refunded")
        body = self._money(sold.amount or request.amount, REFUND) | {"merchantTransactionId": reference}
        return await self._pay(f"payments/{sold.supplier_transaction_id}", body, request)

    async def fetch_statement(self, day: date) -> bytes | None:
        """The reconciliation API's answer for one Africa/Johannesburg day, as it came.

        Raises TransientError, ConfigError; DataError when Peach refuses the day.
        """
        start, end = bounds(day)
        call = SupplierCall(
            "GET",
            f"{self._host('reconciliation')}/api/merchants/{self._merchant_id}/transactions-recon",
            parameters={"startDate": start.isoformat(), "endDate": end.isoformat()},
            headers={"Accept-Encoding": "gzip"},
            rate=self._statement_rate,
        )
        answer = await self._http.ask_authorized(call, self._tokens, bearer)
        if not answer.is_ok:
            raise DataError(f"peach gives no statement of {day} ({answer.status})")
        return answer.body

    async def open_checkout(self, request: PurchaseRequest) -> str:
        """Open a checkout for a shopper's browser; returns its id. Its outcome comes by webhook or `resolve`.

        Raises TransientError, ConfigError, DataError. Opening one moves no money, so it may be repeated.
        """
        body = {
            "authentication": {"entityId": self._entity_id},
            "merchantTransactionId": request.reference,
            "amount": request.amount,
            "currency": CURRENCY,
            "nonce": secrets.token_hex(16),
            "shopperResultUrl": self._settings.result_url,
        }
        headers = {"Referer": self._settings.referer}
        call = SupplierCall("POST", f"{self._host('checkout')}/v2/checkout", json=body, headers=headers)
        answer = await self._http.ask_authorized(call, self._tokens, bearer)
        try:
            return CHECKOUT.decode(answer.body).checkout_id
        except msgspec.MsgspecError:
            raise DataError(f"peach opens no checkout ({answer.status})") from None

    async def aclose(self) -> None:
        """Close every connection."""
        await self._http.aclose()

    def _host(self, api: str) -> str:
        """The address of one of the four APIs. Raises ConfigError naming the setting when it is not known."""
        own_host: str | None = getattr(self._settings, f"{api}_url")
        host = own_host or HOSTS.get((api, self._settings.environment))
        if host is None:
            raise ConfigError(f"TREASURY_SUPPLIERS: peach.{api}_url is not set, and no simulator runs")
        return host

    def _money(self, amount: Decimal, payment_type: str) -> dict[str, Any]:
        return {
            "authentication": self._authentication,
            "amount": to_text(amount),
            "currency": CURRENCY,
            "paymentType": payment_type,
        }

    async def _pay(self, path: str, body: dict[str, Any], request: PurchaseRequest) -> Outcome:
        call = SupplierCall("POST", f"{self._payments}/{path}", json=body)
        async for attempt in self._http.retries(may_be_asked_again):
            with attempt:
                try:
                    answer = await self._http.send(call)
                except UnknownOutcomeError as error:
                    return unanswered(request, str(error))
                return _outcome(request, answer)
        raise AssertionError("a last try returns or raises")

    async def _fetch_token(self) -> Token:
        call = SupplierCall(
            "POST",
            f"{self._host('auth')}/api/oauth/token",
            json={
                "clientId": self._client_id,
                "clientSecret": self._client_secret,
                "merchantId": self._merchant_id,
            },
            timeout_s=self._settings.token_timeout_s,
        )
        return await self._http.fetch_token(call, _token)


def _token(body: bytes) -> Token:
    try:
        answer = TOKEN.decode(body)
        return Token(answer.access_token, float(answer.expires_in))
    except (msgspec.MsgspecError, ValueError):
        raise SupplierFailingError("peach: the answer holds no token") from None


def _outcome(request: PurchaseRequest, answer: SupplierAnswer) -> Outcome:
    """The outcome that a posted payment was answered with."""
    if is_inconclusive(answer):
        return unanswered(request, f"peach answered with {answer.status} {answer.media_type}")
    try:
        return _of_payment(request, ANSWER.decode(answer.body))
    except (msgspec.MsgspecError, DataError):
        return unanswered(request, "peach's answer cannot be read")


def _found(request: PurchaseRequest, answer: SupplierAnswer) -> Outcome:
    """The outcome that a look-up finds: of the payments under our reference the one that went furthest.

    A refusal is one of the question, never of the payment. Raises SupplierFailingError for it, and for anything else
    that shows neither a payment nor that there is none.
    """
    try:
        decoded = ANSWER.decode(answer.body)
        payments = _listed_payments(decoded, answer)
        debits = [payment for payment in payments if payment.payment_type in (None, DEBIT)]
        if any(payment.merchant_transaction_id not in (None, request.reference) for payment in debits):
            raise SupplierFailingError("peach: the look-up has a payment of another reference")
        if any(payment.id is None for payment in debits):
            raise SupplierFailingError("peach: the look-up has a payment without an id")
        if not debits:
            return outcome(request, Verdict.ABSENT)
        outcomes = [
            _of_payment(request, payment) for payment in sorted(debits, key=lambda payment: payment.timestamp or "")
        ]
    except (msgspec.MsgspecError, DataError):
        raise SupplierFailingError("peach: the look-up cannot be read") from None
    return max(enumerate(outcomes), key=lambda payment: (_RANK.get(payment[1].state, 1), payment[0]))[1]


def _listed_payments(decoded: PeachAnswer, answer: SupplierAnswer) -> Sequence[Payment]:
    """The payments that a look-up lists; none only where Peach says that there is none."""
    code = decoded.result.code if decoded.result else ""
    verdict = codes.verdict_of(code)
    if decoded.payments is not None and answer.is_ok and (not code or verdict is Verdict.SUCCESS):
        return decoded.payments
    if decoded.payments is None and decoded.id is not None and (answer.is_ok or verdict is not Verdict.SUCCESS):
        return [decoded]
    if not decoded.payments and verdict is Verdict.ABSENT:
        return []
    if verdict is Verdict.CREDENTIALS:
        raise BadCredentialsError(f"peach does not accept this account ({code})")
    raise SupplierFailingError(f"peach answers the look-up with {answer.status} ({code or 'no code'})")


def _of_payment(request: PurchaseRequest, payment: Payment) -> Outcome:
    code = payment.result.code if payment.result else ""
    verdict = codes.verdict_of(code)
    if verdict is Verdict.CREDENTIALS:
        raise BadCredentialsError(f"peach does not accept this account ({code})")
    return outcome(
        request,
        verdict,
        code=code or None,
        transaction_id=payment.id,
        amount=None if payment.amount is None else from_rand(payment.amount),
    )


CLIENT: Final = Peach
