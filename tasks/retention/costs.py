"""What the stored months cost: now, if all were hot, and in the years ahead, by the prices of the settings."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

from config import Settings
from ledger.errors import NotFoundError
from ledger.forecast import ForecastMonth, KnownPart
from ledger.months import Month
from ledger.policy import Tier
from ledger.storage_costs import CostOfMonth, Prices, cost_of_month
from ledger.tables import TieredTable
from sql.clock import read_now
from sql.connection import connect
from sql.holds import open_holds
from tasks.retention.policy import parts_of, simulate_parts

YEAR = 12
YEARS_AHEAD = 10
SPANS = {YEAR: "12 months", YEAR * YEARS_AHEAD: "10 years"}
"""The months to come that are summed, in words."""
_CENT = Decimal("0.01")


@dataclass(frozen=True, slots=True)
class CostAhead:
    """What some months to come cost together, and what they would cost if all were hot; bytes alone, no requests.

    ``unknown`` are months, counted once in each month to come, of unknown size: then the sums are of the others.
    """

    months: int
    total: Decimal
    all_hot: Decimal
    unknown: int

    @property
    def span(self) -> str:
        """The months to come, in words."""
        return SPANS[self.months]

    @property
    def saved_share(self) -> Decimal | None:
        """The share that is saved, from 0 to 1; None where a size is unknown, or nothing would be stored."""
        if self.unknown:
            return None
        return (self.all_hot - self.total) / self.all_hot if self.all_hot else None


@dataclass(frozen=True, slots=True)
class TableCost:
    """The costs of a table. ``ahead`` are the next year and the next ten; empty where no month says how it grows."""

    table: str
    now: CostOfMonth
    ahead: tuple[CostAhead, ...]

    def as_json(self, currency: str) -> dict[str, Any]:
        """The costs in JSON's types. Money is decimal text."""
        return {
            "table": self.table,
            "currency": currency,
            "tiers": {
                str(tier.tier): {
                    "months": tier.months,
                    "bytes": tier.bytes,
                    "unknown_months": tier.unknown,
                    "cost": _money(tier.cost),
                }
                for tier in self.now.tiers
            },
            "other_objects": {"bytes": self.now.other_bytes, "cost": _money(self.now.other)},
            "requests": _money(self.now.requests),
            "total": _money(self.now.total),
            "all_hot_bytes": self.now.all_hot_bytes,
            "all_hot": _money(self.now.all_hot),
            "saved": _money(self.now.saved),
            "saved_percent": percent(self.now.saved_share),
            "unknown_months": self.now.unknown,
            "ahead": [
                {
                    "months": cost.months,
                    "total": _money(cost.total),
                    "all_hot": _money(cost.all_hot),
                    "saved_percent": percent(cost.saved_share),
                    "unknown_months": cost.unknown,
                }
                for cost in self.ahead
            ],
        }


def prices_of(settings: Settings) -> Prices:
    """The prices of the settings. Without a storage class for the deep tier its objects cost what cold ones do."""
    prices = settings.prices
    deep = prices.cold_gb if settings.deep_storage_class is None else prices.deep_gb
    gigabyte = {Tier.HOT: prices.hot_gb, Tier.WARM: prices.warm_gb, Tier.COLD: prices.cold_gb, Tier.DEEP: deep}
    return Prices(prices.currency, gigabyte, prices.thousand_writes, prices.thousand_reads)


def table_costs(settings: Settings, tables: Sequence[TieredTable]) -> list[TableCost]:
    """What each table's months cost. Reads the catalogue and PostgreSQL's sizes only; safe at any time."""
    with connect(settings.database_dsn, "costs") as connection:
        holds, month = open_holds(connection), Month.of(read_now(connection))
        known = {table.name: parts_of(connection, table, holds, month) for table in tables}
    return [table_cost(settings, table, known[table.name], month) for table in tables]


def table_cost(settings: Settings, table: TieredTable, parts: Sequence[KnownPart], now: Month) -> TableCost:
    """What a table's months cost, by parts that were read before; ``now`` is the present month. Computes only."""
    prices = prices_of(settings)
    cost = cost_of_month(parts, prices, settings.verify_within_days)
    return TableCost(table.name, cost, _ahead(settings, table, parts, now, prices))


def sum_of_costs_ahead(costs: Sequence[tuple[CostAhead, ...]]) -> tuple[CostAhead, ...]:
    """What several tables cost together, in the same months to come. A table without a forecast is in no sum."""
    spans = zip(*(ahead for ahead in costs if ahead), strict=True)
    return tuple(
        CostAhead(
            span[0].months,
            sum((cost.total for cost in span), Decimal(0)),
            sum((cost.all_hot for cost in span), Decimal(0)),
            sum(cost.unknown for cost in span),
        )
        for span in spans
    )


def percent(share: Decimal | None) -> str | None:
    """A share of one as a percentage with one decimal place."""
    return None if share is None else str((share * 100).quantize(Decimal("0.1"), ROUND_HALF_EVEN))


def _ahead(
    settings: Settings, table: TieredTable, parts: Sequence[KnownPart], now: Month, prices: Prices
) -> tuple[CostAhead, ...]:
    try:
        forecast = simulate_parts(settings, table, parts, now, YEARS_AHEAD)
    except NotFoundError:  # no month with rows
        return ()
    return tuple(_sum(forecast.months[:months], prices) for months in SPANS)


def _sum(months: Sequence[ForecastMonth], prices: Prices) -> CostAhead:
    sizes = [(tier, amount.bytes) for month in months for tier, amount in month.tiers.items()]
    sizes += [(Tier.COLD, month.other_bytes) for month in months]
    total = sum((prices.of_bytes(tier, size) for tier, size in sizes), Decimal(0))
    all_hot = sum((prices.of_bytes(Tier.HOT, month.all_hot.bytes) for month in months), Decimal(0))
    return CostAhead(len(months), total, all_hot, sum(month.unknown for month in months))


def _money(amount: Decimal) -> str:
    return str(amount.quantize(_CENT, ROUND_HALF_EVEN))
