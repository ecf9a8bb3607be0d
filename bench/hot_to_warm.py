"""Hot to warm under load: a full month against an empty one, the stall of writers, and copying the rows instead."""

import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from secrets import randbits
from statistics import median
from typing import Any

import psycopg
from psycopg.sql import SQL, Identifier
from rich.console import Console
from rich.table import Table

from bench.scratch import fill_month, scratch
from config import Settings
from ledger.identifiers import new_id, truncate_ms
from ledger.months import Month
from ledger.tables import TRANSACTIONS
from sql.connection import connect
from sql.partitions import ensure_partition
from sql.warm import move_to_warm

ROWS = 1_000_000
WRITES_PER_S = 300
EMPTY_MONTHS = [Month(2020, number) for number in range(1, 6)]
FULL_MONTH = Month(2021, 1)
COPIED_MONTH = Month(2021, 2)
RATIO_TARGET = 2.0
STALL_TARGET_MS = 250.0
_INSERT = """
    INSERT INTO transactions_partitioned
        (id, client_id, user_id, wallet_id, type, status, amount, currency, created_at, updated_at)
    VALUES (%s, 'bench', 'user', 'wallet', 'payment', 'completed', 1.00, 'ZAR', %s, %s)
"""


@dataclass
class _Writer:
    """Writes rows to the current month at a steady rate, each in a transaction of its own, and times each."""

    settings: Settings
    stop: threading.Event = field(default_factory=threading.Event)
    latencies_ms: list[float] = field(default_factory=list)
    failed: int = 0

    def run(self) -> None:
        """Write until asked to stop; what is late is written at once, so a stall shows in the longest latency only."""
        with psycopg.connect(self.settings.database_dsn, autocommit=True) as connection:
            due = time.perf_counter()
            while not self.stop.is_set():
                self._write(connection)
                due += 1 / WRITES_PER_S
                time.sleep(max(0.0, due - time.perf_counter()))

    def _write(self, connection: psycopg.Connection[Any]) -> None:
        now = truncate_ms(datetime.now(UTC))
        started = time.perf_counter()
        try:
            connection.execute(_INSERT, (new_id(now, randbits), now, now))
        except psycopg.Error:
            self.failed += 1
        self.latencies_ms.append(1000 * (time.perf_counter() - started))


def run() -> dict[str, Any]:
    """Measure in a database of its own; print a table; return both sides of each ratio."""
    with scratch() as settings:
        for month in (FULL_MONTH, COPIED_MONTH):
            fill_month(settings, month, ROWS)
        with connect(settings.database_dsn, "bench") as connection:
            for month in (*EMPTY_MONTHS, Month.of(datetime.now(UTC))):
                ensure_partition(connection, settings, TRANSACTIONS, month)
            connection.execute("VACUUM ANALYZE transactions_partitioned")
        moves, writer = _measure_moves(settings)
        copy_s = _copy_instead(settings)
    result = _result(moves, writer, copy_s)
    _show(result)
    return result


def _measure_moves(settings: Settings) -> tuple[dict[Month, float], _Writer]:
    writer = _Writer(settings)
    thread = threading.Thread(target=writer.run)
    thread.start()
    moves: dict[Month, float] = {}
    try:
        with connect(settings.database_dsn, "bench") as connection:
            for month in (*EMPTY_MONTHS[:3], FULL_MONTH, *EMPTY_MONTHS[3:]):
                time.sleep(2)
                started = time.perf_counter()
                move_to_warm(connection, settings, TRANSACTIONS, month)
                moves[month] = time.perf_counter() - started
        time.sleep(2)
    finally:
        writer.stop.set()
        thread.join()
    return moves, writer


def _copy_instead(settings: Settings) -> float:
    """Seconds to move a month's rows by INSERT ... SELECT and DELETE, in the same run, without other writers."""
    with connect(settings.database_dsn, "bench") as connection:
        connection.execute("CREATE TABLE copied (LIKE transactions_partitioned INCLUDING ALL)")
        source = Identifier(TRANSACTIONS.partition(COPIED_MONTH))
        connection.execute(SQL("ALTER TABLE {} DISABLE TRIGGER ALL").format(source))
        started = time.perf_counter()
        with connection.transaction():
            connection.execute(SQL("INSERT INTO copied SELECT * FROM {}").format(source))
            connection.execute(SQL("DELETE FROM {}").format(source))
        return time.perf_counter() - started


def _result(moves: dict[Month, float], writer: _Writer, copy_s: float) -> dict[str, Any]:
    empty_ms = 1000 * median(moves[month] for month in EMPTY_MONTHS)
    full_ms = 1000 * moves[FULL_MONTH]
    stall_ms = max(writer.latencies_ms)
    return {
        "name": "hot_to_warm",
        "rows": ROWS,
        "empty_month_ms": round(empty_ms, 2),
        "full_month_ms": round(full_ms, 2),
        "ratio": round(full_ms / empty_ms, 2),
        "ratio_target": RATIO_TARGET,
        "writes": len(writer.latencies_ms),
        "writes_failed": writer.failed,
        "write_median_ms": round(median(writer.latencies_ms), 2),
        "write_longest_ms": round(stall_ms, 1),
        "write_longest_target_ms": STALL_TARGET_MS,
        "insert_select_delete_ms": round(1000 * copy_s, 1),
        "times_faster_than_copying": round(1000 * copy_s / full_ms),
        "passed": full_ms <= RATIO_TARGET * empty_ms and stall_ms <= STALL_TARGET_MS and writer.failed == 0,
    }


def _show(result: dict[str, Any]) -> None:
    table = Table("", "measured", "target", title=f"Hot to warm at {WRITES_PER_S} writes/s", title_justify="left")
    table.add_row("empty month (median of 5)", f"{result['empty_month_ms']} ms", "")
    table.add_row(f"month of {ROWS:,} rows", f"{result['full_month_ms']} ms", "")
    table.add_row("ratio", str(result["ratio"]), f"<= {RATIO_TARGET}")
    table.add_row("longest write", f"{result['write_longest_ms']} ms", f"<= {STALL_TARGET_MS:.0f} ms")
    table.add_row("failed writes", f"{result['writes_failed']} of {result['writes']}", "0")
    table.add_row("INSERT ... SELECT + DELETE", f"{result['insert_select_delete_ms']} ms", "")
    Console().print(table)
