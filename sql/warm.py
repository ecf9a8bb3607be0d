"""The move of a month from hot to warm: its partition changes parents, and no row is copied."""

from psycopg.sql import SQL

from config import Settings
from ledger.errors import DataError
from ledger.months import Month
from ledger.tables import TieredTable
from sql.connection import Connection
from sql.maintenance import keep_vacuum_out, run_ddl
from sql.partition_checks import check_attachable
from sql.partitions import attach_statement, monthly_partitions
from sql.relations import Parents, check_partition
from sql.storing import check_stored


def move_to_warm(connection: Connection, settings: Settings, table: TieredTable, month: Month) -> bool:
    """Re-attach a hot month to the warm parent, in one short transaction; returns False when it is not hot.

    No row is copied and nothing is scanned: the cost does not depend on the number of rows. Both parents are locked
    before anything changes, in the order in which the view reads them. So no statement sees the month twice or not at
    all. Safe to run again. Raises TransientError when the locks were not to be had. It does so too when the partition
    lacks an index of the warm parent: `sql.partition_checks.ensure_indexes` makes it.
    """

    def move() -> bool:
        _keep_vacuum_out(connection, table, month)
        tier = connection.execute(
            "SELECT tier FROM archive_months WHERE (table_name, month, tier) = (%s, %s, 'hot') FOR UPDATE",
            (table.name, month.first_day),
        ).fetchone()
        if tier is None:
            return False
        _reattach(connection, table, month)
        moved = connection.execute(
            "UPDATE archive_months SET tier = 'warm', warm_at = now()"
            " WHERE (table_name, month, tier) = (%s, %s, 'hot')",
            (table.name, month.first_day),
        )
        check_stored(moved, 1, "archive_months")
        return True

    return run_ddl(connection, settings, move)


def _keep_vacuum_out(connection: Connection, table: TieredTable, month: Month) -> None:
    """First, while no parent is locked: what waits here holds nothing that a writer needs."""
    partition = monthly_partitions(connection, Parents.of(connection, table).hot).get(month)
    if partition is not None:
        keep_vacuum_out(connection, partition.identifier)


def _reattach(connection: Connection, table: TieredTable, month: Month) -> None:
    """Lock both parents, then find the partition: whoever attaches, detaches or renames one comes before or after."""
    parents = Parents.of(connection, table)
    partition = monthly_partitions(connection, parents.hot).get(month)
    if parents.hot is None or parents.warm is None or partition is None:
        raise DataError(f"{table.name} {month}: the catalogue says hot, but {table.hot_parent} has no such partition")
    hot, warm = parents.hot, parents.warm
    connection.execute(
        SQL("LOCK TABLE ONLY {}, ONLY {} IN ACCESS EXCLUSIVE MODE").format(hot.identifier, warm.identifier)
    )
    connection.execute(SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE").format(partition.identifier))
    check_partition(connection, partition, hot)
    check_attachable(connection, partition, warm)
    connection.execute(SQL("ALTER TABLE {} DETACH PARTITION {}").format(hot.identifier, partition.identifier))
    connection.execute(attach_statement(warm, partition.identifier, month))
