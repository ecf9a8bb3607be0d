"""A server that behaves as MobileMart does.

By product and number a test chooses what happens. Of product 9999 the amount in cents is the ``fulcrumErrorCode`` that
the purchase gets (R10.02: 1002). A mobile, meter or account number that ends in 0000 is refused. A request id that is
posted twice is sold twice: nobody promises otherwise, so no client may rely on it.
"""

import hashlib
import json
import re
import uuid
from collections.abc import Mapping
from decimal import Decimal
from types import MappingProxyType
from typing import Any, Final

from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from config.suppliers import MobileMartSettings, SimulatorSettings
from ledger.errors import DataError
from ledger.transactions import Supplier, VasType
from suppliers.mobilemart import DEFINITION
from suppliers.mobilemart.client import KINDS, PurchaseKind
from suppliers.money import from_cents, from_rand, to_cents
from suppliers.simulation.bearer import Tokens
from suppliers.simulation.book import Book, Sale
from suppliers.simulation.credentials import MOBILEMART_ID, MOBILEMART_NO_SALE, MOBILEMART_SECRET
from suppliers.simulation.serving import form, serve
from suppliers.simulation.statements import Statements

NAME: Final = Supplier.MOBILEMART.value
MAGIC_PRODUCT: Final = "9999"
BAD_NUMBER: Final = "0000"
_AMOUNT, _MISSING, _BAD_PHONE, _BAD_ACCOUNT = 1001, 1010, 1013, 1021
_LONGEST_REQUEST_ID = 36
_RETRY_AFTER_S = 60
_PREVEND = "prevend"
_REPRINTED = frozenset({"data", "voucher", "utility"})
_REVERSED = frozenset({"data", "voucher"})
_PROBLEM = "application/problem+json"
_TYPES: Final[Mapping[str, VasType]] = MappingProxyType({kind.name: vas_type for vas_type, kind in KINDS.items()})
CATALOGUE: Final[Mapping[str, tuple[VasType, str, str, str]]] = MappingProxyType(
    {
        "1001": (VasType.AIRTIME, "MTN airtime", "2.00", "1000.00"),
        "2001": (VasType.DATA, "MTN 1 GB", "85.00", "85.00"),
        "3001": (VasType.VOUCHER_TOPUP, "Gift voucher", "10.00", "2000.00"),
        "4001": (VasType.ELECTRICITY, "City Power", "10.00", "5000.00"),
        "5001": (VasType.BILL_PAYMENT, "Municipal account", "10.00", "20000.00"),
    }
)


class _MobileMart:
    def __init__(self, settings: SimulatorSettings, book: Book) -> None:
        self.book = book
        self.tokens = Tokens(settings.token_life_s)

    async def token(self, request: Request) -> Response:
        wanted = {"grant_type": "client_credentials", "client_id": MOBILEMART_ID, "client_secret": MOBILEMART_SECRET}
        if await form(request) != {**wanted, "scope": "api"}:
            return JSONResponse({"error": "invalid_client"}, 400)
        life = {"expires_in": self.tokens.life_s}
        return JSONResponse({"access_token": self.tokens.issue(), "token_type": "Bearer", "scope": "api", **life})

    async def products(self, request: Request) -> Response:
        vas_type = self._admit(request)
        if vas_type is None:
            return Response(status_code=401)
        lines = [_product(code) for code, product in CATALOGUE.items() if product[0] is vas_type]
        body = json.dumps(lines).encode()
        etag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
        if request.headers.get("if-none-match") == etag:
            return Response(status_code=304, headers={"ETag": etag})
        return Response(body, media_type="application/json", headers={"ETag": etag})

    async def prevend(self, request: Request) -> Response:
        vas_type = self._admit(request)
        if vas_type is None:
            return Response(status_code=401)
        fields = dict(request.query_params)
        account = fields.get("meterNumber" if vas_type is VasType.ELECTRICITY else "accountNumber")
        if not account or not fields.get("requestId") or not fields.get("amount"):
            return _problem(_MISSING)
        if account.endswith(BAD_NUMBER):
            return _problem(_BAD_ACCOUNT)
        code = _refusal(vas_type, {**fields, "tenderType": "-", "amount": fields["amount"]})
        if code is not None and fields.get("merchantProductId") != MAGIC_PRODUCT:
            return _problem(code)
        sale = self._write(vas_type, fields, to_cents(from_rand(fields["amount"])), _PREVEND, "prevend", account)
        return JSONResponse({"prevendTransactionId": sale.transaction_id, "customerName": "A. N. Example"})

    async def sell(self, request: Request) -> Response:
        vas_type = self._admit(request)
        if vas_type is None:
            return Response(status_code=401)
        kind = KINDS[vas_type]
        if request.path_params["action"] not in (kind.purchase, *(["pinned"] if kind.purchase == "pinless" else [])):
            raise HTTPException(404)
        body = _object(await request.body())
        if kind.prevend:
            body = self._completed(body, vas_type)
        code = _refusal(vas_type, body)
        if code is not None:
            return _problem(code)
        consumer = str(body.get("mobileNumber") or body.get("account") or "")
        sale = self._write(vas_type, body, to_cents(from_rand(body["amount"])), "purchase", "completed", consumer)
        return _sold(sale)

    async def reprint(self, request: Request) -> Response:
        sale = self._sale(request)
        return _problem(MOBILEMART_NO_SALE, 404) if sale is None else _sold(sale)

    async def reverse(self, request: Request) -> Response:
        sale = self._sale(request)
        if sale is None:
            return _problem(MOBILEMART_NO_SALE, 404)
        self.book.change(sale, state="reversed")
        vas_type = VasType(sale.vas_type)
        fields = {"requestId": sale.reference, "merchantProductId": sale.product}
        return _sold(self._write(vas_type, fields, -sale.amount_cents, "reversal", "completed", sale.consumer))

    def _admit(self, request: Request) -> VasType | None:
        """The kind in the address, None without a good token. Raises a 404 for a kind that there is not."""
        vas_type = _TYPES.get(request.path_params["kind"])
        if vas_type is None:
            raise HTTPException(404)
        return vas_type if self.tokens.accepts(request) else None

    def _sale(self, request: Request) -> Sale | None:
        """The purchase that a reprint or a reversal names. Raises a 404 for a kind that has neither."""
        if request.path_params["kind"] not in (_REVERSED if request.method == "DELETE" else _REPRINTED):
            raise HTTPException(404)
        vas_type = self._admit(request)
        if vas_type is None:
            raise HTTPException(401)
        sales = self.book.by_reference(NAME, request.query_params.get("requestId", ""))
        return next((sale for sale in sales if sale.kind == "purchase" and sale.vas_type == vas_type), None)

    def _completed(self, body: dict[str, Any], vas_type: VasType) -> dict[str, Any]:
        """A purchase with what its prevend said. Electricity names no amount of its own."""
        prevend = self.book.by_transaction(NAME, str(body.get("prevendTransactionId")))
        if prevend is None or prevend.kind != _PREVEND or prevend.vas_type != vas_type:
            return {}
        amount = from_cents(prevend.amount_cents)
        return {**body, "amount": amount, "account": prevend.consumer}

    def _write(
        self, vas_type: VasType, fields: Mapping[str, Any], cents: int, kind: str, state: str, consumer: str
    ) -> Sale:
        return self.book.add(
            Sale(
                supplier=NAME,
                transaction_id=str(uuid.uuid4()),
                reference=str(fields["requestId"]),
                kind=kind,
                state=state,
                vas_type=vas_type.value,
                product=str(fields["merchantProductId"]),
                amount_cents=cents,
                consumer=consumer,
            )
        )


def create_app(settings: SimulatorSettings, book: Book) -> Starlette:
    """The simulator as an app."""
    mobilemart = _MobileMart(settings, book)
    routes = [
        Route("/connect/token", mobilemart.token, methods=["POST"]),
        Route("/v1/{kind}/products", mobilemart.products),
        Route("/v1/{kind}/reprint", mobilemart.reprint),
        Route("/v1/{kind}/reverse", mobilemart.reverse, methods=["DELETE"]),
    ]
    for kind in KINDS.values():
        routes += _routes(mobilemart, kind)
    statements = Statements(NAME, DEFINITION.statement(), book, _line, settings)
    return serve(NAME, routes, settings, book, mobilemart.tokens, statements, _RETRY_AFTER_S)


def stand_in(_: MobileMartSettings, url: str) -> Mapping[str, Any]:
    """Return the settings that make the client ask the simulator at ``url``."""
    return {
        "base_url": url,
        "client_id": SecretStr(MOBILEMART_ID),
        "client_secret": SecretStr(MOBILEMART_SECRET),
        "reprint_absent": (MOBILEMART_NO_SALE,),
    }


def _routes(mobilemart: _MobileMart, kind: PurchaseKind) -> list[Route]:
    """The addresses of one kind: airtime and bill payments have no reprint, only some can be reversed."""
    place = f"/{kind.version}/{{kind}}"
    routes = [Route(f"{place}/{{action}}", mobilemart.sell, methods=["POST"])]
    if kind.prevend:
        routes.append(Route(f"{place}/prevend", mobilemart.prevend))
    return routes


def _object(raw: bytes) -> dict[str, Any]:
    """The body, its numbers exact; empty when it is not an object."""
    try:
        body = json.loads(raw, parse_float=Decimal)
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _refusal(vas_type: VasType, fields: Mapping[str, Any]) -> int | None:
    """The error code that a purchase gets; None when it is sold."""
    needed = ["requestId", "merchantProductId", "amount"]
    needed += ["mobileNumber"] if vas_type in (VasType.AIRTIME, VasType.DATA) else []
    if any(not fields.get(name) for name in needed) or len(str(fields["requestId"])) > _LONGEST_REQUEST_ID:
        return _MISSING
    try:
        amount = from_rand(str(fields["amount"]))
    except DataError:
        return _AMOUNT
    if fields["merchantProductId"] == MAGIC_PRODUCT:
        return to_cents(amount)
    phone = str(fields.get("mobileNumber", "0830000001"))
    if not re.fullmatch(r"0\d{9}", phone) or phone.endswith(BAD_NUMBER):
        return _BAD_PHONE
    product = CATALOGUE.get(str(fields["merchantProductId"]))
    if product is None or product[0] is not vas_type:
        return 1002
    return None if Decimal(product[2]) <= amount <= Decimal(product[3]) else _AMOUNT


def _problem(code: int, status: int = 400) -> Response:
    """problem+json, as the real one writes it."""
    problem = {"type": "about:blank", "title": "Refused", "status": status, "detail": "Refused by the simulator"}
    body = json.dumps(problem | {"traceId": uuid.uuid4().hex, "fulcrumErrorCode": code}).encode()
    return Response(body, status, media_type=_PROBLEM)


def _sold(sale: Sale) -> Response:
    """The answer to a sale, with a PIN that opens nothing: no client may keep it."""
    status = "Binned" if sale.state == "reversed" else "Successful"
    amount = f"{abs(from_cents(sale.amount_cents)):.2f}"
    pin = f"{int(sale.transaction_id[:8], 16):016d}"
    answer = {"transactionId": sale.transaction_id, "requestId": sale.reference, "status": status, "pin": pin}
    text = json.dumps(answer)[:-1] + f', "amount": {amount}}}'  # a JSON number with its two places
    return Response(text.encode(), media_type="application/json")


def _product(code: str) -> dict[str, Any]:
    _, name, lowest, highest = CATALOGUE[code]
    fixed = float(lowest) if lowest == highest else None
    limits = {"fixedAmount": fixed, "minimumAmount": float(lowest), "maximumAmount": float(highest)}
    return {"merchantProductId": code, "productName": name, "active": True, "vendor": "Simulator", **limits}


def _line(sale: Sale) -> Mapping[str, Any] | None:
    """A prevend is not a sale. A reversal is a line of its own, and the purchase's is binned."""
    if sale.kind == _PREVEND:
        return None
    status = "Binned" if sale.state == "reversed" else "Successful"
    return {"product_name": CATALOGUE[sale.product][1], "raw_status": status}
