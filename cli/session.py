"""The context that most commands run in: the servers that they need, started if necessary, and a database that was set
up. Only the commands that fill or move months set one up themselves: nothing is made in a database by looking at it.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from cli import terminal
from config import Settings, load_settings
from ledger.errors import ConfigError
from servers.home import require_unused
from servers.lending import Service, reachable, require_home, running
from sql.connection import connect
from sql.own_schema import require_catalogue, require_set_up


@contextmanager
def auditing(*further: Service) -> Iterator[Settings]:
    """Settings for a query. With the auditor's login alone no other login is needed."""
    settings = load_settings()
    if settings.auditor_database_url is not None and settings.database_url is None:
        with servers(*further) as ready:
            with connect(ready.for_auditor().database_dsn, "command") as connection:
                require_catalogue(connection)
            yield ready
        return
    with session(*further) as ready:
        if ready.auditor_database_url is None:
            terminal.note("TREASURY_AUDITOR_DATABASE_URL is not set: the query uses the owner's login to PostgreSQL")
        yield ready


@contextmanager
def servers(*wanted: Service, may_make_home: bool = False) -> Iterator[Settings]:
    """Settings with the addresses of the ``wanted`` servers. Raises ConfigError where an embedded one has no home.

    ``may_make_home``: for commands that may be the first of all. A note on standard error names a new home.
    """
    settings = load_settings()
    try:
        require_home(settings, *wanted)
    except ConfigError:
        if not may_make_home:
            raise
        require_unused(settings.home)
        terminal.note(f"making a new treasury home at {settings.home}")
    with ExitStack() as stack:
        with terminal.working("starting servers"):
            ready = stack.enter_context(running(settings, *wanted))
        yield ready


@contextmanager
def session(*further: Service) -> Iterator[Settings]:
    """`servers` with a database that was set up, and the ``further`` ones, for one command. Makes nothing in it.

    Raises ConfigError for a database that was not set up by this version.
    """
    with servers("postgres", *further) as settings:
        with connect(settings.database_dsn, "command") as connection:
            require_set_up(connection)
        yield settings


@contextmanager
def preparing(*further: Service, may_make_home: bool = False) -> Iterator[Settings]:
    """`session` for a command that sets up the database itself. What was refused is noted on standard error."""
    from tasks.admin.setup import prepare_database  # noqa: PLC0415  # Alembic takes as long to import as all the rest

    with servers("postgres", *further, may_make_home=may_make_home) as settings:
        with terminal.working("setting up the database"):
            problems = prepare_database(settings)
        for problem in problems:
            terminal.note(f"not prepared: {problem}")
        yield settings


def simulators() -> tuple[Service, ...]:
    """The simulated suppliers if PostgreSQL is embedded too: only then do they know what their contracts pay."""
    return ("suppliers",) if load_settings().database_url is None else ()


def with_running_simulators(settings: Settings) -> Settings:
    """``settings`` with the simulators that run in this home, where they were not started by this command."""
    return reachable(settings)
