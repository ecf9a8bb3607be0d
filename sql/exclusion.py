"""Questions about rows that PostgreSQL need not read where a CHECK answers them: its planner is the one that proves."""

from ledger.months import Month
from ledger.tables import TieredTable
from sql.connection import Connection, fetch_one
from sql.proof import strangers_query
from sql.relations import Relation


def keys_tell_month(connection: Connection, table: TieredTable, partition: Relation, month: Month) -> bool:
    """Return whether every key in ``partition`` is one of ``month``, by a validated CHECK or else by looking at every
    row.
    """
    with connection.transaction():
        _use_checks(connection)
        return not fetch_one(connection, strangers_query(table, partition, month))[0]


def _use_checks(connection: Connection) -> None:
    connection.execute("SET LOCAL constraint_exclusion = on")
