"""The Prefect server with its UI, a process work pool with one worker, and the deployments of prefect.yaml."""

import hashlib
import logging
import socket
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar
from urllib.parse import urlsplit

import yaml
from pydantic import SecretStr

from config import generated_keys
from config.home import folder as home_folder
from config.suppliers import Suppliers
from ledger.errors import ConfigError
from servers import ports, process
from servers.prefect_slots import clear_locks, recover
from tasks.prefect.access import PrefectAccess, client_environment
from tasks.prefect.deployments import POOL, further_deployments

NAME = "prefect"
WORKER_NAME = "worker"
PROGRAM = "servers.prefect_app"
USER = "treasury"
LOGIN = "prefect-login"  # the name of a file
PASSWORD_DIGITS = 40
PROJECT_VARIABLE = "TREASURY_PROJECT"
OK = 200
COMMAND_TIMEOUT_S = process.READY_S  # most of it is the import of Prefect
_LOG = logging.getLogger("treasury.servers")

# The state of the server that is not in its database must survive it, too.
_LEASES_ON_DISK = {"PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem"}


def login(home: Path) -> SecretStr:
    """``user:password`` of the embedded server, made once in the keys of the home: a person's login to the UI, too."""
    return SecretStr(generated_keys.key(home, LOGIN, PASSWORD_DIGITS, prefix=f"{USER}:"))


@dataclass(frozen=True, slots=True)
class PrefectServer:
    """The embedded server of one home, on SQLite in ``<home>/prefect``. The first start takes 15 to 30 s.

    It answers only requests for one of ``hosts``, from its own pages or from programs, with the home's `login`.
    """

    name: ClassVar[str] = NAME
    home: Path
    port: int = 0
    hosts: tuple[str, ...] = (ports.HOST, "localhost")

    def prepare(self) -> process.Launch:
        """Make its home and choose its port. It sees nothing of the settings: no work is done in it."""
        folder = home_folder(self.home, NAME)
        clear_locks(folder)
        port = ports.choose(self.port)
        access = PrefectAccess(f"http://{ports.HOST}:{port}/api", login(self.home))
        return process.Launch(
            name=NAME,
            argv=(sys.executable, "-m", PROGRAM, "--port", str(port), "--hosts", ",".join(self._every_host())),
            url=access.api_url,
            env=process.plain_environment()
            | client_environment(self.home, access)
            | _LEASES_ON_DISK
            | self._guarded(port),
            cwd=folder,
        )

    def _every_host(self) -> tuple[str, ...]:
        """The names, and the address that our own clients use, whatever is set."""
        return tuple(dict.fromkeys((ports.HOST, *self.hosts)))

    def _guarded(self, port: int) -> dict[str, str]:
        """The login, and the pages that may send requests: a page at one of its names may use another of them."""
        origins = [f"{scheme}://{name}" for name in self._every_host() for scheme in ("http", "https")]
        own = [*(f"http://{name}:{port}" for name in self._every_host()), *origins]
        return {
            "PREFECT_SERVER_API_AUTH_STRING": login(self.home).get_secret_value(),
            "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": ",".join(own),
            "PREFECT_SERVER_UI_API_URL": "/api",  # of the host that served the page: 127.0.0.1 is the browser's machine
        }

    def answers(self, url: str) -> bool:
        """Return whether its health check passes."""
        return ports.http_status(urlsplit(url).port or 0, "/api/health") == OK


@dataclass(frozen=True, slots=True)
class Worker:
    """A process worker of the pool: each flow run is a child process of it, with ``settings_env`` as its settings."""

    name: ClassVar[str] = WORKER_NAME
    home: Path
    access: PrefectAccess
    settings_env: Mapping[str, str] = field(repr=False)
    directory: Path = field(default_factory=Path.cwd)
    server_is_elsewhere: bool = False

    @property
    def known_as(self) -> str:
        """Its name in Prefect: on a server that others use, too, one that no other home has."""
        if not self.server_is_elsewhere:
            return USER
        return f"{USER}-{hashlib.sha256(f'{socket.gethostname()} {self.home}'.encode()).hexdigest()[:12]}"

    def prepare(self) -> process.Launch:
        """Repair what a killed worker left, and make its folder for temporary files. The worker registers itself, and
        makes the pool if it is missing.

        Left alone it keeps flow code in /tmp/runner_storage, where it meets the workers of other users.
        """
        self._recover()
        temporary = self.home / "prefect" / "tmp"
        temporary.mkdir(parents=True, exist_ok=True)
        command = ("worker", "start", "--pool", POOL, "--type", "process", "--name", self.known_as)
        return process.Launch(
            name=WORKER_NAME,
            argv=(sys.executable, "-m", "prefect", *command),
            url=self.access.api_url,
            env=process.own_environment(self.settings_env, prefect_is_elsewhere=self.server_is_elsewhere)
            | client_environment(self.home, self.access)
            | {"TMPDIR": str(temporary)},
            cwd=self.directory,
            stop_timeout_s=15.0,
        )

    def _recover(self) -> None:
        own_server = None if self.server_is_elsewhere else self.home / "prefect"
        done = recover(self.access, POOL, self.known_as, own_server)
        if done.ended:
            _LOG.warning("ended as crashed, their processes were gone: %s", ", ".join(done.ended))
        if done.freed:
            _LOG.warning("slots freed: %s", ", ".join(done.freed))
        for problem in done.problems:
            _LOG.warning("%s", problem)

    def answers(self, _url: str) -> bool:
        """Return whether the server counts this worker of the pool as online (its last heartbeat is recent)."""
        try:
            workers = self.access.once(f"/work_pools/{POOL}/workers/filter", {}, timeout_s=ports.PROBE_S)
        except (OSError, ValueError):
            return False
        online = [worker.get("name") for worker in workers if worker.get("status") == "ONLINE"]
        return self.known_as in online


def make_pool(home: Path, access: PrefectAccess) -> None:
    """Create the work pool unless it is there. Safe to rerun. Raises TransientError with what Prefect said."""
    if access.ask(f"/work_pools/{POOL}") is None:
        _prefect(home, access, {}, home, "work-pool", "create", POOL, "--type", "process", "--overwrite")


def deploy(
    home: Path,
    access: PrefectAccess,
    settings_env: Mapping[str, str],
    directory: Path,
    suppliers: Suppliers | None = None,
) -> None:
    """Register every deployment of ``<directory>/prefect.yaml``, and those of ``suppliers`` from elsewhere.

    Safe to rerun: a deployment is replaced by name.
    The file can name its own folder as ``{{ $TREASURY_PROJECT }}``, for the step that takes a worker there.
    Raises ConfigError when there is no such file, TransientError with what Prefect said when it fails.
    """
    if not (directory / "prefect.yaml").is_file():
        raise ConfigError(f"{directory} has no prefect.yaml")
    known = {**settings_env, PROJECT_VARIABLE: str(directory)}
    _prefect(home, access, known, directory, "--no-prompt", "deploy", "--all")
    if suppliers is not None and suppliers.further:
        document = yaml.safe_load((directory / "prefect.yaml").read_text(encoding="utf-8"))
        document["deployments"] = further_deployments(directory, suppliers)
        file = home / "further-deployments.yaml"
        file.write_text(yaml.safe_dump(document), encoding="utf-8")
        _prefect(home, access, known, directory, "--no-prompt", "deploy", "--all", "--prefect-file", str(file))


def _prefect(
    home: Path, access: PrefectAccess, settings_env: Mapping[str, str], directory: Path, *arguments: str
) -> None:
    elsewhere = not access.api_url.startswith(f"http://{ports.HOST}:")  # a key for Prefect Cloud is not for our own
    process.run_once(
        f"prefect {' '.join(arguments)}",
        (sys.executable, "-m", "prefect", *arguments),
        timeout_s=COMMAND_TIMEOUT_S,
        env=process.own_environment(settings_env, prefect_is_elsewhere=elsewhere) | client_environment(home, access),
        cwd=directory,
    )
