"""Date ranges on the partitioned table against the same rows in one table, in one run.

The table is asked with no index but its key, with the partitions' own indexes, and with one made for the question.
Targets are held against the partitions' own. Sums per day are also asked of the daily totals, as the API asks them,
which keeps its connections. They are held against the same sums over the one table with the partitions' indexes. What a
process asks first, such as `treasury totals`, is measured too.
"""

import statistics
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any, LiteralString

from psycopg.sql import SQL, Composed, Identifier, Literal
from rich.console import Console
from rich.table import Table

from bench.scratch import scratch
from config import Settings
from ledger.months import Month
from ledger.tables import TRANSACTIONS
from ledger.totals import Question, TotalsGroup, Zone
from sql.connection import Connection, connect
from tasks.synthetic.generate import GenerateParameters, generate
from tasks.totals.answer import TotalsReader, answer_totals
from tasks.totals.keeping import keep_daily_totals

MONTHS = 24
ROWS_PER_MONTH = 100_000
REPEATS = 7
PARTITIONS_TARGET = 5.0  # of partitioning alone: never met, see docs/benchmarks.md
TARGET = 20.0  # of daily totals
_UNTIL = date(2026, 1, 1)
_ONE_TABLE = "bench_unpartitioned"
_INDEXES: tuple[LiteralString, ...] = (
    "user_id, created_at DESC",
    "wallet_id, created_at DESC",
    "status, created_at DESC",
    "type, created_at DESC",
)
_ASKED = (Month(2025, 6), Month(2025, 7))
# What finance asks at a month's end: everything in a range of dates, whoever it belongs to.
_QUESTION = SQL(
    "SELECT currency, count(*), sum(amount) FROM {} WHERE created_at >= {} AND created_at < {} GROUP BY currency"
)


# What people ask: so much on each day of a year, of one client and of all.
_YEAR = (date(2025, 1, 1), date(2025, 12, 31))
_CLIENT = "web"
_MOST, _TIMEOUT_S = 1_000_000, 600
_PER_DAY = SQL(
    "SELECT (created_at AT TIME ZONE 'UTC')::date, currency, count(*), sum(amount), sum(fee) FROM {} WHERE"
    " created_at >= {} AND created_at < {} AND ({} OR client_id = {}) GROUP BY 1, 2"
)


def run(months: int = MONTHS, rows_per_month: int = ROWS_PER_MONTH) -> dict[str, Any]:
    """Measure on the embedded PostgreSQL and on every one of the distribution; print tables; return the figures."""
    servers = [None, *sorted(Path("/usr/lib/postgresql").glob("*/bin"))]
    results = [_on_server(bin_dir, months, rows_per_month) for bin_dir in servers]
    return {
        "name": "date_range",
        "rows": months * rows_per_month,
        "servers": results,
        "partitions_passed": all(result["ratio"] >= PARTITIONS_TARGET for result in results),
        "passed": all(total["ratio"] >= TARGET for result in results for total in result["totals"].values()),
    }


def _on_server(bin_dir: Path | None, months: int, rows_per_month: int) -> dict[str, Any]:
    with scratch(bin_dir=bin_dir) as settings:
        parameters = GenerateParameters(months=months, rows_per_month=rows_per_month, until=_UNTIL)
        generate(settings, parameters, lambda *_: None)
        with connect(settings.database_dsn, "bench") as connection:
            _copy_unpartitioned(connection)
            partitioned = _measure(connection, TRANSACTIONS.hot_parent)
            bare = _measure(connection, _ONE_TABLE)
            _index(connection, *_INDEXES)
            unpartitioned = _measure(connection, _ONE_TABLE)
            keep_daily_totals(settings, [TRANSACTIONS])
            totals = {
                name: _measure_totals(connection, settings, client)
                for name, client in (("all", None), ("client", _CLIENT))
            }
            # The fairest rival: an index made for the question, which the seed's four are not.
            _index(connection, "created_at")
            indexed = _measure(connection, _ONE_TABLE)
            version = connection.info.server_version // 10_000
    result = {
        "postgresql": version,
        "rows_asked": partitioned["rows"],
        "partitioned_ms": partitioned["ms"],
        "without_indexes_ms": bare["ms"],
        "ratio_without_indexes": round(bare["ms"] / partitioned["ms"], 1),
        "unpartitioned_ms": unpartitioned["ms"],
        "ratio": round(unpartitioned["ms"] / partitioned["ms"], 1),
        "unpartitioned_with_time_index_ms": indexed["ms"],
        "ratio_with_time_index": round(indexed["ms"] / partitioned["ms"], 1),
        "totals": totals,
        "plans": {
            "partitioned": partitioned["plan"],
            "bare": bare["plan"],
            "unpartitioned": unpartitioned["plan"],
            "indexed": indexed["plan"],
        },
    }
    _show(result, months * rows_per_month)
    return result


def _copy_unpartitioned(connection: Connection) -> None:
    copy, parent = Identifier(_ONE_TABLE), Identifier(TRANSACTIONS.hot_parent)
    connection.execute(SQL("CREATE TABLE {} AS SELECT * FROM {} ORDER BY created_at").format(copy, parent))
    connection.execute(SQL("ALTER TABLE {} ADD PRIMARY KEY (id)").format(copy))
    connection.execute("VACUUM ANALYZE")


def _index(connection: Connection, *columns: LiteralString) -> None:
    for total in columns:
        connection.execute(SQL("CREATE INDEX ON {} ({})").format(Identifier(_ONE_TABLE), SQL(total)))
    connection.execute(SQL("VACUUM ANALYZE {}").format(Identifier(_ONE_TABLE)))


def _question(table: str) -> Composed:
    first, last = _ASKED
    return _QUESTION.format(Identifier(table), str(first.lower), str(last.lower))


def _measure(connection: Connection, table: str) -> dict[str, Any]:
    """The median of a few runs, the rows that the range holds, and the plan without its figures."""
    question = _question(table)
    answer = connection.execute(question).fetchall()
    times_ms = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        connection.execute(question).fetchall()
        times_ms.append((time.perf_counter() - started) * 1000)
    plan = connection.execute(SQL("EXPLAIN (COSTS OFF) ") + question).fetchall()
    return {
        "ms": round(statistics.median(times_ms), 2),
        "rows": sum(count for _, count, _ in answer),
        "plan": [line.strip() for (line,) in plan],
    }


def _measure_totals(connection: Connection, settings: Settings, client: str | None) -> dict[str, Any]:
    """Sums per day of a year: from the daily totals, by a process that lives on and a new one; over one table."""
    question = Question(*_YEAR, Zone.UTC, frozenset({TotalsGroup.DAY}), client)
    rows = _PER_DAY.format(
        Identifier(_ONE_TABLE), str(question.lower), str(question.upper), Literal(client is None), client or ""
    )

    def kept(reader: TotalsReader) -> list[tuple[Any, ...]]:
        answer = reader.answer(TRANSACTIONS, question, _MOST, _TIMEOUT_S)
        return [(total.day, total.currency, total.rows, *total.sums) for total in answer.totals]

    def first() -> object:
        return answer_totals(settings, TRANSACTIONS, question, _MOST, _TIMEOUT_S)

    def read() -> list[tuple[Any, ...]]:
        return sorted(connection.execute(rows).fetchall())

    with TotalsReader(settings) as reader:
        totals = kept(reader)
        if totals != read():
            raise AssertionError("the daily totals are not those of the rows")
        kept_ms, first_ms, read_ms = _median_ms(lambda: kept(reader)), _median_ms(first), _median_ms(read)
    return {
        "totals_ms": kept_ms,
        "first_totals_ms": first_ms,
        "unpartitioned_ms": read_ms,
        "ratio": round(read_ms / kept_ms, 1),
        "groups": len(totals),
        "plan": [line.strip() for (line,) in connection.execute(SQL("EXPLAIN (COSTS OFF) ") + rows).fetchall()],
    }


def _median_ms(work: Callable[[], object]) -> float:
    times_ms = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        work()
        times_ms.append((time.perf_counter() - started) * 1000)
    return round(statistics.median(times_ms), 2)


def _show(result: dict[str, Any], rows: int) -> None:
    title = f"PostgreSQL {result['postgresql']}: {result['rows_asked']:,} rows of one month out of {rows:,}"
    table = Table("", "ms", "times", "scan", title=title, title_justify="left")
    for name, ms, times, plan in (
        ("monthly partitions", "partitioned_ms", None, "partitioned"),
        ("one table, its key only", "without_indexes_ms", "ratio_without_indexes", "bare"),
        ("one table, the same indexes", "unpartitioned_ms", "ratio", "unpartitioned"),
        ("one table, an index on the time too", "unpartitioned_with_time_index_ms", "ratio_with_time_index", "indexed"),
    ):
        scans = [line.removeprefix("->").strip() for line in result["plans"][plan] if "Scan" in line]
        table.add_row(name, str(result[ms]), str(result[times]) if times else "1", "; ".join(scans))
    Console(width=140).print(table)
    for name, total in result["totals"].items():
        print(
            f"per day of a year, {name}: {total['totals_ms']} ms from daily totals, "
            f"{total['first_totals_ms']} ms in a new process. "
            f"{total['unpartitioned_ms']} ms over the same rows unpartitioned: {total['ratio']} times (target {TARGET})"
        )
