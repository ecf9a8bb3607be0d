"""One supervised server process: how it is launched, how long it may take to answer, and what it said if it did not."""

import atexit
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from config.home import folder
from ledger.errors import TransientError
from servers import keeper
from servers.account import Account

LOG_LIMIT_BYTES = 16 << 20
TAIL_LINES = 25
POLL_S = 0.05
READY_S = 600.0  # a busy machine is slow to start a server; one that ends is seen at once

# What of the operator's shell a child of this project's own code gets to see.
_SHELL = frozenset({"PATH", "PYTHONPATH", "HOME", "USER", "LOGNAME", "LANG", "LANGUAGE", "TZ", "TMPDIR"})
# In upper or lower case: how servers elsewhere are reached, and which certificates are believed.
_NETWORK = frozenset(
    {"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE"}
    | {"CURL_CA_BUNDLE", "AWS_CA_BUNDLE"}
)
_AWS = ("AWS_",)  # the AWS SDK's own search for credentials
_PREFECT = ("PREFECT_API_", "PREFECT_CLIENT_")


@dataclass(frozen=True, kw_only=True)
class Launch:
    """Everything that is needed to start one server, and the address it will answer at."""

    name: str
    argv: tuple[str, ...]
    url: str = field(repr=False)  # may hold a password
    env: Mapping[str, str] = field(repr=False)
    cwd: Path
    account: Account | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    stop_timeout_s: float = 10.0
    ready_timeout_s: float = READY_S


class ServerLog:
    """The log file of one server. Made once a start: what it ``tail``s is what this start has written."""

    def __init__(self, home: Path, name: str) -> None:
        self.path = folder(home, "log") / f"{name}.log"
        if self.path.exists() and self.path.stat().st_size > LOG_LIMIT_BYTES:
            self.path.replace(self.path.with_suffix(".log.1"))
        self._start = self.path.stat().st_size if self.path.exists() else 0

    def tail(self) -> str:
        """The last lines that this start wrote, indented."""
        with self.path.open("rb") as file:
            file.seek(max(self._start, self.path.stat().st_size - (64 << 10)))
            lines = file.read().decode(errors="replace").splitlines()
        return "\n".join(f"  {line}" for line in lines[-TAIL_LINES:]) or "  (nothing)"


# Keepers are kept here so that they can be reaped; an unreferenced Popen would warn about a running process.
_keepers: list[subprocess.Popen[bytes]] = []


def reap() -> None:
    """Collect the keepers that this process started and that have ended, so that no zombie stays."""
    _keepers[:] = [process for process in _keepers if process.poll() is None]


@atexit.register
def _leave_to_others() -> None:
    """A keeper outlives the process that started it while others use its server: Python must not warn of it."""
    reap()
    for process in _keepers:
        process.returncode = 0  # `Popen` has no other way to let a process go


def launch(order: Launch, log: ServerLog, *, users: Path, alive: Path) -> subprocess.Popen[bytes]:
    """Start ``order`` under a keeper that stops it when no process holds a lock on ``users`` (see `keeper`).

    The caller holds such a lock already. Returns the keeper's process without waiting for the server to answer.
    """
    orders = {
        "argv": order.argv,
        "env": dict(order.env),
        "cwd": str(order.cwd),
        "uid": order.account.uid if order.account else None,
        "gid": order.account.gid if order.account else None,
        "stop_signal": int(order.stop_signal),
        "stop_timeout_s": order.stop_timeout_s,
        "users": str(users),
        "alive": str(alive),
    }
    # The orders go through a nameless file: not the command line, because the environment may hold passwords.
    with log.path.open("ab") as output, tempfile.TemporaryFile() as standard_input:
        standard_input.write(json.dumps(orders).encode())
        standard_input.seek(0)
        # -I -S: no site packages, no folder of its own on the path; a session of its own: Ctrl-C is not for it.
        argv = [sys.executable, "-I", "-S", keeper.__file__]
        child = subprocess.Popen(  # noqa: S603
            argv,
            env=plain_environment(),
            stdin=standard_input,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    _keepers.append(child)
    return child


def wait_ready(
    order: Launch,
    log: ServerLog,
    child: subprocess.Popen[bytes],
    answers: Callable[[], bool],
    given_up: Callable[[], bool] = lambda: False,
) -> None:
    """Wait until ``answers()``. Raises TransientError with the end of the log when the server ends or takes too long.

    ``given_up`` is asked meanwhile: True ends the waiting with the same error. The server is stopped in every case.
    """
    deadline = time.monotonic() + order.ready_timeout_s
    while not answers():
        if child.poll() is not None:
            raise TransientError(f"{order.name} ended while it was starting; {log.path} ends with\n{log.tail()}")
        if given_up() or time.monotonic() > deadline:
            child.terminate()
            waited = "was given up" if given_up() else f"did not answer within {order.ready_timeout_s:.0f} s"
            raise TransientError(f"{order.name} {waited}; {log.path} ends with\n{log.tail()}")
        time.sleep(POLL_S)


def run_once(
    name: str,
    argv: tuple[str, ...],
    *,
    timeout_s: float,
    stdin: str = "",
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    account: Account | None = None,
) -> str:
    """Run a short command to its end and return what it printed. Raises TransientError with its last lines."""
    try:
        done = subprocess.run(  # noqa: S603
            argv,
            input=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=timeout_s,
            check=False,
            text=True,
            env=env,
            cwd=cwd,
            user=account.uid if account else None,
            group=account.gid if account else None,
            extra_groups=[] if account else None,
        )
    except subprocess.TimeoutExpired:
        raise TransientError(f"{name} did not end within {timeout_s:.0f} s") from None
    if done.returncode != 0:
        last = "\n".join(f"  {line}" for line in done.stdout.splitlines()[-TAIL_LINES:])
        raise TransientError(f"{name} failed with exit code {done.returncode}:\n{last}")
    return done.stdout


def plain_environment() -> dict[str, str]:
    """Return what a server that is not ours gets to see of the environment: the path and nothing that changes
    behaviour.
    """
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC", "HOME": os.environ.get("HOME", "/")}


def own_environment(settings_env: Mapping[str, str], *, prefect_is_elsewhere: bool = False) -> dict[str, str]:
    """Return what a child that runs this project's code gets: ``settings_env``, and of the shell only what `_is_needed`
    names.

    No file of settings is read by the child: it would bring back what ``settings_env`` leaves out.
    ``prefect_is_elsewhere`` passes on how the shell reaches a Prefect server that is not embedded.
    """
    searches = "AWS_ACCESS_KEY_ID" not in settings_env and settings_env.get("TREASURY_ARCHIVE_URL", "").startswith(
        "s3:"
    )
    prefixes = (*(_AWS if searches else ()), *(_PREFECT if prefect_is_elsewhere else ()))
    shell = {name: value for name, value in os.environ.items() if _is_needed(name) or name.startswith(prefixes)}
    return {"PATH": os.defpath, **shell, "TREASURY_CONFIG": "", **settings_env}


def _is_needed(name: str) -> bool:
    return name in _SHELL or name.startswith("LC_") or name.upper() in _NETWORK
