"""The monthly drill: a random archived month read by three independent readers, compared with PostgreSQL's catalogue.

DuckDB, pyarrow and DataFusion have Parquet decoders of their own. Each counts the rows and sums the money per currency.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
from datafusion import SessionContext

from config import Settings
from ledger.counts import counted
from ledger.errors import TreasuryError, combined
from ledger.money import add_exactly
from ledger.transparency.events import Archived
from sql.connection import connect
from sql.log import cold_parts
from storage.engine import identifier, literal
from storage.spool import spool_folder
from storage.store import ObjectStore
from tasks.alerting.store import open_alerts
from tasks.verifying.findings import VerificationReport
from tasks.verifying.reverification import ARCHIVE, DAMAGED, report_damage

Sums = Mapping[str, Mapping[str, str]]
Reader = Callable[[Path, Archived], list[list[Any]]]


@dataclass(frozen=True, slots=True)
class Drill:
    """The part that was read: table, month and part; the rows, and the names of the readers that agreed."""

    named: tuple[str, str, int]
    rows: int
    readers: tuple[str, ...]


def drill(settings: Settings, chance: random.Random | None = None) -> Drill | None:
    """Read a random part of a month with each reader; None where nothing is archived or readable. Changes
    nothing.

    Raises VerificationError, with an alert, naming each reader that finds something else than PostgreSQL's catalogue
    has.
    """
    with connect(settings.database_dsn, "verify") as connection:
        parts = list(cold_parts(connection))
        if not parts:
            return None
        month = _readable(settings, parts, chance or random.SystemRandom())
        if month is None:
            return None
        report_damage(connection, _compared(settings, month), _subject(month))
    return Drill((month.table, month.month, month.part), month.rows, tuple(READERS))


def drill_again(settings: Settings) -> None:
    """Read again each part for which an alert of the drill is open. Resolve the alert where the readers agree, or where
    the part is no longer archived. Safe to run again.

    Raises VerificationError for a part that is still wrong, and the store's errors for one that cannot be read. Each
    part is tried; several failures become one error.
    """
    with connect(settings.database_dsn, "verify") as connection:
        doubted = {alert.subject for alert in open_alerts(connection, DAMAGED)} - {ARCHIVE}
        parts = {_subject(month): month for month in cold_parts(connection)} if doubted else {}
        wrong: list[Exception] = []
        for subject in sorted(doubted):
            month = parts.get(subject)
            try:
                report = VerificationReport() if month is None else _compared(settings, month)
                report_damage(connection, report, subject)
            except TreasuryError as error:  # an object that is gone, or must be restored first, stops no other part
                wrong.append(error)
    if wrong:
        raise wrong[0] if len(wrong) == 1 else combined(wrong)


def _subject(month: Archived) -> str:
    """A part of a month as the subject of an alert."""
    return f"{month.table} {month.month}, part {month.part}"


def _compared(settings: Settings, month: Archived) -> VerificationReport:
    report = VerificationReport()
    with spool_folder(settings.spool, "drill") as spool:
        file = spool / "drill.parquet"
        ObjectStore(settings).fetch(month.objects[0].key, file)
        for name, read in READERS.items():
            _compare(report, name, read, file, month)
    return report


def _readable(settings: Settings, parts: Sequence[Archived], chance: random.Random) -> Archived | None:
    """A part by chance whose object need not be restored first; None where all must."""
    store = ObjectStore(settings)
    return next((part for part in chance.sample(parts, len(parts)) if store.is_readable(part.objects[0].key)), None)


def _compare(
    report: VerificationReport,
    name: str,
    read: Callable[[Path, Archived], list[list[Any]]],
    file: Path,
    month: Archived,
) -> None:
    place = month.objects[0].key
    try:
        account = read(file, month)
    except Exception as error:  # noqa: BLE001  # three libraries, each with errors of its own
        report.add(place, f"{name} cannot read it: {type(error).__name__}: {error}")
        return
    rows = sum(record[1] for record in account)
    if rows != month.rows:
        report.add(place, f"{name} reads {counted(rows, 'row')}, PostgreSQL's catalogue says {month.rows}")
    if _sums(account, month) != _as_values(month.sums):
        report.add(place, f"{name} reads other sums than PostgreSQL's catalogue has")


def _sums(records: list[list[Any]], month: Archived) -> dict[str, dict[str, Decimal]]:
    """Sums per currency as values, from records of (currency, rows, sum, ...). A sum of nothing is None, and zero."""
    money = month.layout["money_columns"]
    return {
        currency or "": {name: Decimal(value or 0) for name, value in zip(money, values, strict=True)}
        for currency, _, *values in records
    }


def _as_values(sums: Sums) -> dict[str, dict[str, Decimal]]:
    """The catalogue's sums: readers write zero with other decimal places."""
    return {currency: {name: Decimal(text) for name, text in named.items()} for currency, named in sums.items()}


def _query(month: Archived, source: str) -> str:
    currency = month.layout["currency_column"]
    named = identifier(currency) if currency else "''"
    sums = "".join(f", sum({identifier(name)})" for name in month.layout["money_columns"])
    return f"SELECT {named} AS c, count(*) AS n{sums} FROM {source} GROUP BY 1"  # noqa: S608  # names are quoted


def _by_duckdb(file: Path, month: Archived) -> list[list[Any]]:
    with duckdb.connect(config={"memory_limit": "512MB", "threads": 1}) as engine:
        return [
            list(record) for record in engine.execute(_query(month, f"read_parquet({literal(str(file))})")).fetchall()
        ]


def _by_datafusion(file: Path, month: Archived) -> list[list[Any]]:
    context = SessionContext()
    context.register_parquet("rows", str(file))
    return [list(record.values()) for record in context.sql(_query(month, "rows")).to_pylist()]


def _by_pyarrow(file: Path, month: Archived) -> list[list[Any]]:
    """Batch by batch, with sums that keep every digit."""
    currency, money = month.layout["currency_column"], month.layout["money_columns"]
    sums_by_currency: dict[str | None, list[Any]] = {}
    for batch in pq.ParquetFile(file).iter_batches(columns=[*([currency] if currency else []), *money]):
        keys = batch.column(currency) if currency else pa.repeat("", batch.num_rows)
        table = pa.table([keys, *(batch.column(name) for name in money)], ["c", *money])
        grouped = table.group_by("c").aggregate([([], "count_all"), *((name, "sum") for name in money)])
        for record in grouped.to_pylist():
            held = sums_by_currency.setdefault(record["c"], [record["c"], 0, *(Decimal(0) for _ in money)])
            held[1] += record["count_all"]
            sums = (record[f"{name}_sum"] or Decimal(0) for name in money)
            held[2:] = [add_exactly(total, amount) for total, amount in zip(held[2:], sums, strict=True)]
    return list(sums_by_currency.values())


READERS: Mapping[str, Reader] = {
    "DuckDB": _by_duckdb,
    "pyarrow": _by_pyarrow,
    "DataFusion": _by_datafusion,
}
