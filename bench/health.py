"""The duration of `treasury health --record`: with every server up, with every server down, and with silent servers.

A target takes the notices of the alerts; in the last two cases it is a silent one.
"""

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from pydantic import SecretStr
from rich.console import Console
from rich.table import Table

from bench.scratch import scratch
from config import Settings
from config.health import AlertUrls
from servers import prefect
from tasks.archiving.calendar import utc_today
from tasks.archiving.rollover import roll_table
from tasks.prefect.access import PrefectAccess

UP_TARGET_S = 5.0
DOWN_TARGET_S = 15.0
_ROUNDS = 3
_GIVEN_UP_S = 60.0


def run() -> dict[str, Any]:
    """Measure, show and return the figures: the longest of three runs of the whole command, from start to exit."""
    with (
        scratch("redis", "s3", "prefect") as settings,
        _port(listening=True) as silent,
        _port(listening=False) as closed,
        _receiver() as receiver,
    ):
        prefect.make_pool(settings.home, PrefectAccess.of(settings))
        for table in settings.registry.values():
            roll_table(settings, table, utc_today())
        result: dict[str, Any] = {
            "name": "health",
            "up_s": _longest(_telling(settings, receiver)),
            "down_s": _longest(_telling(_all_at(settings, closed), f"json://127.0.0.1:{silent}/?rto=60")),
            "silent_s": _longest(_telling(_all_at(settings, silent), f"json://127.0.0.1:{silent}/?rto=60")),
            "up_target_s": UP_TARGET_S,
            "down_target_s": DOWN_TARGET_S,
        }
    result["passed"] = result["up_s"] <= UP_TARGET_S and max(result["down_s"], result["silent_s"]) <= DOWN_TARGET_S
    _show(result)
    return result


@contextmanager
def _port(listening: bool) -> Iterator[int]:
    """A port that takes connections and never answers, or one that is held and refuses them."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        if listening:
            held.listen(128)
        yield int(held.getsockname()[1])


class _Taken(BaseHTTPRequestHandler):
    def do_POST(self) -> None:  # the name that http.server asks for
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def _receiver() -> Iterator[str]:
    """apprise's URL of a target that takes every notice."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Taken) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"json://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def _all_at(settings: Settings, port: int) -> Settings:
    return settings.model_copy(
        update={
            "database_url": SecretStr(f"postgresql://nobody@127.0.0.1:{port}/nowhere"),
            "redis_url": SecretStr(f"redis://127.0.0.1:{port}/0"),
            "s3_endpoint_url": f"http://127.0.0.1:{port}",
            "prefect_api_url": f"http://127.0.0.1:{port}/api",
        }
    )


def _telling(settings: Settings, url: str) -> Settings:
    urls = AlertUrls(critical=(SecretStr(url),), warning=(SecretStr(url),))
    return settings.model_copy(update={"alert_urls": urls})


def _longest(settings: Settings) -> float:
    return round(max(_command(settings) for _ in range(_ROUNDS)), 2)


def _command(settings: Settings) -> float:
    started = time.perf_counter()
    subprocess.run(  # our own interpreter and program
        [sys.executable, "-m", "cli.main", "health", "--json", "--record"],
        env={**os.environ, **settings.environment()},
        capture_output=True,
        check=False,  # its exit code is the state of the system
        timeout=_GIVEN_UP_S,
    )
    return time.perf_counter() - started


def _show(result: dict[str, Any]) -> None:
    table = Table("", "longest of 3", "target", title="treasury health --record", title_justify="left")
    for name, target in (("up", UP_TARGET_S), ("down", DOWN_TARGET_S), ("silent", DOWN_TARGET_S)):
        table.add_row(f"every server {name}", f"{result[f'{name}_s']} s", f"<= {target:.0f} s")
    Console().print(table)
