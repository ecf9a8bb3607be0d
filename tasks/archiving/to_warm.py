"""Hot to warm, and the tidying afterwards: what warm does not need is dropped, what stays is frozen."""

from psycopg.sql import SQL
from psycopg.types.json import Jsonb

from config import Settings
from ledger.months import Month
from ledger.tables import TieredTable
from sql.connection import Connection, connect, fetch_one
from sql.maintenance import keep_vacuum_out, run_ddl
from sql.partition_checks import ensure_bounds_check, ensure_indexes
from sql.partitions import monthly_partitions
from sql.queries import load
from sql.relations import Parents, check_partition
from sql.storing import check_stored
from sql.warm import move_to_warm

_QUERIES = load("tiers")


def warm_month(settings: Settings, table: TieredTable, month: Month, tidy: bool = True, run: str = "") -> bool:
    """Move a hot month to warm and tidy it. Safe to run again.

    Returns False when it was not hot, unless an earlier try of the same ``run`` is what moved it. Raises
    TransientError when the locks were not to be had, DataError when catalogue and database disagree.
    """
    with connect(settings.database_dsn, "warm") as connection:
        _make_ready(connection, settings, table, month)
        moved = move_to_warm(connection, settings, table, month)
        if moved:
            detail = Jsonb({"run": run} if run else {})
            row = {"table": table.name, "month": month.first_day, "event": "warmed", "detail": detail}
            check_stored(connection.execute(_QUERIES["add_event"], row), 1, "archive_events")
        if tidy:
            tidy_month(connection, settings, table, month)
        return moved or _was_moved_by(connection, table, month, run)


def _make_ready(connection: Connection, settings: Settings, table: TieredTable, month: Month) -> None:
    """Before any parent is locked: ATTACH would look at every row for a CHECK or an index that is not there."""
    parents = Parents.of(connection, table)
    partition = monthly_partitions(connection, parents.hot).get(month)
    if parents.hot is None or partition is None:
        return
    ensure_bounds_check(connection, settings, table, month, partition, parents.hot)
    if parents.warm is not None:
        ensure_indexes(connection, partition, parents.warm)


def _was_moved_by(connection: Connection, table: TieredTable, month: Month, run: str) -> bool:
    question = {"table": table.name, "month": month.first_day, "run": run}
    return bool(fetch_one(connection, _QUERIES["was_warmed_by"], question)[0])


def tidy_month(connection: Connection, settings: Settings, table: TieredTable, month: Month) -> None:
    """Drop the indexes of a warm month that its parent has not, and freeze its rows. Safe to run again.

    Readers and writers of the hot tier do not notice: only the month's own partition is locked, and only briefly.
    """
    warm = Parents.of(connection, table).warm
    partition = monthly_partitions(connection, warm).get(month)
    if warm is None or partition is None:
        return

    def drop() -> None:
        keep_vacuum_out(connection, partition.identifier)
        # The lock that DROP INDEX takes; before the names are looked at, so that they stay what they are.
        connection.execute(SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE").format(partition.identifier))
        check_partition(connection, partition, warm)
        for (index,) in connection.execute(_QUERIES["unowned_indexes"], {"relation": partition.oid}).fetchall():
            connection.execute(SQL("DROP INDEX {}").format(partition.sibling(index)))

    if connection.execute(_QUERIES["unowned_indexes"], {"relation": partition.oid}).fetchall():
        run_ddl(connection, settings, drop)
    connection.execute(SQL("VACUUM (FREEZE, ANALYZE) {}").format(partition.identifier))
    marked = connection.execute(_QUERIES["mark_tidied"], {"table": table.name, "month": month.first_day})
    check_stored(marked, 1, "archive_months")
