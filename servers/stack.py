"""All servers of a home together, until they are stopped: `treasury up` and `treasury down`.

Single ones are lent for the length of a command: see `servers.lending`.
"""

import fcntl
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import SecretStr

from config import Settings
from config.home import folder
from ledger.errors import ConflictError
from servers import api, lease, prefect
from servers.api import Api
from servers.lease import Server, ServerEndpoint
from servers.lending import SERVICES, is_set, leased_servers, running_endpoints, start_together
from servers.prefect import Worker
from servers.process import READY_S
from servers.supervision import PATIENCE, Patience, Supervisor
from tasks.admin.processes import STATE_FILE, UP, Incident
from tasks.prefect.access import PrefectAccess

NAMES = (*SERVICES, prefect.WORKER_NAME, api.NAME)
PROJECT = Path(__file__).resolve().parent.parent
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
def everything(settings: Settings, before_api: Callable[[Settings], None]) -> Iterator[Up]:
    """All: PostgreSQL (migrated), Redis, S3, simulated suppliers, Prefect with its deployments, a worker, the API.

    ``before_api`` is called with the complete settings once the databases answer, and before the worker and
    the API start. Raises TransientError when one of them does not come up; what had started is stopped again.
    """
    with leased_servers(settings, SERVICES) as (ready, leased), ExitStack() as stack:
        starting = _patient(ready)
        _migrate(starting)
        access = PrefectAccess.of(ready)
        work = ready.for_work().environment()
        elsewhere = is_set(settings, "prefect")
        api_env = ready.for_api().environment()
        with ThreadPoolExecutor(1) as pool:
            prefect.make_pool(ready.home, access)
            deployed = pool.submit(prefect.deploy, ready.home, access, work, PROJECT, ready.suppliers)
            before_api(starting)
            problems = _give_roles(starting)
            ours: list[Server] = [
                Worker(ready.home, access, work, PROJECT, elsewhere),
                Api(ready.home, ready.ports.api, api_env, PROJECT, ready.api_bind, elsewhere),
            ]
            started = start_together(stack, ready.home, ours)
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
    return running_endpoints(home, names)


def wanted_port(settings: Settings, endpoint: ServerEndpoint) -> int | None:
    """The port that the settings ask for when ``endpoint`` got another because that one was taken; else None."""
    wanted = int(getattr(settings.ports, endpoint.name, 0))
    return wanted if wanted and wanted != urlsplit(endpoint.url).port else None


def _patient(settings: Settings) -> Settings:
    """``settings`` by which PostgreSQL may take as long for a session as any server for its start."""
    from sql.connection import patient  # noqa: PLC0415  # psycopg is slow to import

    if settings.database_url is None:
        return settings
    url = patient(settings.database_url.get_secret_value(), READY_S)
    return settings.model_copy(update={"database_url": SecretStr(url)})


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
