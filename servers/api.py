"""The transaction API under uvicorn, as its own server processes."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from shutil import rmtree
from urllib.parse import urlsplit

from config.settings import LOGINS
from servers import ports, process

NAME = "api"
APPLICATION = "api.app:create_app"
FIRST_FAILURE = 500
_LOGINS = frozenset(f"TREASURY_{field.upper()}" for field in LOGINS)
METRICS_FOLDER = "metrics"
METRICS_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"  # read by prometheus-client and by api.metrics


@dataclass(frozen=True, slots=True)
class Api:
    """``workers`` processes behind one port; ``settings_env`` is how they learn where everything else is."""

    home: Path
    port: int
    workers: int
    settings_env: Mapping[str, str] = field(repr=False)
    directory: Path = field(default_factory=Path.cwd)
    application: str = APPLICATION

    @property
    def name(self) -> str:
        """Its file name in the home."""
        return NAME

    def prepare(self) -> process.Launch:
        """Choose the port, and empty the folder of the metrics."""
        port = ports.choose(self.port)
        where = ("--host", ports.HOST, "--port", str(port), "--workers", str(self.workers))
        how = ("--loop", "uvloop", "--http", "httptools", "--ws", "none")
        # Who the client is decides api.addresses; uvicorn would believe whoever connects from this machine.
        quiet = ("--no-access-log", "--no-server-header", "--no-proxy-headers")
        return process.Launch(
            name=NAME,
            argv=(sys.executable, "-m", "uvicorn", self.application, "--factory", *where, *how, *quiet),
            url=f"http://{ports.HOST}:{port}",
            env=self._environment(),
            cwd=self.directory,
            stop_timeout_s=20.0,
        )

    def _environment(self) -> dict[str, str]:
        """Of PostgreSQL's logins only the one in ``settings_env``: what the user's shell has set is not passed on."""
        found = process.own_environment(self.settings_env)
        kept = {name: value for name, value in found.items() if name in self.settings_env or name not in _LOGINS}
        return kept | {METRICS_VARIABLE: str(self._fresh_metrics_folder())}

    def _fresh_metrics_folder(self) -> Path:
        """Where the workers keep their numbers together: emptied, so that a start counts from 0. One server a home."""
        folder = self.home / "run" / METRICS_FOLDER
        rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True, mode=0o700)
        return folder

    def answers(self, url: str) -> bool:
        """Whether it answers HTTP without failing (a request without a key is refused, which is an answer)."""
        status = ports.http_status(urlsplit(url).port or 0, "/openapi.json")
        return status is not None and status < FIRST_FAILURE
