"""Questions about rows that PostgreSQL need not read where a CHECK answers them: its planner is the one that proves."""

from collections.abc import Sequence

from psycopg.sql import Composable

from ledger.columns import Column
from ledger.months import Month
from ledger.tables import TieredTable
from sql.connection import Connection, fetch_one
from sql.proof import strangers_query, undefined_query
from sql.relations import Relation


def keys_tell_month(connection: Connection, table: TieredTable, partition: Relation, month: Month) -> bool:
    """Whether every key in ``partition`` is one of ``month``, by a validated CHECK or else by looking at every row."""
    with connection.transaction():
        _use_checks(connection)
        return not fetch_one(connection, strangers_query(table, partition, month))[0]


def undefined_number(connection: Connection, columns: Sequence[Column], source: Composable) -> str | None:
    """A decimal column of a FROM item that holds NaN, which no type of the archive can; None where none does."""
    return undefined_numbers(connection, columns, [source])[0]


def undefined_numbers(
    connection: Connection, columns: Sequence[Column], sources: Sequence[Composable]
) -> list[str | None]:
    """As `undefined_number`, of several FROM items with the same columns."""
    queries = [undefined_query(columns, source) for source in sources]
    with connection.transaction():
        _use_checks(connection)
        found = [None if query is None else connection.execute(query).fetchone() for query in queries]
    return [None if row is None else str(row[0]) for row in found]


def _use_checks(connection: Connection) -> None:
    connection.execute("SET LOCAL constraint_exclusion = on")
