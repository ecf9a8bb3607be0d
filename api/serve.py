"""The API's processes: ``python -m api.serve``. Settings come from the environment, the port from the command line.

SIGTERM ends them gracefully: no new connection, every answer under way given, every queued row stored.
"""

import argparse
import gc
import logging
import resource
import sys

import uvicorn
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess

from api.logs.json_lines import capture_all_logs
from api.server import security_headers
from api.server.protocol import LimitedConfig, SocketLimits
from api.server.supervision import end_with_supervisor
from config import Settings, load_settings
from ledger.errors import ConfigError

BACKLOG = 4096
DRAIN_S = 7  # then api.server.services ends its parts; the keeper kills after servers.api.STOP_S
# A worker that does not answer its supervisor for so long is replaced. It does not answer while it loads Python and the
# application, which takes many seconds on a busy machine: under uvicorn's own 5 s such workers never got to serve. A
# worker that hangs also stays for so long, so the time is not longer.
WORKER_ANSWERS_S = 20

# A chunk of one byte is six on the wire; no client needs to send a large body like that.
_FRAMING = 2
_FRAMING_BYTES = 65_536
_OTHER_FILES = 512  # PostgreSQL, Redis, the archive, logs, the listening socket
_COLLECT_AFTER = (20_000, 20, 20)
_LOG = logging.getLogger("treasury.api.serve")


class ProcessConfig(LimitedConfig):
    """The configuration of a process that is the API and nothing else: its logs are ours, every one."""

    def load(self) -> None:
        """Called in each worker, once, before it serves. What is loaded now stays: the collector need not look at it.

        With hundreds of thousands of objects of libraries in the way, a collection takes as long as many requests.
        """
        end_with_supervisor()
        super().load()
        gc.collect()
        gc.freeze()
        gc.set_threshold(*_COLLECT_AFTER)

    def configure_logging(self) -> None:
        """Called when it is made, and again in each worker."""
        super().configure_logging()
        capture_all_logs(logging.getLevelName(self.log_level or logging.INFO))
        # uvicorn writes its access log, with addresses and queries, wherever this logger has a handler: ours is enough.
        access = logging.getLogger("uvicorn.access")
        access.handlers.clear()
        access.propagate = False


def make_limits(settings: Settings) -> SocketLimits:
    """The limits of one process, its connections lowered to what the system lets it open."""
    return SocketLimits(
        connections=max(1, min(settings.api_connections, raise_open_files() - _OTHER_FILES)),
        header_bytes=settings.api_header_limit_bytes,
        body_bytes=settings.api_body_limit_bytes * _FRAMING + _FRAMING_BYTES,
        header_timeout_s=settings.api_header_timeout_s,
        body_timeout_s=settings.api_body_timeout_s,
        keep_alive_s=settings.api_keep_alive_s,
        headers=security_headers.all_headers(settings.api_hsts_s),
    )


def raise_open_files() -> int:
    """Raise the limit of open files of this process, and of those that it starts, as far as may be; returns it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return sys.maxsize if hard == resource.RLIM_INFINITY else hard


def make_config(settings: Settings, port: int) -> ProcessConfig:
    """uvicorn's configuration: our protocol, our logs, nothing trusted that a client says about its address."""
    limits = make_limits(settings)
    config = ProcessConfig(
        "api.server.app:create_app",
        limits,
        factory=True,
        host=settings.api_bind,
        port=port,
        workers=settings.api_workers,
        backlog=BACKLOG,
        log_config=None,
        log_level=logging.getLevelName(settings.log_level),
        timeout_graceful_shutdown=DRAIN_S,
        timeout_worker_healthcheck=WORKER_ANSWERS_S,
        **HOW,
    )
    if limits.connections < settings.api_connections:
        _LOG.warning("the open-files limit allows %d connections", limits.connections)
    return config


# The same for every way of running it, tests too.
HOW = {
    "loop": "uvloop",
    "ws": "none",
    "access_log": False,
    "server_header": False,
    "proxy_headers": False,
}


def main() -> None:
    """Run until a signal stops it. Ends with the exit code of ConfigError for a setting that is wrong."""
    parser = argparse.ArgumentParser(prog="python -m api.serve", description="The transaction API.")
    parser.add_argument("--port", type=int, help="TREASURY_PORTS__API when not given")
    arguments = parser.parse_args()
    try:
        settings = load_settings()
        config = make_config(settings, settings.ports.api if arguments.port is None else arguments.port)
    except ConfigError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(error.exit_code)
    if config.workers > 1:
        Multiprocess(config, sockets=[config.bind_socket()]).run()
        return
    server = uvicorn.Server(config)
    server.run()
    if not server.started:
        sys.exit(STARTUP_FAILURE)


if __name__ == "__main__":
    main()
