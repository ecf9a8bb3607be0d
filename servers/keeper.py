"""The parent of one server process: stops it as soon as it has no user left, however the users ended.

Run as a script of its own with the standard library alone (it must start in a few milliseconds). `process` launches it
and writes its orders, one JSON object, to its standard input. Every user of the server holds a shared flock on the
``users`` file. The keeper waits for an exclusive one. It gets it when the last user has left, and the kernel takes a
user's lock away even when the user is killed with -9. While anything of the server still runs, the ``alive`` file is
locked by the keeper and, through an inherited descriptor, by the server itself.
"""

import ctypes
import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
WAKING = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD})
PREDECESSOR_S = 120.0
STRAYS_S = 5.0


def _prctl(option: int, value: int) -> None:
    """Linux only; elsewhere the flock alone ends the server, and only a killed keeper leaves it behind."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def end_with_parent(ending: int) -> None:
    """Let the kernel send the signal ``ending`` to this process when the thread that started it ends."""
    _prctl(PR_SET_PDEATHSIG, ending)


def _take_alive(path: str) -> int:
    """Lock the ``alive`` file, waiting for a predecessor that is still shutting down, and put this pid into it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + PREDECESSOR_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except BlockingIOError:
            if time.monotonic() > deadline:
                sys.exit(f"keeper: the previous server still runs after {PREDECESSOR_S:.0f} s")
            time.sleep(0.02)
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, str(os.getpid()).encode(), 0)
    return descriptor


def _spawn(orders: dict[str, Any], alive: int) -> subprocess.Popen[bytes]:
    stop_signal = int(orders["stop_signal"])

    def in_child() -> None:
        # After setuid, which would clear it. The thread that forks is the main one: it lives as long as the keeper.
        end_with_parent(stop_signal)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, WAKING)

    return subprocess.Popen(  # noqa: S603  # the orders come from `process`, over a pipe
        orders["argv"],
        env=orders["env"],
        cwd=orders["cwd"],
        stdin=subprocess.DEVNULL,
        user=orders["uid"],
        group=orders["gid"],
        extra_groups=None if orders["uid"] is None else [],
        umask=0o077,
        pass_fds=(alive,),
        start_new_session=True,
        preexec_fn=in_child,  # noqa: PLW1509  # this process has one thread at this point
    )


def _stop_when_unused(users: str) -> None:
    """Wait for the exclusive lock on ``users``, keep it until the process ends, and wake the main thread."""
    descriptor = os.open(users, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    os.kill(os.getpid(), signal.SIGTERM)


def _wait_for_end(server: subprocess.Popen[bytes]) -> None:
    """Return when the server has ended by itself or when it is time to stop it."""
    while signal.sigwait(WAKING) == signal.SIGCHLD:
        if server.poll() is not None:
            return
        _reap_orphans(server.pid)


def _reap_orphans(server_pid: int) -> None:
    """Reap the grandchildren that this process, as their subreaper, adopted; never the server itself."""
    for pid in _children():
        if pid != server_pid:
            try:
                os.waitpid(pid, os.WNOHANG)
            except ChildProcessError:
                continue


def _children() -> list[int]:
    try:
        return [int(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()]
    except OSError:  # not Linux, or a kernel without it
        return []


def _stop(server: subprocess.Popen[bytes], stop_signal: int, timeout_s: float) -> None:
    server.send_signal(stop_signal)
    try:
        server.wait(timeout_s)
    except subprocess.TimeoutExpired:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def _kill_strays() -> None:
    """End what the server left behind: with the subreaper set, all its descendants are children of this process."""
    deadline = time.monotonic() + STRAYS_S
    while (strays := _children()) and time.monotonic() < deadline + STRAYS_S:
        ending = signal.SIGTERM if time.monotonic() < deadline else signal.SIGKILL
        for pid in strays:
            try:
                os.kill(pid, ending)
                os.waitpid(pid, os.WNOHANG)
            except (ProcessLookupError, ChildProcessError):
                continue
        time.sleep(0.05)


def main() -> int:
    """Take the orders, run the server until it is unused, and leave nothing of it."""
    orders = json.load(sys.stdin)
    signal.pthread_sigmask(signal.SIG_BLOCK, WAKING)
    _prctl(PR_SET_CHILD_SUBREAPER, 1)
    alive = _take_alive(orders["alive"])
    server = _spawn(orders, alive)
    threading.Thread(target=_stop_when_unused, args=(orders["users"],), daemon=True).start()
    _wait_for_end(server)
    if server.poll() is None:
        _stop(server, int(orders["stop_signal"]), float(orders["stop_timeout_s"]))
    _kill_strays()
    return server.returncode if server.returncode >= 0 else 128 - server.returncode


if __name__ == "__main__":
    sys.exit(main())
