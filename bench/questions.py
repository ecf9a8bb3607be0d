"""Questions over ten years in a warm process, against PostgreSQL with all rows and plain DuckDB over the same files.

84 cold months of transactions on an S3 server, and few rows in 240 further months. The same run asks all sides.
"""

import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
from psycopg.sql import SQL
from rich.console import Console
from rich.table import Table

from bench.memory import Peak
from bench.scratch import scratch
from config import Settings
from ledger.months import Month
from ledger.tables import TRANSACTIONS, VAS_TRANSACTIONS, TieredTable
from sql.connection import connect
from storage.engine import literal
from storage.store import ObjectStore
from tasks.archiving.catalogue import month_states
from tasks.archiving.to_cold import archive_month
from tasks.archiving.to_warm import warm_month
from tasks.querying.query import Querier
from tasks.synthetic.generate import GenerateParameters, generate

MONTHS = 84
ROWS = 2_000_000
FEW_MONTHS = 240
FEW_ROWS = 20
_LAST = Month(2025, 12)
_ROUNDS = 9
_WALLET_ROWS = 100
_MARGIN_MS = 30
_BEFORE_MS = 600  # `treasury sql "SELECT 1"`
_SHARE = 0.02
_ONE_TABLE = "bench_all_rows"
_QUESTIONS = {
    "one wallet": "SELECT count(*), sum(amount) FROM {transactions} WHERE wallet_id = '{wallet}'",
    "one row by id": "SELECT * FROM {transactions} WHERE id = '{id}'",
    "sum per currency and month": "SELECT currency, month, sum(amount) FROM {transactions} GROUP BY currency, month",
}
_TARGETS_MS = {"one wallet": (150, 50), "one row by id": (100, 30)}
_TIMES = (5, 10)  # faster than PostgreSQL: with a cold cache, with a warm one
HOT_ROWS = 300_000
_SIDE_BY_SIDE = 10
_MOST_MEMORY = 3  # times that of one question
_HOT_QUESTION = "SELECT * FROM vas_transactions WHERE month = '{month}' ORDER BY reference, id"
_ASKING = """
import sys
from concurrent.futures import ThreadPoolExecutor
from config import load_settings
from tasks.querying.query import Querier

def ask(querier):
    with querier.answer(sys.argv[2]) as answer:
        for _ in answer.batches:
            pass

count = int(sys.argv[1])
with Querier(load_settings()) as querier, ThreadPoolExecutor(count) as threads:
    list(threads.map(lambda _: ask(querier), range(count)))
"""


def run() -> dict[str, Any]:
    """Measure in servers of its own; print a table; return the figures, medians in ms. The environment may make it
    smaller: BENCH_MONTHS, BENCH_ROWS, BENCH_FEW_MONTHS, BENCH_HOT_ROWS.
    """
    months, rows = int(os.environ.get("BENCH_MONTHS", MONTHS)), int(os.environ.get("BENCH_ROWS", ROWS))
    few = int(os.environ.get("BENCH_FEW_MONTHS", FEW_MONTHS))
    with scratch("s3") as settings:
        _fill(settings, months, rows, few)
        subjects, folder = _subjects(settings), settings.home / "copy"
        archive_bytes = _copy(settings, folder)
        figures = {name: _measure(settings, folder, text, subjects) for name, text in _QUESTIONS.items()}
        command_ms = _command(settings, "sql", "SELECT 1")
        tiers_ms = _command(settings, "tiers")
        memory_mb = _side_by_side(settings, int(os.environ.get("BENCH_HOT_ROWS", HOT_ROWS)))
        hot_ms = _hot(settings)
    result = {
        "name": "questions",
        "rows": rows,
        "months": months,
        "table_months": months + few,
        "archive_bytes": archive_bytes,
        "questions": figures,
        "command_ms": command_ms,
        "tiers_ms": tiers_ms,
        "hot_ms": hot_ms,
        "memory_mb": memory_mb,
    }
    result["missed"] = _missed(result)
    result["passed"] = not result["missed"]
    _show(result)
    return result


def _fill(settings: Settings, months: int, rows: int, few: int) -> None:
    """All months cold, and a copy of the transactions as PostgreSQL would have them without any move."""
    until = date(_LAST.year + 1, 1, 1)
    generate(settings, GenerateParameters(months=months, rows_per_month=rows // months, until=until), lambda *_: None)
    with connect(settings.database_dsn, "bench") as connection:
        connection.execute(f"CREATE TABLE {_ONE_TABLE} (LIKE {TRANSACTIONS.hot_parent} INCLUDING ALL)".encode())
        connection.execute(f"INSERT INTO {_ONE_TABLE} SELECT * FROM {TRANSACTIONS.hot_parent}".encode())
        connection.execute(f"VACUUM ANALYZE {_ONE_TABLE}".encode())
    for number in range(months):
        _archive(settings, TRANSACTIONS, _LAST.plus(-number))
    if few:
        parameters = GenerateParameters(months=few, rows_per_month=0, vas_rows_per_month=FEW_ROWS, until=until)
        generate(settings, parameters, lambda *_: None)
        for number in range(few):
            _archive(settings, VAS_TRANSACTIONS, _LAST.plus(-number))


def _archive(settings: Settings, table: TieredTable, month: Month) -> None:
    warm_month(settings, table, month)
    archive_month(settings, table, month)


def _subjects(settings: Settings) -> dict[str, str]:
    """A wallet with about a hundred rows over all months, and the id of a row in the middle."""
    with connect(settings.database_dsn, "bench") as connection:
        wallets = SQL("SELECT wallet_id FROM bench_all_rows GROUP BY 1 ORDER BY abs(count(*) - %s), 1 LIMIT 1")
        (wallet,) = connection.execute(wallets, [_WALLET_ROWS]).fetchall()[0]
        rows = SQL("SELECT id FROM bench_all_rows ORDER BY created_at OFFSET (SELECT count(*) / 2 FROM bench_all_rows)")
        (row_id,) = connection.execute(rows + SQL(" LIMIT 1")).fetchall()[0]
    return {"wallet": wallet, "id": str(row_id)}


def _copy(settings: Settings, folder: Path) -> int:
    """A copy of the files of transactions in a local folder, as Hive names them; returns their bytes."""
    store, total = ObjectStore(settings), 0
    with connect(settings.database_dsn, "bench") as connection:
        states = month_states(connection, TRANSACTIONS)
    for state in states:
        if state.is_archived:
            target = folder / f"month={state.month}" / "rows.parquet"
            target.parent.mkdir(parents=True)
            total += store.fetch(state.catalogue.object_key or "", target).size_bytes
    return total


def _measure(settings: Settings, folder: Path, text: str, subjects: dict[str, str]) -> dict[str, Any]:
    question = text.format(transactions="transactions", **subjects)
    with Querier(settings) as querier:
        cold, reads = [], []
        for _ in range(_ROUNDS):
            shutil.rmtree(settings.object_cache_folder, ignore_errors=True)
            querier.forget()
            _ask(querier, "SELECT count(*) FROM transactions WHERE month = '1990-01'")  # the process is warm
            before = querier.fetched_bytes
            cold.append(_timed(lambda: _ask(querier, question)))
            reads.append(querier.fetched_bytes - before)
        months = _ask(querier, question)
        warm = [_timed(lambda: _ask(querier, question)) for _ in range(_ROUNDS)]
    return {
        "postgresql_ms": _postgresql(settings, text, subjects),
        "plain_duckdb_ms": _plain(folder, text, subjects),
        "cold_ms": round(statistics.median(cold), 1),
        "warm_ms": round(statistics.median(warm), 1),
        "read_bytes": max(reads),
        "months_read": months,
    }


def _ask(querier: Querier, question: str) -> int:
    with querier.answer(question) as answer:
        answer.batches.read_all()
        return answer.months_read


def _timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - started)


def _postgresql(settings: Settings, text: str, subjects: dict[str, str]) -> float:
    source = "(SELECT *, to_char(created_at, 'YYYY-MM') AS month FROM bench_all_rows) AS t"
    question = text.format(transactions=source, **subjects)
    with connect(settings.database_dsn, "bench") as connection:
        spent = [_timed(lambda: connection.execute(question.encode()).fetchall()) for _ in range(_ROUNDS)]
    return round(statistics.median(spent), 1)


def _plain(folder: Path, text: str, subjects: dict[str, str]) -> float:
    """DuckDB in a warm process, with its own cache of footers, over all files of the copy."""
    files = f"read_parquet({literal(str(folder / '*' / '*.parquet'))}, hive_partitioning = true)"
    question = text.format(transactions=files, **subjects)
    with duckdb.connect(config={"threads": "2"}) as duck:
        duck.execute("SET TimeZone = 'UTC'; SET parquet_metadata_cache = true")
        duck.execute(question).fetchall()
        spent = [_timed(lambda: duck.execute(question).fetchall()) for _ in range(_ROUNDS)]
    return round(statistics.median(spent), 1)


def _command(settings: Settings, *arguments: str) -> float:
    """A command, the start of the interpreter included."""
    program = [str(Path(sys.executable).with_name("treasury")), *arguments]
    environment = {**os.environ, **settings.environment()}

    def ask() -> None:
        subprocess.run(program, check=True, capture_output=True, env=environment)  # noqa: S603  # our own

    return round(statistics.median(_timed(ask) for _ in range(_ROUNDS)), 1)


def _side_by_side(settings: Settings, rows: int) -> dict[str, int]:
    """The peak memory of a process that sorts a hot month once, and of one that does so ten times side by side."""
    month = _LAST.plus(1)
    until = date(month.year, month.month + 1, 1)
    parameters = GenerateParameters(months=1, rows_per_month=0, vas_rows_per_month=rows, until=until)
    generate(settings, parameters, lambda *_: None)
    question = _HOT_QUESTION.format(month=month)
    return {str(count): _peak_mb(settings, count, question) for count in (1, _SIDE_BY_SIDE)}


def _hot(settings: Settings) -> float:
    """A question over the hot month alone, in a warm process: it has an engine and a link of its own."""
    question = f"SELECT count(*), sum(amount) FROM vas_transactions WHERE month = '{_LAST.plus(1)}'"
    with Querier(settings) as querier:
        _ask(querier, question)
        return round(statistics.median(_timed(lambda: _ask(querier, question)) for _ in range(_ROUNDS)), 1)


def _peak_mb(settings: Settings, count: int, question: str) -> int:
    program = [sys.executable, "-c", _ASKING, str(count), question]
    with subprocess.Popen(program, env={**os.environ, **settings.environment()}) as child:  # noqa: S603  # our own
        with Peak(child.pid, settings.home) as peak:
            child.wait()
        if child.returncode:
            raise RuntimeError(f"asking {count} questions ended with {child.returncode}")
    return peak.tree_mb


def _missed(result: dict[str, Any]) -> list[str]:
    missed = []
    for name, question in result["questions"].items():
        if name in _TARGETS_MS:
            cold_ms, warm_ms = _TARGETS_MS[name]
        else:
            cold_ms, warm_ms = (question["postgresql_ms"] / times for times in _TIMES)
        missed += (
            [f"{name}, cold: {question['cold_ms']} ms, not {cold_ms:.0f}"] if question["cold_ms"] > cold_ms else []
        )
        missed += (
            [f"{name}, warm: {question['warm_ms']} ms, not {warm_ms:.0f}"] if question["warm_ms"] > warm_ms else []
        )
        most = 2 * question["plain_duckdb_ms"] + _MARGIN_MS
        missed += [f"{name}, warm: {question['warm_ms']} ms, not {most:.0f}"] if question["warm_ms"] > most else []
    share = result["questions"]["one wallet"]["read_bytes"] / result["archive_bytes"]
    missed += [f"one wallet: {share:.1%} of the archive read"] if share > _SHARE else []
    one_mb, many_mb = (result["memory_mb"][str(count)] for count in (1, _SIDE_BY_SIDE))
    missed += [f"{_SIDE_BY_SIDE} side by side: {many_mb} MB"] if many_mb > _MOST_MEMORY * one_mb else []
    missed += [f"SELECT 1: {result['command_ms']} ms"] if result["command_ms"] > _BEFORE_MS else []
    return missed


def _show(result: dict[str, Any]) -> None:
    title = f"{result['rows']:,} rows in {result['months']} months; {result['table_months']} table-months; ms"
    headings = ("", "PostgreSQL, all rows", "plain DuckDB, local files", "cold cache", "warm cache", "read", "months")
    table = Table(*headings, title=title, title_justify="left")
    for name, question in result["questions"].items():
        share = f"{question['read_bytes'] / result['archive_bytes']:.2%}"
        figures = (question["postgresql_ms"], question["plain_duckdb_ms"], question["cold_ms"], question["warm_ms"])
        table.add_row(name, *map(str, figures), share, str(question["months_read"]))
    console = Console(width=140)
    console.print(table)
    one_mb, many_mb = (result["memory_mb"][str(count)] for count in (1, _SIDE_BY_SIDE))
    console.print(f"count and sum of a hot month: {result['hot_ms']} ms; `treasury tiers`: {result['tiers_ms']} ms")
    console.print(f"a sorted hot month: {one_mb} MB; {_SIDE_BY_SIDE} side by side: {many_mb} MB")
    console.print(f'`treasury sql "SELECT 1"`: {result["command_ms"]} ms; missed: {result["missed"] or "nothing"}')
