"""Import of a CSV file against a plain COPY of the same rows: into the same partitions, with the same indexes."""

import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from psycopg.sql import SQL, Identifier
from pyarrow import csv
from rich.console import Console
from rich.table import Table

from bench.scratch import scratch
from config import Settings
from ledger.months import Month
from ledger.tables import TRANSACTIONS
from sql.connection import connect
from tasks.importing.mapping_text import column, mapping_text
from tasks.importing.run import ImportReport, ImportRequest, import_file
from tasks.synthetic.payments import MonthPlan, World, month_tables

ROWS = 200_000
TARGET_PER_S = 20_000
_MONTHS = (Month(2025, 3), Month(2025, 4))
_INSTANT = "%Y-%m-%d %H:%M:%S.%fZ"
_COLUMNS = (
    "client_id",
    "user_id",
    "wallet_id",
    "counterparty_wallet_id",
    "type",
    "status",
    "amount",
    "fee",
    "currency",
    "reference",
    "description",
)
_MAPPING = mapping_text(
    "bench",
    "transactions",
    ["id"],
    {name: column(name) for name in _COLUMNS}
    | {name: column(name, format=_INSTANT) for name in ("created_at", "updated_at")},
    {"source": column("id")},
)


def run(rows: int = ROWS) -> dict[str, Any]:
    """Measure both, print a table, and return the figures. Works in a database of its own, dropped at the end."""
    with (
        tempfile.TemporaryDirectory(prefix="bench-import-") as folder,
        scratch() as settings,
    ):
        file, mapping = Path(folder) / "rows.csv", Path(folder) / "mapping.toml"
        _write_rows(file, rows)
        mapping.write_text(_MAPPING)
        report, import_s = _import(settings, file, mapping)
        copy_s = _copy_again(settings, Path(folder) / "rows.copy")
    result = {
        "name": "import_rows",
        "rows": report.loaded,
        "import_s": round(import_s, 3),
        "import_rows_per_s": round(report.loaded / import_s),
        "copy_s": round(copy_s, 3),
        "copy_rows_per_s": round(report.loaded / copy_s),
        "ratio": round(import_s / copy_s, 2),
        "target_rows_per_s": TARGET_PER_S,
        "passed": report.rejected == 0 and report.loaded / import_s >= TARGET_PER_S,
    }
    _show(result)
    return result


def _write_rows(file: Path, rows: int) -> None:
    world = World(seed=1, wallets=10_000)
    with file.open("wb") as target:
        for number, month in enumerate(_MONTHS):
            plan = MonthPlan(TRANSACTIONS, month, rows // len(_MONTHS), datetime(2026, 1, 1, tzinfo=UTC))
            for table_number, table in enumerate(month_tables(world, plan)):
                header = number == 0 and table_number == 0
                csv.write_csv(table, target, csv.WriteOptions(include_header=header))


def _import(settings: Settings, file: Path, mapping: Path) -> tuple[ImportReport, float]:
    started = time.perf_counter()
    report = import_file(settings, ImportRequest(file, mapping), lambda *_: None, datetime.now(UTC))
    return report, time.perf_counter() - started


def _copy_again(settings: Settings, file: Path) -> float:
    """Seconds that a plain COPY of the imported rows takes into the emptied partitions, from a file, in file order."""
    parent = Identifier(TRANSACTIONS.hot_parent)
    with connect(settings.database_dsn, "bench") as connection, connection.cursor() as cursor:
        ordered = SQL("COPY (SELECT * FROM {} ORDER BY created_at) TO STDOUT").format(parent)
        with file.open("wb") as target, cursor.copy(ordered) as out:
            for block in out:
                target.write(block)
        connection.execute(SQL("TRUNCATE {}").format(parent))
        connection.execute("CHECKPOINT")
        started = time.perf_counter()
        with file.open("rb") as source, cursor.copy(SQL("COPY {} FROM STDIN").format(parent)) as copy:
            while block := source.read(1 << 18):
                copy.write(block)
        return time.perf_counter() - started


def _show(result: dict[str, Any]) -> None:
    table = Table("", "rows", "seconds", "rows/s", title=f"Import of {result['rows']:,} rows", title_justify="left")
    for name, key in (("treasury import", "import"), ("plain COPY", "copy")):
        table.add_row(name, f"{result['rows']:,}", f"{result[f'{key}_s']:.2f}", f"{result[f'{key}_rows_per_s']:,}")
    Console().print(table)
    Console().print(f"{result['ratio']} x the time of the COPY; at least {TARGET_PER_S:,} rows/s are wanted")
