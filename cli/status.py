"""`treasury status` and `treasury down`: the servers of this home that are running."""

from collections.abc import Callable
from urllib.parse import urlsplit

from cli import terminal
from cli.json_output import AsJson, write_json
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


def status(as_json: AsJson = False) -> None:
    """Show which servers of this home are running, and where."""
    settings = load_settings()
    home.require(settings.home, database=False)
    endpoints = {endpoint.name: endpoint for endpoint in stack.endpoints(settings.home)}
    if as_json:
        urls = {name: _without_password(endpoint.url) for name, endpoint in endpoints.items()}
        write_json([{"server": name, "is_running": name in urls, "url": urls.get(name)} for name in TITLES])
        return
    addresses = {name: address_of(endpoint) for name, endpoint in endpoints.items()}
    rows = [(title, addresses.get(name, "not running")) for name, title in TITLES.items()]
    terminal.table(f"Servers of {settings.home}", ("server", "address"), rows)


def address_of(endpoint: ServerEndpoint) -> str:
    """The address for people, without its password."""
    url = _without_password(endpoint.url)
    if url != endpoint.url:
        return url
    shown: dict[str, Callable[[str], str]] = {
        "prefect": lambda url: url.removesuffix("/api"),
        "worker": lambda _: "pool treasury",
        "api": lambda url: f"{url}   documentation {url}/docs",
    }
    return shown.get(endpoint.name, str)(url)


def _without_password(url: str) -> str:
    parts = urlsplit(url)
    if not parts.password:
        return url
    return parts._replace(netloc=f"{parts.username or ''}:***@{parts.hostname}:{parts.port}").geturl()
