"""The CHECK of a partition's bounds: with it PostgreSQL attaches the partition without looking at its rows. Partitions
that this project makes are born with one; those that others made get theirs here.
"""

from psycopg.sql import SQL, Composable, Identifier, Literal

from config import Settings
from ledger.months import Month
from ledger.tables import TieredTable
from sql.connection import Connection
from sql.maintenance import keep_vacuum_out, run_ddl
from sql.queries import load
from sql.relations import Relation, check_partition

_QUERIES = load("catalog")
_CHECK = "treasury_bounds"


def ensure_bounds_check(
    connection: Connection, settings: Settings, table: TieredTable, month: Month, partition: Relation, parent: Relation
) -> bool:
    """Give ``partition`` a validated CHECK of the bounds of ``month`` unless it has one; returns whether it was made.

    The constraint is added without looking at the rows, under a short lock of this partition alone. The rows are looked
    at afterwards, while everybody reads and writes. Safe to run again and to kill.
    """
    if _has_check(connection, table, month, partition):
        return False

    def add() -> None:
        keep_vacuum_out(connection, partition.identifier)
        connection.execute(SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE").format(partition.identifier))
        check_partition(connection, partition, parent)
        if connection.execute(_QUERIES["constraint"], {"relation": partition.oid, "name": _CHECK}).fetchone() is None:
            condition = SQL("CHECK ({0} IS NOT NULL AND {0} >= {1} AND {0} < {2})").format(*_condition(table, month))
            adding = SQL("ALTER TABLE {} ADD CONSTRAINT {} {} NOT VALID")
            connection.execute(adding.format(partition.identifier, Identifier(_CHECK), condition))

    run_ddl(connection, settings, add)
    connection.execute(SQL("ALTER TABLE {} VALIDATE CONSTRAINT {}").format(partition.identifier, Identifier(_CHECK)))
    return True


def _condition(table: TieredTable, month: Month) -> tuple[Composable, ...]:
    lower, upper = (SQL("{}::timestamptz").format(Literal(text)) for text in _bounds(month))
    return Identifier(table.time_column), lower, upper


def _bounds(month: Month) -> tuple[str, str]:
    first, last = (bound.strftime("%Y-%m-%d %H:%M:%S+00") for bound in (month.lower, month.plus(1).lower))
    return first, last


def _has_check(connection: Connection, table: TieredTable, month: Month, partition: Relation) -> bool:
    lower, upper = _bounds(month)
    question = {"relation": partition.oid, "column": table.time_column, "lower": lower, "upper": upper}
    return connection.execute(_QUERIES["bounds_check"], question).fetchone() is not None
