"""Reconciliation of 1,000,000 own rows against 1,000,000 lines with planted breaks, from the file to the report.

Every planted break must be found under its class, and none besides. Then the scored pass alone, on rows and lines that
share no identifier: doubling both must not triple the time.
"""

import multiprocessing
import resource
import tempfile
import time
from dataclasses import dataclass, field
from datetime import date, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from psycopg.sql import SQL, Identifier
from pyarrow import csv
from rich.console import Console
from rich.table import Table

from bench.scratch import scratch
from config import Settings
from ledger.identifiers import unix_ms
from ledger.months import Month
from sql.connection import connect
from sql.partitions import ensure_partition
from suppliers.statement import STATEMENT_SCHEMA
from tasks.reconciliation.days import day_start
from tasks.reconciliation.run import RunRequest, reconcile_day

ROWS = 1_000_000
SCORED_ROWS = 60_000
PLANTED_SHARE = 0.005
TARGET_S = 30.0
TARGET_MB = 1536
DOUBLING_TARGET = 3.0
DAY = date(2026, 2, 3)
SCORED_DAYS = (date(2026, 3, 3), date(2026, 3, 5))
_SUPPLIER = "flash"
_BREAKS = (
    "missing_here",
    "missing_there",
    "duplicate",
    "amount",
    "status",
    "late_posting",
    "product",
    "time",
    "commission",
)
_DAY_MS = 86_400_000
_EDGE_MS = 1_200_000  # rows keep this far from midnight, so that only what is planted crosses it
_PAYOUT_ROWS = 50

Truth = dict[tuple[int | None, str | None], str]


@dataclass
class _Sides:
    """The two sides as columns, and what was planted: by line and own id, the class."""

    own: dict[str, Any]
    lines: dict[str, Any]
    truth: Truth = field(default_factory=dict)


def run(rows: int = ROWS, scored_rows: int = SCORED_ROWS) -> dict[str, Any]:
    """Measure, print a table, and return the figures. Works on servers of its own, gone at the end."""
    with tempfile.TemporaryDirectory(prefix="bench-recon-") as folder, scratch("s3") as settings:
        sides = _planted(rows)
        statement = _load(settings, sides, DAY, Path(folder))
        seconds, cpu_s, peak_mb, result = _measured(settings, DAY, statement)
        truth, found = sides.truth, _found(settings)
        doubling = [
            _measured(settings, day, _load(settings, _unidentified(size, day), day, Path(folder)))[:2]
            for day, size in zip(SCORED_DAYS, (scored_rows, 2 * scored_rows), strict=True)
        ]
    missed = {key: kind for key, kind in truth.items() if found.get(key) != kind}
    false = {key: kind for key, kind in found.items() if key not in truth}
    (once_s, once_cpu_s), (twice_s, twice_cpu_s) = doubling
    ratio = twice_s / once_s
    figures: dict[str, Any] = {
        "name": "reconciliation",
        "rows": rows,
        "planted": len(truth),
        "missed": len(missed),
        "false": len(false),
        "seconds": round(seconds, 2),
        "cpu_s": round(cpu_s, 2),
        "peak_mb": round(peak_mb),
        "scored_rows": scored_rows,
        "scored_s": [round(once_s, 2), round(twice_s, 2)],
        "scored_cpu_s": [round(once_cpu_s, 2), round(twice_cpu_s, 2)],
        "doubling": round(ratio, 2),
        "verdict": result,
    }
    figures["passed"] = (
        not missed and not false and seconds < TARGET_S and peak_mb < TARGET_MB and ratio < DOUBLING_TARGET
    )
    _show(figures)
    return figures


def _planted(rows: int) -> _Sides:
    """``rows`` on each side, `PLANTED_SHARE` of them off in one way or another."""
    chance = np.random.default_rng(1)
    own = _own_columns(chance, rows, DAY)
    each = max(2, int(rows * PLANTED_SHARE) // (len(_BREAKS) + 1))
    completed = np.flatnonzero(np.array(own["status"]) == "completed")
    places = chance.permutation(completed)
    groups = {name: places[number * each : (number + 1) * each] for number, name in enumerate(_BREAKS)}
    rest = places[len(_BREAKS) * each :]
    groups["unidentified"], groups["payout"] = rest[:each], rest[each : each + 2 * _PAYOUT_ROWS]
    _prepare_own(own, groups, chance)
    lines = _lines_of(own, chance)
    return _plant(own, lines, groups)


def _own_columns(chance: np.random.Generator, rows: int, day: date) -> dict[str, Any]:
    at_ms = unix_ms(day_start(day)) + np.sort(chance.integers(_EDGE_MS, _DAY_MS - _EDGE_MS, rows))
    product = chance.integers(0, 24, rows)
    amount = np.where(
        product < 12, chance.choice([500, 1000, 1500, 2900, 5000, 10_000], rows), chance.integers(1_000, 60_000, rows)
    )
    number = np.arange(rows)
    return {
        "at_ms": at_ms,
        "cents": amount,
        "product": product,
        "status": chance.choice(["completed", "failed", "reversed"], rows, p=[0.96, 0.03, 0.01]).tolist(),
        "reference": np.char.add("ORD-", number.astype(str)).tolist(),
        "supplier_id": (700_000_000 + number).astype(str).tolist(),
        "supplier_reference": [None] * rows,
        "random": chance.integers(0, 1 << 62, rows),
    }  # fmt: skip


def _prepare_own(own: dict[str, Any], groups: dict[str, Any], chance: np.random.Generator) -> None:
    """What our own side must look like before the supplier's picture of it is taken."""
    late = groups["late_posting"]
    own["at_ms"][late] = unix_ms(day_start(DAY)) - chance.integers(_EDGE_MS, 8 * 3_600_000, late.size)
    alone = groups["unidentified"]
    own["cents"][alone] = 100_000 + 137 * np.arange(alone.size)  # amounts of their own, so that none is near another
    for place in alone.tolist():
        own["supplier_id"][place] = None
    for number, place in enumerate(groups["payout"].tolist()):
        own["supplier_id"][place] = None
        own["supplier_reference"][place] = f"PAYOUT-{number // _PAYOUT_ROWS}"


def _lines_of(own: dict[str, Any], chance: np.random.Generator) -> dict[str, Any]:
    rows = len(own["at_ms"])
    return {
        "at_ms": own["at_ms"] + chance.integers(0, 20_000, rows),
        "cents": own["cents"].copy(),
        "product": own["product"].copy(),
        "status": list(own["status"]),
        "reference": list(own["reference"]),
        "supplier_id": list(own["supplier_id"]),
        "commission": own["cents"] * 3,  # in units of 0.0001: 3 per cent
        "kind": ["purchase"] * rows,
        "payout": [None] * rows,
        "of": np.arange(rows),
    }


def _plant(own: dict[str, Any], lines: dict[str, Any], groups: dict[str, Any]) -> _Sides:
    ids = _ids(own)
    lines["cents"][groups["amount"]] += 123
    lines["commission"][groups["amount"]] = own["cents"][groups["amount"]] * 3
    lines["commission"][groups["commission"]] += 5_000
    lines["at_ms"][groups["time"]] += 400_000
    lines["product"][groups["product"]] += 100
    lines["at_ms"][groups["late_posting"]] = unix_ms(day_start(DAY)) + _EDGE_MS
    for place in groups["status"].tolist():
        lines["status"][place] = "failed"
    for number, place in enumerate(groups["unidentified"].tolist()):
        lines["reference"][place] = None
        lines["supplier_id"][place] = f"9{number:09d}"
    gone = np.concatenate([groups["missing_there"], groups["payout"]])
    keep = np.setdiff1d(np.arange(len(own["at_ms"])), gone)
    kept = _take(lines, keep)
    copies, strangers = _take(lines, groups["duplicate"]), _take(lines, groups["missing_here"])
    copies["supplier_id"] = [f"D{one}" for one in copies["supplier_id"]]
    strangers["supplier_id"] = [f"X{one}" for one in strangers["supplier_id"]]
    strangers["reference"] = [f"X{one}" for one in strangers["reference"]]
    whole = {name: _joined(kept[name], copies[name], strangers[name], _payouts(own, groups)[name]) for name in kept}
    truth: Truth = {(None, ids[place]): "missing_there" for place in groups["missing_there"].tolist()}
    line_of = {int(place): number for number, place in enumerate(keep.tolist(), start=1)}
    for name in ("amount", "status", "late_posting", "product", "time", "commission"):
        truth |= {(line_of[place], ids[place]): name for place in groups[name].tolist()}
    first = len(keep) + 1
    truth |= {(first + number, None): "duplicate" for number in range(len(groups["duplicate"]))}
    first += len(groups["duplicate"])
    truth |= {(first + number, None): "missing_here" for number in range(len(groups["missing_here"]))}
    return _Sides(own, whole, truth)


def _payouts(own: dict[str, Any], groups: dict[str, Any]) -> dict[str, Any]:
    """One payout line for every `_PAYOUT_ROWS` rows that have no line of their own."""
    count = len(groups["payout"]) // _PAYOUT_ROWS
    cents = own["cents"][groups["payout"][: count * _PAYOUT_ROWS]].reshape(count, _PAYOUT_ROWS).sum(axis=1)
    return {
        "at_ms": np.full(count, unix_ms(day_start(DAY)) + _DAY_MS // 2),
        "cents": cents,
        "product": np.full(count, -1),
        "status": ["completed"] * count,
        "reference": [None] * count,
        "supplier_id": [None] * count,
        "commission": np.zeros(count, np.int64),
        "kind": ["payout"] * count,
        "payout": [f"PAYOUT-{number}" for number in range(count)],
        "of": np.full(count, -1),
    }


def _unidentified(rows: int, day: date) -> _Sides:
    """Two sides that share no identifier at all: everything is for the scored pass."""
    chance = np.random.default_rng(2)
    own = _own_columns(chance, rows, day)
    own["cents"] = chance.integers(1_000, 60_000, rows)
    lines = _lines_of(own, chance)
    own["supplier_id"] = [None] * rows
    lines["reference"] = [None] * rows
    return _Sides(own, lines)


def _take(columns: dict[str, Any], places: Any) -> dict[str, Any]:
    return {
        name: values[places] if isinstance(values, np.ndarray) else [values[place] for place in places.tolist()]
        for name, values in columns.items()
    }


def _joined(*parts: Any) -> Any:
    return np.concatenate(parts) if isinstance(parts[0], np.ndarray) else [one for part in parts for one in part]


def _ids(own: dict[str, Any]) -> list[str]:
    """UUIDv7 texts whose timestamp is the row's."""
    version, variant = 0x7 << 76, 0b10 << 62
    pairs = zip(own["at_ms"].tolist(), own["random"].tolist(), strict=True)
    return [str(UUID(int=(at << 80) | version | (number % 4096 << 64) | variant | number)) for at, number in pairs]


def _money(units: Any, scale: int) -> pa.Array:
    """Decimals of ``units`` of 10^-scale, exactly: an Arrow decimal is its units as a 128-bit integer."""
    low = np.asarray(units, np.int64)
    words = np.stack([low, low >> 63], axis=1)
    return pa.Array.from_buffers(pa.decimal128(18, scale), len(low), [None, pa.py_buffer(words.tobytes())])


def _load(settings: Settings, sides: _Sides, day: date, folder: Path) -> str:
    """Our side into PostgreSQL by COPY, theirs into a Parquet file; returns the file."""
    own, rows = sides.own, len(sides.own["at_ms"])
    at = pa.array(own["at_ms"], pa.int64()).cast(pa.timestamp("ms", tz="UTC"))
    stamp = pc.strftime(at, format="%Y-%m-%d %H:%M:%SZ")
    products = pa.array((300 + own["product"]).astype(str).tolist())
    table = pa.table(
        {
            "id": _ids(own),
            "client_id": ["bench"] * rows,
            "user_id": ["user"] * rows,
            "wallet_id": ["wallet"] * rows,
            "type": ["payment"] * rows,
            "status": own["status"],
            "amount": _money(own["cents"], 2),
            "currency": ["ZAR"] * rows,
            "reference": own["reference"],
            "created_at": stamp,
            "updated_at": stamp,
            "supplier": [_SUPPLIER] * rows,
            "vas_type": ["airtime"] * rows,
            "supplier_product_id": products,
            "supplier_reference": pa.array(own["supplier_reference"], pa.string()),
            "supplier_transaction_id": pa.array(own["supplier_id"], pa.string()),
            "commission": _money(own["cents"] * 3 // 100, 2),
        }
    )
    vas = settings.table("vas_transactions")
    with connect(settings.database_dsn, "bench") as connection:
        for month in {Month.of(day_start(day)), Month.of(day_start(day) - timedelta(days=1))}:
            ensure_partition(connection, settings, vas, month)
        columns = SQL(", ").join(map(Identifier, table.column_names))
        query = SQL("COPY {} ({}) FROM STDIN (FORMAT csv)").format(Identifier(vas.hot_parent), columns)
        with connection.cursor() as cursor, cursor.copy(query) as copy:
            for batch in table.to_batches(max_chunksize=50_000):
                block = BytesIO()
                csv.write_csv(batch, block, csv.WriteOptions(include_header=False))
                copy.write(block.getbuffer())
        connection.execute(SQL("ANALYZE {}").format(Identifier(vas.hot_parent)))
    target = folder / f"{day}.parquet"
    pq.write_table(_statement(sides.lines, day), target)
    return str(target)


def _statement(lines: dict[str, Any], day: date) -> pa.Table:
    rows = len(lines["at_ms"])
    nothing = [None] * rows
    columns = {
        "line_no": range(1, rows + 1),
        "supplier": [_SUPPLIER] * rows,
        "supplier_transaction_id": lines["supplier_id"],
        "reference": lines["reference"],
        "kind": lines["kind"],
        "status": lines["status"],
        "occurred_at": lines["at_ms"],
        "settlement_date": [day] * rows,
        "vas_type": ["airtime"] * rows,
        "product_code": (300 + lines["product"]).astype(str).tolist(),
        "product_name": ["1Voucher"] * rows,
        "currency": ["ZAR"] * rows,
        "amount": _money(lines["cents"], 2),
        "fee": nothing,
        "commission": _money(lines["commission"], 4),
        "net": nothing,
        "account": nothing,
        "raw_status": ["Success"] * rows,
        "payout_reference": lines["payout"],
    }
    arrays = [
        columns[field.name] if isinstance(columns[field.name], pa.Array) else pa.array(columns[field.name], field.type)
        for field in STATEMENT_SCHEMA
    ]
    return pa.Table.from_arrays(arrays, schema=STATEMENT_SCHEMA)


def _measured(settings: Settings, day: date, statement: str) -> tuple[float, float, float, str]:
    """Seconds, CPU seconds, peak MiB and verdict of one run, in a process of its own so that the peak is its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_one_run, (settings, day, statement))


def _one_run(settings: Settings, day: date, statement: str) -> tuple[float, float, float, str]:
    started, used = time.perf_counter(), time.process_time()
    result = reconcile_day(settings, RunRequest(_SUPPLIER, day, statement))
    seconds, cpu_s = time.perf_counter() - started, time.process_time() - used
    return seconds, cpu_s, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, str(result.verdict)


def _found(settings: Settings) -> Truth:
    query = "SELECT line_no, own ->> 'id', class, cardinality(issues) FROM recon_breaks"
    with connect(settings.database_dsn, "bench") as connection:
        rows = connection.execute(query).fetchall()
    return {(line, own): name if issues == 1 else f"{name} and more" for line, own, name, issues in rows}


def _show(figures: dict[str, Any]) -> None:
    table = Table("", "measured", "target", title=f"Reconciliation of {figures['rows']:,} rows", title_justify="left")
    table.add_row("seconds, file to report", f"{figures['seconds']:.2f}", f"under {TARGET_S:.0f}")
    table.add_row("CPU seconds of them, without PostgreSQL's", f"{figures['cpu_s']:.2f}", "")
    table.add_row("peak memory, MiB", f"{figures['peak_mb']:,}", f"under {TARGET_MB:,}")
    planted = f"{figures['planted']:,} of which {figures['missed']} missed"
    table.add_row("planted breaks", planted, "0 missed")
    table.add_row("false breaks", str(figures["false"]), "0")
    scored = " and ".join(f"{one:.2f}" for one in figures["scored_s"])
    table.add_row(f"{figures['scored_rows']:,} rows scored, and twice as many, s", scored, "")
    table.add_row("that is", f"{figures['doubling']:.2f} times", f"under {DOUBLING_TARGET:.0f}")
    Console().print(table)
