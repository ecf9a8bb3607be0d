"""The file to import: looked through once before anything is loaded, then read, plain or gzip."""

import gzip
import hashlib
import io
import os
import stat
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from ledger.errors import ConfigError, DataError

_GZIP_MAGIC = b"\x1f\x8b"
_BLOCK_BYTES = 1 << 20
_STREAM_BYTES = 1 << 18

Seen = Callable[[int], None]


class SourceFile:
    """An open file. ``size`` is in bytes as it lies on the disk, compressed or not."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self.path = path
        self._file = file
        self._state = _state(file)
        self.size = self._state[0]
        self._gzip = file.read(len(_GZIP_MAGIC)) == _GZIP_MAGIC

    def survey(self, seen: Seen) -> bytes:
        """The SHA-256 of the file. ``seen`` is told the bytes that were read.

        A compressed file is decompressed too, so that a truncated one is refused before its first row is loaded.
        Raises DataError for a damaged file.
        """
        self._file.seek(0)
        digest = hashlib.sha256()
        while block := self._file.read(_BLOCK_BYTES):
            digest.update(block)
            if not self._gzip:
                seen(self._file.tell())
        if self._gzip:
            self._decompress(seen)
        return digest.digest()

    def _decompress(self, seen: Seen) -> None:
        stream = self.stream()
        try:
            while stream.read(_BLOCK_BYTES):
                seen(self._file.tell())
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise DataError(f"{self.path} is damaged, nothing was loaded: {error}") from None

    def stream(self) -> BinaryIO:
        """The content from its start. One stream at a time."""
        self._file.seek(0)
        return io.BufferedReader(gzip.GzipFile(fileobj=self._file), _STREAM_BYTES) if self._gzip else self._file

    def position(self) -> int:
        """How many of ``size`` bytes have been read."""
        return self._file.tell()

    def check_unchanged(self) -> None:
        """Raise DataError when somebody wrote to the file since it was opened."""
        if _state(self._file) != self._state:
            raise DataError(f"{self.path} changed while it was read; import it again: nothing is loaded twice")


def _state(file: BinaryIO) -> tuple[int, int]:
    status = os.fstat(file.fileno())
    return status.st_size, status.st_mtime_ns


@contextmanager
def open_source(path: Path) -> Iterator[SourceFile]:
    """Open ``path`` for `survey` and `stream`. Raises ConfigError when it is no file that can be read twice."""
    try:
        file = path.open("rb", buffering=_BLOCK_BYTES)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    with file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise ConfigError(f"{path} is not a regular file; an import reads its file twice")
        yield SourceFile(path, file)
