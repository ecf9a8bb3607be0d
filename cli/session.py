"""What most commands run in: the servers they need, started if they must be, and a database that is ready."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from cli import terminal
from config import Settings, load_settings

if TYPE_CHECKING:
    from servers.stack import Service


@contextmanager
def session(*further: "Service") -> Iterator[Settings]:
    """Settings with a prepared database, and with the addresses of the ``further`` servers, for one command."""
    from servers.stack import running  # noqa: PLC0415  # the command line must answer --help at once
    from tasks.setup import prepare_database  # noqa: PLC0415

    with running(load_settings(), "postgres", *further) as settings:
        for problem in prepare_database(settings):
            terminal.note(f"left out: {problem}")
        yield settings
