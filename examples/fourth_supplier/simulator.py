"""A server that behaves as Voucherly does, and what the supplier tests buy from it."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from config.suppliers import SimulatorSettings
from ledger.transactions import VasType
from suppliers.money import from_cents
from suppliers.simulation.bearer import Tokens
from suppliers.simulation.book import Book, Sale
from suppliers.simulation.serving import serve
from suppliers.simulation.statements import Statements

from . import DEFINITION
from .settings import VoucherlySettings

NAME = DEFINITION.name
KEY = "not-a-secret-of-voucherly"
COMMISSION = Decimal("0.05")  # what its statements say


def create_app(settings: SimulatorSettings, book: Book) -> Starlette:
    """The simulator as an app."""

    async def products(request: Request) -> Response:
        return JSONResponse(["books", "never"]) if _known(request) else JSONResponse({}, 401)

    async def sell(request: Request) -> Response:
        body: dict[str, Any] = await request.json()
        if not _known(request):
            return JSONResponse({}, 401)
        if body["product"] != "books":
            return JSONResponse({"code": "refused" if body["product"] == "never" else "unknown-product"})
        number = f"V{book.next_number():08d}"
        return _sale_answer(
            book.add(
                Sale(NAME, number, body["reference"], "purchase", "completed", "voucher_topup", "books", body["cents"])
            )
        )

    async def find(request: Request) -> Response:
        sales = book.by_reference(NAME, request.path_params["reference"])
        return _sale_answer(sales[0]) if sales else JSONResponse({"code": "none"}, 404)

    routes = [
        Route("/products", products),
        Route("/vouchers", sell, methods=["POST"]),
        Route("/vouchers/{reference}", find),
    ]
    statements = Statements(NAME, DEFINITION.statement(), book, _line, settings)
    return serve(NAME, routes, settings, book, Tokens(1), statements)


def stand_in(settings: VoucherlySettings, url: str) -> Mapping[str, Any]:
    """Return the settings that make the client ask the simulator at ``url``."""
    contract = settings.commission or {VasType.VOUCHER_TOPUP: COMMISSION}
    return {"base_url": url, "key": SecretStr(KEY), "commission": contract}


def _known(request: Request) -> bool:
    return request.headers.get("x-key") == KEY


def _sale_answer(sale: Sale) -> Response:
    return JSONResponse({"code": "sold", "number": sale.transaction_id, "cents": sale.amount_cents, "pin": "0000"})


def _line(sale: Sale) -> Mapping[str, Any]:
    commission = from_cents(sale.amount_cents) * COMMISSION
    return {"commission": commission, "raw_status": "sold"}
