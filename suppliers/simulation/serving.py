"""What every simulator's app has besides its supplier's own routes."""

import datetime as dt
from collections.abc import Callable, Sequence
from urllib.parse import parse_qsl

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from config.suppliers import SimulatorSettings
from suppliers.simulation.bearer import Tokens
from suppliers.simulation.book import Book
from suppliers.simulation.faults import Fault, Faults, Faulty, page

Statement = Callable[[dt.date], tuple[str, str]]


async def _wrong_page(_: Request, error: Exception) -> Response:
    """A wrong address, method or body gets a page for people, as the real ones give it."""
    return page(error.status_code if isinstance(error, HTTPException) else 500)


async def form(request: Request) -> dict[str, str]:
    """The fields of a form-encoded body."""
    return dict(parse_qsl((await request.body()).decode(), keep_blank_values=True, max_num_fields=100))


def serve(
    name: str,
    routes: Sequence[BaseRoute],
    settings: SimulatorSettings,
    book: Book,
    tokens: Tokens,
    statement: Statement,
    retry_after_s: int | None = None,
) -> Starlette:
    """The app of one simulator: its supplier's ``routes``, then those for tests, which no supplier has:

    `GET /_book` the sales, `GET /_statement?day=` a day's statement (name and text) as the supplier writes it,
    `POST /_faults` the faults of the next requests, `POST /_tokens/revoke` as if every token had ended.
    """
    faults = Faults(settings.faults, settings.seed)

    async def show_book(_: Request) -> Response:
        return JSONResponse([sale.public() for sale in book.all(name)])

    async def show_statement(request: Request) -> Response:
        file_name, text = statement(dt.date.fromisoformat(request.query_params["day"]))
        headers = {"Content-Disposition": f'attachment; filename="{file_name}"'}
        return Response(text.encode(), media_type="text/plain", headers=headers)

    async def plan_faults(request: Request) -> Response:
        faults.plan(*(Fault(one) for one in await request.json()))
        return JSONResponse({})

    async def revoke_tokens(_: Request) -> Response:
        tokens.revoke_all()
        return JSONResponse({})

    control = [
        Route("/_book", show_book),
        Route("/_statement", show_statement),
        Route("/_faults", plan_faults, methods=["POST"]),
        Route("/_tokens/revoke", revoke_tokens, methods=["POST"]),
    ]
    return Starlette(
        routes=[*control, *routes],
        middleware=[Middleware(Faulty, faults=faults, settings=settings, retry_after_s=retry_after_s)],
        exception_handlers={HTTPException: _wrong_page},
    )
