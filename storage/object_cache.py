"""Bytes of archived objects, kept on this machine: a folder with one sparse file per object, named by its SHA-256.

What is read from here is what anybody may have written here, so the reader checks each piece against its hash
(`storage.object_reader`). That makes the rest simple: processes fill the cache at the same time without a lock. One
that is killed while it writes leaves a piece that is found to be wrong. A folder that cannot be used, as on a full
disk, causes no error: the object store has all of it.
"""

import os
import re
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from shutil import rmtree
from threading import Lock

from ledger.errors import ConfigError

_SHARE = 16  # of the limit: how much a process writes before it looks at the folder again
_BLOCK_BYTES = 512  # of st_blocks
_NAME = re.compile("[0-9a-f]{64}")


class ObjectCache:
    """The cache of a folder. Thread-safe; any number of processes may use it.

    ``limit_bytes`` bounds what the files take on the disk: each process may be a sixteenth of it beyond. With 0 nothing
    is kept.
    """

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        self._folder = folder
        self._limit_bytes = limit_bytes
        self._room_bytes = 0
        self._lock = Lock()

    def read(self, name: str, places: Sequence[tuple[int, int]]) -> list[bytes]:
        """The bytes of an object at each place (start, size) as they are here; fewer, or zeros, where they are not."""
        if self._limit_bytes:
            with suppress(OSError), self._opened(name, os.O_RDONLY) as file:
                os.utime(file)  # the file that was used last is removed last
                return [os.pread(file, size, start) for start, size in places]
        return [b""] * len(places)

    def write(self, name: str, parts: Sequence[tuple[int, bytes]]) -> None:
        """Keep bytes of an object, each from its start on, as far as there is room. Safe to run again."""
        parts = [(start, content) for start, content in parts if len(content) <= self._limit_bytes // _SHARE]
        if not parts:
            return
        with suppress(OSError):
            for _, content in parts:
                self._make_room(len(content))
            with self._opened(name, os.O_WRONLY | os.O_CREAT) as file:
                for start, content in parts:
                    os.pwrite(file, content, start)

    def forget(self, name: str) -> None:
        """Remove what is here of an object, whatever somebody has put under its name. Safe to run again.

        Raises ConfigError where it cannot be removed.
        """
        path = self._folder / name
        try:
            if path.is_dir() and not path.is_symlink():
                rmtree(path)
            else:
                path.unlink(missing_ok=True)
        except NotADirectoryError:  # the folder of the cache is a file: nothing is kept
            return
        except OSError as error:
            raise ConfigError(
                f"{path}: the cache of archived objects cannot forget it: {error.strerror}. Remove it, or give the "
                "folder to the user that runs this"
            ) from error

    @contextmanager
    def _opened(self, name: str, flags: int) -> Iterator[int]:
        # Without O_NONBLOCK, a named pipe that somebody has put here would keep the reader waiting for ever.
        file = os.open(self._folder / name, flags | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
        try:
            status = os.fstat(file)
            if not (stat.S_ISREG(status.st_mode) and status.st_nlink == 1 and status.st_uid == os.geteuid()):
                raise FileNotFoundError(name)  # others would read what is written here
            yield file
        finally:
            os.close(file)

    def _make_room(self, size: int) -> None:
        """Count ``size`` bytes; remove the files that were used longest ago where there are too many."""
        with self._lock:
            if self._room_bytes < size:
                self._prepare()
                self._room_bytes = self._limit_bytes // _SHARE
            self._room_bytes -= size

    def _prepare(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        if stat.S_IMODE(self._folder.stat().st_mode) != stat.S_IRWXU:
            if any(_NAME.fullmatch(path.name) is None for path in self._folder.iterdir()):
                raise PermissionError(f"{self._folder} has files of others, who would lose it")
            self._folder.chmod(stat.S_IRWXU)  # rows are personal data
        wanted = self._limit_bytes - 2 * (self._limit_bytes // _SHARE)
        files = sorted(self._files())
        total = sum(size for _, size, _ in files)
        for _, size, path in files:
            if total <= wanted:
                return
            path.unlink(missing_ok=True)
            total -= size

    def _files(self) -> Iterator[tuple[int, int, Path]]:
        """When each file was used last, the bytes that it takes on the disk, and where it is."""
        for path in self._folder.iterdir():
            if _NAME.fullmatch(path.name) is None:
                continue  # somebody else's
            with suppress(FileNotFoundError):  # another process has removed it
                status = path.lstat()
                if stat.S_ISREG(status.st_mode):
                    yield status.st_mtime_ns, status.st_blocks * _BLOCK_BYTES, path
