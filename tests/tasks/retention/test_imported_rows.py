"""What the import knows of a row goes with the row, and the deleted row is not loaded again."""

from pathlib import Path

import psycopg
import pytest

from ledger.tables import VAS_TRANSACTIONS
from tasks.archiving.to_cold import archive_month
from tasks.archiving.to_warm import warm_month
from tasks.importing.run import ImportReport
from tasks.transparency.publish import publish_log
from tests.tasks.archiving.ledger import Ledger
from tests.tasks.retention.aged import OLD, approved, delete, hold, release
from tests.tasks.retention.imports import VENDS, load


def archive(ledger: Ledger) -> None:
    """Move the month of the rows to the archive."""
    assert warm_month(ledger.settings, ledger.table, OLD)
    archive_month(ledger.settings, ledger.table, OLD)
    publish_log(ledger.settings)


def identities(ledger: Ledger) -> set[str]:
    """The ids of the rows that the import knows."""
    return {str(row_id) for (row_id,) in ledger.sql("SELECT row_id FROM import_identities")}


def ids(ledger: Ledger, where: str, table: str = "transactions") -> set[str]:
    return {row["id"] for row in ledger.ask(f"SELECT id::text AS id FROM {table} WHERE {where}")}


def account(report: ImportReport) -> tuple[int, int, int, int, int]:
    return report.read, report.loaded, report.known, report.different, report.rejected


def test_what_the_import_knows_of_a_row_goes_with_it_and_that_of_held_rows_and_other_tables_stays(
    ledger: Ledger, tmp_path: Path
) -> None:
    assert account(load(ledger, tmp_path, VENDS)) == (2, 2, 0, 0, 0)
    assert account(load(ledger, tmp_path)) == (2, 2, 0, 0, 0)
    held, others = ids(ledger, "wallet_id = 'wallet-3'"), ids(ledger, "true", VAS_TRANSACTIONS.name)
    assert (len(held), len(others), len(identities(ledger))) == (1, 2, 4)
    archive(ledger)
    placed = hold(ledger, OLD, "wallet-3")
    approved(ledger)
    assert delete(ledger)[0].certificate
    assert identities(ledger) == held | others
    assert account(load(ledger, tmp_path)) == (2, 0, 1, 0, 1)
    release(ledger, placed.hold.number)
    approved(ledger)
    assert delete(ledger)[0].certificate
    assert identities(ledger) == others
    again = load(ledger, tmp_path)
    assert account(again) == (2, 0, 0, 0, 2)
    assert again.rejects.read_text().count("month 2014-02 is deleted: it takes no more rows") == 2
    assert account(load(ledger, tmp_path, VENDS)) == (2, 0, 2, 0, 0)
    assert ids(ledger, "true") == set()


def test_what_an_earlier_version_recorded_without_a_table_goes_unless_another_table_has_the_month(
    ledger: Ledger, tmp_path: Path
) -> None:
    load(ledger, tmp_path)
    archive(ledger)
    ledger.sql("ALTER TABLE import_identities DISABLE TRIGGER import_identities_kept")
    ledger.sql("UPDATE import_identities SET table_name = NULL")
    approved(ledger)
    assert delete(ledger)[0].certificate
    assert identities(ledger) == set()


@pytest.mark.parametrize(
    "statement",
    ["DELETE FROM import_identities", "UPDATE import_identities SET row_id = row_id", "TRUNCATE import_identities"],
)
def test_what_the_import_knows_stays_while_its_month_is_not_deleted(
    ledger: Ledger, tmp_path: Path, statement: str
) -> None:
    load(ledger, tmp_path)
    ledger.fill(OLD.plus(1))
    ledger.sql("UPDATE archive_months SET tier = 'deleted', certificate = 'DEL-1' WHERE month = '2014-03-01'")
    with pytest.raises(psycopg.Error, match="rows of import_identities are only added"):
        ledger.sql(statement)
    assert len(identities(ledger)) == 2
