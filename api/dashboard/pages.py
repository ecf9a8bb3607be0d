"""The one list of the dashboard's pages. The routes and the navigation are made from it, in its order."""

from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp

from api.dashboard import (
    certificates,
    find,
    life,
    manual,
    money,
    now,
    queue_for_two,
    reconciliation,
    reconciliation_break,
    reconciliation_periods,
    signing_in,
)
from api.dashboard.endpoint import NoSuchPage, PageEndpoint, refuse_method
from api.dashboard.error_pages import HOME
from api.dashboard.page import Page
from api.dashboard.rendering import assets, environment
from api.routing.endpoint import Address
from api.server.services import Services


def pages() -> tuple[Page, ...]:
    """Every page. A further one is a further value here, and in the access matrix of its own."""
    return (
        *now.pages(),
        *life.pages(),
        *certificates.pages(),
        *find.pages(),
        *reconciliation.pages(),
        *reconciliation_break.pages(),
        *reconciliation_periods.pages(),
        *money.pages(),
        *queue_for_two.pages(),
        *manual.pages(),
        *signing_in.pages(),
    )


def routes(services: Services) -> list[BaseRoute]:
    """The routes of the dashboard; none where the settings switch it off. Compiles the templates."""
    if not services.settings.api_dashboard:
        return []
    environment()
    every = pages()
    navigation = tuple(page for page in every if page.label)
    by_path: dict[str, dict[str, ASGIApp]] = {}
    for page in every:
        by_path.setdefault(page.path, {})[page.method] = PageEndpoint(page, services, navigation)
    return [
        *(Route(asset.path, asset) for asset in assets().values()),
        *(Route(path, Address(endpoints, refuse_method)) for path, endpoints in by_path.items()),
        Route(f"{HOME}/{{rest:path}}", NoSuchPage()),
    ]
