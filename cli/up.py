"""up, down, status: the servers of this home."""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from types import FrameType
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import typer

from cli import terminal
from config import Settings, load_settings

if TYPE_CHECKING:
    from servers.lease import Endpoint
    from servers.stack import Up

CHECK_S = 1.0
SESSION_CLIENT = "local"
SESSION_KEY_LIFE = timedelta(days=30)
TITLES = {
    "postgres": "PostgreSQL",
    "redis": "Redis",
    "s3": "S3 (archive)",
    "suppliers": "Supplier simulators",
    "prefect": "Prefect UI",
    "worker": "Prefect worker",
    "api": "API",
}
_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.command()(up)
    app.command()(down)
    app.command()(status)


def up() -> None:
    """Start everything and stay: PostgreSQL, Redis, S3, simulated suppliers, Prefect with a worker, the API."""
    from servers import stack  # noqa: PLC0415  # the command line must answer --help at once
    from tasks.setup import open_for  # noqa: PLC0415

    settings = load_settings()
    terminal.note(f"starting in {settings.home}; the first time takes up to a minute")
    made: list[str] = []

    def prepare(ready: Settings) -> None:
        made.append(open_for(ready, SESSION_CLIENT, SESSION_KEY_LIFE))

    with _until_told(), stack.up(settings, before_api=prepare) as running:
        show(settings, running)
        terminal.console.print(f"API key of this session: {made[0]}", markup=False, soft_wrap=True)
        while True:
            time.sleep(CHECK_S)
            stack.check_alive(settings.home, [endpoint.name for endpoint in running.endpoints])


def down() -> None:
    """Stop every server of this home, whoever started it. Does nothing when none runs."""
    from servers import stack  # noqa: PLC0415

    settings = load_settings()
    if not settings.home.is_dir():
        terminal.note(f"no treasury home at {settings.home}")
    stopped = [TITLES[name] for name in stack.down(settings)]
    terminal.console.print(f"stopped: {', '.join(stopped)}" if stopped else "nothing was running")


def status() -> None:
    """Which servers of this home run now, and where."""
    from servers import home, stack  # noqa: PLC0415

    settings = load_settings()
    home.demand(settings.home, database=False)
    found = {endpoint.name: _address(endpoint) for endpoint in stack.endpoints(settings.home)}
    rows = [(title, found.get(name, "not running")) for name, title in TITLES.items()]
    terminal.table(f"Servers of {settings.home}", ("server", "address"), rows)


def show(settings: Settings, running: "Up") -> None:
    """Print where everything answers, which ports had to give way, and where the passwords are."""
    from servers import stack  # noqa: PLC0415

    rows = [(TITLES[endpoint.name], _address(endpoint)) for endpoint in running.endpoints]
    terminal.table("Everything is up. Ctrl-C or `make down` stops it.", ("server", "address"), rows)
    terminal.console.print(f"passwords and keys: {settings.home / 'keys'}    logs: {settings.home / 'log'}")
    if any(endpoint.name == "prefect" for endpoint in running.endpoints):
        terminal.console.print("login of the Prefect UI: `treasury prefect login` prints it")
    for endpoint in running.endpoints:
        wanted = stack.wanted_port(settings, endpoint)
        if wanted:
            terminal.note(f"port {wanted} was taken: {TITLES[endpoint.name]} is at {urlsplit(endpoint.url).port}")
    for problem in running.problems:
        terminal.note(problem)


def _address(endpoint: "Endpoint") -> str:
    """The address as it may be shown: without the password."""
    parts = urlsplit(endpoint.url)
    if parts.password:
        return parts._replace(netloc=f"{parts.username or ''}:***@{parts.hostname}:{parts.port}").geturl()
    shown: dict[str, Callable[[str], str]] = {
        "prefect": lambda url: url.removesuffix("/api"),
        "worker": lambda _: "pool treasury",
        "api": lambda url: f"{url}   documentation {url}/docs",
    }
    return shown.get(endpoint.name, str)(endpoint.url)


@contextmanager
def _until_told() -> Iterator[None]:
    """Run the block until it ends or a signal tells to stop; a second signal does not disturb the stopping."""

    def told(_signal: int, _frame: FrameType | None) -> None:
        for number in _STOPPING:
            signal.signal(number, signal.SIG_IGN)
        terminal.note("stopping ...")
        raise KeyboardInterrupt

    before = {number: signal.signal(number, told) for number in _STOPPING}
    try:
        yield
    except KeyboardInterrupt:
        terminal.note("stopped")
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
