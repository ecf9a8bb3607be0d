"""The processes of a home: every keeper, and all that runs below one."""

import contextlib
from pathlib import Path

import psutil

from servers import stack
from tasks.admin.processes import UP


def tree(home: Path) -> list[psutil.Process]:
    """Every process of the servers of ``home``, the process that is up among them."""
    found: dict[int, psutil.Process] = {}
    for name in (*stack.NAMES, UP):
        with contextlib.suppress(FileNotFoundError, ValueError, psutil.NoSuchProcess):
            top = psutil.Process(int((home / "run" / f"{name}.alive").read_text()))
            found |= {one.pid: one for one in (top, *top.children(recursive=True))}
    return list(found.values())


def listening(home: Path) -> dict[tuple[str, int], str]:
    """Every address that a process of the home listens at, and the command line of who does."""
    found = {}
    for process in tree(home):
        with contextlib.suppress(psutil.NoSuchProcess):
            for one in process.net_connections("inet"):
                if one.status == psutil.CONN_LISTEN:
                    found[(one.laddr.ip, one.laddr.port)] = " ".join(process.cmdline())
    return found


def kill(home: Path) -> None:
    """End them all with -9, as a loss of power does: none sees another end."""
    stopped: list[psutil.Process] = []
    while fresh := [one for one in tree(home) if one not in stopped]:
        for process in fresh:  # stopped first: what is stopped starts nothing
            with contextlib.suppress(psutil.NoSuchProcess):
                process.suspend()
        stopped += fresh
    for process in stopped:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(stopped, timeout=60)
