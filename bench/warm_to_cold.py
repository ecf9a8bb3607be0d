"""Warm to cold, from claim to dropped, against the unverified way and a raw COPY; its memory; the bytes that are left.

The unverified way is what people would write: DuckDB copies the same partition, sorted, into a Parquet file, which is
uploaded. Nothing is read back, compared or dropped.
"""

import json
import os
import subprocess
import sys
import time
from typing import Any

import psycopg
from rich.console import Console
from rich.table import Table

from bench.scratch import fill_month, scratch
from config import Settings
from ledger.months import Month
from ledger.tables import TRANSACTIONS
from sql.connection import connect
from sql.relations import find_relation
from storage.engine import engine, literal
from storage.spool import spool_folder
from storage.store import ObjectStore
from tasks.archiving.catalogue import relation_bytes
from tasks.archiving.to_warm import warm_month
from tasks.querying.link import linked, linked_relation

ROWS = 1_000_000
DOUBLE_ROWS = 2 * ROWS
TIME_TARGET = 1.5  # times the unverified way
MEMORY_TARGET_MB = 1000
GROWTH_TARGET = 1.1  # times the peak memory, for twice the rows
BYTES_TARGET_PERCENT = 15.0
_COPIES = 3

# Archives one month in a process of its own, so that its peak memory is its own.
_CHILD = """
import json, resource, sys, time
from config import load_settings
from ledger.months import Month
from tasks.archiving.to_cold import archive_month
settings = load_settings()
steps, last = {}, time.perf_counter()
def on_step(step):
    global last
    now = time.perf_counter()
    steps[str(step)], last = round(now - last, 3), now
started = time.perf_counter()
done = archive_month(settings, settings.table("transactions"), Month.parse(sys.argv[1]), on_step)
print(json.dumps({
    "seconds": time.perf_counter() - started,
    "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    "rows": done.rows, "archive_bytes": done.archive_bytes, "steps": steps,
}))
"""


def run() -> dict[str, Any]:
    """Measure in servers of its own; print a table; return both sides of each ratio."""
    double, large = Month(2021, 1), Month(2021, 2)
    with scratch("s3") as settings:
        for month, rows in ((double, DOUBLE_ROWS), (large, ROWS)):
            fill_month(settings, month, rows)
        hot_bytes = _partition_bytes(settings, large)
        for month in (double, large):
            warm_month(settings, TRANSACTIONS, month)
        copy_s = min(_raw_copy(settings, large) for _ in range(_COPIES))
        first = _archive(settings, double)  # it makes the installation, too
        unverified_s = min(_unverified(settings, large, number) for number in range(_COPIES))
        done = _archive(settings, large)
    result = {
        "name": "warm_to_cold",
        "rows": done["rows"],
        "raw_copy_s": round(copy_s, 3),
        "unverified_s": round(unverified_s, 3),
        "archive_s": round(done["seconds"], 3),
        "ratio": round(done["seconds"] / unverified_s, 2),
        "ratio_target": TIME_TARGET,
        "ratio_to_copy": round(done["seconds"] / copy_s, 2),
        "steps_s": done["steps"],
        "peak_mb": round(done["peak_mb"]),
        "peak_target_mb": MEMORY_TARGET_MB,
        "peak_mb_of_twice": round(first["peak_mb"]),
        "peak_growth": round(first["peak_mb"] / done["peak_mb"], 2),
        "peak_growth_target": GROWTH_TARGET,
        "hot_bytes": hot_bytes,
        "cold_bytes": done["archive_bytes"],
        "bytes_percent": round(100 * done["archive_bytes"] / hot_bytes, 2),
        "bytes_target_percent": BYTES_TARGET_PERCENT,
    }
    result["passed"] = (
        result["ratio"] <= TIME_TARGET
        and result["peak_mb"] <= MEMORY_TARGET_MB
        and result["peak_growth"] <= GROWTH_TARGET
        and result["bytes_percent"] <= BYTES_TARGET_PERCENT
    )
    _show(result)
    return result


def _partition_bytes(settings: Settings, month: Month) -> int:
    with connect(settings.database_dsn, "bench") as connection:
        partition = find_relation(connection, TRANSACTIONS.partition(month))
        assert partition is not None  # noqa: S101  # it was filled above
        return relation_bytes(connection, partition)


def _raw_copy(settings: Settings, month: Month) -> float:
    """Seconds of COPY (SELECT ...) TO STDOUT (FORMAT binary) of the month's rows, every byte received and let go."""
    query = f"COPY (SELECT * FROM {TRANSACTIONS.partition(month)}) TO STDOUT (FORMAT binary)"
    with psycopg.connect(settings.database_dsn) as connection, connection.cursor() as cursor:
        started = time.perf_counter()
        with cursor.copy(query) as copy:
            for _ in copy:
                pass
        return time.perf_counter() - started


def _unverified(settings: Settings, month: Month, number: int) -> float:
    """Seconds of a sorted copy of the month's rows into one Parquet file by DuckDB, and of its upload."""
    started = time.perf_counter()
    with connect(settings.database_dsn, "bench") as connection, spool_folder(settings.spool, "bench") as spool:
        partition = find_relation(connection, TRANSACTIONS.partition(month))
        assert partition is not None  # noqa: S101  # it was filled above
        file = spool / "unverified.parquet"
        with engine(settings) as duck, linked(duck, settings, links=1):
            duck.execute(
                f"COPY (SELECT * FROM {linked_relation(0, partition)} ORDER BY wallet_id, created_at, id) "
                f"TO {literal(str(file))} (FORMAT parquet, COMPRESSION zstd)"
            )
        ObjectStore(settings).put(file, f"unverified/{number}.parquet")
    return time.perf_counter() - started


def _archive(settings: Settings, month: Month) -> dict[str, Any]:
    child = subprocess.run(  # noqa: S603  # our own interpreter and program
        [sys.executable, "-c", _CHILD, str(month)],
        env={**os.environ, **settings.environment()},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    done: dict[str, Any] = json.loads(child.stdout)
    return done


def _show(result: dict[str, Any]) -> None:
    table = Table("", "measured", "target", title=f"Warm to cold of {result['rows']:,} rows", title_justify="left")
    table.add_row("raw COPY to nowhere", f"{result['raw_copy_s']} s", "")
    table.add_row("claim to dropped, verified", f"{result['archive_s']} s", "")
    table.add_row("sorted copy by DuckDB and upload, unverified", f"{result['unverified_s']} s", "")
    table.add_row("ratio to the unverified way", str(result["ratio"]), f"<= {TIME_TARGET}")
    table.add_row("ratio to a raw COPY", str(result["ratio_to_copy"]), "")
    for step, seconds in result["steps_s"].items():
        table.add_row(f"  {step}", f"{seconds} s", "")
    table.add_row("peak memory", f"{result['peak_mb']} MB", f"<= {MEMORY_TARGET_MB} MB")
    table.add_row("peak memory of twice the rows", f"{result['peak_mb_of_twice']} MB", "")
    table.add_row("ratio of these two", str(result["peak_growth"]), f"<= {GROWTH_TARGET}")
    table.add_row("cold bytes of hot bytes", f"{result['bytes_percent']} %", f"<= {BYTES_TARGET_PERCENT} %")
    Console().print(table)
