"""The figures of the archive for Prometheus. PostgreSQL has them, so they are the same in every process."""

from api.connections.database import Database
from api.monitoring.database_report import read
from ledger.errors import TransientError

OLDEST = "treasury_archive_oldest_unverified_seconds"
RETENTION = (
    ("treasury_holds_open", "Legal holds that are open"),
    ("treasury_holds_overdue", "Open legal holds that are past their review date"),
    ("treasury_deletions_unfinished", "Deletions that have begun and have no certificate"),
    ("treasury_deletion_requests_waiting", "Requests to delete months that wait for approvals"),
)
_TEXT = """\
# HELP {name} {help}
# TYPE {name} gauge
{name} {value}
"""
_AGE = "Age of the oldest byte of the archive since it was last read and found whole; 0 without an archived month"


async def exposition(database: Database) -> bytes:
    """The figures in Prometheus's text format; nothing while PostgreSQL does not answer."""
    try:
        [(age,)] = await read(database, "oldest_unverified")
        [counts] = await read(database, "retention")
    except TransientError:
        return b""
    texts = [_TEXT.format(name=OLDEST, help=_AGE, value=float(age))]
    named = zip(RETENTION, counts, strict=True)
    texts += [_TEXT.format(name=name, help=said, value=float(count)) for (name, said), count in named]
    return "".join(texts).encode()
