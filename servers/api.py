"""The transaction API (`python -m api.serve`), as its own server processes."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from shutil import rmtree
from typing import ClassVar
from urllib.parse import urlsplit

from servers import ports, process

NAME = "api"
PROGRAM = "api.serve"
_EVERYWHERE = frozenset({"0.0.0.0", "::", ports.HOST})  # noqa: S104  # compared with, not bound to
FIRST_FAILURE = 500
STOP_S = 20.0  # more than a graceful end takes with everything away
METRICS_FOLDER = "metrics"
METRICS_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"  # read by prometheus-client and by api.monitoring.metrics


@dataclass(frozen=True, slots=True)
class Api:
    """Its processes behind one port; ``settings_env`` has everything but the port."""

    name: ClassVar[str] = NAME
    home: Path
    port: int
    settings_env: Mapping[str, str] = field(repr=False)
    directory: Path = field(default_factory=Path.cwd)
    bind: str = ports.HOST
    prefect_is_elsewhere: bool = False

    def prepare(self) -> process.Launch:
        """Choose the port, and empty the folder of the metrics."""
        port = ports.choose(self.port)
        return process.Launch(
            name=NAME,
            argv=(sys.executable, "-m", PROGRAM, "--port", str(port)),
            url=f"http://{f'[{self._host}]' if ':' in self._host else self._host}:{port}",
            env=self._environment(),
            cwd=self.directory,
            stop_timeout_s=STOP_S,
        )

    def _environment(self) -> dict[str, str]:
        """Of PostgreSQL's logins only the one in ``settings_env``: what the user's shell has set is not passed on."""
        shell = process.own_environment(self.settings_env, prefect_is_elsewhere=self.prefect_is_elsewhere)
        return shell | {METRICS_VARIABLE: str(self._fresh_metrics_folder())}

    def _fresh_metrics_folder(self) -> Path:
        """Return where the workers keep their numbers together: emptied, so that a start counts from 0. One server a
        home.
        """
        folder = self.home / "run" / METRICS_FOLDER
        rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True, mode=0o700)
        return folder

    @property
    def _host(self) -> str:
        return ports.HOST if self.bind in _EVERYWHERE else self.bind

    def answers(self, url: str) -> bool:
        """Return whether it answers HTTP without failing (a request without a key is refused, which is an answer)."""
        status = ports.http_status(urlsplit(url).port or 0, "/openapi.json", self._host)
        return status is not None and status < FIRST_FAILURE
