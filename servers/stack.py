"""The embedded servers together: lent for the length of a command, or all of them until they are stopped.

A URL that the user has set is used as it is; nothing is started in its place. All else is leased (see `lease`):
commands of one home that run at the same time share one server, and the last one out stops it.
"""

import fcntl
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pydantic import SecretStr

from config import Settings
from config.home import folder
from ledger.errors import ConflictError
from servers import api, lease, prefect, s3
from servers.api import Api
from servers.home import require
from servers.lease import Server, ServerEndpoint
from servers.postgres import Postgres
from servers.prefect import PrefectServer, Worker
from servers.redis import Redis
from servers.s3 import S3
from servers.supervision import PATIENCE, Patience, Supervisor
from servers.suppliers import Simulators
from suppliers.simulation.credentials import with_simulators
from tasks.admin.processes import STATE_FILE, UP, Incident
from tasks.prefect.access import PrefectAccess

Service = Literal["postgres", "redis", "s3", "prefect", "suppliers"]
SERVICES: tuple[Service, ...] = ("postgres", "redis", "s3", "prefect", "suppliers")
NAMES = (*SERVICES, prefect.WORKER_NAME, api.NAME)
PROJECT = Path(__file__).resolve().parent.parent
_LOGINS = {"api_database_url": "treasury_api", "auditor_database_url": "treasury_auditor"}
# Without them no payment is taken: when one of them keeps ending, `treasury up` ends too, and its caller sees that.
ESSENTIAL = ("postgres", api.NAME)
NEEDS = {prefect.WORKER_NAME: ("prefect",)}
DOWN_S = 600.0


@dataclass(frozen=True, slots=True)
class Up:
    """Everything that runs: the settings with every address filled in, and the servers that were leased, each with its
    address.

    ``problems``: what an administrator of PostgreSQL must do, a line each.
    """

    settings: Settings
    leased: Sequence[tuple[Server, ServerEndpoint]] = field(default_factory=tuple)
    problems: Sequence[str] = ()

    @property
    def endpoints(self) -> list[ServerEndpoint]:
        """The addresses of what was leased."""
        return [endpoint for _, endpoint in self.leased]

    def supervisor(self, report: Callable[[Incident], None], patience: Patience = PATIENCE) -> Supervisor:
        """Return the supervisor that restarts the leased servers that end. ``report`` is called with each incident."""
        return Supervisor(self.settings.home, self.leased, report, essential=ESSENTIAL, needs=NEEDS, patience=patience)


@contextmanager
def running(
    settings: Settings, *services: Service, fast: bool = False, bin_dir: Path | None = None
) -> Iterator[Settings]:
    """Yield ``settings`` with the addresses of ``services`` filled in, starting at the same time those that must be.

    ``fast`` starts PostgreSQL without durability, for tests; ``bin_dir`` takes its binaries from another folder.
    Raises TransientError with the end of its log when one does not come up. Any number of processes may do this in
    one home at once; whoever first starts PostgreSQL decides how it runs.
    """
    with _leased(settings, services, fast, bin_dir) as (ready, _):
        yield ready


@contextmanager
def _leased(
    settings: Settings, services: Sequence[Service], fast: bool = False, bin_dir: Path | None = None
) -> Iterator[tuple[Settings, list[tuple[Server, ServerEndpoint]]]]:
    """`running`, with the servers that were leased and where they answer."""
    with ExitStack() as stack:
        wanted = [_server(settings, name, fast, bin_dir) for name in services if not _is_set(settings, name)]
        leased = _together(stack, settings.home, wanted)
        yield _with_logins(_filled_in(settings, leased), leased), list(zip(wanted, leased, strict=True))


@contextmanager
def everything(settings: Settings, before_api: Callable[[Settings], None]) -> Iterator[Up]:
    """All: PostgreSQL (migrated), Redis, S3, simulated suppliers, Prefect with its deployments, a worker, the API.

    ``before_api`` is called with the complete settings once the databases answer, and before the worker and
    the API start. Raises TransientError when one of them does not come up; what had started is stopped again.
    """
    with _leased(settings, SERVICES) as (ready, leased), ExitStack() as stack:
        _migrate(ready)
        access = PrefectAccess.of(ready)
        work = ready.for_work().environment()
        elsewhere = _is_set(settings, "prefect")
        api_env = ready.for_api().environment()
        with ThreadPoolExecutor(1) as pool:
            prefect.make_pool(ready.home, access)
            deployed = pool.submit(prefect.deploy, ready.home, access, work, PROJECT, ready.suppliers)
            before_api(ready)
            problems = _give_roles(ready)
            ours: list[Server] = [
                Worker(ready.home, access, work, PROJECT, elsewhere),
                Api(ready.home, ready.ports.api, api_env, PROJECT, ready.api_bind, elsewhere),
            ]
            started = _together(stack, ready.home, ours)
            deployed.result()
        yield Up(ready, (*leased, *zip(ours, started, strict=True)), problems)


@contextmanager
def up(settings: Settings, before_api: Callable[[Settings], None]) -> Iterator[Up]:
    """`everything`, once a home: raises ConflictError while another process is up here. See `down`."""
    with _claimed(settings.home), everything(settings, before_api) as running_now:
        yield running_now


def down(settings: Settings) -> list[str]:
    """Stop the process that is `up` and every server of this home, also those that another command uses.

    Returns the names of what was stopped; nothing is left running. Safe to rerun. Raises TransientError when one of
    them does not end in time.
    """
    home = settings.home
    running_names = [name for name in NAMES if lease.is_held(home / "run" / f"{name}.alive")]
    claim = home / "run" / f"{UP}.alive"
    if lease.is_held(claim):
        os.kill(int(claim.read_text()), signal.SIGTERM)
        lease.wait(lambda: not lease.is_held(claim), DOWN_S, "`treasury up` to stop")
    for name in reversed(NAMES):
        lease.stop(home, name)
    return running_names


def endpoints(home: Path, names: Sequence[str] = NAMES) -> list[ServerEndpoint]:
    """The servers among ``names`` that run in this home now, and where. Read-only."""
    candidates = (lease.running_endpoint(home, name) for name in names)
    return [endpoint for endpoint in candidates if endpoint is not None]


def require_home(settings: Settings, *services: Service) -> None:
    """Raise ConfigError when one of ``services`` would be embedded and no home is there for it; see `servers.home`.

    Services that a URL replaces need no home.
    """
    embedded = [name for name in services if not _is_set(settings, name)]
    if embedded:
        require(settings.home, database="postgres" in embedded)


def reachable(settings: Settings) -> Settings:
    """``settings`` with the addresses of the embedded servers that run in this home now; nothing is started."""
    return _filled_in(settings, endpoints(settings.home, [name for name in SERVICES if not _is_set(settings, name)]))


def wanted_port(settings: Settings, endpoint: ServerEndpoint) -> int | None:
    """The port that the settings ask for when ``endpoint`` got another because that one was taken; else None."""
    wanted = int(getattr(settings.ports, endpoint.name, 0))
    return wanted if wanted and wanted != urlsplit(endpoint.url).port else None


def _is_set(settings: Settings, service: Service) -> bool:
    if service == "suppliers":
        return not settings.suppliers.simulated
    return {
        "postgres": settings.database_url,
        "redis": settings.redis_url,
        "s3": settings.archive_url,
        "prefect": settings.prefect_api_url,
    }[service] is not None


def _server(settings: Settings, service: Service, fast: bool, bin_dir: Path | None) -> Server:
    home = settings.home
    match service:
        case "postgres":
            return Postgres(home, settings.ports.postgres, bin_dir, fast)
        case "redis":
            return Redis(home, settings.ports.redis)
        case "s3":
            return S3(home, settings.ports.s3)
        case "prefect":
            return PrefectServer(home, settings.ports.prefect, settings.prefect_hosts)
        case "suppliers":
            return Simulators(home, settings.ports.suppliers, settings.for_simulators().environment())


def _filled_in(settings: Settings, leased: Sequence[ServerEndpoint]) -> Settings:
    urls = {endpoint.name: endpoint.url for endpoint in leased}
    changes: dict[str, object] = {}
    if "postgres" in urls:
        changes["database_url"] = SecretStr(urls["postgres"])
    if "redis" in urls:
        changes["redis_url"] = SecretStr(urls["redis"])
    if "prefect" in urls:
        changes |= {"prefect_api_url": urls["prefect"], "prefect_api_auth_string": prefect.login(settings.home)}
    if "suppliers" in urls:
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


def _give_roles(settings: Settings) -> list[str]:
    """Give each role its privileges in the database, once the tables are there: the API must not start before.

    Returns what could not be done, a line each.
    """
    from sql.connection import connect  # noqa: PLC0415
    from sql.roles import prepare_roles  # noqa: PLC0415

    with connect(settings.database_dsn, "roles") as connection:
        problems = prepare_roles(connection, settings)
    if settings.api_database_url is None:
        problems.append("TREASURY_API_DATABASE_URL is not set: the API has the owner's login")
    return problems


def _together(stack: ExitStack, home: Path, servers: Sequence[Server]) -> list[ServerEndpoint]:
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


def _migrate(settings: Settings) -> None:
    """Bring the database to the newest revision, unless this machine's clock is not PostgreSQL's (ClockError)."""
    from sql import migrate  # noqa: PLC0415  # Alembic is slow to import
    from sql.clock import require_clock  # noqa: PLC0415
    from sql.connection import connect  # noqa: PLC0415

    with connect(settings.database_dsn, "clock") as connection:
        require_clock(connection, settings.clock_tolerance_s)
    migrate.upgrade(settings.database_dsn)


@contextmanager
def _claimed(home: Path) -> Iterator[None]:
    """Be the one process that is up in this home, its pid in the locked file."""
    run = folder(home, "run")
    descriptor = os.open(run / f"{UP}.alive", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise ConflictError(f"already up in {home}: `treasury status` shows where, `treasury down` stops it") from None
    try:
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        (run / STATE_FILE).unlink(missing_ok=True)  # of a former `up` that was killed
        yield
    finally:
        os.close(descriptor)
