"""A table whose name is as long as the settings allow: its months are restored, and come back to warm, like others."""

from datetime import timedelta

import pytest

from config import Settings
from ledger.tables import TieredTable
from sql.connection import connect
from sql.restored import Request, copy_name, loading_name
from tasks.archiving.late_rows import open_late_rows
from tasks.archiving.to_cold import archive_month
from tasks.archiving.to_warm import warm_month
from tasks.restoring.back_to_warm import return_month
from tasks.restoring.restore import restore_month
from tests.tasks.archiving.ledger import COLD, ROWS, Ledger, make_row

NAME = "a" * 40
WHO = Request("anna", "os anna", "asked for by the auditors", timedelta(days=30))
_LONGEST = 63  # bytes; PostgreSQL cuts identifiers there
_LAST_PART, _LAST_PROCESS = 2**15 - 1, 2**22  # of a smallint; of a process of Linux


@pytest.fixture
def archived(ledger: Ledger) -> Ledger:
    """A ledger with an archived month of the table, in two parts."""
    ledger.sql(
        f"CREATE TABLE {NAME}_partitioned (LIKE transactions_partitioned INCLUDING ALL) PARTITION BY RANGE (created_at)"
    )
    configured = ledger.table.model_dump(exclude={"name"})
    settings = Settings.model_validate(ledger.settings.model_dump() | {"tables": {NAME: configured}})
    ledger.settings, ledger.table = settings, settings.table(NAME)
    ledger.fill(COLD)
    _archive(ledger)
    open_late_rows(settings, ledger.table, COLD)
    with connect(settings.database_dsn, "tests") as connection:
        ledger.insert(connection, ledger.table, [make_row(ledger.table, COLD, 900)])
    _archive(ledger)
    return ledger


def _archive(ledger: Ledger) -> None:
    assert warm_month(ledger.settings, ledger.table, COLD)
    archive_month(ledger.settings, ledger.table, COLD)


def test_its_month_is_restored_as_copies(archived: Ledger) -> None:
    parts = restore_month(archived.settings, archived.table, COLD, WHO)
    copies = [(part.relation, part.rows) for part in parts]
    assert copies == [(f"restored.{NAME}_2024_03", ROWS), (f"restored.{NAME}_2024_03_part_2", 1)]


def test_its_month_comes_back_to_warm(archived: Ledger) -> None:
    made = return_month(archived.settings, archived.table, COLD, WHO)
    assert (made.relation, made.rows) == (f"{NAME}_2024_03", ROWS + 1)
    assert archived.sql("SELECT tablename FROM pg_tables WHERE schemaname = 'restored'") == []


def test_no_name_of_a_restored_month_is_longer_than_postgresql_keeps() -> None:
    table = TieredTable(name=NAME)
    names = (copy_name(table, COLD, _LAST_PART), loading_name(table, COLD, _LAST_PART, _LAST_PROCESS))
    assert max(len(name.encode()) for name in names) <= _LONGEST
