"""Restoring a month of 1,000,000 rows into PostgreSQL: the copy, its indexes, and the comparison with the archive."""

import time
from datetime import timedelta
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.scratch import fill_month, scratch
from ledger.months import Month
from ledger.tables import TRANSACTIONS
from sql.restored import Request
from tasks.archiving.to_cold import archive_month
from tasks.archiving.to_warm import warm_month
from tasks.restoring.restore import restore_month

ROWS = 1_000_000
MONTH = Month(2021, 2)
TARGET_S = 30.0


def run() -> dict[str, Any]:
    """Measure in servers of its own; print a table; return the figures."""
    with scratch("s3") as settings:
        fill_month(settings, MONTH, ROWS)
        warm_month(settings, TRANSACTIONS, MONTH)
        archive_month(settings, TRANSACTIONS, MONTH)
        steps: dict[str, float] = {}
        started = last = time.perf_counter()

        def on_step(step: str) -> None:
            nonlocal last
            now = time.perf_counter()
            steps[step], last = round(now - last, 2), now

        who = Request("bench", "bench", "measured", timedelta(days=1))
        (part,) = restore_month(settings, TRANSACTIONS, MONTH, who, on_step)
        seconds = time.perf_counter() - started
    result = {
        "name": "restoring",
        "rows": part.rows,
        "seconds": round(seconds, 2),
        "steps_s": steps,
        "target_s": TARGET_S,
        "passed": seconds <= TARGET_S and part.rows == ROWS and not part.without,
    }
    table = Table("", "measured", "target", title=f"Restoring {part.rows:,} rows", title_justify="left")
    table.add_row("copy with indexes, compared with the archive", f"{seconds:.1f} s", f"{TARGET_S:.0f} s")
    for step, took in steps.items():
        table.add_row(f"  {step}", f"{took} s", "")
    Console().print(table)
    return result
