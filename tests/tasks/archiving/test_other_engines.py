"""An archived table is a folder of Parquet files that any engine reads: each file says what it is, and nothing else is
beside them.
"""

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import datafusion
import duckdb
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from config import Settings
from sql.connection import connect
from sql.installation import read_installation
from tasks.archiving.late_rows import open_late_rows
from tasks.archiving.to_cold import archive_month
from tasks.archiving.to_warm import warm_month
from tasks.transparency.publish import publish_log
from tests.archives import Archives
from tests.tasks.archiving.ledger import COLD, ROWS, Ledger, make_row

NEXT = COLD.plus(1)
LATE = 3
_NAMED = "id, amount, wallet_id, month"


@pytest.fixture
def folder(ledger: Ledger, archives: Archives) -> Ledger:
    """Two months of one table, one of them with late rows, and a month of another table; published."""
    archives.begin(ledger.settings, _months_of_two_tables)
    return ledger


def _months_of_two_tables(settings: Settings) -> None:
    ledger = Ledger(settings, settings.home)
    ledger.warm(COLD, NEXT)
    for month in (COLD, NEXT):
        archive_month(settings, ledger.table, month)
    open_late_rows(settings, ledger.table, COLD)
    with connect(settings.database_dsn, "tests") as connection:
        ledger.insert(connection, ledger.table, [make_row(ledger.table, COLD, ROWS + one) for one in range(LATE)])
    assert warm_month(settings, ledger.table, COLD)
    archive_month(settings, ledger.table, COLD)
    other = settings.table("vas_transactions")
    ledger.fill(COLD, table=other)
    assert warm_month(settings, other, COLD)
    archive_month(settings, other, COLD)
    publish_log(settings)


def written(ledger: Ledger) -> set[tuple[UUID, Decimal, str, str]]:
    """The rows of the table, by what wrote them."""
    rows = [(COLD, number) for number in range(ROWS + LATE)] + [(NEXT, number) for number in range(ROWS)]
    made = [(month, make_row(ledger.table, month, number)) for month, number in rows]
    return {(one["id"], one["amount"], one["wallet_id"], str(month)) for month, one in made}


def _duckdb(folder: Path) -> pa.Table:
    with duckdb.connect() as connection:
        query = f"SELECT {_NAMED} FROM read_parquet('{folder}/**/*.parquet', hive_partitioning = true)"
        return connection.execute(query).to_arrow_table()


def _pyarrow(folder: Path) -> pa.Table:
    return ds.dataset(folder, format="parquet", partitioning="hive").to_table(columns=_NAMED.split(", "))


def _datafusion(folder: Path) -> pa.Table:
    context = datafusion.SessionContext()
    context.register_parquet("t", str(folder), table_partition_cols=[("month", pa.string())])
    return context.sql(f"SELECT {_NAMED} FROM t").to_arrow_table()


def _polars(folder: Path) -> pa.Table:
    polars = pytest.importorskip("polars")
    scanned: pa.Table = (
        polars.scan_parquet(folder, hive_partitioning=True).select(_NAMED.split(", ")).collect().to_arrow()
    )
    return scanned


@pytest.mark.parametrize("scan", [_duckdb, _pyarrow, _datafusion, _polars])
def test_a_scan_of_the_folder_of_a_table_gives_each_of_its_rows_once(
    folder: Ledger, scan: Callable[[Path], pa.Table]
) -> None:
    found = [_row(one) for one in scan(folder.store / "transactions").to_pylist()]
    assert len(found) == 2 * ROWS + LATE
    assert set(found) == written(folder)


def _row(one: dict[str, Any]) -> tuple[UUID, Decimal, str, str]:
    key = one["id"]
    name = UUID(bytes=key) if isinstance(key, bytes) else UUID(str(key))
    return name, one["amount"], one["wallet_id"], str(one["month"])[:7]


def test_in_the_folders_of_data_is_nothing_but_data(folder: Ledger) -> None:
    keys = folder.objects()
    assert {key.partition("/")[0] for key in keys} == {"transactions", "vas_transactions", "_treasury"}
    data = {key for key in keys if not key.startswith("_treasury/")}
    assert len(data) == 4
    assert all(key.endswith(".parquet") for key in data)
    assert not any(key.endswith(".parquet") for key in keys - data)


def test_each_file_says_which_table_month_part_and_installation_it_is_of(folder: Ledger) -> None:
    with connect(folder.settings.database_dsn, "tests") as connection:
        installation = read_installation(connection)
    assert installation is not None
    parts = folder.sql("SELECT table_name, month, part, object_key, columns FROM archive_months WHERE tier = 'cold'")
    assert len(parts) == 4
    for table, month, part, key, columns in parts:
        schema, metadata = pq.read_schema(folder.store / key), pq.read_metadata(folder.store / key).metadata
        own = {name.decode(): value.decode() for name, value in metadata.items() if name.startswith(b"treasury.")}
        assert own == {
            "treasury.table": table,
            "treasury.month": f"{month:%Y-%m}",
            "treasury.part": str(part),
            "treasury.installation": str(installation.installation_id),
        }
        numbers = {name: int(schema.field(name).metadata[b"PARQUET:field_id"]) for name in schema.names}
        assert numbers == {column["name"]: column["field_id"] for column in columns}
        assert len(set(numbers.values())) == len(schema.names)
