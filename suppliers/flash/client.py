"""Flash's client.

The same reference with the same body is answered as it was the first time. So a purchase may be posted again while its
outcome is not known, and that is the only status query there is.
"""

import base64
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from types import MappingProxyType
from typing import Any, Final
from uuid import UUID

import msgspec

from config.suppliers import FlashSettings
from ledger.errors import ConfigError, FieldError, TransientError
from ledger.transactions import Supplier as Name
from ledger.transactions import VasType
from suppliers.errors import DeclinedError, SupplierBusyError, SupplierFailingError, UnknownOutcomeError
from suppliers.flash import codes
from suppliers.flash.messages import CATALOGUE, PURCHASE, TOKEN, ProductLine
from suppliers.money import from_cents, to_cents
from suppliers.numbers import international
from suppliers.outcomes import is_inconclusive, outcome, unanswered
from suppliers.protocol import Outcome, Product, PurchaseRequest
from suppliers.references import plain_reference
from suppliers.tokens import Token, TokenCache
from suppliers.transport import SupplierAnswer, SupplierCall, Transport, bearer, may_be_asked_again
from suppliers.verdicts import PurchaseState, Verdict

HOSTS: Final = MappingProxyType(
    {
        "sandbox": "https://api-flashswitch-sandbox.flash-group.com",
        "production": "https://api.flashswitch.flash-group.com",
    }
)
PREFIX: Final = "/aggregation/4.0"
PURCHASES: Final[Mapping[VasType, str]] = MappingProxyType(
    {
        VasType.AIRTIME: "cellular/pinless/purchase",
        VasType.DATA: "cellular/pinless/purchase",
        VasType.ELECTRICITY: "prepaid-utilities/purchase",
        VasType.CASH_OUT: "cash-out-pin/purchase",
        VasType.VOUCHER_TOPUP: "1voucher/purchase",
    }
)
REVERSALS: Final[Mapping[VasType, str]] = MappingProxyType(
    {VasType.CASH_OUT: "cash-out-pin/reverse", VasType.VOUCHER_TOPUP: "1voucher/reverse"}
)
_GROUPS: Final[Mapping[str, VasType]] = MappingProxyType(
    {
        "airtime": VasType.AIRTIME,
        "data": VasType.DATA,
        "prepaid utilities": VasType.ELECTRICITY,
        "cash out": VasType.CASH_OUT,
        "1voucher": VasType.VOUCHER_TOPUP,
    }
)
_INACTIVE = frozenset({"inactive", "disabled", "false", "0"})
_MOST_DIGITS = 9
# This try was not understood, so it did nothing. It does not show what an earlier one did.
_REFUSALS = frozenset({400, 404, 422})


class Flash:
    """The client of Flash, a `SupplierClient`."""

    name: str = Name.FLASH.value

    def __init__(self, settings: FlashSettings) -> None:
        host = settings.base_url or HOSTS.get(settings.environment)
        if host is None or settings.consumer_key is None or settings.consumer_secret is None or not settings.account:
            raise ConfigError("TREASURY_SUPPLIERS: flash has no address or no credentials, and no simulator runs")
        self._settings = settings
        self._host = host
        self._account = settings.account
        pair = f"{settings.consumer_key.get_secret_value()}:{settings.consumer_secret.get_secret_value()}"
        self._basic = f"Basic {base64.b64encode(pair.encode()).decode()}"
        self._http = Transport(self.name, settings, (host,))
        self._tokens = TokenCache(self._fetch_token, settings.token_early_s)

    def reference_of(self, row_id: UUID) -> str:
        """The row's id."""
        return plain_reference(row_id)

    def believes(self, outcome: Outcome, age: timedelta) -> bool:
        """Flash never says "absent" or "cancelled": nothing to believe."""
        return False

    async def authenticate(self) -> None:
        """Get a fresh token. Raises BadCredentialsError, TransientError."""
        await self._tokens.fresh()

    async def products(self) -> Sequence[Product]:
        """The account's catalogue. Raises TransientError, ConfigError."""
        answer = await self._http.ask_authorized(
            SupplierCall("GET", f"{self._host}{PREFIX}/accounts/{self._account}/products"), self._tokens, bearer
        )
        try:
            catalogue = CATALOGUE.decode(answer.body)
        except msgspec.MsgspecError:
            raise SupplierFailingError("flash: the catalogue cannot be read") from None
        if _number(catalogue.response_code) != codes.SUCCESS:
            raise SupplierFailingError(f"flash: no catalogue ({catalogue.response_code})")
        return [_product(line) for line in catalogue.products]

    async def purchase(self, request: PurchaseRequest) -> Outcome:
        """Buy, posting the same reference again while no answer has the outcome."""
        return await self._post(self._path(request), self._body(request), request, in_doubt=False)

    async def resolve(self, request: PurchaseRequest) -> Outcome:
        """Post the purchase again: Flash answers as it did the first time, or sells now if it never arrived.

        Not for a purchase older than the setting ``resend_hours``: nobody promises that it is remembered for ever.
        """
        if datetime.now(UTC) - request.requested_at > timedelta(hours=self._settings.resend_hours):
            return unanswered(request, "too old to be posted again: the statement decides")
        return await self._post(self._path(request), self._body(request), request, in_doubt=True)

    async def reverse(self, request: PurchaseRequest, sold: Outcome, reference: str) -> Outcome:
        """Undo a voucher or a cash-out PIN. Raises DeclinedError for what cannot be reversed."""
        path = REVERSALS.get(request.vas_type)
        if path is None:
            raise DeclinedError(f"flash: {request.vas_type} cannot be reversed")
        body = {**self._common(reference), "originalReference": request.reference}
        return await self._post(path, body, _renamed(request, reference), in_doubt=False)

    async def fetch_statement(self, day: date) -> bytes | None:
        """None: Flash's statements are files."""
        return None

    async def aclose(self) -> None:
        """Close every connection."""
        await self._http.aclose()

    async def _fetch_token(self) -> Token:
        call = SupplierCall(
            "POST",
            f"{self._host}/token",
            form={"grant_type": "client_credentials"},
            headers={"Authorization": self._basic},
            timeout_s=self._settings.token_timeout_s,
        )
        return await self._http.fetch_token(call, _token)

    async def _post(self, path: str, body: Mapping[str, Any], request: PurchaseRequest, *, in_doubt: bool) -> Outcome:
        """Post until the outcome is known or the tries are used up. From the first doubt on, only a conclusive answer
        counts; see `verdicts.state_after_doubt`."""
        call = SupplierCall("POST", f"{self._host}{PREFIX}/{path}", json=body)
        doubts = [unanswered(request)] if in_doubt else []
        try:
            async for attempt in self._http.retries(_worth_another_try):
                with attempt:
                    return await self._try(call, request, doubts)
        except (TransientError, ConfigError, UnknownOutcomeError):
            if not doubts:
                raise  # every try was turned away unseen
        return doubts[-1]

    async def _try(self, call: SupplierCall, request: PurchaseRequest, doubts: list[Outcome]) -> Outcome:
        """One try. What leaves the outcome open is added to ``doubts`` and raised, so that it is tried again."""
        try:
            answer = await self._http.send_authorized(call, self._tokens, bearer)
        except UnknownOutcomeError as error:
            doubts.append(unanswered(request, str(error)))
            raise
        result = _outcome(request, answer, in_doubt=bool(doubts))
        if result.state is PurchaseState.UNKNOWN and result.verdict is not Verdict.DUPLICATE:
            doubts.append(result)
            raise UnknownOutcomeError(result.detail)
        return result

    def _path(self, request: PurchaseRequest) -> str:
        path = PURCHASES.get(request.vas_type)
        if path is None:
            raise FieldError("vas_type", f"flash sells {', '.join(PURCHASES)}")
        return path

    def _common(self, reference: str) -> dict[str, Any]:
        return {
            "reference": reference,
            "accountNumber": self._account,
            "storeId": self._settings.store_id,
            "terminalId": self._settings.terminal_id,
        }

    def _body(self, request: PurchaseRequest) -> dict[str, Any]:
        """The purchase as it is posted: always the same for the same row, or Flash would take it for another (2256)."""
        body = {**self._common(request.reference), "amount": to_cents(request.amount), "productCode": _code(request)}
        if request.vas_type in (VasType.AIRTIME, VasType.DATA):
            body["mobileNumber"] = international(request.mobile_number)
        if request.vas_type is VasType.ELECTRICITY:
            if not request.meter_number:
                raise FieldError("meter_number", "is required for electricity")
            body["meterNumber"] = request.meter_number
        return body


def _code(request: PurchaseRequest) -> int:
    if not (request.product_code.isascii() and request.product_code.isdigit()):
        raise FieldError("supplier_product_id", "must be a number for flash")
    if len(request.product_code) > _MOST_DIGITS:
        raise FieldError("supplier_product_id", f"must have at most {_MOST_DIGITS} digits for flash")
    return int(request.product_code)


def _worth_another_try(error: Exception) -> bool | float:
    return isinstance(error, UnknownOutcomeError) or may_be_asked_again(error)


def _renamed(request: PurchaseRequest, reference: str) -> PurchaseRequest:
    return PurchaseRequest(
        request.row_id, reference, request.vas_type, request.product_code, request.amount, request.requested_at
    )


def _token(body: bytes) -> Token:
    try:
        answer = TOKEN.decode(body)
        return Token(answer.access_token, float(answer.expires_in))
    except (msgspec.MsgspecError, ValueError):
        raise SupplierFailingError("flash: the answer holds no token") from None


def _outcome(request: PurchaseRequest, answer: SupplierAnswer, *, in_doubt: bool) -> Outcome:
    if is_inconclusive(answer):
        return unanswered(request, f"flash answered with {answer.status} {answer.media_type}")
    try:
        decoded = PURCHASE.decode(answer.body)
    except msgspec.MsgspecError:
        return unanswered(request, "flash's answer cannot be read")
    code = _number(decoded.response_code)
    verdict = codes.verdict_of(code)
    if not answer.is_ok and verdict is Verdict.SUCCESS:
        verdict = Verdict.UNCERTAIN
    elif verdict is Verdict.UNCERTAIN and answer.status in _REFUSALS and not in_doubt:
        verdict = Verdict.INVALID
    if verdict is Verdict.BUSY and not in_doubt:
        raise SupplierBusyError(f"flash is busy ({code})")
    if verdict is Verdict.SUCCESS and decoded.reference not in (None, request.reference):
        return unanswered(request, "flash answered for another reference")
    return outcome(
        request,
        verdict,
        code=str(code),
        transaction_id=None if decoded.transaction_id is None else str(decoded.transaction_id),
        amount=None if decoded.amount is None else from_cents(decoded.amount),
        in_doubt=in_doubt,
    )


def _number(code: int | str) -> int:
    """The code as a number; -1, which no table has, for a text that is none."""
    try:
        return int(code)
    except ValueError:
        return -1


def _product(line: ProductLine) -> Product:
    fixed = line.fixed_amount or None
    return Product(
        code=str(line.product_code),
        name=line.product_name,
        vas_type=_GROUPS.get((line.product_group or "").lower()),
        minimum=_rand(fixed or line.minimum_amount),
        maximum=_rand(fixed or line.maximum_amount),
        active=str(line.status).lower() not in _INACTIVE,
        reversible=str(line.allow_reversal).lower() == "true",
    )


def _rand(cents: int | None) -> Decimal | None:
    return None if cents is None else from_cents(cents)


CLIENT: Final = Flash
