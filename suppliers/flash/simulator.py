"""A server that behaves as Flash does.

By product and number a test chooses what happens. Of product 999 the amount in cents is the response code that the
purchase gets (R24.01: 2401). A mobile or meter number that ends in 0000 is refused. A resubmit code hides a sale that
was made: posting the reference again returns it.
"""

import base64
import hashlib
import json
import re
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

from config.suppliers import FlashSettings, SimulatorSettings
from ledger.transactions import Supplier, VasType
from suppliers.flash import DEFINITION, codes
from suppliers.flash.client import PREFIX, PURCHASES, REVERSALS
from suppliers.money import from_cents
from suppliers.simulation.bearer import Tokens
from suppliers.simulation.book import Book, Sale
from suppliers.simulation.credentials import FLASH_ACCOUNT, FLASH_COMMISSION, FLASH_KEY, FLASH_SECRET
from suppliers.simulation.serving import form, serve
from suppliers.simulation.statements import Statements
from suppliers.verdicts import Verdict

NAME: Final = Supplier.FLASH.value
MAGIC_PRODUCT: Final = 999
BAD_NUMBER: Final = "0000"
_BAD_PHONE, _BAD_METER, _NO_ORIGINAL, _ALREADY_REVERSED, _OTHER_BODY = 2335, 2310, 2273, 2274, 2256
_REFERENCE = re.compile(r"[A-Za-z0-9.=-]{1,64}\Z")
_FIRST_ID = 700_000_000
_UNSEEN = frozenset({Verdict.BUSY, Verdict.DUPLICATE})  # answered without anything being written down
CATALOGUE: Final[Mapping[int, tuple[str, str, int, int]]] = MappingProxyType(
    {
        101: ("Airtime", "Airtime", 200, 100_000),
        201: ("Data 1 GB", "Data", 8_500, 8_500),
        301: ("Prepaid electricity", "Prepaid Utilities", 1_000, 500_000),
        311: ("1Voucher", "1Voucher", 500, 400_000),
        401: ("Cash out PIN", "Cash Out", 1_000, 300_000),
        MAGIC_PRODUCT: ("Answers on demand", "1Voucher", 1, 99_999),
    }
)
_PATHS = {path: vas_type for vas_type, path in PURCHASES.items() if vas_type is not VasType.DATA}
_REVERSED = {path: vas_type for vas_type, path in REVERSALS.items()}
_STATUSES = {"completed": "Success", "pending": "Pending", "failed": "Failed", "reversed": "Reversed"}


class _Flash:
    def __init__(self, settings: SimulatorSettings, book: Book) -> None:
        self.book = book
        self.tokens = Tokens(settings.token_life_s)

    async def token(self, request: Request) -> Response:
        wanted = base64.b64encode(f"{FLASH_KEY}:{FLASH_SECRET}".encode()).decode()
        granted = (await form(request)).get("grant_type") == "client_credentials"
        if request.headers.get("authorization") != f"Basic {wanted}" or not granted:
            return JSONResponse({"error": "invalid_client"}, 401)
        life = {"expires_in": self.tokens.life_s}
        return JSONResponse({"access_token": self.tokens.issue(), "scope": "am", "token_type": "Bearer", **life})

    async def products(self, request: Request) -> Response:
        if not self.tokens.accepts(request):
            return _unauthorized()
        if request.path_params["account"] != FLASH_ACCOUNT:
            return _answer(code=1, message="unknown account", status=404)
        wanted = request.path_params.get("code")
        lines = [_product(code) for code in CATALOGUE if wanted in (None, str(code))]
        return JSONResponse({"responseCode": 0, "responseMessage": "Success", "products": lines, "unknownField": {}})

    async def post(self, request: Request) -> Response:
        if not self.tokens.accepts(request):
            return _unauthorized()
        path = request.path_params["path"]
        if path not in _PATHS and path not in _REVERSED:
            raise HTTPException(404)
        raw = await request.body()
        body = _object(raw)
        if body is None or _broken_rule(body):
            return _answer(code=1, message=_broken_rule(body or {}), status=400)
        fingerprint = hashlib.sha256(json.dumps([path, body], sort_keys=True).encode()).hexdigest()
        known = self.book.by_reference(NAME, body["reference"])
        if known:
            same = known[0].fingerprint == fingerprint
            return _replay(known[0]) if same else _answer(code=_OTHER_BODY, body=body)
        if path in _REVERSED:
            return self._reverse(path, body, fingerprint)
        return self._sell(path, body, fingerprint)

    def _sell(self, path: str, body: dict[str, Any], fingerprint: str) -> Response:
        code = _code(path, body)
        verdict = codes.verdict_of(code)
        if verdict in _UNSEEN:
            return _answer(code=code, body=body)
        hidden = verdict is Verdict.RESUBMIT
        sale = self._write(path, body, fingerprint, codes.SUCCESS if hidden else code)
        return _answer(code=code, body=body) if hidden else _replay(sale)

    def _write(self, path: str, body: dict[str, Any], fingerprint: str, code: int) -> Sale:
        number = _FIRST_ID + self.book.next_number()
        answer = {**_purchase_answer(code, body), "transactionId": number, **_goods(path, number)}
        vas_type = VasType.DATA if body["productCode"] == 201 else _PATHS[path]
        return self.book.add(
            Sale(
                supplier=NAME,
                transaction_id=str(number),
                reference=body["reference"],
                kind="purchase",
                state="completed" if code == codes.SUCCESS else "failed",
                vas_type=vas_type.value,
                product=str(body["productCode"]),
                amount_cents=body["amount"],
                consumer=str(body.get("mobileNumber") or body.get("meterNumber") or ""),
                fingerprint=fingerprint,
                answer=json.dumps(answer).encode(),
            )
        )

    def _reverse(self, path: str, body: dict[str, Any], fingerprint: str) -> Response:
        """A reversal changes the original's status and adds no line to the statement."""
        originals = self.book.by_reference(NAME, str(body.get("originalReference")))
        if not originals or originals[0].state not in ("completed", "reversed"):
            return _answer(code=_NO_ORIGINAL, body=body)
        original = originals[0]
        if original.state == "reversed":
            return _answer(code=_ALREADY_REVERSED, body=body)
        self.book.change(original, state="reversed")
        number = _FIRST_ID + self.book.next_number()
        answer = {**_purchase_answer(codes.SUCCESS, body), "transactionId": number, "amount": original.amount_cents}
        reversal = Sale(
            NAME, str(number), body["reference"], "reversal", "completed", original.vas_type, original.product,
            original.amount_cents, "", fingerprint, json.dumps(answer).encode(),
        )  # fmt: skip  # one line a sale reads as the line of a book
        return _replay(self.book.add(reversal))


def create_app(settings: SimulatorSettings, book: Book) -> Starlette:
    """The simulator as an app."""
    flash = _Flash(settings, book)
    routes = [
        Route("/token", flash.token, methods=["POST"]),
        Route(f"{PREFIX}/accounts/{{account}}/products", flash.products),
        Route(f"{PREFIX}/accounts/{{account}}/products/{{code}}", flash.products),
        Route(f"{PREFIX}/{{path:path}}", flash.post, methods=["POST"]),
    ]
    statements = Statements(NAME, DEFINITION.statement(), book, _line, settings)
    return serve(NAME, routes, settings, book, flash.tokens, statements)


def stand_in(settings: FlashSettings, url: str) -> Mapping[str, Any]:
    """Return the settings that make the client ask the simulator at ``url``."""
    return {
        "base_url": url,
        "consumer_key": SecretStr(FLASH_KEY),
        "consumer_secret": SecretStr(FLASH_SECRET),
        "account": FLASH_ACCOUNT,
        "commission": settings.commission or dict.fromkeys(VasType, FLASH_COMMISSION),
    }


def _object(raw: bytes) -> dict[str, Any] | None:
    try:
        body = json.loads(raw)
    except ValueError:
        return None
    return body if isinstance(body, dict) else None


def _broken_rule(body: Mapping[str, Any]) -> str:
    """Return why a body is refused before anything else; empty when it is not."""
    reference, amount = body.get("reference"), body.get("amount")
    if not isinstance(reference, str) or not _REFERENCE.match(reference):
        return "reference"
    if body.get("accountNumber") != FLASH_ACCOUNT or not body.get("storeId") or not body.get("terminalId"):
        return "accountNumber, storeId, terminalId"
    if "originalReference" in body:
        return ""
    if type(amount) is not int or amount <= 0:
        return "amount"
    product = CATALOGUE.get(body.get("productCode") or 0)
    return "" if product and product[2] <= amount <= product[3] else "productCode or amount"


def _code(path: str, body: Mapping[str, Any]) -> int:
    """The response code that a purchase gets."""
    if body["productCode"] == MAGIC_PRODUCT:
        return int(body["amount"])
    phone, meter = str(body.get("mobileNumber", "")), str(body.get("meterNumber", ""))
    if path.startswith("cellular") and (not re.fullmatch(r"27\d{9}", phone) or phone.endswith(BAD_NUMBER)):
        return _BAD_PHONE
    if path.startswith("prepaid") and (not meter or meter.endswith(BAD_NUMBER)):
        return _BAD_METER
    return codes.SUCCESS


def _purchase_answer(code: int, body: Mapping[str, Any]) -> dict[str, Any]:
    message = "Success" if code == codes.SUCCESS else "Refused"
    answer = {"responseCode": code, "responseMessage": message, "accountNumber": FLASH_ACCOUNT}
    return answer | {"reference": body.get("reference"), "amount": body.get("amount")}


def _goods(path: str, number: int) -> dict[str, Any]:
    """Return what was bought, with a PIN or a token that opens nothing: no client may keep it."""
    pin = f"{number * 7919 % 10**16:016d}"
    if path.startswith("prepaid"):
        return {"tokens": [{"token": pin}]}
    return {"rechargeDetails": {}} if path.startswith("cellular") else {"voucher": {"pin": pin, "serialNumber": number}}


def _answer(
    *, code: int, body: Mapping[str, Any] | None = None, message: str | None = None, status: int = 200
) -> Response:
    answer = _purchase_answer(code, body or {})
    return JSONResponse(answer if message is None else answer | {"responseMessage": message}, status)


def _replay(sale: Sale) -> Response:
    return Response(sale.answer, media_type="application/json")


def _unauthorized() -> Response:
    return JSONResponse({"fault": {"code": 900901, "message": "Invalid Credentials"}}, 401)


def _product(code: int) -> dict[str, Any]:
    name, group, lowest, highest = CATALOGUE[code]
    limits = {"minimumAmount": lowest, "maximumAmount": highest, "fixedAmount": lowest if lowest == highest else None}
    product = {
        "productCode": code,
        "productName": name,
        "status": "Active",
        "vendor": "Simulator",
        "productGroup": group,
    }
    return product | limits | {"allowReversal": group in ("1Voucher", "Cash Out")}


def _line(sale: Sale) -> Mapping[str, Any] | None:
    """A reversal is not a line of its own: it changes the status of the purchase's."""
    if sale.kind != "purchase":
        return None
    gross = from_cents(sale.amount_cents)
    commission = gross * FLASH_COMMISSION if sale.state == "completed" else Decimal(0)
    return {
        "product_name": CATALOGUE[int(sale.product)][0],
        "account": FLASH_ACCOUNT,
        "fee": Decimal(0),
        "commission": commission,
        "net": gross - commission,
        "raw_status": _STATUSES[sale.state],
    }
