"""The suppliers' simulators under uvicorn, as one server process for all of those that are not configured."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar
from urllib.parse import urlsplit

from servers import ports, process

NAME = "suppliers"
APPLICATION = "servers.suppliers_app:create_app"
PORT_VARIABLE = "SIMULATORS_PORT"  # the application has no other way to get it
OK = 200
PROJECT = Path(__file__).resolve().parent.parent  # where the simulators are, whatever project is served


@dataclass(frozen=True, slots=True)
class Simulators:
    """The simulators of one home; their book is kept in it. ``port`` 0 takes any free one."""

    name: ClassVar[str] = NAME
    home: Path
    port: int
    settings_env: Mapping[str, str] = field(repr=False)
    directory: Path = PROJECT

    def prepare(self) -> process.Launch:
        """Choose the port."""
        port = ports.choose(self.port)
        where = ("--host", ports.HOST, "--port", str(port))
        how = ("--loop", "uvloop", "--http", "httptools", "--no-access-log", "--no-server-header")
        quiet = ("--log-level", "critical")  # connections that break on purpose need no message
        return process.Launch(
            name=NAME,
            argv=(sys.executable, "-m", "uvicorn", APPLICATION, "--factory", *where, *how, *quiet),
            url=f"http://{ports.HOST}:{port}",
            env=process.own_environment(self.settings_env) | {PORT_VARIABLE: str(port)},
            cwd=self.directory,
            stop_timeout_s=5.0,
        )

    def answers(self, url: str) -> bool:
        """Return whether it answers its health check."""
        return ports.http_status(urlsplit(url).port or 0, "/health") == OK
