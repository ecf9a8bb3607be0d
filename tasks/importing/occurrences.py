"""The number of times that each line of a file was seen, kept on disk: the memory must not grow with the file."""

import hashlib
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from storage.spool import spool_folder

_COUNT = "INSERT INTO seen VALUES (?, 1) ON CONFLICT (line) DO UPDATE SET number = number + 1 RETURNING number"
_DIGEST_BYTES = 16  # two different lines of one file do not share 128 bits of SHA-256
_CACHE_KIB = 65_536


class DiskOccurrences:
    """Numbers equal lines in the order in which they come."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database

    def next_number(self, line: str) -> int:
        """1 for the first time that ``line`` is given, then 2, and so on."""
        digest = hashlib.sha256(line.encode()).digest()[:_DIGEST_BYTES]
        number: int = self._database.execute(_COUNT, (digest,)).fetchone()[0]
        return number


@contextmanager
def count_occurrences(spool: Path) -> Iterator[DiskOccurrences]:
    """A counter in a temporary file below ``spool``, which is removed on the way out."""
    with spool_folder(spool, "import") as folder:
        database = sqlite3.connect(folder / "lines.sqlite", isolation_level=None)
        try:
            # Nothing is read back after a crash, so nothing needs a journal.
            database.execute("PRAGMA journal_mode = OFF")
            database.execute("PRAGMA synchronous = OFF")
            database.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
            database.execute("CREATE TABLE seen (line BLOB PRIMARY KEY, number INTEGER NOT NULL) WITHOUT ROWID")
            database.execute("BEGIN")
            yield DiskOccurrences(database)
        finally:
            database.close()
