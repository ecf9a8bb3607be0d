"""A server that behaves as Peach Payments does: its four APIs under one address, and its webhooks.

By the amount a test chooses what happens (`STORIES`). Each is the result codes that a payment has one after the other,
one step on at every look-up. A merchantTransactionId that is posted twice is charged twice.
"""

import datetime as dt
import gzip
import json
import random
import secrets
import uuid
from collections.abc import Mapping
from datetime import UTC, timedelta
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import urlencode

import httpx
from aiolimiter import AsyncLimiter
from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from config.suppliers import PeachSettings, SimulatorSettings
from ledger.business_days import bounds, day_of
from ledger.errors import DataError
from ledger.transactions import Supplier, VasType
from suppliers.money import CURRENCY, from_cents, from_rand, to_cents
from suppliers.peach import DEFINITION
from suppliers.peach.client import DEBIT, REFUND
from suppliers.peach.codes import verdict_of
from suppliers.peach.webhooks import SIGNATURE, sign
from suppliers.simulation.bearer import Tokens
from suppliers.simulation.book import Book, Sale
from suppliers.simulation.credentials import (
    PEACH_ENTITY,
    PEACH_ID,
    PEACH_MERCHANT,
    PEACH_PASSWORD,
    PEACH_SECRET,
    PEACH_USER,
    PEACH_WEBHOOK_SECRET,
)
from suppliers.simulation.planting import Planted
from suppliers.simulation.serving import serve
from suppliers.simulation.statements import Statements
from suppliers.verdicts import PurchaseState, state_of

NAME: Final = Supplier.PEACH.value
_SUCCESS, _PENDING, _CANCELLED, _UNCERTAIN = "000.100.110", "000.200.000", "100.396.101", "100.396.104"
_DECLINED, _AWAY, _INVALID, _NO_PAYMENT, _DENIED = (
    "800.100.152",
    "900.100.100",
    "200.300.404",
    "700.400.580",
    "800.900.300",
)
STORIES: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "9900.01": (_PENDING, _PENDING, _SUCCESS),
        "9900.02": (_CANCELLED, _SUCCESS),
        "9900.03": (_UNCERTAIN, _SUCCESS),
        "9900.04": (_DECLINED,),
        "9900.05": (_AWAY, _SUCCESS),
        "9900.06": (_INVALID,),
        "9900.07": (_PENDING,),
        "9900.08": (_CANCELLED,),
    }
)
_LONGEST_WINDOW = timedelta(hours=24)
_WEBHOOKS_TIMEOUT_S = 10.0


class _Peach:
    def __init__(self, settings: SimulatorSettings, book: Book) -> None:
        self.book = book
        self.tokens = Tokens(settings.token_life_s)
        self.recon_rate = AsyncLimiter(1, 1 / settings.recon_calls_per_s)
        self.checkouts: dict[str, dict[str, Any]] = {}
        self.statements = Statements(NAME, DEFINITION.statement(), book, _line, settings)

    async def token(self, request: Request) -> Response:
        wanted = {"clientId": PEACH_ID, "clientSecret": PEACH_SECRET, "merchantId": PEACH_MERCHANT}
        if await _object(request) != wanted:
            return JSONResponse({"message": "unauthorized"}, 401)
        return JSONResponse({"access_token": self.tokens.issue(), "expires_in": str(self.tokens.life_s)})

    async def pay(self, request: Request) -> Response:
        body = await _object(request)
        if body.get("authentication") != _authentication():
            return _answer({"result": _result(_DENIED)}, 401)
        account = body.get("virtualAccount") or {}
        cents = _cents(body.get("amount"))
        if not body.get("merchantTransactionId") or body.get("paymentType") != DEBIT or not account or cents is None:
            return _answer({"result": _result(_INVALID)}, 400)
        sale = self._write(str(body["merchantTransactionId"]), "purchase", cents, str(account.get("accountId", "")))
        return _payment(sale, 400 if _code(sale) == _INVALID else 200)

    async def refund(self, request: Request) -> Response:
        """One refund a payment."""
        body = await _object(request)
        if body.get("authentication") != _authentication():
            return _answer({"result": _result(_DENIED)}, 401)
        paid = self.book.by_transaction(NAME, request.path_params["id"])
        cents = _cents(body.get("amount"))
        if paid is None or body.get("paymentType") != REFUND or cents is None:
            return _answer({"result": _result(_NO_PAYMENT)}, 404)
        if paid.state != "completed" or cents > paid.amount_cents:
            return _answer({"result": _result(_DECLINED)}, 200)
        self.book.change(paid, state="reversed")
        return _payment(self._write(str(body.get("merchantTransactionId", "")), "refund", cents, ""))

    async def find(self, request: Request) -> Response:
        """Look up by our reference; each look-up is a step in the payment's story."""
        login = {name: request.query_params.get(f"authentication.{name}") for name in _authentication()}
        if login != _authentication():
            return _answer({"result": _result(_DENIED)}, 401)
        sales = self.book.by_reference(NAME, request.query_params.get("merchantTransactionId", ""))
        if not sales:
            return _answer({"result": _result(_NO_PAYMENT)}, 404)
        return _answer({"result": _result(_SUCCESS), "payments": [_payment_fields(self._step(sale)) for sale in sales]})

    async def one(self, request: Request) -> Response:
        sale = self.book.by_transaction(NAME, request.path_params["id"])
        return _answer({"result": _result(_NO_PAYMENT)}, 404) if sale is None else _payment(self._step(sale))

    async def open_checkout(self, request: Request) -> Response:
        if not self.tokens.accepts(request):
            return JSONResponse({"message": "unauthorized"}, 401)
        body = await _object(request)
        if not request.headers.get("referer", "").startswith("https://"):
            return JSONResponse({"message": "the referer is not allow-listed"}, 403)
        if not all(body.get(name) for name in ("merchantTransactionId", "amount", "nonce", "shopperResultUrl")):
            return _answer({"result": _result(_INVALID)}, 400)
        checkout_id = secrets.token_hex(16)
        self.checkouts[checkout_id] = body
        return JSONResponse({"checkoutId": checkout_id})

    async def checkout_status(self, request: Request) -> Response:
        body = self.checkouts.get(request.path_params["id"])
        if body is None:
            return _answer({"result": _result(_NO_PAYMENT)}, 404)
        sales = self.book.by_reference(NAME, str(body["merchantTransactionId"]))
        return _payment(self._step(sales[-1])) if sales else _answer({"result": _result("000.200.100")})

    async def pay_checkout(self, request: Request) -> Response:
        """Pay, as a shopper does in the browser."""
        body = self.checkouts[request.path_params["id"]]
        cents = to_cents(from_rand(str(body["amount"])))
        return _payment(self._write(str(body["merchantTransactionId"]), "purchase", cents, ""))

    async def reconciliation(self, request: Request) -> Response:
        if not self.tokens.accepts(request) or request.path_params["merchant"] != PEACH_MERCHANT:
            return JSONResponse({"message": "unauthorized"}, 401)
        if not self.recon_rate.has_capacity():
            return JSONResponse({"message": "one request a second"}, 429)
        await self.recon_rate.acquire()
        try:
            start, end = (dt.datetime.fromisoformat(request.query_params[name]) for name in ("startDate", "endDate"))
        except (KeyError, ValueError):
            return JSONResponse({"message": "startDate and endDate"}, 400)
        if start.tzinfo is None or end.tzinfo is None or not start < end <= start + _LONGEST_WINDOW:
            return JSONResponse({"message": "at most 24 hours, with an offset"}, 400)
        headers = {"Content-Encoding": "gzip"}
        content = self._statement(start, end).content
        return Response(gzip.compress(content), media_type="application/json", headers=headers)

    def _statement(self, start: dt.datetime, end: dt.datetime) -> Planted:
        """A whole day of South Africa's is its statement, with what is planted there; anything else is as it was."""
        day = day_of(start)
        whole = (start, end) == bounds(day)
        return self.statements.of_day(day) if whole else self.statements.between(start, end)

    async def webhooks(self, request: Request) -> Response:
        """Every webhook of every payment so far, as bodies: shuffled by ``seed``, and some of them repeated."""
        return JSONResponse(self._bodies(int(request.query_params.get("seed", "1"))))

    async def send_webhooks(self, request: Request) -> Response:
        """Send them to ``url``; gives the statuses that they were answered with."""
        wanted = await _object(request)
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        async with httpx.AsyncClient(timeout=_WEBHOOKS_TIMEOUT_S) as client:
            bodies = self._bodies(int(wanted.get("seed", 1)))
            answers = [await client.post(str(wanted["url"]), content=body, headers=headers) for body in bodies]
        return JSONResponse([answer.status_code for answer in answers])

    def _write(self, reference: str, kind: str, cents: int, consumer: str) -> Sale:
        story = STORIES.get(f"{from_cents(cents):.2f}", (_SUCCESS,)) if kind == "purchase" else (_SUCCESS,)
        return self.book.add(
            Sale(
                supplier=NAME,
                transaction_id=uuid.uuid4().hex,
                reference=reference,
                kind=kind,
                state=_state(story[0]),
                vas_type=VasType.VOUCHER_TOPUP.value,
                product="PAYSHAP",
                amount_cents=cents,
                consumer=consumer,
            )
        )

    def _step(self, sale: Sale) -> Sale:
        """The payment one step on in its story, where there is one."""
        story = _story(sale)
        if sale.step + 1 < len(story):
            self.book.change(sale, state=_state(story[sale.step + 1]), step=sale.step + 1)
        return self.book.by_transaction(NAME, sale.transaction_id) or sale

    def _bodies(self, seed: int) -> list[str]:
        bodies = [
            _webhook(sale, step)
            for sale in self.book.all(NAME)
            if sale.kind == "purchase"
            for step in range(sale.step + 1)
        ]
        chance = random.Random(seed)  # noqa: S311  # no secret: it must be repeatable
        bodies += chance.choices(bodies, k=len(bodies) // 2) if bodies else []
        chance.shuffle(bodies)
        return bodies


def create_app(settings: SimulatorSettings, book: Book) -> Starlette:
    """The simulator as an app."""
    peach = _Peach(settings, book)
    routes = [
        Route("/api/oauth/token", peach.token, methods=["POST"]),
        Route("/payments", peach.pay, methods=["POST"]),
        Route("/payments", peach.find),
        Route("/payments/{id}", peach.refund, methods=["POST"]),
        Route("/payments/{id}", peach.one),
        Route("/v2/checkout", peach.open_checkout, methods=["POST"]),
        Route("/v2/checkout/{id}/status", peach.checkout_status),
        Route("/_shopper/{id}", peach.pay_checkout, methods=["POST"]),
        Route("/api/merchants/{merchant}/transactions-recon", peach.reconciliation),
        Route("/_webhooks", peach.webhooks),
        Route("/_webhooks", peach.send_webhooks, methods=["POST"]),
    ]
    return serve(NAME, routes, settings, book, peach.tokens, peach.statements)


def stand_in(_: PeachSettings, url: str) -> Mapping[str, Any]:
    """Return the settings that make the client ask the simulator at ``url``, all four APIs of it."""
    return {f"{api}_url": url for api in ("auth", "checkout", "payments", "reconciliation")} | {
        "client_id": SecretStr(PEACH_ID),
        "client_secret": SecretStr(PEACH_SECRET),
        "merchant_id": PEACH_MERCHANT,
        "user_id": SecretStr(PEACH_USER),
        "password": SecretStr(PEACH_PASSWORD),
        "entity_id": PEACH_ENTITY,
        "webhook_secret": SecretStr(PEACH_WEBHOOK_SECRET),
    }


def _authentication() -> dict[str, str]:
    return {"userId": PEACH_USER, "password": PEACH_PASSWORD, "entityId": PEACH_ENTITY}


async def _object(request: Request) -> dict[str, Any]:
    try:
        body = json.loads(await request.body(), parse_float=str)
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _cents(amount: object) -> int | None:
    try:
        cents = to_cents(from_rand(str(amount)))
    except DataError:
        return None
    return cents if cents > 0 else None


def _story(sale: Sale) -> tuple[str, ...]:
    return STORIES.get(f"{from_cents(sale.amount_cents):.2f}", (_SUCCESS,)) if sale.kind == "purchase" else (_SUCCESS,)


def _code(sale: Sale) -> str:
    return _story(sale)[sale.step]


def _state(code: str) -> str:
    state = state_of(verdict_of(code))
    return "pending" if state in (PurchaseState.PENDING, PurchaseState.UNKNOWN) else state.value


def _result(code: str) -> dict[str, str]:
    return {"code": code, "description": "from the simulator"}


def _payment_fields(sale: Sale) -> dict[str, Any]:
    return {
        "id": sale.transaction_id,
        "merchantTransactionId": sale.reference,
        "paymentType": DEBIT if sale.kind == "purchase" else REFUND,
        "amount": f"{from_cents(sale.amount_cents):.2f}",
        "currency": CURRENCY,
        "result": _result(_code(sale)),
        "timestamp": sale.happened_at,
        "card": {"last4Digits": "0000"},
    }


def _payment(sale: Sale, status: int = 200) -> Response:
    return _answer(_payment_fields(sale), status)


def _answer(body: Mapping[str, Any], status: int = 200) -> Response:
    return JSONResponse(dict(body), status)


def _line(sale: Sale) -> Mapping[str, Any] | None:
    """The line of a settled payment, None for another; a refund is an amount below zero."""
    if sale.state not in ("completed", "reversed"):
        return None
    amount = from_cents(sale.amount_cents)
    return {
        "amount": -amount if sale.kind == "refund" else amount,
        "status": "completed",
        "raw_status": "SETTLED",
        "payout_reference": f"PEACH{sale.moment:%d%m%Y}{sale.transaction_id[:12].upper()}",
    }


def _webhook(sale: Sale, step: int) -> str:
    """The body of the webhook for this step; a later step has a later time."""
    sent_at = dt.datetime.fromisoformat(sale.happened_at).astimezone(UTC) + timedelta(minutes=step)
    fields = {
        "id": sale.transaction_id,
        "checkoutId": sale.transaction_id[::-1],
        "merchantTransactionId": sale.reference,
        "amount": f"{from_cents(sale.amount_cents):.2f}",
        "currency": CURRENCY,
        "paymentType": DEBIT,
        "result.code": _story(sale)[step],
        "result.description": "from the simulator",
        "timestamp": sent_at.isoformat(timespec="milliseconds"),
    }
    return urlencode(fields | {SIGNATURE: sign(fields, PEACH_WEBHOOK_SECRET)})
