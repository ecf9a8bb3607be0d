"""Use a server that runs in this home, or start it; the last one out stops it.

Four files a server in ``<home>/run``: ``<name>.start`` (exclusive while someone looks or starts) and ``<name>.users``
(shared by each user). ``<name>.alive`` (exclusive while anything of it runs; holds the keeper's pid) and
``<name>.json`` (where it answers, mode 0600). All locks are flocks. The kernel frees them however their holder ends, so
no crash leaves a stale one, and no pid is ever trusted on its own.
"""

import fcntl
import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

from config import generated_keys
from config.file_locks import is_held
from config.home import folder
from ledger.errors import TransientError
from servers import keeper, process

__all__ = ["Server", "ServerEndpoint", "is_held", "lease", "restart", "running_endpoint", "stop", "wait"]

START_S = 660.0  # more than any server may take to be ready
STOP_S = 180.0
HANGS_S = (
    60.0  # a server that runs and does not answer for so long is replaced; a busy machine is slower than one probe
)
POLL_S = 0.02


@dataclass(frozen=True, slots=True)
class ServerEndpoint:
    """The address of one server."""

    name: str
    url: str = field(repr=False)


class Server(Protocol):
    """The interface of a server module: how to launch it, and whether it answers."""

    @property
    def name(self) -> str:
        """A file name, unique in the home."""

    def prepare(self) -> process.Launch:
        """Make its folders and choose its port. Called under the start lock, with nothing of the server running."""

    def answers(self, url: str) -> bool:
        """Return whether the server at ``url`` is ready for work. Quick, never raises."""


@contextmanager
def lease(home: Path, server: Server, given_up: Callable[[], bool] = lambda: False) -> Iterator[ServerEndpoint]:
    """Lend ``server`` for the length of the block, starting it when it does not run. Any number of processes may.

    ``given_up`` is asked while it starts; True ends the start. Raises TransientError when the server does not come up.
    On leaving, the last user waits until the server has stopped.
    """
    run = _run_folder(home)
    users = os.open(run / f"{server.name}.users", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        _lock(users, fcntl.LOCK_SH, STOP_S, f"{server.name} to finish stopping")
        yield _find_or_start(home, run, server, given_up)
    finally:
        _leave(run, server.name, users)


def running_endpoint(home: Path, name: str) -> ServerEndpoint | None:
    """Return where the server called ``name`` was last ready, if anything of it runs now. Read-only."""
    run = home / "run"
    if not is_held(run / f"{name}.alive"):
        return None
    try:
        return ServerEndpoint(**json.loads((run / f"{name}.json").read_text()))
    except FileNotFoundError:
        return None


def restart(home: Path, server: Server, former: ServerEndpoint, given_up: Callable[[], bool] = lambda: False) -> None:
    """Start ``server`` again at the address ``former``, after it has ended. The caller still holds its lease.

    Finds it running there when another command was first. Raises TransientError when it does not come up, or when
    another program has taken its port.
    """
    run = _run_folder(home)
    with _starting(run, server.name):
        if running_endpoint(home, server.name) == former and _answers_in_time(run, server, former.url, given_up):
            return
        if is_held(run / f"{server.name}.alive"):
            _stop_keeper(run, server.name)
        _start(home, run, _at(server, former.url), given_up, only=former.url)


def stop(home: Path, name: str) -> bool:
    """Stop the server called ``name`` whoever uses it. False when it did not run.

    Raises TransientError when it has not ended within `STOP_S`.
    """
    run = home / "run"
    if not is_held(run / f"{name}.alive"):
        return False
    _stop_keeper(run, name)
    return True


def _run_folder(home: Path) -> Path:
    return folder(home, "run")


def _lock(descriptor: int, kind: int, timeout_s: float, waiting_for: str) -> None:
    def taken() -> bool:
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    wait(taken, timeout_s, waiting_for)


def wait(done: Callable[[], bool], timeout_s: float, waiting_for: str) -> None:
    """Ask ``done`` until it says yes. Raises TransientError after ``timeout_s`` seconds."""
    deadline = time.monotonic() + timeout_s
    while not done():
        if time.monotonic() > deadline:
            raise TransientError(f"waited {timeout_s:.0f} s for {waiting_for}")
        time.sleep(POLL_S)


@contextmanager
def _starting(run: Path, name: str) -> Iterator[None]:
    descriptor = os.open(run / f"{name}.start", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        _lock(descriptor, fcntl.LOCK_EX, START_S, f"another process to start {name}")
        yield
    finally:
        os.close(descriptor)


def _find_or_start(home: Path, run: Path, server: Server, given_up: Callable[[], bool]) -> ServerEndpoint:
    with _starting(run, server.name):
        running = running_endpoint(home, server.name)
        if running is not None and _answers_in_time(run, server, running.url, given_up):
            return running
        if is_held(
            run / f"{server.name}.alive"
        ):  # it hangs, or the process that started it was killed before it was ready
            _stop_keeper(run, server.name)
        return _start(home, run, _where_it_was(run, server), given_up)


def _answers_in_time(run: Path, server: Server, url: str, given_up: Callable[[], bool]) -> bool:
    """Return whether a server that runs answers before `HANGS_S`: others use it, so a slow one is not replaced."""
    deadline = time.monotonic() + HANGS_S
    while not server.answers(url):
        if time.monotonic() > deadline or given_up() or not is_held(run / f"{server.name}.alive"):
            return False
        time.sleep(POLL_S)
    return True


def _where_it_was(run: Path, server: Server) -> Server:
    """``server`` at the address where it ended by itself: others still use it there. An orderly stop removes that."""
    try:
        url = str(json.loads((run / f"{server.name}.json").read_text())["url"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return server
    return _at(server, url)


def _at(server: Server, url: str) -> Server:
    """``server`` with the port of ``url``, if it has a port of its own."""
    known: Any = server  # a worker has no port
    return replace(known, port=urlsplit(url).port or 0) if hasattr(server, "port") else server


def _start(
    home: Path, run: Path, server: Server, given_up: Callable[[], bool], only: str | None = None
) -> ServerEndpoint:
    record = run / f"{server.name}.json"
    record.unlink(missing_ok=True)
    order = server.prepare()
    if only is not None and order.url != only:
        raise TransientError(f"{server.name}: its port {urlsplit(only).port} is taken by another program")
    log = process.ServerLog(home, server.name)
    child = process.launch(order, log, users=run / f"{server.name}.users", alive=run / f"{server.name}.alive")
    process.wait_ready(order, log, child, lambda: server.answers(order.url), given_up)
    endpoint = ServerEndpoint(server.name, order.url)
    generated_keys.write_private(record, json.dumps(asdict(endpoint)))
    return endpoint


def _leave(run: Path, name: str, users: int) -> None:
    """Release the lock; when no other user has one, stop the server now and wait for it.

    Holding the exclusive lock meanwhile keeps new users waiting instead of giving them a server that is going away.
    If two leave at once neither may get it: then the keeper does, which waits for the same lock.
    """
    try:
        fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if is_held(run / f"{name}.alive"):
            _stop_keeper(run, name)
        (run / f"{name}.json").unlink(missing_ok=True)
    except BlockingIOError:
        pass  # others use the server
    finally:
        os.close(users)
        process.reap()


def _stop_keeper(run: Path, name: str) -> None:
    alive = run / f"{name}.alive"
    pid = _keeper_pid(alive)
    if pid is not None:
        os.kill(pid, signal.SIGTERM)
    wait(lambda: not is_held(alive), STOP_S, f"{name} to stop")
    (run / f"{name}.json").unlink(missing_ok=True)


def _keeper_pid(alive: Path) -> int | None:
    """The pid in ``alive`` when a keeper has it; None when the keeper is gone and only its server is still ending."""
    try:
        pid = int(alive.read_text())
        if sys.platform != "linux":
            return pid
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except (ValueError, FileNotFoundError, ProcessLookupError):
        return None
    return pid if os.fsencode(keeper.__file__) in command else None
