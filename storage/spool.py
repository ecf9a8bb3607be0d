"""The spool: folders for files on their way. Each belongs to one piece of work and goes with it, however that ends."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ledger.errors import ConfigError

_GATE = ".gate"  # held while folders are made or swept, so that none is swept between its making and its lock


@contextmanager
def spool_folder(spool: Path, name: str) -> Iterator[Path]:
    """An empty folder of one's own below ``spool``, its name starting with ``name``; removed on the way out.

    Its holder keeps it locked, and the kernel frees the lock of a process that was killed. The next process that comes
    here removes what was left behind. Any number of processes and threads may.
    """
    try:
        spool.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"TREASURY_HOME: {spool} cannot be made: {error.strerror}") from None
    with _locked(spool / _GATE):
        _sweep(spool)
        folder = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=spool))
        holder = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
        fcntl.flock(holder, fcntl.LOCK_EX)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(holder)


def _sweep(spool: Path) -> None:
    for folder in spool.iterdir():
        if folder.is_dir():
            with suppress(FileNotFoundError, BlockingIOError), _locked(folder, fcntl.LOCK_NB):
                shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _locked(path: Path, wait: int = 0) -> Iterator[None]:
    flags = os.O_RDONLY if path.is_dir() else os.O_RDWR | os.O_CREAT
    descriptor = os.open(path, flags | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | wait)
        yield
    finally:
        os.close(descriptor)
