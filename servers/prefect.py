"""The Prefect server with its UI, a process work pool with one worker, and the deployments of prefect.yaml."""

import json
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml  # type: ignore[import-untyped]  # it has no types

from config.suppliers import Suppliers
from ledger.errors import ConfigError
from servers import ports, process

NAME = "prefect"
WORKER_NAME = "worker"
POOL = "treasury"
PROJECT_VARIABLE = "TREASURY_PROJECT"
RECONCILIATION = "flows/reconcile_supplier.py:reconcile_supplier"
OK = 200
COMMAND_TIMEOUT_S = 120.0

# Nothing is sent anywhere, nothing is advertised, and the logs read as text.
_QUIET = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    "PREFECT_CLI_PROMPT": "false",
    "PREFECT_CLI_COLORS": "false",
}


def environment(home: Path, api_url: str) -> dict[str, str]:
    """The variables for a Prefect client of this project, whether worker, flow run or command."""
    return _QUIET | {"PREFECT_HOME": str(home / "prefect"), "PREFECT_API_URL": api_url}


@dataclass(frozen=True, slots=True)
class PrefectServer:
    """The embedded server of one home, on SQLite in ``<home>/prefect``. The first start takes 15 to 30 s."""

    home: Path
    port: int = 0

    @property
    def name(self) -> str:
        """Its file name in the home."""
        return NAME

    def prepare(self) -> process.Launch:
        """Make its home and choose its port."""
        folder = self.home / "prefect"
        folder.mkdir(parents=True, exist_ok=True)
        port = ports.choose(self.port)
        url = f"http://{ports.HOST}:{port}/api"
        return process.Launch(
            name=NAME,
            argv=(sys.executable, "-m", "prefect", "server", "start", "--host", ports.HOST, "--port", str(port)),
            url=url,
            env=process.plain_environment() | environment(self.home, url),
            cwd=folder,
            ready_timeout_s=180.0,
        )

    def answers(self, url: str) -> bool:
        """Whether its health check passes."""
        return ports.http_status(urlsplit(url).port or 0, "/api/health") == OK


@dataclass(frozen=True, slots=True)
class Worker:
    """A process worker of the pool: each flow run is a child process of it, with ``settings_env`` as its settings."""

    home: Path
    api_url: str
    settings_env: Mapping[str, str] = field(repr=False)
    directory: Path = field(default_factory=Path.cwd)

    @property
    def name(self) -> str:
        """Its file name in the home."""
        return WORKER_NAME

    def prepare(self) -> process.Launch:
        """Make its folder for temporary files; the worker registers itself, and makes the pool if nobody did.

        Left alone it keeps flow code in /tmp/runner_storage, where it meets the workers of other users.
        """
        temporary = self.home / "prefect" / "tmp"
        temporary.mkdir(parents=True, exist_ok=True)
        command = ("worker", "start", "--pool", POOL, "--type", "process", "--name", "treasury")
        return process.Launch(
            name=WORKER_NAME,
            argv=(sys.executable, "-m", "prefect", *command),
            url=self.api_url,
            env=process.own_environment(self.settings_env)
            | environment(self.home, self.api_url)
            | {"TMPDIR": str(temporary)},
            cwd=self.directory,
            stop_timeout_s=15.0,
            ready_timeout_s=90.0,
        )

    def answers(self, url: str) -> bool:
        """Whether the server counts a worker of the pool as online (its last heartbeat is recent)."""
        try:
            workers = _ask(f"{url}/work_pools/{POOL}/workers/filter", {})
        except (OSError, ValueError):
            return False
        return isinstance(workers, list) and any(worker.get("status") == "ONLINE" for worker in workers)


def make_pool(home: Path, api_url: str) -> None:
    """Create the work pool unless it is there. Safe to rerun. Raises TransientError with what Prefect said."""
    try:
        _ask(f"{api_url}/work_pools/{POOL}")
    except urllib.error.HTTPError:
        _prefect(home, api_url, {}, home, "work-pool", "create", POOL, "--type", "process", "--overwrite")


def further_deployments(directory: Path, suppliers: Suppliers) -> list[dict[str, Any]]:
    """A deployment that reconciles each supplier of ``modules``, as ``prefect.yaml`` has for the project's own."""
    known = yaml.safe_load((directory / "prefect.yaml").read_text(encoding="utf-8"))["deployments"]
    pattern = next(one for one in known if one["entrypoint"] == RECONCILIATION)
    return [
        pattern
        | {
            "name": f"reconcile-{name}",
            "description": f"The day of {name} against its statement.",
            "parameters": {"parameters": {"supplier": name}},
        }
        for name in suppliers.further
    ]


def deploy(
    home: Path, api_url: str, settings_env: Mapping[str, str], directory: Path, suppliers: Suppliers | None = None
) -> None:
    """Register every deployment of ``<directory>/prefect.yaml``, and those of ``suppliers`` from elsewhere.

    Safe to rerun: a deployment is replaced by name.
    The file can name its own folder as ``{{ $TREASURY_PROJECT }}``, for the step that takes a worker there.
    Raises ConfigError when there is no such file, TransientError with what Prefect said when it fails.
    """
    if not (directory / "prefect.yaml").is_file():
        raise ConfigError(f"{directory} has no prefect.yaml")
    known = {**settings_env, PROJECT_VARIABLE: str(directory)}
    _prefect(home, api_url, known, directory, "--no-prompt", "deploy", "--all")
    if suppliers is not None and suppliers.further:
        document = yaml.safe_load((directory / "prefect.yaml").read_text(encoding="utf-8"))
        document["deployments"] = further_deployments(directory, suppliers)
        file = home / "further-deployments.yaml"
        file.write_text(yaml.safe_dump(document), encoding="utf-8")
        _prefect(home, api_url, known, directory, "--no-prompt", "deploy", "--all", "--prefect-file", str(file))


def _prefect(home: Path, api_url: str, settings_env: Mapping[str, str], directory: Path, *arguments: str) -> None:
    process.run_once(
        f"prefect {' '.join(arguments)}",
        (sys.executable, "-m", "prefect", *arguments),
        timeout_s=COMMAND_TIMEOUT_S,
        env=process.own_environment(settings_env) | environment(home, api_url),
        cwd=directory,
    )


def _ask(url: str, body: object = None) -> object:
    """GET, or POST of ``body`` as JSON. Raises urllib.error.HTTPError for an error status, OSError otherwise."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data=data, headers={"Content-Type": "application/json"})  # noqa: S310
    with urllib.request.urlopen(request, timeout=ports.PROBE_S) as answer:  # noqa: S310  # http by construction
        return json.load(answer)
