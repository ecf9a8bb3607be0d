"""All simulators in one app, each under its supplier's name: `/flash`, `/mobilemart`, `/peach`, and further ones."""

from pathlib import Path

from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route

from config import load_settings
from config.suppliers import Suppliers
from ledger.errors import ConfigError
from suppliers.registry import definitions
from suppliers.simulation.book import Book

HEALTH = "/health"


def create_app(settings: Suppliers, book: Book) -> Starlette:
    """The simulators of every supplier over one ``book``.

    Raises ConfigError for planted differences of a supplier that there is not, DataError for those that its statement
    cannot show.
    """
    known = definitions(settings)
    if strange := settings.simulator.planted.keys() - known.keys():
        raise ConfigError(f"TREASURY_SUPPLIERS: simulator.planted: there is no supplier {', '.join(sorted(strange))}")
    mounts = [Mount(f"/{name}", item.simulator().create_app(settings.simulator, book)) for name, item in known.items()]
    return Starlette(routes=[Route(HEALTH, lambda _: JSONResponse({"status": "up"})), *mounts])


def create_embedded_app() -> Starlette:
    """The app that `servers.suppliers` starts: settings from the environment, the book in the home."""
    settings = load_settings()
    return create_app(settings.suppliers, Book(book_path(settings.home)))


def book_path(home: Path) -> Path:
    """Return where the embedded simulators keep their book."""
    return home / "suppliers" / "book.sqlite"
