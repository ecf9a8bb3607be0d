"""Archived files as a file system of DuckDB, in which nothing but checked bytes is read."""

import io
from datetime import UTC, datetime
from typing import Any

from fsspec.spec import AbstractFileSystem

from storage.archive_files import PROTOCOL, ArchiveFiles
from storage.object_reader import ArchivedFile

_NEVER_CHANGED = datetime(2000, 1, 1, tzinfo=UTC)


class ArchiveFileSystem(AbstractFileSystem):  # type: ignore[misc]  # it has no types
    """The paths of ``files``. Thread-safe."""

    protocol = PROTOCOL
    cachable = False

    def __init__(self, files: ArchiveFiles) -> None:
        super().__init__()
        self._files = files

    def open(self, path: str, mode: str = "rb", **_: Any) -> "_OpenFile":
        """A file to read from."""
        if mode != "rb":
            raise PermissionError(f"{path}: archived files are only read")
        return _OpenFile(self._files, self._files.file_at(path))

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        """Name, size and type."""
        return {"name": path, "size": self._files.file_at(path).size_bytes, "type": "file"}

    def size(self, path: str) -> int:
        """Its size in bytes: the engine asks for it several times a file."""
        return self._files.file_at(path).size_bytes

    def glob(self, path: str, **_: Any) -> list[str]:
        """The path itself: nothing is searched here."""
        self._files.file_at(path)
        return [path.removeprefix(f"{PROTOCOL}://")]

    def exists(self, path: str, **_: Any) -> bool:
        """Whether the file was added."""
        try:
            self._files.file_at(path)
        except FileNotFoundError:
            return False
        return True

    def isfile(self, path: str) -> bool:
        """As `exists`: there are no folders."""
        return self.exists(path)

    def modified(self, path: str) -> datetime:
        """Never: what has this name cannot change."""
        self._files.file_at(path)
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
        content = self._files.read(self._file, self._at, end)
        self._at += len(content)
        return content
