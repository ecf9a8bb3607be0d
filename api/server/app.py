"""The application: bare routes under a plain router. `create_app` is the factory of `api.serve`; each worker calls it.

There is no framework between the server and an endpoint: every layer of one costs each request. None of what they do
(parsing, validation, dependencies, error pages) is left for them to do here.
"""

import logging
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import anyio.to_thread
import msgspec
from starlette.middleware import Middleware
from starlette.routing import BaseRoute, Route, Router

from api.abuse.guard import Guard
from api.caching.fast_path import FastPath, Rows
from api.dashboard.pages import routes as dashboard_routes
from api.documentation import page as docs_page
from api.documentation.openapi import make_document
from api.logs.access_log import AccessLog, RequestLog
from api.logs.json_lines import LOGGER, write_json_lines
from api.logs.output import OUTPUT
from api.routing.endpoint import StaticPage, no_such_address
from api.routing.operations import Operation
from api.routing.routes import Resource, operations, resources, router_routes
from api.server.admission import Admission, Hosts, allowed_hosts
from api.server.security_headers import PAGE_POLICY, POLICY, SecurityHeaders, fixed_headers
from api.server.services import Services
from config import Settings, load_settings
from config.version import product_version
from ledger.errors import ConfigError

TITLE = "Treasury transaction API"
LAST_LINES_S = 1.0


class Application(Router):
    """The routes, and the fast path beside them that `api.server.protocol` asks first; None where nothing is cached.

    ``limited``: the server below keeps the limits of time, size and number (`api.server.protocol`).
    """

    limited = False

    def __init__(self, routes: Sequence[BaseRoute], fast_path: FastPath | None, **options: Any) -> None:
        super().__init__(routes, **options)
        self.fast_path = fast_path

    def require_limits(self) -> None:
        """Raises ConfigError under a server that has none: any client could exhaust it with connections."""
        if not self.limited:
            raise ConfigError("run the API with `python -m api.serve`: another server keeps none of its limits")


def create_app(settings: Settings | None = None) -> Application:
    """The API for ``settings``, read from the environment when None. Connects when it is started, not before. Under a
    server without the limits of `api.server.protocol` it refuses to start.

    Raises ConfigError for a setting that is wrong or missing.
    """
    settings = (settings or load_settings()).for_api()
    write_json_lines(settings.log_level)
    if settings.api_database_url is None:
        logging.getLogger(LOGGER).warning("TREASURY_API_DATABASE_URL is not set: the API may do whatever the owner may")
    served = resources(settings)
    services = Services.make(settings, tuple(resource.table for resource in served))
    described = operations(settings)
    services.lifetimes.check([operation.name for operation in described if operation.conditional])

    @asynccontextmanager
    async def lifespan(_: Any) -> AsyncIterator[None]:
        application.require_limits()
        try:
            async with services.running():
                yield
        finally:  # the signal that ended the process, raised again, ends it without any further word
            await anyio.to_thread.run_sync(OUTPUT.flush, LAST_LINES_S)

    log, hosts = AccessLog(), Hosts(allowed_hosts(settings.api_hosts, settings.api_bind))
    fast_path = FastPath(_rows(served), services, hosts, log, fixed_headers(settings.api_hsts_s))
    application = Application(
        [
            *router_routes(described, services),
            *_documents(described, settings.suppliers.names),
            *dashboard_routes(services),
        ],
        fast_path if services.cache.enabled else None,
        redirect_slashes=False,  # an address has one spelling; a redirect would repeat what the Host header says
        default=no_such_address,
        lifespan=lifespan,
        # The log outside, so that what is refused is logged, too; then the headers that every answer has.
        middleware=[
            Middleware(RequestLog, log=log),
            Middleware(SecurityHeaders, hsts_s=settings.api_hsts_s),
            Middleware(Guard, defence=services.defence),
            Middleware(Admission, hosts=hosts),
        ],
    )
    return application


def _rows(served: Iterable[Resource]) -> dict[bytes, Rows]:
    return {
        resource.path.encode(): Rows(resource.table.name, f"{resource.path}/{{id}}", resource.read, resource.policy)
        for resource in served
    }


def _documents(described: tuple[Operation, ...], suppliers: Sequence[str]) -> list[Route]:
    document = make_document(TITLE, product_version(), described, suppliers)
    return [
        Route(docs_page.DOCUMENT_PATH, StaticPage(msgspec.json.encode(document), "application/json")),
        Route(docs_page.PATH, StaticPage(docs_page.render(TITLE).encode(), "text/html", {POLICY: PAGE_POLICY})),
        *(Route(asset.path, asset) for asset in docs_page.assets().values()),
    ]
