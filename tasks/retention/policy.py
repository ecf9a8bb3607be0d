"""Policies asked: forecasts for the years ahead, and whether they break what locks have promised."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from config import Settings
from ledger.counts import counted
from ledger.errors import NotFoundError
from ledger.forecast import STORED, ForecastMonth, Growth, KnownMonth, forecast
from ledger.holds import Hold, holds_on
from ledger.months import Month
from ledger.policy import Tier
from ledger.tables import TieredTable
from sql.connection import Connection, connect, fetch_one
from sql.holds import open_holds, read_now
from sql.locks import promised_until
from sql.queries import load
from tasks.archiving.catalogue import IN_POSTGRES, MonthState, count_rows, month_states, relation_bytes
from tasks.retention.locks import shortened

_CATALOG = load("catalog")
_NEWEST = 12  # months that say how many rows a month to come will have


@dataclass(frozen=True, slots=True)
class Simulation:
    """The forecast of a table: what a month to come is taken to have, where that comes from, and the months."""

    table: str
    growth: Growth
    growth_from: str
    months: Sequence[ForecastMonth]

    def as_json(self) -> dict[str, Any]:
        """The simulation in JSON's types. Money is decimal text, null where nobody knows it."""
        return {
            "table": self.table,
            "rows_per_month": self.growth.rows,
            "rows_per_month_from": self.growth_from,
            "bytes_per_month": {"postgres": self.growth.postgres_bytes, "archive": self.growth.object_bytes},
            "months": [_as_json(one) for one in self.months],
        }


def simulate(
    settings: Settings,
    tables: Sequence[TieredTable],
    years: int,
    rows_per_month: int | None = None,
    prices: Mapping[Tier, Decimal] | None = None,
) -> list[Simulation]:
    """Forecast the policies of some tables, from today's catalogue. Reads only; safe at any time.

    Without ``rows_per_month`` a month to come has as many rows as the newest months have on average. Raises
    NotFoundError for a table without a month where that is not given.
    """
    with connect(settings.database_dsn, "policy") as connection:
        holds, first = open_holds(connection), Month.of(read_now(connection))
        found = []
        for table in tables:
            known = known_months(connection, table, holds, first)
            growth, source = _growth(table, known, rows_per_month, first)
            grace_days = settings.retention.grace_days
            months = forecast(table.policy, known, growth, first, years * 12, grace_days, prices or {})
            found.append(Simulation(table.name, growth, source, months))
        return found


def check_policies(settings: Settings) -> list[str]:
    """A sentence for each table whose policy breaks what locks have promised. Reads only."""
    with connect(settings.database_dsn, "policy") as connection:
        return shortened(connection, settings)


def known_months(connection: Connection, table: TieredTable, holds: Sequence[Hold], now: Month) -> list[KnownMonth]:
    """The months that have rows, one for all parts of each. Partitions ahead are left out."""
    locked = promised_until(connection, table.name)
    by_month: dict[Month, list[MonthState]] = {}
    for state in month_states(connection, table):
        if state.month <= now:
            by_month.setdefault(state.month, []).append(state)
    found = []
    for month, states in by_month.items():
        living = [state for state in states if state.tier is not Tier.DELETED]
        until = locked.get(month)
        is_held = bool(holds_on(holds, table.name, month)[0])
        parts = [_sizes(connection, state) for state in living]
        rows, postgres_bytes, object_bytes = (_sum([part[place] for part in parts]) for place in range(3))
        tier = min((state.tier for state in living), key=tuple(Tier).index, default=Tier.DELETED)
        date_ = None if until is None else until.date()
        found.append(KnownMonth(month, tier, rows, postgres_bytes, object_bytes, is_held, date_))
    return found


def _sizes(connection: Connection, state: MonthState) -> tuple[int | None, int | None, int | None]:
    """Rows, bytes in PostgreSQL and bytes of the object of a part; None for what is not known."""
    known = state.catalogue
    if state.tier not in IN_POSTGRES:
        return known.row_count, known.postgres_bytes, known.object_bytes
    if state.partition is None:
        return None, None, None
    relation = state.partition.relation
    estimated = int(fetch_one(connection, _CATALOG["estimated_rows"], {"relation": relation.oid})[0])
    rows = count_rows(connection, relation) if estimated < 0 else estimated
    return rows, relation_bytes(connection, relation), None


def _sum(values: Sequence[int | None]) -> int | None:
    """The sum of what is known; None where any of it is not."""
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None


def _growth(
    table: TieredTable, known: Sequence[KnownMonth], rows_per_month: int | None, now: Month
) -> tuple[Growth, str]:
    whole = [one for one in known if one.rows and one.month < now]
    newest = sorted(whole, key=lambda one: one.month)[-_NEWEST:]
    if rows_per_month is None and not newest:
        raise NotFoundError(f"{table.name} has no month with rows: give --rows-per-month")
    rows = rows_per_month if rows_per_month is not None else sum(one.rows or 0 for one in newest) // len(newest)
    source = (
        "given"
        if rows_per_month is not None
        else f"the mean of {counted(len(newest), 'month')} up to {newest[-1].month}"
    )
    in_postgres = _per_row([(one.rows, one.postgres_bytes) for one in whole])
    as_object = _per_row([(one.rows, one.object_bytes) for one in whole])
    sizes = (None if share is None else int(rows * share) for share in (in_postgres, as_object))
    return Growth(rows, *sizes), source


def _per_row(sizes: Sequence[tuple[int | None, int | None]]) -> Decimal | None:
    """Bytes a row, over the months of which both are known."""
    known = [(rows, size) for rows, size in sizes if rows and size]
    return Decimal(sum(size for _, size in known)) / sum(rows for rows, _ in known) if known else None


def _as_json(one: ForecastMonth) -> dict[str, Any]:
    return {
        "month": str(one.month),
        "moves": {str(tier): [str(month) for month in months] for tier, months in one.moves.items()},
        "held": [str(month) for month in one.held],
        "locked": [str(month) for month in one.locked],
        "tiers": {
            str(tier): {
                "months": one.tiers[tier].months,
                "rows": one.tiers[tier].rows,
                "bytes": None if one.tiers[tier].unknown else one.tiers[tier].bytes,
                "cost": None if one.costs[tier] is None else str(one.costs[tier]),
            }
            for tier in STORED
        },
    }
