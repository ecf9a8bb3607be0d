"""Proofs about a month of 1,000,000 rows: making one in a running process and as a command, checking one as a command.

Also `treasury verify --deep` as a whole, and the part of it that reads every row again, hashes it and sums it.
"""

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

from rich.console import Console
from rich.table import Table

from bench.scratch import fill_month, scratch
from config import Settings
from ledger.months import Month
from ledger.tables import TRANSACTIONS
from sql.connection import connect
from storage.month_tree import read_file
from storage.spool import spool_folder
from storage.store import ObjectStore
from tasks.archiving.catalogue import month_states
from tasks.archiving.to_cold import archive_month
from tasks.archiving.to_warm import warm_month
from tasks.proving.proofs import ProofFile, Prover
from tasks.querying.query import run_query
from tasks.transparency.publish import publish_log
from tasks.transparency.report import policy_text
from tasks.verifying.verification import VerificationScope, verify_archive

ROWS = 1_000_000
MONTH = Month(2021, 2)
ROW_TARGET_MS = 300
COMMAND_TARGET_MS = 2000
STATEMENT_TARGET_MS = 500
CHECK_TARGET_MS = 300
BYTES_TARGET = 8192
DEEP_TARGET = 500_000  # rows a second
_ROUNDS = 15


def run() -> dict[str, Any]:
    """Measure in servers of its own; print a table; return the figures, medians of several rounds."""
    with scratch("s3") as settings:
        fill_month(settings, MONTH, ROWS)
        warm_month(settings, TRANSACTIONS, MONTH)
        archive_month(settings, TRANSACTIONS, MONTH)
        publish_log(settings)
        ids, wallet, count = _subjects(settings)
        with Prover(settings) as prover:
            prover.row(TRANSACTIONS, ids[0])  # the process is running already
            row_ms, proof = _median(lambda number: prover.row(TRANSACTIONS, ids[number]))
            statement_ms, _ = _median(lambda _: prover.statement(TRANSACTIONS, wallet, MONTH)[0])
        command_ms = _command_ms(settings, "prove", "row", str(ids[1]), "-o", str(settings.home / "of.tlog-proof"))
        check_ms = _check(settings, proof)
        deep, whole = _deep(settings), _verify(settings)
    result = {
        "name": "proofs",
        "rows": ROWS,
        "row_ms": row_ms,
        "row_target_ms": ROW_TARGET_MS,
        "row_command_ms": command_ms,
        "row_command_target_ms": COMMAND_TARGET_MS,
        "row_bytes": len(proof.content),
        "row_target_bytes": BYTES_TARGET,
        "statement_rows": count,
        "statement_ms": statement_ms,
        "statement_target_ms": STATEMENT_TARGET_MS,
        "check_ms": check_ms,
        "check_target_ms": CHECK_TARGET_MS,
        "read_rows_per_s": deep,
        "deep_rows_per_s": whole,
        "deep_target_rows_per_s": DEEP_TARGET,
    }
    result["passed"] = (
        row_ms <= ROW_TARGET_MS
        and command_ms <= COMMAND_TARGET_MS
        and len(proof.content) <= BYTES_TARGET
        and statement_ms <= STATEMENT_TARGET_MS
        and check_ms <= CHECK_TARGET_MS
        and whole >= DEEP_TARGET
    )
    _show(result)
    return result


def _subjects(settings: Settings) -> tuple[list[UUID], str, int]:
    """Ids of rows all over the month, and a wallet with about a hundred rows."""
    query = f"SELECT id FROM transactions ORDER BY hash(id) LIMIT {_ROUNDS}"  # a number of our own
    with run_query(settings, query) as answer:
        ids = [row["id"] for row in answer.batches.read_all().to_pylist()]
    query = "SELECT wallet_id, count(*) AS n FROM transactions GROUP BY 1 ORDER BY abs(count(*) - 100), 1 LIMIT 1"
    with run_query(settings, query) as answer:
        (row,) = answer.batches.read_all().to_pylist()
    return ids, row["wallet_id"], row["n"]


def _median(make: Callable[[int], ProofFile]) -> tuple[float, ProofFile]:
    spent = []
    for number in range(_ROUNDS):
        started = time.perf_counter()
        proof = make(number)
        spent.append(1000 * (time.perf_counter() - started))
    return round(statistics.median(spent), 1), proof


def _check(settings: Settings, proof: ProofFile) -> float:
    """Milliseconds of `treasury check-proof`."""
    file, policy = settings.home / "row.tlog-proof", settings.home / "policy"
    file.write_bytes(proof.content)
    policy.write_text(policy_text(settings))
    return _command_ms(settings, "check-proof", str(file), "--policy", str(policy))


def _command_ms(settings: Settings, *command: str) -> float:
    """Milliseconds of a command, the start of the interpreter included."""
    program = [str(Path(sys.executable).with_name("treasury")), *command]
    environment, spent = {**os.environ, **settings.environment()}, []
    for _ in range(_ROUNDS):
        started = time.perf_counter()
        subprocess.run(program, check=True, capture_output=True, env=environment)  # noqa: S603  # our own
        spent.append(1000 * (time.perf_counter() - started))
    return round(statistics.median(spent), 1)


def _verify(settings: Settings) -> int:
    """Rows a second of `treasury verify --deep` once it runs: log, manifest, every object and row, the catalogue."""
    with connect(settings.database_dsn, "bench") as connection:
        started = time.perf_counter()
        report = verify_archive(settings, VerificationScope(deep=True), connection)
        spent_s = time.perf_counter() - started
    assert not report.findings  # noqa: S101  # it was archived above
    return round(report.counts["rows"] / spent_s)


def _deep(settings: Settings) -> int:
    """Rows a second that are read afresh from the store, hashed and summed."""
    with connect(settings.database_dsn, "bench") as connection:
        (state,) = [state for state in month_states(connection, TRANSACTIONS) if state.month == MONTH]
    with spool_folder(settings.spool, "bench") as spool:
        started = time.perf_counter()
        ObjectStore(settings).fetch(state.catalogue.object_key or "", spool / "read.parquet")
        read_file(settings, TRANSACTIONS, state.catalogue.archived_columns, MONTH, spool / "read.parquet", spool)
        return round(ROWS / (time.perf_counter() - started))


def _show(result: dict[str, Any]) -> None:
    table = Table("", "measured", "target", title=f"Proofs of a month of {ROWS:,} rows", title_justify="left")
    table.add_row("proof of a row", f"{result['row_ms']} ms", f"<= {ROW_TARGET_MS} ms")
    table.add_row("the same as a command", f"{result['row_command_ms']} ms", f"<= {COMMAND_TARGET_MS} ms")
    table.add_row("its size, both signatures", f"{result['row_bytes']} bytes", f"<= {BYTES_TARGET} bytes")
    statement = f"statement of a wallet with {result['statement_rows']} rows"
    table.add_row(statement, f"{result['statement_ms']} ms", f"<= {STATEMENT_TARGET_MS} ms")
    table.add_row("check-proof, a process of its own", f"{result['check_ms']} ms", f"<= {CHECK_TARGET_MS} ms")
    table.add_row("every row read again", f"{result['read_rows_per_s']:,} rows/s", "")
    table.add_row("verify --deep", f"{result['deep_rows_per_s']:,} rows/s", f">= {DEEP_TARGET:,} rows/s")
    Console().print(table)
