"""Archived files for the engine: a file system of DuckDB in which nothing but checked bytes is read.

The path of a file names its tier and month, so that the engine has them as columns: ``archive:///SHA-256/tier=cold/
month=2024-01/rows.parquet``.
"""

import io
from collections import deque
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from fsspec.spec import AbstractFileSystem

from ledger.errors import TreasuryError
from storage.object_reader import ArchivedFile, ObjectReader

PROTOCOL = "archive"
_FAILURES = 64
_NEVER_CHANGED = datetime(1970, 1, 1, tzinfo=UTC)


def path_of(sha256: str, tier: str, month: str) -> str:
    """The engine's path of an archived file."""
    return f"{PROTOCOL}:///{sha256}/tier={tier}/month={month}/rows.parquet"


class ArchiveFiles(AbstractFileSystem):  # type: ignore[misc]  # it has no types
    """The archived files that were added, to be registered with an engine. Thread-safe.

    The engine makes a text of any error that is raised here: `failure_in` finds it again.
    """

    protocol = PROTOCOL
    cachable = False

    def __init__(self, reader: ObjectReader) -> None:
        super().__init__()
        self.reader = reader
        self._failures: deque[TreasuryError] = deque(maxlen=_FAILURES)
        self._files: dict[str, ArchivedFile] = {}
        self._paths: dict[str, ArchivedFile] = {}  # as the engine writes them: it asks for each of them many times

    def add(self, files: Iterable[ArchivedFile]) -> None:
        """Make files known by their SHA-256. Safe to run again."""
        self._files.update({file.sha256: file for file in files})

    def find_file(self, sha256: str) -> ArchivedFile | None:
        """A file that was added."""
        return self._files.get(sha256)

    def note(self, failure: TreasuryError) -> None:
        """Keep an error that a reader met."""
        self._failures.append(failure)

    def failure_in(self, text: str) -> TreasuryError | None:
        """The error that the engine's ``text`` is about."""
        return next((one for one in self._failures if str(one) in text), None)

    def _file(self, path: str) -> ArchivedFile:
        found = self._paths.get(path)
        if found is None:
            found = self._files.get(path.removeprefix(f"{PROTOCOL}://").strip("/").partition("/")[0])
            if found is None:
                raise FileNotFoundError(path)
            self._paths[path] = found
        return found

    def open(self, path: str, mode: str = "rb", **_: Any) -> "_OpenFile":
        """A file to read from."""
        if mode != "rb":
            raise PermissionError(f"{path}: archived files are only read")
        return _OpenFile(self, self._file(path))

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        """Name, size and type."""
        return {"name": path, "size": self._file(path).size_bytes, "type": "file"}

    def glob(self, path: str, **_: Any) -> list[str]:
        """The path itself: nothing is searched here."""
        self._file(path)
        return [path.removeprefix(f"{PROTOCOL}://")]

    def exists(self, path: str, **_: Any) -> bool:
        """Whether the file was added."""
        try:
            self._file(path)
        except FileNotFoundError:
            return False
        return True

    def isfile(self, path: str) -> bool:
        """As `exists`: there are no folders."""
        return self.exists(path)

    def modified(self, path: str) -> datetime:
        """Never: what has this name cannot change."""
        self._file(path)
        return _NEVER_CHANGED


class _OpenFile(io.RawIOBase):
    """An archived file as the engine reads it."""

    def __init__(self, files: ArchiveFiles, file: ArchivedFile) -> None:
        super().__init__()
        self._files, self._file, self._at = files, file, 0
        self.size = file.size_bytes

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self.size}[whence]
        return self._at

    def read(self, size: int = -1) -> bytes:
        end = self.size if size < 0 else min(self._at + size, self.size)
        try:
            content = self._files.reader.read(self._file, self._at, end)
        except TreasuryError as error:
            self._files.note(error)
            raise
        self._at += len(content)
        return content
