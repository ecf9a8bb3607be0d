"""What PostgreSQL needs to attach a partition without looking at its rows: a CHECK of its bounds, and the indexes of
the parent. Partitions that this project makes are born with the CHECK; others get theirs here.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from psycopg.sql import SQL, Composable, Identifier, Literal

from config import Settings
from ledger.errors import TransientError
from ledger.months import Month
from ledger.tables import TieredTable
from sql.connection import Connection
from sql.maintenance import QUEUE_TIMEOUT_MS, keep_vacuum_out, run_ddl
from sql.obstacles import missing_constraints
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


def ensure_indexes(connection: Connection, partition: Relation, parent: Relation) -> None:
    """Build on ``partition`` the indexes that ``parent`` has and it has not, while everybody reads and writes.

    The build waits for transactions that began before it. Where one lasts a minute, PostgreSQL's error is transient.
    Safe to run again and to kill: what a killed build left, which is not valid, is dropped first.
    """
    for oid, _, definition in _missing_indexes(connection, partition, parent):
        name = f"treasury_{partition.oid}_{oid}"
        with _waiting_for_a_minute(connection):
            connection.execute(SQL("DROP INDEX CONCURRENTLY IF EXISTS {}").format(partition.sibling(name)))
            connection.execute(
                SQL("CREATE INDEX CONCURRENTLY {} ON {} {}").format(
                    Identifier(name), partition.identifier, SQL(definition)
                )
            )


def check_attachable(connection: Connection, partition: Relation, parent: Relation) -> None:
    """Raise TransientError where the parent got a constraint or an index after the partition was made ready: ATTACH
    would look at every row. To be called under the lock of the parent.
    """
    reason = missing_constraints(connection, partition, parent)
    names = [name for _, name, _ in _missing_indexes(connection, partition, parent)]
    if names:
        reason = f"{partition} lacks indexes of {parent} ({', '.join(names)}): they are built by the next try"
    if reason is not None:
        raise TransientError(reason)


def _missing_indexes(connection: Connection, partition: Relation, parent: Relation) -> list[tuple[int, str, str]]:
    question = {"partition": partition.oid, "parent": parent.oid}
    return [(oid, name, text) for oid, name, text in connection.execute(_QUERIES["missing_indexes"], question)]


@contextmanager
def _waiting_for_a_minute(connection: Connection) -> Iterator[None]:
    connection.execute(SQL("SET lock_timeout = {}").format(Literal(QUEUE_TIMEOUT_MS)))
    try:
        yield
    finally:
        if not connection.closed:
            connection.execute("RESET lock_timeout")


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
