"""The partitions answer: months of every tier, and how queries fall on them."""

from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import Annotated, Any

from msgspec import Meta, Struct
from psycopg.rows import TupleRow

from api.connections.database import Database
from api.monitoring.database_report import read
from api.monitoring.units import Share
from ledger.months import Month
from ledger.tables import TieredTable
from sql.relations import ledger_schema_of

MOST_MONTHS = 120


class PartitionMonth(Struct, kw_only=True):
    """One month of a table. Scans are counted since the partition was made or the statistics were reset."""

    table: str
    month: Annotated[str, Meta(examples=["2026-11"])]
    tier: str
    partition: str | None
    rows: int | None
    rows_are_exact: bool
    bytes: int | None
    sequential_scans: int | None
    index_scans: int | None
    last_scan_at: Annotated[datetime | None, Meta(description="PostgreSQL 16 and later; otherwise null")]


class Pruning(Struct, kw_only=True):
    """The scans of a table's partitions. Without pruning, all partitions are scanned equally often.

    ``scanned_share`` is the mean number of scans per partition, divided by that of the busiest partition.
    """

    table: str
    partitions: int
    scanned_partitions: int
    scans: int
    scanned_share: Share | None


class PartitionReport(Struct, kw_only=True):
    """Months from the current one back, newest first; then the months prepared ahead, nearest first.

    ``next_before`` gets the next, older page; it is null on the last page.
    """

    months: list[PartitionMonth]
    pruning: list[Pruning]
    next_before: str | None


async def partition_report(
    database: Database, tables: Sequence[TieredTable], before: Month | None, limit: int, present: Month
) -> PartitionReport:
    """The newest ``limit`` months of ``tables`` up to ``present`` that lie before ``before``, then those after
    ``present`` that do, which no page leaves out. A month is never divided by a page.
    """
    every_month: list[PartitionMonth] = []
    pruning: list[Pruning] = []
    for table in tables:
        schema = await database.run(partial(ledger_schema_of, table=table))
        parents = {"schema": schema, "hot": table.hot_parent, "warm": table.warm_parent}
        bounds = {"table": table.name, "before": before.first_day if before else None, "limit": limit + 1}
        bounds["present"] = present.first_day
        every_month += [_month(table, row) for row in await read(database, "partitions", parents | bounds)]
        pruning.append(_pruning(table, (await read(database, "pruning", parents))[0]))
    months = sorted({month.month for month in every_month if month.month <= str(present)}, reverse=True)
    shown = months[:limit]
    ahead = sorted((month for month in every_month if month.month > str(present)), key=_in_time)
    return PartitionReport(
        months=sorted((month for month in every_month if month.month in shown), key=_newest_first) + ahead,
        pruning=pruning,
        next_before=shown[-1] if len(months) > limit else None,
    )


def _newest_first(month: PartitionMonth) -> tuple[int, str]:
    return -int(month.month.replace("-", "")), month.table


def _in_time(month: PartitionMonth) -> tuple[str, str]:
    return month.month, month.table


def _month(table: TieredTable, row: TupleRow) -> PartitionMonth:
    first_day, tier, partition, rows, exact, size_bytes, sequential, indexed, scanned_at = row
    return PartitionMonth(
        table=table.name,
        month=str(Month.of(first_day)),
        tier=tier,
        partition=partition,
        rows=rows,
        rows_are_exact=exact,
        bytes=size_bytes,
        sequential_scans=sequential,
        index_scans=indexed,
        last_scan_at=scanned_at,
    )


def _pruning(table: TieredTable, row: TupleRow) -> Pruning:
    values: dict[str, Any] = dict(zip(("partitions", "scanned_partitions", "scans", "scanned_share"), row, strict=True))
    return Pruning(table=table.name, **values)
