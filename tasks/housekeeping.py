"""What is kept for a time only: idempotency keys, deleted when nobody may rely on them any more."""

from datetime import timedelta

from config import Settings
from sql.connection import connect
from sql.queries import load

_QUERIES = load("idempotency")
_BATCH_ROWS = 10_000


def purge_idempotency_keys(settings: Settings) -> int:
    """Delete keys older than ``settings.idempotency_hours``, in small batches; returns how many. Safe to run again."""
    age = timedelta(hours=settings.idempotency_hours)
    deleted = 0
    with connect(settings.database_dsn, "housekeeping") as connection:
        while True:
            batch = connection.execute(_QUERIES["purge"], {"age": age, "limit": _BATCH_ROWS}).rowcount
            deleted += batch
            if batch < _BATCH_ROWS:
                return deleted
