"""Our side of a day is whole, or the run ends with an error that names the month."""

import psycopg
import pytest

from config import Settings
from ledger.errors import DataError
from ledger.months import Month
from sql.connection import connect
from sql.partitions import ensure_partition
from storage.engine import engine
from tasks.reconciliation.runs.internal_rows import TABLE, Window, own_side

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
