"""`treasury generate`: months of made-up rows in PostgreSQL. A month is one transaction: there as a whole, or not."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from io import BytesIO
from threading import Lock

import pyarrow as pa
from psycopg.sql import SQL, Identifier
from pyarrow import csv
from pydantic import BaseModel, ConfigDict, Field

from config import Settings
from ledger.errors import ConfigError
from ledger.months import Month, months_between
from ledger.policy import Tier
from ledger.tables import TRANSACTIONS, VAS_TRANSACTIONS
from ledger.transactions import SUPPLIERS
from sql.connection import Connection, connect, fetch_one
from sql.partitions import ensure_partition
from sql.preparation import prepare_table
from sql.queries import load
from sql.relations import Parents, Relation
from sql.storing import check_stored
from tasks.synthetic.payments import MonthPlan, World, month_tables, planned_rows

Progress = Callable[[int, int], None]

_QUERIES = load("imports")
_CLOSED = load("closed_days")
_WORKERS = 2  # months made at the same time: one is being made while PostgreSQL takes in another


class GenerateParameters(BaseModel):
    """The amount to generate. The same parameters make the same rows, byte for byte."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    months: int = Field(ge=1, le=240, description="Months to make, the last of them the one before `until`")
    rows_per_month: int = Field(ge=0, le=100_000_000, description="Transactions in a whole month")
    vas_rows_per_month: int = Field(0, ge=0, le=100_000_000, description="VAS transactions in a whole month")
    until: date = Field(description="Rows are created before the start of this UTC day")
    seed: int = Field(1, ge=0, description="Another seed makes other rows")
    wallets: int = Field(10_000, ge=10, le=10_000_000, description="Wallets that the rows belong to")
    unfinished: int = Field(0, ge=0, description="Rows left pending in the oldest month of each table")

    @property
    def span(self) -> list[Month]:
        """The months to make, oldest first."""
        last = Month.of(self.until - timedelta(days=1))
        return list(months_between(last.plus(1 - self.months), last))


@dataclass(frozen=True, slots=True)
class GeneratedMonth:
    """The result for a month: its rows, or why none were made."""

    table: str
    month: Month
    rows: int
    skipped: str | None = None


def generate(settings: Settings, parameters: GenerateParameters, progress: Progress) -> list[GeneratedMonth]:
    """Fill the months of both tables that have no rows yet; returns what became of each month, in order.

    ``progress(rows_done, rows_in_all)`` is called from several threads, one at a time. Safe to run again, also after
    being killed. A month is loaded in one transaction, and one that has rows, or takes no more, is skipped.
    """
    plans = _plans(settings, parameters)
    world = World(parameters.seed, parameters.wallets)
    _make_partitions(settings, plans)
    counter = _Counter(progress, sum(planned_rows(plan) for plan in plans))
    with ThreadPoolExecutor(_WORKERS, "generate") as pool:
        return list(pool.map(lambda plan: _fill(settings, world, plan, counter), plans))


class _Counter:
    """Adds up the rows of all threads."""

    def __init__(self, progress: Progress, total: int) -> None:
        self._progress = progress
        self._total = total
        self._done = 0
        self._lock = Lock()

    def add(self, rows: int) -> None:
        with self._lock:
            self._done += rows
            self._progress(self._done, self._total)


def _plans(settings: Settings, parameters: GenerateParameters) -> list[MonthPlan]:
    wanted = {TRANSACTIONS.name: parameters.rows_per_month, VAS_TRANSACTIONS.name: parameters.vas_rows_per_month}
    before = datetime.combine(parameters.until, datetime.min.time(), UTC)
    return [
        MonthPlan(
            settings.table(name), month, rows, before, parameters.unfinished if month == parameters.span[0] else 0
        )
        for month in parameters.span
        for name, rows in wanted.items()
        if rows > 0
    ]


def _make_partitions(settings: Settings, plans: list[MonthPlan]) -> None:
    with connect(settings.database_dsn, "generate") as connection:
        for table in {plan.table.name: plan.table for plan in plans}.values():
            prepare_table(connection, settings, table)
        for plan in plans:
            ensure_partition(connection, settings, plan.table, plan.month)


def _fill(settings: Settings, world: World, plan: MonthPlan, counter: _Counter) -> GeneratedMonth:
    with connect(settings.database_dsn, "generate") as connection, connection.transaction():
        parent, reason = _target(connection, plan)
        if reason is None and parent is not None:
            rows = sum(_copy(connection, parent, table, counter) for table in month_tables(world, plan))
        else:
            rows = 0
            counter.add(planned_rows(plan))
    return GeneratedMonth(plan.table.name, plan.month, rows, reason)


def _target(connection: Connection, plan: MonthPlan) -> tuple[Relation | None, str | None]:
    """The parent that takes the month's rows and None, or the reason why none are made.

    The month's record stays locked until the end of the transaction: it does not move, and nobody else fills it.
    """
    table, month = plan.table, plan.month
    tier, step = fetch_one(connection, _QUERIES["lock_month"], {"table": table.name, "month": month.first_day})
    if not Tier(tier).is_in_postgres or step != "idle":
        return None, f"is {tier if step == 'idle' else 'on its way to cold'}"
    parents = Parents.of(connection, table)
    parent = parents.hot if tier == Tier.HOT else parents.warm
    if parent is None:
        raise ConfigError(f"table {table.name}: its {tier} parent is not in the database")
    closed = _closed_period(connection, plan)
    if closed is not None:
        return parent, closed
    query = SQL(_QUERIES["month_has_rows"]).format(parent=parent.identifier, time=Identifier(table.time_column))
    has_rows = fetch_one(connection, query, {"lower": month.lower, "upper": month.upper})[0]
    return parent, "has rows already" if has_rows else None


def _closed_period(connection: Connection, plan: MonthPlan) -> str | None:
    """Return why the month takes no rows of a supplier; None when no day of it is in a closed period, which stays so
    until the end of the transaction.
    """
    if plan.table.name != VAS_TRANSACTIONS.name:
        return None
    connection.execute(_CLOSED["keep_closings_out"], {"suppliers": list(SUPPLIERS)})
    span = {"first": plan.month.first_day, "last": plan.month.plus(1).first_day}  # which begins in it, in Johannesburg
    period = connection.execute(_CLOSED["closed_periods"], span).fetchone()
    return None if period is None else f"{period[0]} {period[1]} to {period[2]} is a closed period"


def _copy(connection: Connection, parent: Relation, table: pa.Table, counter: _Counter) -> int:
    columns = SQL(", ").join(Identifier(name) for name in table.column_names)
    block = BytesIO()
    csv.write_csv(table, block, csv.WriteOptions(include_header=False))
    statement = SQL(_QUERIES["copy_csv"]).format(parent=parent.identifier, columns=columns)
    with connection.cursor() as cursor:
        with cursor.copy(statement) as copy:
            copy.write(block.getbuffer())
        check_stored(cursor, table.num_rows, str(parent))
    counter.add(table.num_rows)
    return int(table.num_rows)
