"""Voucherly's client: vouchers by reference, a key in a header, amounts in cents.

Its status rule: `GET /vouchers/{reference}` answers with the outcome of a purchase. It does not promise that a
reference that is posted twice is sold once, so nothing is posted twice.
"""

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Final
from uuid import UUID

import msgspec

from ledger.errors import ConfigError, FieldError
from ledger.transactions import VasType
from suppliers.errors import BadCredentialsError, DeclinedError, UnknownOutcomeError
from suppliers.money import from_cents, to_cents
from suppliers.outcomes import is_inconclusive, outcome, unanswered
from suppliers.protocol import Outcome, Product, PurchaseRequest
from suppliers.references import plain_reference
from suppliers.transport import SupplierAnswer, SupplierCall, Transport, may_be_asked_again
from suppliers.verdicts import Verdict

from .codes import CODES
from .settings import VoucherlySettings


class VoucherAnswer(msgspec.Struct):
    """Its answer, as far as it is read: the voucher's PIN is not."""

    code: str
    number: str | None = None
    cents: int | None = None


class Voucherly:
    """The client of Voucherly, a `SupplierClient`."""

    name = "voucherly"

    def __init__(self, settings: VoucherlySettings) -> None:
        if settings.base_url is None or settings.key is None:
            raise ConfigError("TREASURY_SUPPLIERS: voucherly.base_url and voucherly.key are not set")
        self._settings = settings
        self._headers = {"X-Key": settings.key.get_secret_value()}
        self._http = Transport(self.name, settings, (settings.base_url,))

    def reference_of(self, row_id: UUID) -> str:
        """The row's id."""
        return plain_reference(row_id)

    def believes(self, outcome: Outcome, age: timedelta) -> bool:
        """Return whether "there is none" is old enough to be final."""
        return outcome.verdict is Verdict.ABSENT and age >= timedelta(seconds=self._settings.absent_after_s)

    async def authenticate(self) -> None:
        """There is no token: any question shows whether the key is good."""
        await self.products()

    async def products(self) -> Sequence[Product]:
        """The catalogue."""
        answer = await self._http.ask(self._call("GET", "products"))
        _check_key(answer)
        return [
            Product(code, code.title(), VasType.VOUCHER_TOPUP, None, None)
            for code in msgspec.json.decode(answer.body, type=list[str])
        ]

    async def purchase(self, request: PurchaseRequest) -> Outcome:
        """Buy a voucher. Only what was turned away unseen is tried again."""
        if request.vas_type is not VasType.VOUCHER_TOPUP:
            raise FieldError("vas_type", "voucherly sells vouchers")
        body = {"reference": request.reference, "product": request.product_code, "cents": to_cents(request.amount)}
        async for attempt in self._http.retries(may_be_asked_again):
            with attempt:
                try:
                    return _outcome(request, await self._http.send(self._call("POST", "vouchers", body)))
                except UnknownOutcomeError as error:
                    return unanswered(request, str(error))
        raise AssertionError("a last try returns or raises")

    async def resolve(self, request: PurchaseRequest) -> Outcome:
        """Ask by our reference."""
        return _outcome(request, await self._http.ask(self._call("GET", f"vouchers/{request.reference}")))

    async def reverse(self, request: PurchaseRequest, sold: Outcome, reference: str) -> Outcome:
        """There is no reversal."""
        raise DeclinedError("voucherly takes no voucher back")

    async def fetch_statement(self, day: date) -> bytes | None:
        """None: its statements are files."""
        return None

    async def aclose(self) -> None:
        """Close every connection."""
        await self._http.aclose()

    def _call(self, method: str, path: str, body: object = None) -> SupplierCall:
        return SupplierCall(method, f"{self._settings.base_url}/{path}", json=body, headers=self._headers)


def _check_key(answer: SupplierAnswer) -> None:
    if answer.status == 401:
        raise BadCredentialsError("voucherly does not accept our key")


def _outcome(request: PurchaseRequest, answer: SupplierAnswer) -> Outcome:
    _check_key(answer)
    if is_inconclusive(answer):
        return unanswered(request, f"voucherly answered with {answer.status}")
    try:
        decoded = msgspec.json.decode(answer.body, type=VoucherAnswer)
    except msgspec.MsgspecError:
        return unanswered(request, "voucherly's answer cannot be read")
    return outcome(
        request,
        CODES.get(decoded.code, Verdict.UNCERTAIN),
        code=decoded.code,
        transaction_id=decoded.number,
        amount=None if decoded.cents is None else from_cents(decoded.cents),
    )


CLIENT: Final = Voucherly
