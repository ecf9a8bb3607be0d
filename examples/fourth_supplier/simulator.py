"""A server that behaves as Voucherly does, and what the supplier tests buy from it."""

import datetime as dt
from decimal import Decimal
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from config.suppliers import SimulatorSettings
from ledger.transactions import VasType
from suppliers.simulation.bearer import Tokens
from suppliers.simulation.book import Book, Sale
from suppliers.simulation.serving import serve
from suppliers.trials import Trial
from suppliers.verdicts import State, Verdict

NAME = "voucherly"
KEY = "not-a-secret-of-voucherly"
TRIALS = (
    Trial("voucher", VasType.VOUCHER_TOPUP, "books", Decimal("20.00"), simulator_only=False),
    Trial("refused", VasType.VOUCHER_TOPUP, "never", Decimal("20.00"), State.FAILED, Verdict.DECLINED, State.UNKNOWN),
    Trial(
        "no such product", VasType.VOUCHER_TOPUP, "x", Decimal("20.00"), State.FAILED, Verdict.INVALID, State.UNKNOWN
    ),
)


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
        return _told(
            book.add(
                Sale(NAME, number, body["reference"], "purchase", "completed", "voucher_topup", "books", body["cents"])
            )
        )

    async def find(request: Request) -> Response:
        sales = book.by_reference(NAME, request.path_params["reference"])
        return _told(sales[0]) if sales else JSONResponse({"code": "none"}, 404)

    routes = [
        Route("/products", products),
        Route("/vouchers", sell, methods=["POST"]),
        Route("/vouchers/{reference}", find),
    ]
    return serve(NAME, routes, settings, book, Tokens(1), _statement)


def _known(request: Request) -> bool:
    return request.headers.get("x-key") == KEY


def _told(sale: Sale) -> Response:
    return JSONResponse({"code": "sold", "number": sale.transaction_id, "cents": sale.amount_cents, "pin": "0000"})


def _statement(day: dt.date) -> tuple[str, str]:
    return f"{NAME}-{day}.csv", ""
