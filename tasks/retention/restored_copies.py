"""The copies of a month in the schema of restored months go with it: a certificate is about PostgreSQL, too."""

from collections.abc import Collection

from config import Settings
from ledger.months import Month
from sql.connection import Connection
from sql.maintenance import run_ddl
from sql.restored import Copy, copies, drop_copy, restore_lock


def check_droppable(
    connection: Connection, settings: Settings, table: str, month: Month, parts: Collection[int]
) -> None:
    """Raise ConflictError for the first copy of some parts that cannot be dropped: people renamed it, or made something
    that depends on it. Changes nothing.
    """

    def check(copy: Copy) -> None:
        with connection.transaction(force_rollback=True):
            drop_copy(connection, copy)

    for copy in _of_parts(connection, table, month, parts):
        run_ddl(connection, settings, lambda copy=copy: check(copy))  # type: ignore[misc]  # mypy cannot infer a lambda's default


def drop_copies_of(
    connection: Connection, settings: Settings, table: str, month: Month, parts: Collection[int]
) -> None:
    """Drop the copies of some parts, also what a killed run left. Safe to run again.

    Raises ConflictError while another run restores the month, and as `check_droppable`.
    """
    with restore_lock(connection, table, month):
        for copy in _of_parts(connection, table, month, parts):
            run_ddl(connection, settings, lambda copy=copy: drop_copy(connection, copy))  # type: ignore[misc]  # mypy cannot infer a lambda's default


def _of_parts(connection: Connection, table: str, month: Month, parts: Collection[int]) -> list[Copy]:
    return [copy for copy in copies(connection, table, month) if copy.part in parts]
