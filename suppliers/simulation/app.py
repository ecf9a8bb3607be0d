"""All simulators in one app: Flash under `/flash`, MobileMart under `/mobilemart`, Peach under `/peach`."""

from pathlib import Path

from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Mount, Route

from config import load_settings
from config.suppliers import SimulatorSettings
from suppliers.flash import simulator as flash
from suppliers.mobilemart import simulator as mobilemart
from suppliers.peach import simulator as peach
from suppliers.simulation.book import Book

HEALTH = "/health"


def create_app(settings: SimulatorSettings, book: Book) -> Starlette:
    """The simulators over one ``book``."""
    return Starlette(
        routes=[
            Route(HEALTH, lambda _: JSONResponse({"status": "up"})),
            Mount("/flash", flash.create_app(settings, book)),
            Mount("/mobilemart", mobilemart.create_app(settings, book)),
            Mount("/peach", peach.create_app(settings, book)),
        ]
    )


def create_embedded_app() -> Starlette:
    """The app that `servers.suppliers` starts: settings from the environment, the book in the home."""
    settings = load_settings()
    return create_app(settings.suppliers.simulator, Book(book_path(settings.home)))


def book_path(home: Path) -> Path:
    """Where the embedded simulators keep their book."""
    return home / "suppliers" / "book.sqlite"
