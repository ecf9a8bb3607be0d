"""The lock of a month: one archiver, restorer or deletion of it at a time."""

from collections.abc import Iterator
from contextlib import contextmanager

from ledger.months import Month
from ledger.tables import TieredTable
from sql.connection import Connection
from sql.queries import load
from sql.session_lock import try_session_lock

_QUERIES = load("tiers")


@contextmanager
def month_lock(connection: Connection, table: TieredTable, month: Month) -> Iterator[None]:
    """Hold the month for this session: the lock ends with the connection, so a killed run never leaves it taken.

    It is given back before that. PostgreSQL ends a session a moment after its client has left, and an attempt that
    begins at once would be refused.
    """
    named = {"table": table.name, "month": str(month)}
    otherwise = f"{table.name} {month} is being archived or deleted by another run"
    with try_session_lock(connection, _QUERIES["try_month_lock"], _QUERIES["unlock_month"], otherwise, named):
        yield
