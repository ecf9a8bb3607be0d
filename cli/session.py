"""What most commands run in: the servers they need, started if they must be, and a database that is ready."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from cli import terminal
from config import Settings, load_settings
from ledger.errors import ConfigError

if TYPE_CHECKING:
    from servers.stack import Service


@contextmanager
def auditing(*further: "Service") -> Iterator[Settings]:
    """Settings for a question of the ledger. Who has the auditor's login alone needs no other: nothing is prepared."""
    settings = load_settings()
    if settings.auditor_database_url is not None and settings.database_url is None:
        with servers(*further) as ready:
            yield ready
        return
    with session(*further) as ready:
        if ready.auditor_database_url is None:
            terminal.note("TREASURY_AUDITOR_DATABASE_URL is not set: PostgreSQL is read with the owner's login")
        yield ready


@contextmanager
def servers(*wanted: "Service", may_make_home: bool = False) -> Iterator[Settings]:
    """Settings with the addresses of the ``wanted`` servers. Raises ConfigError where an embedded one has no home.

    ``may_make_home``: for commands that may be the first of all; what is made is told on standard error.
    """
    from servers.home import demand_unused  # noqa: PLC0415  # the command line must answer --help at once
    from servers.stack import demand_home, running  # noqa: PLC0415  # the command line must answer --help at once

    settings = load_settings()
    try:
        demand_home(settings, *wanted)
    except ConfigError:
        if not may_make_home:
            raise
        demand_unused(settings.home)
        terminal.note(f"making a new treasury home at {settings.home}")
    with running(settings, *wanted) as ready:
        yield ready


@contextmanager
def session(*further: "Service", may_make_home: bool = False) -> Iterator[Settings]:
    """`servers` with a prepared database, and the ``further`` ones, for one command."""
    from tasks.setup import prepare_database  # noqa: PLC0415

    with servers("postgres", *further, may_make_home=may_make_home) as settings:
        for problem in prepare_database(settings):
            terminal.note(f"left out: {problem}")
        yield settings


def simulators() -> tuple["Service", ...]:
    """The simulated suppliers, where PostgreSQL is embedded as they are: what their contracts pay is known to them."""
    return ("suppliers",) if load_settings().database_url is None else ()
