"""Our side of a day is whole, or the run ends with an error that names the month."""

from decimal import Decimal
from pathlib import Path
from uuid import UUID

import psycopg
import pytest

from config import Settings
from ledger.errors import DataError
from ledger.months import Month
from sql.connection import connect
from sql.partitions import ensure_partition
from storage.engine import engine
from tasks.archiving.to_cold import archive_month
from tasks.archiving.to_warm import warm_month
from tasks.reconciliation.closing.internal_days import own_days
from tasks.reconciliation.runs.internal_rows import TABLE, Window, own_side
from tests.tasks.archiving.fixtures import store
from tests.tasks.archiving.ledger import COLD, Ledger, make_row

__all__ = ["store"]  # a fixture
MONTH = Month(2026, 5)
WINDOW = Window("flash", MONTH.lower, MONTH.upper)


@pytest.fixture
def partition(settings: Settings) -> str:
    """The hot partition of the month."""
    with connect(settings.database_dsn, "tests") as connection:
        ensure_partition(connection, settings, settings.table(TABLE), MONTH)
    return settings.table(TABLE).partition(MONTH)


def _count(settings: Settings) -> int:
    with engine(settings) as duck, own_side(duck, settings, WINDOW):
        ((found,),) = duck.execute("SELECT count(*) FROM own_rows").fetchall()
    return int(found)


@pytest.mark.parametrize("how", ["DETACH PARTITION {}", "DETACH PARTITION {} CONCURRENTLY"])
def test_a_month_that_was_taken_away_wholly_or_by_half_is_refused_by_name(
    settings: Settings, partition: str, how: str
) -> None:
    assert _count(settings) == 0
    with (
        psycopg.connect(settings.database_dsn) as reader,
        psycopg.connect(settings.database_dsn, autocommit=True) as connection,
    ):
        connection.execute("SET statement_timeout = '500ms'")
        statement = f"ALTER TABLE vas_transactions_partitioned {how.format(partition)}"
        if "CONCURRENTLY" in how:  # it waits for the reader, and leaves half of its work
            reader.execute("SELECT count(*) FROM vas_transactions_partitioned")
            with pytest.raises(psycopg.errors.QueryCanceled):
                connection.execute(statement)
        else:
            connection.execute(statement)
    reason = f"{partition} is half detached" if "CONCURRENTLY" in how else "no such partition: attach it again"
    with pytest.raises(DataError, match=f"vas_transactions {MONTH}.*{reason}"):
        _count(settings)


def test_copies_of_archived_rows_count_once_and_other_values_are_refused(settings: Settings, store: Path) -> None:
    """Somebody made the partition of an archived month again, and put its rows back."""
    table, ledger = settings.table(TABLE), Ledger(settings, store)
    rows = [make_row(table, COLD, number) for number in range(5)]
    ledger.fill(COLD, 5, table)
    warm_month(settings, table, COLD)
    archive_month(settings, table, COLD)
    window = Window("flash", COLD.lower, COLD.upper, carried=[rows[3]["id"]])
    wanted = [*((row["id"], row["amount"], False) for row in rows), (rows[3]["id"], rows[3]["amount"], True)]

    def own_rows() -> list[tuple[UUID, Decimal, bool]]:
        with engine(settings) as duck, own_side(duck, settings, window):
            return duck.execute("SELECT id, amount, by_id FROM own_rows").fetchall()

    assert sorted(own_rows()) == sorted(wanted)
    ledger.sql(
        f"CREATE TABLE again PARTITION OF {table.hot_parent} FOR VALUES FROM ('{COLD.lower}') TO ('{COLD.upper}')"
    )
    with psycopg.connect(settings.database_dsn) as connection:
        ledger.insert(connection, table, [rows[2], rows[4]])
    assert sorted(own_rows()) == sorted(wanted)
    with psycopg.connect(settings.database_dsn) as connection:
        ledger.insert(connection, table, [rows[3] | {"amount": rows[3]["amount"] + 1}])
    with pytest.raises(DataError, match=f"has 1 row with other values than the archive, such as {rows[3]['id']}"):
        own_rows()
    days = COLD.first_day, COLD.plus(1).first_day
    with pytest.raises(DataError, match="with other values than the archive"), own_days(settings, "flash", *days):
        pass


@pytest.mark.parametrize("has_lookup", [True, False])
def test_the_object_of_another_month_in_its_place_is_refused_by_name(
    settings: Settings, tmp_path: Path, has_lookup: bool
) -> None:
    folder = tmp_path / "archive"  # the S3 server of the tests keeps sizes
    settings = settings.model_copy(update={"archive_url": f"file://{folder}"})
    table, ledger, other = settings.table(TABLE), Ledger(settings, folder), COLD.plus(1)
    for month, rows in ((COLD, 5), (other, 7)):
        ledger.fill(month, rows, table)
        warm_month(settings, table, month)
        archive_month(settings, table, month)
    if not has_lookup:
        ledger.sql("UPDATE archive_months SET lookup = NULL")
    keys = dict(ledger.sql("SELECT month, object_key FROM archive_months"))
    (folder / keys[COLD.first_day]).write_bytes((folder / keys[other.first_day]).read_bytes())
    window = Window("flash", COLD.lower, COLD.upper)
    refused = pytest.raises(DataError, match=f"{TABLE} {COLD}: .*Somebody has put another file there")
    with refused, engine(settings) as duck, own_side(duck, settings, window):
        pass
    days = COLD.first_day, other.first_day
    with refused, own_days(settings, "flash", *days):
        pass
    with engine(settings) as duck, own_side(duck, settings, Window("flash", other.lower, other.upper)):
        assert duck.execute("SELECT count(*) FROM own_rows").fetchall() == [(7,)]
