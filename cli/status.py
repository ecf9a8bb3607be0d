"""`treasury status` and `treasury down`: the servers of this home that are running."""

from collections.abc import Callable
from urllib.parse import urlsplit

from cli import terminal
from config import load_settings
from servers import home, stack
from servers.lease import ServerEndpoint

TITLES = {
    "postgres": "PostgreSQL",
    "redis": "Redis",
    "s3": "S3 (archive)",
    "suppliers": "Supplier simulators",
    "prefect": "Prefect UI",
    "worker": "Prefect worker",
    "api": "API",
}


def down() -> None:
    """Stop all servers of this home, whichever command started them. Does nothing if none is running."""
    settings = load_settings()
    if not settings.home.is_dir():
        terminal.note(f"no treasury home at {settings.home}")
    stopped = [TITLES[name] for name in stack.down(settings)]
    terminal.console.print(f"stopped: {', '.join(stopped)}" if stopped else "nothing was running")


def status() -> None:
    """Show which servers of this home are running, and where."""
    settings = load_settings()
    home.require(settings.home, database=False)
    addresses = {endpoint.name: address_of(endpoint) for endpoint in stack.endpoints(settings.home)}
    rows = [(title, addresses.get(name, "not running")) for name, title in TITLES.items()]
    terminal.table(f"Servers of {settings.home}", ("server", "address"), rows)


def address_of(endpoint: ServerEndpoint) -> str:
    """The address without its password."""
    parts = urlsplit(endpoint.url)
    if parts.password:
        return parts._replace(netloc=f"{parts.username or ''}:***@{parts.hostname}:{parts.port}").geturl()
    shown: dict[str, Callable[[str], str]] = {
        "prefect": lambda url: url.removesuffix("/api"),
        "worker": lambda _: "pool treasury",
        "api": lambda url: f"{url}   documentation {url}/docs",
    }
    return shown.get(endpoint.name, str)(endpoint.url)
