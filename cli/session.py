"""What most commands run in: the servers they need, started if they must be, and a database that is ready."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from cli import terminal
from config import Settings, load_settings

if TYPE_CHECKING:
    from servers.stack import Service


@contextmanager
def auditing(*further: "Service") -> Iterator[Settings]:
    """Settings for a question of the ledger. Who has the auditor's login alone needs no other: nothing is prepared."""
    from servers.stack import running  # noqa: PLC0415

    settings = load_settings()
    if settings.auditor_database_url is not None and settings.database_url is None:
        with running(settings, *further) as ready:
            yield ready
        return
    with session(*further) as ready:
        if ready.auditor_database_url is None:
            terminal.note("TREASURY_AUDITOR_DATABASE_URL is not set: PostgreSQL is read with the owner's login")
        yield ready


@contextmanager
def session(*further: "Service") -> Iterator[Settings]:
    """Settings with a prepared database, and with the addresses of the ``further`` servers, for one command."""
    from servers.stack import running  # noqa: PLC0415  # the command line must answer --help at once
    from tasks.setup import prepare_database  # noqa: PLC0415

    with running(load_settings(), "postgres", *further) as settings:
        for problem in prepare_database(settings):
            terminal.note(f"left out: {problem}")
        yield settings
