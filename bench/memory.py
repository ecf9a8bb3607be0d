"""The peak memory of a process and its children together, and beside them of the servers of a home."""

import time
from collections.abc import Iterator
from pathlib import Path
from threading import Event, Thread
from typing import Self

_PROC = Path("/proc")
_EVERY_S = 0.1


class Peak:
    """Watches from outside, ten times a second. Shared pages count by their share (PSS), so that a sum is a sum.

    ``tree_mb`` is of the process ``pid`` and everything that it started, at least what the kernel noted as its highest.
    ``servers_mb`` is of every process whose command names ``home``.
    """

    def __init__(self, pid: int, home: Path) -> None:
        self._pid = pid
        self._home = str(home)
        self._stop = Event()
        self._thread = Thread(target=self._watch, name="peak", daemon=True)
        self.tree_mb = 0
        self.servers_mb = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.is_set():
            started = time.monotonic()
            parents = dict(_parents())
            tree = {self._pid}
            while more := {child for child, parent in parents.items() if parent in tree} - tree:
                tree |= more
            highest = _field(self._pid, "status", "VmHWM:")
            children = sum(_field(pid, "smaps_rollup", "Pss:") for pid in tree - {self._pid})
            own = _field(self._pid, "smaps_rollup", "Pss:")
            self.tree_mb = max(self.tree_mb, (own + children) >> 10, highest >> 10)
            servers = sum(_field(pid, "smaps_rollup", "Pss:") for pid in self._servers(parents))
            self.servers_mb = max(self.servers_mb, servers >> 10)
            self._stop.wait(max(0.0, _EVERY_S - (time.monotonic() - started)))

    def _servers(self, parents: dict[int, int]) -> set[int]:
        """The processes that name the home, and their children: PostgreSQL's do not repeat it."""
        named = {pid for pid in parents if pid != self._pid and self._home in _command(pid)}
        return named | {pid for pid, parent in parents.items() if parent in named}


def _parents() -> Iterator[tuple[int, int]]:
    for folder in _PROC.iterdir():
        if folder.name.isdigit() and (parent := _field(int(folder.name), "status", "PPid:")):
            yield int(folder.name), parent


def _command(pid: int) -> str:
    try:
        return (_PROC / str(pid) / "cmdline").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""  # it has ended


def _field(pid: int, file: str, name: str) -> int:
    """A number of one of /proc's files, KiB where it is memory; 0 for a process that has ended."""
    try:
        lines = (_PROC / str(pid) / file).read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith(name)), 0)
