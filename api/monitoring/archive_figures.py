"""The figures of the archive for Prometheus. PostgreSQL has them, so they are the same in every process."""

from api.connections.database import Database
from api.monitoring.database_report import read
from ledger.errors import TransientError

OLDEST = "treasury_archive_oldest_unverified_seconds"
_TEXT = """\
# HELP {name} Age of the oldest byte of the archive since it was last read and found whole; 0 without an archived month
# TYPE {name} gauge
{name} {age}
"""


async def exposition(database: Database) -> bytes:
    """The figures in Prometheus's text format; nothing while PostgreSQL does not answer."""
    try:
        [(age,)] = await read(database, "oldest_unverified")
    except TransientError:
        return b""
    return _TEXT.format(name=OLDEST, age=float(age)).encode()
