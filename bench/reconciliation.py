"""A day of 1,000,000 sales, from the supplier's file to the written report, with 0.5 % of it planted wrong.

Intake, parsing, checks, matching, classes and reports, on Flash's own CSV: every planted difference must be found under
its class, and nothing else. Then the scored pass alone, on rows and lines that share no identifier, which no supplier's
file can have. Twice as many on both sides must not take three times as long.
"""

import multiprocessing
import tempfile
import time
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from io import BytesIO
from itertools import pairwise
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

from bench.memory import Peak
from bench.scratch import scratch
from config import Settings
from ledger.business_days import day_start
from ledger.identifiers import unix_ms
from ledger.months import Month
from ledger.statements import BreakClass
from sql.connection import connect
from sql.partitions import ensure_partition
from suppliers.registry import definition_of
from suppliers.simulation.planting import Planted, differences_of, plant
from suppliers.statement import STATEMENT_SCHEMA
from tasks.reconciliation.runs.request import RunRequest
from tasks.reconciliation.runs.run import reconcile_day
from tasks.reconciliation.runs.statements import statement_of
from tasks.statements.intake import IntakeResult, take_in

ROWS = 1_000_000
SCORED_ROWS = 60_000
PLANTED_SHARE = 0.005
TARGET_S = 30.0
TARGET_MB = 1536
DOUBLING_TARGET = 3.0
DAY = date(2026, 2, 3)
SCORED_DAYS = (date(2026, 3, 3), date(2026, 3, 6), date(2026, 3, 9))
_SUPPLIER = "flash"
_DAY_MS = 86_400_000
_EDGE_MS = 1_200_000  # rows keep this far from midnight, so that only what is planted crosses it
_STATUSES = {"completed": "Success", "failed": "Failed", "reversed": "Reversed"}


@dataclass(frozen=True, slots=True)
class _Run:
    """The cost of one run, in a process of its own. ``peak_mb`` is of that process and its children alone."""

    intake_s: float
    reconcile_s: float
    cpu_s: float
    verdict: str
    peak_mb: int
    servers_mb: int

    @property
    def seconds(self) -> float:
        return self.intake_s + self.reconcile_s


def run(rows: int = ROWS, scored_rows: int = SCORED_ROWS) -> dict[str, Any]:
    """Measure, print a table, and return the figures. Works on servers of its own, gone at the end."""
    with tempfile.TemporaryDirectory(prefix="bench-recon-") as folder, scratch("s3") as base:
        settings = _with_contract(base)
        planted = _prepare(settings, rows, Path(folder))
        whole = _measured(settings, DAY, folder)
        classes = _found(settings)
        scored = [
            _measured(settings, day, str(_prepare_scored(settings, scored_rows * 2**step, day, Path(folder))))
            for step, day in enumerate(SCORED_DAYS)
        ]
    missed = {name: kind for name, kind in planted.truth.items() if classes.get(name) != kind}
    false = {name: kind for name, kind in classes.items() if name not in planted.truth}
    ratios = [later.seconds / sooner.seconds for sooner, later in pairwise(scored)]
    figures: dict[str, Any] = {
        "name": "reconciliation",
        "rows": rows,
        "file_mb": round(len(planted.content) / 1e6),
        "planted": len(planted.truth),
        "missed": len(missed),
        "false": len(false),
        "seconds": round(whole.seconds, 2),
        "intake_s": round(whole.intake_s, 2),
        "reconcile_s": round(whole.reconcile_s, 2),
        "cpu_s": round(whole.cpu_s, 2),
        "peak_mb": whole.peak_mb,
        "servers_mb": whole.servers_mb,
        "scored_rows": scored_rows,
        "scored_s": [round(seconds.seconds, 2) for seconds in scored],
        "scored_cpu_s": [round(seconds.cpu_s, 2) for seconds in scored],
        "doubling": [round(seconds, 2) for seconds in ratios],
        "verdict": whole.verdict,
    }
    figures["passed"] = (
        not missed
        and not false
        and whole.seconds < TARGET_S
        and whole.peak_mb < TARGET_MB
        and max(ratios) < DOUBLING_TARGET
    )
    _show(figures)
    return figures


def reconcile_sample(settings: Settings, rows: int, folder: Path) -> None:
    """A reconciled day, `DAY`, with planted differences, for benchmarks of what shows them. Needs an object store."""
    settings = _with_contract(settings)
    _prepare(settings, rows, folder)
    (taken,) = take_in(settings, _SUPPLIER, DAY, url=str(folder), actor="bench")
    if taken.result is not IntakeResult.TAKEN:
        raise RuntimeError(f"{taken.name}: {taken.error}")
    reconcile_day(settings, RunRequest(_SUPPLIER, DAY, statement_of(settings, _SUPPLIER, DAY)))


def _with_contract(settings: Settings) -> Settings:
    flash = settings.suppliers.flash.model_copy(update={"commission": {"airtime": Decimal("0.03")}})
    return settings.model_copy(update={"suppliers": settings.suppliers.model_copy(update={"flash": flash})})


def _prepare(settings: Settings, rows: int, folder: Path) -> Planted:
    """Both sides: our rows in PostgreSQL, Flash's file in the folder with the differences planted in it."""
    chance = np.random.default_rng(1)
    form = definition_of(settings.suppliers, _SUPPLIER).statement()
    classes = differences_of(form)
    each, more = divmod(max(len(classes), int(rows * PLANTED_SHARE)), len(classes))
    wanted = {break_class: each + (number < more) for number, break_class in enumerate(classes)}
    sales = _sales(chance, rows, DAY, "ORD")
    earlier = _sales(chance, wanted[BreakClass.LATE_POSTING], DAY - timedelta(days=1), "EVE", only_completed=True)
    _load(settings, pa.concat_tables([sales, earlier]), DAY, chance)
    planted = plant(_SUPPLIER, form, DAY, sales, wanted, earlier=earlier)
    (folder / planted.name).write_bytes(planted.content)
    return planted


def _sales(chance: np.random.Generator, rows: int, day: date, prefix: str, *, only_completed: bool = False) -> pa.Table:
    """Return what Flash sold on a day, as its right statement has it: half of it in a few round amounts."""
    at_ms = unix_ms(day_start(day)) + np.sort(chance.integers(_EDGE_MS, _DAY_MS - _EDGE_MS, rows))
    product = chance.integers(0, 24, rows)
    round_cents = chance.choice([500, 1000, 1500, 2900, 5000, 10_000], rows)
    cents = np.where(product < 12, round_cents, chance.integers(1_000, 60_000, rows))
    status = chance.choice(list(_STATUSES), rows, p=[1, 0, 0] if only_completed else [0.96, 0.03, 0.01])
    number = np.arange(rows)
    return _table(
        {
            "line_no": number + 1,
            "supplier_transaction_id": (700_000_000 + number + 10_000_000 * (prefix != "ORD")).astype(str),
            "reference": np.char.add(f"{prefix}-", number.astype(str)),
            "kind": "purchase",
            "status": status,
            "occurred_at": at_ms,
            "vas_type": "airtime",
            "product_code": (300 + product).astype(str),
            "product_name": "1Voucher",
            "amount": _money(cents, 2),
            "fee": _money(np.zeros(rows, np.int64), 4),
            "commission": _money(cents * 3, 4),  # 3 per cent, in units of 0.0001
            "net": _money(cents * 97, 4),
            "account": "0000-1111-2222-3333",
            "raw_status": np.array(list(_STATUSES.values()))[np.searchsorted(list(_STATUSES), status)],
        },
        rows,
        day,
    )


def _table(columns: dict[str, Any], rows: int, day: date) -> pa.Table:
    """A canonical table: a single value is in every line, a missing one is NULL."""
    constants = {"supplier": _SUPPLIER, "settlement_date": day, "currency": "ZAR"} | columns
    arrays = []
    for field in STATEMENT_SCHEMA:
        value = constants.get(field.name)
        if value is None:
            arrays.append(pa.nulls(rows, field.type))
        elif isinstance(value, str | date):
            arrays.append(pa.repeat(pa.scalar(value, field.type), rows))
        else:
            arrays.append(value if isinstance(value, pa.Array) else pa.array(value).cast(field.type))
    return pa.Table.from_arrays(arrays, schema=STATEMENT_SCHEMA)


def _prepare_scored(settings: Settings, rows: int, day: date, folder: Path) -> Path:
    """Two sides that share no identifier at all: everything is for the scored pass. A canonical statement."""
    chance = np.random.default_rng(2)
    sales = _sales(chance, rows, day, "ORD", only_completed=True)
    cents = chance.integers(1_000, 60_000, rows)
    nothing = pa.nulls(rows, pa.string())
    for name, column in (("amount", _money(cents, 2)), ("commission", _money(cents * 3, 4))):
        place = sales.schema.get_field_index(name)
        sales = sales.set_column(place, sales.schema.field(place), column)
    _load(settings, sales.set_column(2, sales.schema.field(2), nothing), day, chance)
    later = sales["occurred_at"].cast(pa.int64()).to_numpy() + chance.integers(0, 20_000, rows)
    place = sales.schema.get_field_index("occurred_at")
    lines = sales.set_column(place, sales.schema.field(place), pa.array(later).cast(pa.timestamp("ms", tz="UTC")))
    lines = lines.set_column(3, lines.schema.field(3), nothing)
    target = folder / f"{day}.parquet"
    pq.write_table(lines, target)
    return target


def _money(units: Any, scale: int) -> pa.Array:
    """Decimals of ``units`` of 10^-scale, exactly: an Arrow decimal is its units as a 128-bit integer."""
    low = np.asarray(units, np.int64)
    words = np.stack([low, low >> 63], axis=1)
    return pa.Array.from_buffers(pa.decimal128(18, scale), len(low), [None, pa.py_buffer(words.tobytes())])


def _ids(at_ms: Any, chance: np.random.Generator) -> list[str]:
    """UUIDv7 texts whose timestamp is the row's."""
    version, variant = 0x7 << 76, 0b10 << 62
    pairs = zip(at_ms.tolist(), chance.integers(0, 1 << 62, len(at_ms)).tolist(), strict=True)
    return [str(UUID(int=(at << 80) | version | (number % 4096 << 64) | variant | number)) for at, number in pairs]


def _load(settings: Settings, sales: pa.Table, day: date, chance: np.random.Generator) -> None:
    """Our row of each sale, into PostgreSQL by COPY."""
    at_ms = sales["occurred_at"].cast(pa.int64()).to_numpy()
    stamp = pc.strftime(sales["occurred_at"].cast(pa.timestamp("ms", tz="UTC")), format="%Y-%m-%d %H:%M:%SZ")
    constant = {"client_id": "bench", "user_id": "user", "wallet_id": "wallet", "type": "payment", "currency": "ZAR"}
    table = pa.table(
        {name: pa.repeat(value, len(at_ms)) for name, value in (constant | {"supplier": _SUPPLIER}).items()}
        | {
            "id": _ids(at_ms, chance),
            "status": sales["status"],
            "amount": sales["amount"],
            "reference": sales["reference"],
            "created_at": stamp,
            "updated_at": stamp,
            "vas_type": sales["vas_type"],
            "supplier_product_id": sales["product_code"],
            "supplier_transaction_id": sales["supplier_transaction_id"],
            "commission": pc.round(sales["commission"], 2).cast(pa.decimal128(18, 2)),
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


def _measured(settings: Settings, day: date, source: str) -> _Run:
    """One run in a process of its own, watched from outside; ``source`` is a folder of files or a canonical table."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=_one_run, args=(sender, settings, day, source))
    child.start()
    sender.close()
    with Peak(child.pid or 0, settings.home) as peak:
        intake_s, reconcile_s, cpu_s, verdict = receiver.recv()
        child.join()
    return _Run(intake_s, reconcile_s, cpu_s, verdict, peak.tree_mb, peak.servers_mb)


def _one_run(sender: Any, settings: Settings, day: date, source: str) -> None:
    started, used = time.perf_counter(), time.process_time()
    statement = source
    if Path(source).is_dir():
        (taken,) = take_in(settings, _SUPPLIER, day, url=source, actor="bench")
        if taken.result is not IntakeResult.TAKEN:
            raise RuntimeError(f"{taken.name}: {taken.error}")
        statement = statement_of(settings, _SUPPLIER, day)
    intake_s = time.perf_counter() - started
    result = reconcile_day(settings, RunRequest(_SUPPLIER, day, statement))
    whole_s = time.perf_counter() - started
    sender.send((intake_s, whole_s - intake_s, time.process_time() - used, str(result.verdict)))


def _found(settings: Settings) -> dict[str, str]:
    query = "SELECT coalesce(line, own) ->> 'reference', class, cardinality(issues) FROM recon_breaks"
    with connect(settings.database_dsn, "bench") as connection:
        rows = connection.execute(query).fetchall()
    return {name: kind if issues == 1 else f"{kind} and more" for name, kind, issues in rows}


def _show(figures: dict[str, Any]) -> None:
    title = f"Reconciliation of {figures['rows']:,} rows, from a file of {figures['file_mb']} MB"
    table = Table("", "measured", "target", title=title, title_justify="left")
    table.add_row("seconds, file to report", f"{figures['seconds']:.2f}", f"under {TARGET_S:.0f}")
    table.add_row("of them intake: read, parse, store", f"{figures['intake_s']:.2f}", "")
    table.add_row("CPU seconds of them, without PostgreSQL's", f"{figures['cpu_s']:.2f}", "")
    table.add_row("peak memory of its processes, MiB", f"{figures['peak_mb']:,}", f"under {TARGET_MB:,}")
    table.add_row("peak memory of PostgreSQL and S3, MiB", f"{figures['servers_mb']:,}", "")
    planted = f"{figures['planted']:,} of which {figures['missed']} missed"
    table.add_row("planted breaks", planted, "0 missed")
    table.add_row("false breaks", str(figures["false"]), "0")
    scored = ", ".join(f"{figure:.2f}" for figure in figures["scored_s"])
    table.add_row(f"{figures['scored_rows']:,} rows scored, doubled, doubled again, s", scored, "")
    doubling = " and ".join(f"{figure:.2f}" for figure in figures["doubling"])
    table.add_row("that is, times", doubling, f"under {DOUBLING_TARGET:.0f}")
    Console().print(table)
