"""The parts of every simulator's app in addition to its supplier's own routes."""

import datetime as dt
from collections.abc import Sequence
from urllib.parse import parse_qsl

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from config.suppliers import SimulatorSettings
from ledger.errors import DataError
from ledger.statements import BreakClass
from suppliers.simulation.bearer import Tokens
from suppliers.simulation.book import Book, Sale
from suppliers.simulation.faults import Fault, Faults, Faulty, page
from suppliers.simulation.planting import Planted
from suppliers.simulation.statements import Statements

_CONFLICT = 409


async def _wrong_page(_: Request, error: Exception) -> Response:
    """A wrong address, method or body gets a page for people, as the real ones give it."""
    return page(error.status_code if isinstance(error, HTTPException) else 500)


async def _cannot_be_planted(_: Request, error: Exception) -> Response:
    """Answer that a statement cannot have the differences that were asked for."""
    return JSONResponse({"message": str(error)}, _CONFLICT)


async def form(request: Request) -> dict[str, str]:
    """The fields of a form-encoded body."""
    return dict(parse_qsl((await request.body()).decode(), keep_blank_values=True, max_num_fields=100))


def serve(
    name: str,
    routes: Sequence[BaseRoute],
    settings: SimulatorSettings,
    book: Book,
    tokens: Tokens,
    statements: Statements,
    retry_after_s: int | None = None,
) -> Starlette:
    """The app of one simulator: its supplier's ``routes``, then those for tests, which no supplier has:

    `GET /_book` has the sales, and `POST /_book` adds some, each as if sold at its ``happened_at``. `GET
    /_statement?day=` has a day's statement (name and text) as the supplier writes it, and `GET /_truth?day=` what was
    planted in it (reference to class). `POST /_planted` sets what is to be planted from now on (class to count;
    `?seed=`). `POST /_faults` sets the faults of the next requests, and `POST /_tokens/revoke` acts as if every token
    had ended.
    """
    faults = Faults(settings.faults, settings.seed)

    async def show_book(_: Request) -> Response:
        return JSONResponse([sale.public() for sale in book.all(name)])

    async def add_sales(request: Request) -> Response:
        for sale in await request.json():
            book.add(Sale(**{**sale, "supplier": name}))
        return JSONResponse({})

    async def show_statement(request: Request) -> Response:
        planted = _of_day(statements, request)
        headers = {"Content-Disposition": f'attachment; filename="{planted.name}"'}
        return Response(planted.content, media_type="text/plain", headers=headers)

    async def show_truth(request: Request) -> Response:
        return JSONResponse(dict(_of_day(statements, request).truth))

    async def plan_planted(request: Request) -> Response:
        wanted = {BreakClass(item): int(count) for item, count in (await request.json()).items()}
        statements.plan(wanted, int(request.query_params.get("seed", settings.seed)))
        return JSONResponse({})

    async def plan_faults(request: Request) -> Response:
        faults.plan(*(Fault(fault) for fault in await request.json()))
        return JSONResponse({})

    async def revoke_tokens(_: Request) -> Response:
        tokens.revoke_all()
        return JSONResponse({})

    control = [
        Route("/_book", show_book),
        Route("/_book", add_sales, methods=["POST"]),
        Route("/_statement", show_statement),
        Route("/_truth", show_truth),
        Route("/_planted", plan_planted, methods=["POST"]),
        Route("/_faults", plan_faults, methods=["POST"]),
        Route("/_tokens/revoke", revoke_tokens, methods=["POST"]),
    ]
    return Starlette(
        routes=[*control, *routes],
        middleware=[Middleware(Faulty, faults=faults, settings=settings, retry_after_s=retry_after_s)],
        exception_handlers={HTTPException: _wrong_page, DataError: _cannot_be_planted},
    )


def _of_day(statements: Statements, request: Request) -> Planted:
    return statements.of_day(dt.date.fromisoformat(request.query_params["day"]))
