"""The application: FastAPI around bare routes. `create_app` is uvicorn's factory; each worker process calls it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from api import docs_page, problems
from api.openapi import make_document
from api.request_log import RequestLog, of_request, write_json_lines
from api.routes import operations, resources, router_routes
from api.services import Services
from config import Settings, load_settings

TITLE = "Treasury transaction API"
VERSION = "1.0.0"


def create_app(settings: Settings | None = None) -> FastAPI:
    """The API for ``settings``, read from the environment when None. Connects when it is started, not before.

    Raises ConfigError for a setting that is wrong or missing.
    """
    settings = settings or load_settings()
    write_json_lines(settings.log_level)
    services = Services.make(settings, tuple(resource.table for resource in resources(settings)))
    described = operations(settings)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with services.running():
            yield

    app = FastAPI(title=TITLE, version=VERSION, docs_url=None, redoc_url=None, lifespan=lifespan)
    document = make_document(TITLE, VERSION, described)
    app.openapi = lambda: document  # type: ignore[method-assign]  # FastAPI's documented way to bring one's own
    app.router.routes += [*router_routes(described, services), *_docs(docs_page.render(document))]
    app.add_middleware(RequestLog)
    app.add_exception_handler(HTTPException, _router_refused)  # type: ignore[arg-type]  # called with this class only
    return app


def _docs(page: str) -> list[Route]:
    async def docs(_: Request) -> Response:
        return HTMLResponse(page)

    async def style(_: Request) -> Response:
        return Response(docs_page.STYLE, media_type="text/css")

    return [Route("/docs", docs), Route(docs_page.STYLE_PATH, style)]


async def _router_refused(request: Request, error: HTTPException) -> Response:
    """No such path, or no such method at it: the only errors that arise outside an endpoint."""
    problem = problems.from_status(error.status_code, error.headers)
    return problems.response(problem, of_request(request.scope).request_id)
