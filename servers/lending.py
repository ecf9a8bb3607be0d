"""The embedded servers that a command needs, lent for its length.

A URL that the user has set is used as it is; nothing is started in its place. All else is leased (see `lease`).
Commands of one home that run at the same time share one server, and the last one out stops it.
"""

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Literal

from pydantic import SecretStr

from config import Settings
from servers import lease, s3
from servers.home import require
from servers.lease import Server, ServerEndpoint
from servers.postgres import Postgres
from servers.redis import Redis
from servers.s3 import S3

Service = Literal["postgres", "redis", "s3", "prefect", "suppliers"]
SERVICES: tuple[Service, ...] = ("postgres", "redis", "s3", "prefect", "suppliers")
_LOGINS = {"api_database_url": "treasury_api", "auditor_database_url": "treasury_auditor"}


@contextmanager
def running(
    settings: Settings, *services: Service, fast: bool = False, bin_dir: Path | None = None
) -> Iterator[Settings]:
    """Yield ``settings`` with the addresses of ``services`` filled in, starting at the same time those that must be.

    ``fast`` starts PostgreSQL without durability, for tests; ``bin_dir`` takes its binaries from another folder.
    Raises TransientError with the end of its log when one does not come up. Any number of processes may do this in
    one home at once; whoever first starts PostgreSQL decides how it runs.
    """
    with leased_servers(settings, services, fast, bin_dir) as (ready, _):
        yield ready


@contextmanager
def leased_servers(
    settings: Settings, services: Sequence[Service], fast: bool = False, bin_dir: Path | None = None
) -> Iterator[tuple[Settings, list[tuple[Server, ServerEndpoint]]]]:
    """`running`, with the servers that were leased and where they answer."""
    with ExitStack() as stack:
        wanted = [_server(settings, name, fast, bin_dir) for name in services if not is_set(settings, name)]
        leased = start_together(stack, settings.home, wanted)
        yield _with_logins(_filled_in(settings, leased), leased), list(zip(wanted, leased, strict=True))


def require_home(settings: Settings, *services: Service) -> None:
    """Raise ConfigError when one of ``services`` would be embedded and no home is there for it; see `servers.home`.

    Services that a URL replaces need no home.
    """
    embedded = [name for name in services if not is_set(settings, name)]
    if embedded:
        require(settings.home, database="postgres" in embedded)


def reachable(settings: Settings) -> Settings:
    """``settings`` with the addresses of the embedded servers that run in this home now; nothing is started."""
    embedded = [name for name in SERVICES if not is_set(settings, name)]
    return _filled_in(settings, running_endpoints(settings.home, embedded))


def running_endpoints(home: Path, names: Sequence[str]) -> list[ServerEndpoint]:
    """The servers among ``names`` that run in this home now, and where. Read-only."""
    candidates = (lease.running_endpoint(home, name) for name in names)
    return [endpoint for endpoint in candidates if endpoint is not None]


def is_set(settings: Settings, service: Service) -> bool:
    """Whether a URL of the settings takes the place of the embedded server."""
    if service == "suppliers":
        return not settings.suppliers.simulated
    return {
        "postgres": settings.database_url,
        "redis": settings.redis_url,
        "s3": settings.archive_url,
        "prefect": settings.prefect_api_url,
    }[service] is not None


def _server(settings: Settings, service: Service, fast: bool, bin_dir: Path | None) -> Server:
    """The server of a service. Most commands need neither Prefect nor suppliers: they are imported here."""
    home = settings.home
    match service:
        case "postgres":
            return Postgres(home, settings.ports.postgres, bin_dir, fast)
        case "redis":
            return Redis(home, settings.ports.redis)
        case "s3":
            return S3(home, settings.ports.s3)
        case "prefect":
            from servers.prefect import PrefectServer  # noqa: PLC0415

            return PrefectServer(home, settings.ports.prefect, settings.prefect_hosts)
        case "suppliers":
            from servers.suppliers import Simulators  # noqa: PLC0415

            return Simulators(home, settings.ports.suppliers, settings.for_simulators().environment())


def _filled_in(settings: Settings, leased: Sequence[ServerEndpoint]) -> Settings:
    urls = {endpoint.name: endpoint.url for endpoint in leased}
    changes: dict[str, object] = {}
    if "postgres" in urls:
        changes["database_url"] = SecretStr(urls["postgres"])
    if "redis" in urls:
        changes["redis_url"] = SecretStr(urls["redis"])
    if "prefect" in urls:
        from servers import prefect  # noqa: PLC0415

        changes |= {"prefect_api_url": urls["prefect"], "prefect_api_auth_string": prefect.login(settings.home)}
    if "suppliers" in urls:
        from suppliers.simulation.credentials import with_simulators  # noqa: PLC0415

        changes["suppliers"] = with_simulators(settings.suppliers, urls["suppliers"])
    if "s3" in urls:
        access, secret = s3.credentials(settings.home)
        changes |= {"archive_url": f"s3://{s3.BUCKET}", "s3_endpoint_url": urls["s3"]}
        changes |= {"s3_access_key_id": access, "s3_secret_access_key": SecretStr(secret)}
    return settings.model_copy(update=changes)


def _with_logins(settings: Settings, leased: Sequence[ServerEndpoint]) -> Settings:
    """The API's and the auditor's own logins to an embedded PostgreSQL, each with a password of its own."""
    url = next((endpoint.url for endpoint in leased if endpoint.name == "postgres"), None)
    if url is None:
        return settings
    from sql import roles  # noqa: PLC0415  # psycopg is slow to import; only callers that need PostgreSQL pay

    server = Postgres(settings.home)
    logins = {field: server.login_url(url, role) for field, role in _LOGINS.items()}
    for login in logins.values():
        roles.ensure_login(url, login)
    return settings.model_copy(update={field: SecretStr(login) for field, login in logins.items()})


def start_together(stack: ExitStack, home: Path, servers: Sequence[Server]) -> list[ServerEndpoint]:
    """Lease all ``servers`` at the same time. An interrupt ends the starts that are under way."""
    if not servers:
        return []
    given_up = threading.Event()
    with ThreadPoolExecutor(len(servers)) as pool:
        leases = [lease.lease(home, server, given_up.is_set) for server in servers]
        entered = [pool.submit(stack.enter_context, manager) for manager in leases]
        try:
            return [future.result() for future in entered]
        except BaseException:
            given_up.set()
            raise
