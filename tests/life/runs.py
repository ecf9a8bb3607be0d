"""A run of the archiver in a process of its own, so that it can be killed. It is forked from one that has imported all.

Its end is SIGKILL, or SIGXFSZ in the middle of a write: Python gets no chance to clean up. A group has several of them,
which end together.
"""

import multiprocessing
import os
import resource
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import urlsplit

import s3fs.core

from config import Settings
from ledger.errors import ConflictError, TreasuryError
from ledger.months import Month
from tasks.archiving.move_month import finish_leftovers
from tasks.archiving.to_cold import archive_month
from tasks.transparency.publish import publish_log
from tests.life.places import Channel, Moment, Place, Watch

HALF_BYTES = 40  # less than any object of an archive has
SMALL_PART_BYTES = 2048  # of a multipart upload: a small month has several
KILLED = (-signal.SIGKILL, -signal.SIGXFSZ)
_CHANGES = frozenset({"os.link", "os.rename", "os.remove", "os.mkdir"})
_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(["tests.life.runs", "tests.life.ends"])


class Doable(Protocol):
    """What a run has to do; it is pickled for the run's process."""

    def do(self, settings: Settings, on_step: Callable[[str], None]) -> None:
        """Do it once."""


@dataclass(frozen=True, slots=True)
class Work:
    """What a run has to do: months of `transactions` that go cold, and the publication behind them."""

    months: tuple[Month, ...]
    in_parts: bool = False

    def do(self, settings: Settings, on_step: Callable[[str], None]) -> None:
        """Do it. Safe to run again: a month that is cold is passed over."""
        if self.in_parts:
            s3fs.core.calculate_chunksize = lambda *_, **__: SMALL_PART_BYTES
        table = settings.table("transactions")
        for month in self.months:
            with suppress(ConflictError):
                archive_month(settings, table, month, on_step)
            publish_log(settings, on_step)
        finish_leftovers(settings, table)


class Run:
    """A run under way. ``group``: each of ``works`` in a process of its own, all of them in one process group."""

    def __init__(self, settings: Settings, works: Sequence[Doable], at: Place | None = None) -> None:
        self._heard, told = _FORKS.Pipe(duplex=False)
        own = at if at is not None and at.channel in (Channel.STEP, Channel.FOLDER) else None
        self._process = _FORKS.Process(target=_lead, args=(settings, tuple(works), own, told))
        self._process.start()
        told.close()
        self._group = int(self._heard.recv())

    def kill(self) -> None:
        """End every process of the run, at once and without a word."""
        os.killpg(self._group, signal.SIGKILL)

    def end(self) -> tuple[int | None, list[Place], str]:
        """Wait for the end; returns how the first process ended, the places that it passed itself, and its error."""
        places, error = [], ""
        with suppress(EOFError):  # it was killed before it could say so
            places, error = self._heard.recv()
        self._process.join()
        self._heard.close()
        return self._process.exitcode, places, error


def _lead(settings: Settings, works: tuple[Doable, ...], at: Place | None, told: Connection) -> None:
    """The first process of a run; it forks the others."""
    os.setpgid(0, 0)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    told.send(os.getpid())
    others = [_fork(settings, work) for work in works[1:]]
    watch = Watch(at, lambda: os.kill(os.getpid(), signal.SIGKILL))
    error = _done(settings, works[0], watch)
    for pid in others:
        os.waitpid(pid, 0)
    told.send((watch.places, error))


def _fork(settings: Settings, work: Doable) -> int:
    """Begin another process of the group; returns its number."""
    process = os.fork()
    if process == 0:
        _done(settings, work, Watch())
        os._exit(0)
    return process


def _done(settings: Settings, work: Doable, watch: Watch) -> str:
    """Do the work; returns the error that it ended with, if any."""
    _listen(settings, watch)
    try:
        work.do(settings, lambda step: _pass_step(watch, step))
    except TreasuryError as error:
        return f"{type(error).__name__}: {error}"
    return ""


def _pass_step(watch: Watch, step: str) -> None:
    watch.passes(Place(Channel.STEP, "", watch.number(Channel.STEP, ""), Moment.BEFORE, step))


def _listen(settings: Settings, watch: Watch) -> None:
    """Watch the files of an archive in a folder: Python itself says what is done to them, just before it is done."""
    url = urlsplit(settings.archive_location)
    if url.scheme != "file":
        return
    folder = f"{Path(url.path)}/"

    def hear(event: str, arguments: tuple[Any, ...]) -> None:
        if not _is_change(event, arguments) or not os.fspath(arguments[0]).startswith(folder):
            return
        number, what = watch.number(Channel.FOLDER, ""), f"{event} {os.fspath(arguments[0]).removeprefix(folder)}"
        watch.passes(Place(Channel.FOLDER, "", number, Moment.BEFORE, what))
        half = Place(Channel.FOLDER, "", number, Moment.HALF, what)
        if event != "open":
            return
        if watch.is_due(half):  # the kernel ends the process at the byte
            signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
            resource.setrlimit(resource.RLIMIT_FSIZE, (HALF_BYTES, HALF_BYTES))
        else:
            watch.passes(half)

    sys.addaudithook(hear)


def _is_change(event: str, arguments: tuple[Any, ...]) -> bool:
    if event == "open":
        path, mode, _ = arguments
        return (
            isinstance(path, str | bytes | os.PathLike) and isinstance(mode, str) and not set(mode).isdisjoint("wxa+")
        )
    return event in _CHANGES
