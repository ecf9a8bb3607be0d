"""The archived files that an engine may read, and the errors that reading them met.

The path of a file names its tier and month, so that the engine has them as columns: ``archive:///SHA-256/tier=cold/
month=2024-01/rows.parquet``.
"""

from collections import deque
from collections.abc import Iterable

import duckdb

from ledger.errors import TreasuryError
from storage.object_reader import ArchivedFile, ObjectReader

PROTOCOL = "archive"
_FAILURES = 64


def path_of(sha256: str, tier: str, month: str) -> str:
    """The engine's path of an archived file."""
    return f"{PROTOCOL}:///{sha256}/tier={tier}/month={month}/rows.parquet"


def keep_contents(duck: duckdb.DuckDBPyConnection) -> None:
    """Let an engine keep what it reads in its memory, and ask no more whether a file has changed. What has a path of an
    archived file never does. Files of an object store, which may, are asked for.
    """
    duck.execute("SET parquet_metadata_cache = true; SET enable_external_file_cache = true")
    duck.execute("SET validate_external_file_cache = 'VALIDATE_REMOTE'")


class ArchiveFiles:
    """The archived files that were added. Thread-safe.

    The engine makes a text of any error that reading raises: `failure_in` finds it again.
    """

    def __init__(self, reader: ObjectReader) -> None:
        self.reader = reader
        self._failures: deque[TreasuryError] = deque(maxlen=_FAILURES)
        self._files: dict[str, ArchivedFile] = {}
        self._paths: dict[str, ArchivedFile] = {}  # as the engine writes them: it asks for each of them many times

    def register(self, duck: duckdb.DuckDBPyConnection) -> None:
        """Let an engine read the files by their paths."""
        from storage.archive_file_system import ArchiveFileSystem  # noqa: PLC0415  # fsspec takes long to import

        duck.register_filesystem(ArchiveFileSystem(self))

    def add(self, files: Iterable[ArchivedFile]) -> None:
        """Make files known by their SHA-256. Safe to run again."""
        self._files.update({file.sha256: file for file in files})

    def find_file(self, sha256: str) -> ArchivedFile | None:
        """A file that was added."""
        return self._files.get(sha256)

    def file_at(self, path: str) -> ArchivedFile:
        """The file of a path. Raises FileNotFoundError where none was added."""
        file = self._paths.get(path)
        if file is None:
            file = self._files.get(path.removeprefix(f"{PROTOCOL}://").strip("/").partition("/")[0])
            if file is None:
                raise FileNotFoundError(path)
            self._paths[path] = file
        return file

    def read(self, file: ArchivedFile, start: int, end: int) -> bytes:
        """Checked bytes of a file. Raises as `ObjectReader.read`, and keeps the error."""
        try:
            return self.reader.read(file, start, end)
        except TreasuryError as error:
            self._failures.append(error)
            raise

    def failure_in(self, text: str) -> TreasuryError | None:
        """The error that the engine's ``text`` is about."""
        return next((failure for failure in self._failures if str(failure) in text), None)
