"""MobileMart's client.

A purchase is posted once. What became of one without an answer is asked by reprint. The kinds that have no reprint
(airtime, bill payments) stay unknown until the day's statement. A request id is never posted a second time: nobody
promises that the second post would be recognised.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from types import MappingProxyType
from typing import Any, Final, NamedTuple
from uuid import UUID

import msgspec

from config.suppliers import MobileMartSettings
from ledger.errors import ConfigError, DataError, FieldError
from ledger.transactions import Supplier as Name
from ledger.transactions import VasType
from suppliers.errors import DeclinedError, SupplierFailingError, UnknownOutcomeError
from suppliers.mobilemart import codes
from suppliers.mobilemart.messages import PREVEND, PROBLEM, PRODUCTS, SALE, TOKEN, ProductLine
from suppliers.money import from_rand
from suppliers.numbers import local
from suppliers.outcomes import is_inconclusive, outcome, unanswered
from suppliers.protocol import Outcome, Product, PurchaseRequest
from suppliers.references import plain_reference
from suppliers.tokens import Token, TokenCache
from suppliers.transport import SupplierAnswer, SupplierCall, Transport, bearer, may_be_asked_again
from suppliers.verdicts import Verdict

HOSTS: Final = MappingProxyType({"sandbox": "https://uat.fulcrumswitch.com", "production": "https://fulcrumswitch.com"})
_NOT_MODIFIED = 304


class PurchaseKind(NamedTuple):
    """The addresses of one kind of product."""

    version: str
    name: str
    purchase: str
    prevend: bool = False
    reversible: bool = False


KINDS: Final[Mapping[VasType, PurchaseKind]] = MappingProxyType(
    {
        VasType.AIRTIME: PurchaseKind("v1", "airtime", "pinless"),
        VasType.DATA: PurchaseKind("v1", "data", "pinless", reversible=True),
        VasType.VOUCHER_TOPUP: PurchaseKind("v1", "voucher", "purchase", reversible=True),
        VasType.ELECTRICITY: PurchaseKind("v1", "utility", "purchase", prevend=True),
        VasType.BILL_PAYMENT: PurchaseKind("v2", "bill-payment", "pay", prevend=True),
    }
)


@dataclass(frozen=True, slots=True)
class _Cached:
    etag: str
    products: tuple[Product, ...]


class MobileMart:
    """The client of MobileMart, a `SupplierClient`."""

    name: str = Name.MOBILEMART.value

    def __init__(self, settings: MobileMartSettings) -> None:
        host = settings.base_url or HOSTS.get(settings.environment)
        if host is None or settings.client_id is None or settings.client_secret is None:
            raise ConfigError("TREASURY_SUPPLIERS: mobilemart has no address or no credentials, and no simulator runs")
        self._settings = settings
        self._host = host
        self._credentials = {
            "grant_type": "client_credentials",
            "client_id": settings.client_id.get_secret_value(),
            "client_secret": settings.client_secret.get_secret_value(),
            "scope": "api",
        }
        self._http = Transport(self.name, settings, (host,))
        self._tokens = TokenCache(self._fetch_token, settings.token_early_s)
        self._catalogue: dict[VasType, _Cached] = {}

    def reference_of(self, row_id: UUID) -> str:
        """The row's id: 36 characters, the most that a requestId may have."""
        return plain_reference(row_id)

    def believes(self, outcome: Outcome, age: timedelta) -> bool:
        """Return whether "no such sale" is old enough to be final: sooner, the purchase may still be on its way."""
        return outcome.verdict is Verdict.ABSENT and age >= timedelta(seconds=self._settings.absent_after_s)

    async def authenticate(self) -> None:
        """Get a fresh token. Raises BadCredentialsError, TransientError."""
        await self._tokens.fresh()

    async def products(self) -> Sequence[Product]:
        """The catalogue of every kind; a kind that has not changed is not sent again."""
        catalogue: list[Product] = []
        for vas_type, kind in KINDS.items():
            catalogue += await self._products(vas_type, kind)
        return catalogue

    async def purchase(self, request: PurchaseRequest) -> Outcome:
        """Buy. Only a purchase that was turned away unseen is tried again."""
        kind = _kind(request)
        body = self._body(request)
        if kind.prevend:
            body["prevendTransactionId"] = await self._prevend(request, kind)
        call = SupplierCall("POST", self._url(kind, kind.purchase), json=body)
        async for attempt in self._http.retries(may_be_asked_again):
            with attempt:
                return await self._sell(call, request)
        raise AssertionError("a last try returns or raises")

    async def resolve(self, request: PurchaseRequest) -> Outcome:
        """Ask for the reprint. Where there is none, the statement decides.

        A refusal is one of the question, never of the sale: only the codes of ``reprint_absent`` concern the sale.
        """
        kind = _kind(request)
        if request.vas_type not in self._settings.reprinted:
            return unanswered(request, f"mobilemart has no reprint for {request.vas_type}: the statement decides")
        call = SupplierCall("GET", self._url(kind, "reprint"), parameters=self._named(request))
        answer = await self._http.ask_authorized(call, self._tokens, bearer)
        return _reprinted(request, answer, self._settings.reprint_absent)

    async def reverse(self, request: PurchaseRequest, sold: Outcome, reference: str) -> Outcome:
        """Undo a data bundle or a voucher; MobileMart finds it by the purchase's own request id."""
        kind = _kind(request)
        if not kind.reversible:
            raise DeclinedError(f"mobilemart: {request.vas_type} cannot be reversed")
        call = SupplierCall("DELETE", self._url(kind, "reverse"), parameters=self._named(request))
        return await self._sell(call, request)

    async def fetch_statement(self, day: date) -> bytes | None:
        """None: MobileMart's statements are files."""
        return None

    async def aclose(self) -> None:
        """Close every connection."""
        await self._http.aclose()

    async def _fetch_token(self) -> Token:
        call = SupplierCall(
            "POST", f"{self._host}/connect/token", form=self._credentials, timeout_s=self._settings.token_timeout_s
        )
        return await self._http.fetch_token(call, _token)

    async def _products(self, vas_type: VasType, kind: PurchaseKind) -> Sequence[Product]:
        known = self._catalogue.get(vas_type)
        call = SupplierCall(
            "GET",
            f"{self._host}/v1/{kind.name}/products",
            headers={} if known is None else {"If-None-Match": known.etag},
        )
        answer = await self._http.ask_authorized(call, self._tokens, bearer)
        if answer.status == _NOT_MODIFIED and known is not None:
            return known.products
        try:
            products = tuple(_product(line, vas_type, kind) for line in PRODUCTS.decode(answer.body))
        except (msgspec.MsgspecError, DataError):
            raise SupplierFailingError(f"mobilemart: the products of {kind.name} cannot be read") from None
        etag = answer.headers.get("etag")
        if etag:
            self._catalogue[vas_type] = _Cached(etag, products)
        return products

    async def _prevend(self, request: PurchaseRequest, kind: PurchaseKind) -> int | str:
        """The number of the prevend; a question, so it may be put again. Raises DeclinedError when it is refused."""
        parameters = {"requestId": request.reference, "merchantProductId": request.product_code}
        parameters |= {"amount": f"{request.amount:.2f}", **_consumer(request)}
        call = SupplierCall("GET", self._url(kind, "prevend"), parameters=parameters)
        answer = await self._http.ask_authorized(call, self._tokens, bearer)
        if not answer.is_ok:
            code = _problem_code(answer)
            verdict = codes.verdict_of(code, answer.status)
            if verdict is Verdict.INVALID:
                raise FieldError(next(iter(_consumer(request))), f"was refused by mobilemart ({code})")
            raise DeclinedError(f"mobilemart refused before the sale ({code})")
        try:
            number = PREVEND.decode(answer.body).prevend_transaction_id
        except msgspec.MsgspecError:
            number = None
        if number is None:
            raise SupplierFailingError("mobilemart: the prevend has no number")
        return number

    async def _sell(self, call: SupplierCall, request: PurchaseRequest) -> Outcome:
        try:
            answer = await self._http.send_authorized(call, self._tokens, bearer)
        except UnknownOutcomeError as error:
            return unanswered(request, str(error))
        return _outcome(request, answer)

    def _url(self, kind: PurchaseKind, action: str) -> str:
        return f"{self._host}/{kind.version}/{kind.name}/{action}"

    def _named(self, request: PurchaseRequest) -> dict[str, str]:
        return {self._settings.reprint_parameter: request.reference}

    def _body(self, request: PurchaseRequest) -> dict[str, Any]:
        body: dict[str, Any] = {
            "requestId": request.reference,
            "merchantProductId": request.product_code,
            "tenderType": self._settings.tender_type,
        }
        if request.vas_type in (VasType.AIRTIME, VasType.DATA):
            body["mobileNumber"] = local(request.mobile_number)
        if request.vas_type is not VasType.ELECTRICITY:
            body["amount"] = request.amount
        return body


def _kind(request: PurchaseRequest) -> PurchaseKind:
    kind = KINDS.get(request.vas_type)
    if kind is None:
        raise FieldError("vas_type", f"mobilemart sells {', '.join(KINDS)}")
    return kind


def _consumer(request: PurchaseRequest) -> dict[str, str]:
    """Whose meter or account a prevend is for. Raises FieldError when the row does not say."""
    if request.vas_type is VasType.ELECTRICITY:
        name, value = "meterNumber", request.meter_number
    else:
        name, value = "accountNumber", request.account_number
    if not value:
        raise FieldError("meter_number" if name == "meterNumber" else "account_number", "is required")
    return {name: value}


def _token(body: bytes) -> Token:
    try:
        answer = TOKEN.decode(body)
    except msgspec.MsgspecError:
        raise SupplierFailingError("mobilemart: the answer holds no token") from None
    return Token(answer.access_token, float(answer.expires_in))


def _problem_code(answer: SupplierAnswer) -> int | None:
    try:
        return PROBLEM.decode(answer.body).code
    except msgspec.MsgspecError:
        return None


def _outcome(request: PurchaseRequest, answer: SupplierAnswer) -> Outcome:
    if is_inconclusive(answer):
        return unanswered(request, f"mobilemart answered with {answer.status} {answer.media_type}")
    if not answer.is_ok:
        code = _problem_code(answer)
        verdict = codes.verdict_of(code, answer.status)
        return outcome(request, verdict, code=None if code is None else str(code))
    try:
        sale = SALE.decode(answer.body)
        amount = None if sale.amount is None else from_rand(sale.amount)
    except (msgspec.MsgspecError, DataError):
        return unanswered(request, "mobilemart's answer cannot be read")
    if sale.request_id not in (None, request.reference):
        return unanswered(request, "mobilemart answered for another request")
    verdict = codes.SALES.get((sale.status or codes.SUCCESSFUL).lower(), Verdict.UNCERTAIN)
    return outcome(request, verdict, transaction_id=sale.identifier, amount=amount)


def _reprinted(request: PurchaseRequest, answer: SupplierAnswer, absent: Collection[int]) -> Outcome:
    """Return what a reprint shows: a sale, or that there is none. Any other answer leaves the sale as unknown as
    before.
    """
    if answer.is_ok:
        return _outcome(request, answer)
    code = _problem_code(answer)
    if code in absent:
        return outcome(request, Verdict.ABSENT, code=str(code))
    return unanswered(request, f"mobilemart answered the reprint with {answer.status} ({code or 'no code'})")


def _product(line: ProductLine, vas_type: VasType, kind: PurchaseKind) -> Product:
    lowest = line.minimum_amount if line.fixed_amount is None else line.fixed_amount
    highest = line.maximum_amount if line.fixed_amount is None else line.fixed_amount
    return Product(
        code=str(line.merchant_product_id),
        name=line.product_name,
        vas_type=vas_type,
        minimum=None if lowest is None else from_rand(lowest),
        maximum=None if highest is None else from_rand(highest),
        active=line.active,
        reversible=kind.reversible,
    )


CLIENT: Final = MobileMart
