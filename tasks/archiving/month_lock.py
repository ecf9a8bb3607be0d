"""The lock of a month: one archiver, restorer or deletion of it at a time."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psycopg

from ledger.errors import (
    ConflictError,
)
from ledger.months import Month
from ledger.tables import TieredTable
from sql.connection import Connection, fetch_one
from sql.queries import load

_QUERIES = load("tiers")


@contextmanager
def month_lock(connection: Connection, table: TieredTable, month: Month) -> Iterator[None]:
    """Hold the month for this session: the lock ends with the connection, so a killed run never leaves it taken.

    It is given back before that. PostgreSQL ends a session a moment after its client has left, and an attempt that
    begins at once would be refused.
    """
    parameters = {"table": table.name, "month": str(month)}
    if not fetch_one(connection, _QUERIES["try_month_lock"], parameters)[0]:
        raise ConflictError(f"{table.name} {month} is being archived or deleted by another run")
    try:
        yield
    finally:
        with suppress(psycopg.Error):  # of a session that is gone, and its lock with it
            connection.execute(_QUERIES["unlock_month"], parameters)
