"""Policies asked: forecasts for the years ahead, and whether they break what locks have promised."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from config import Settings
from ledger.counts import counted
from ledger.errors import NotFoundError, VerificationError
from ledger.forecast import STORED, ForecastMonth, Growth, KnownPart, forecast
from ledger.holds import Hold
from ledger.months import Month
from ledger.policy import Tier
from ledger.tables import TieredTable
from ledger.transparency.events import LoggedManifest
from sql.archive_objects import object_amounts
from sql.clock import read_now
from sql.connection import Connection, connect, fetch_one
from sql.holds import open_holds
from sql.locks import promised_until
from sql.log import cold_parts
from sql.queries import load
from sql.relations import Relation
from storage.manifest import Manifest
from storage.store import ObjectStore, StoredFile
from tasks.archiving.catalogue import count_rows, month_states, relation_bytes
from tasks.archiving.known_parts import kept_parts, known_parts
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
            "bytes_per_month": {
                "postgres": self.growth.postgres_bytes,
                "archive": self.growth.object_bytes,
                "other_objects": self.growth.other_bytes,
            },
            "months": [_as_json(month) for month in self.months],
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
        simulations = []
        for table in tables:
            known = parts_of(connection, table, holds, first)
            simulations.append(simulate_parts(settings, table, known, first, years, rows_per_month, prices))
        return simulations


def simulate_parts(
    settings: Settings,
    table: TieredTable,
    known: Sequence[KnownPart],
    first: Month,
    years: int,
    rows_per_month: int | None = None,
    prices: Mapping[Tier, Decimal] | None = None,
) -> Simulation:
    """As `simulate`, of parts that were read before; ``first`` is the present month."""
    growth, source = _growth(table, known, rows_per_month, first)
    months = forecast(table.policy, known, growth, first, years * 12, settings.retention.grace_days, prices or {})
    return Simulation(table.name, growth, source, months)


def check_policies(settings: Settings) -> list[str]:
    """A sentence for each table whose policy breaks what locks have promised. Reads only."""
    with connect(settings.database_dsn, "policy") as connection:
        return shortened(connection, settings)


def shortened_since(settings: Settings) -> list[str]:
    """A sentence for each table and retention under which months were archived, where the policy is shorter now.

    Nothing is broken: a manifest names the policy of its day, and only a lock promises it. Reads the manifest of every
    archived part. Raises VerificationError for one that is not what was archived, and the store's errors.
    """
    with connect(settings.database_dsn, "policy") as connection:
        parts = list(cold_parts(connection))
    store, months = ObjectStore(settings), dict[tuple[str, int], set[str]]()
    for part in parts:
        table = settings.registry.get(part.table)
        archived = _manifest(store, part.manifest).policy.retention_months
        if table is not None and table.policy.retention_months < archived:
            months.setdefault((part.table, archived), set()).add(part.month)
    return [
        f"{name}: retention_months {settings.table(name).policy.retention_months} is less than the {archived} under "
        f"which {counted(len(named), 'month')} went cold: {', '.join(sorted(named))}. They may be deleted earlier than "
        "their manifests say"
        for (name, archived), named in sorted(months.items())
    ]


def _manifest(store: ObjectStore, said: LoggedManifest) -> Manifest:
    content = store.read_bytes(said.key)
    if StoredFile.of(content).sha256.hex() != said.sha256:
        raise VerificationError(
            f"{said.key} is not the manifest that was archived: `treasury verify` names what is wrong"
        )
    return Manifest.from_bytes(content, said.key)


def parts_of(connection: Connection, table: TieredTable, holds: Sequence[Hold], now: Month) -> list[KnownPart]:
    """The parts of the months that have begun, each with what keeps its month. Partitions ahead are left out."""
    states = [state for state in month_states(connection, table) if state.month <= now]
    relations = [state.partition.relation for state in states if state.partition is not None]
    partitions = {
        relation.oid: (_rows(connection, relation), relation_bytes(connection, relation)) for relation in relations
    }
    known = known_parts(states, partitions, object_amounts(connection, table.name))
    return kept_parts(known, table.name, holds, promised_until(connection, table.name))


def _rows(connection: Connection, relation: Relation) -> int:
    """Rows as the server estimates them; counted before it has looked."""
    estimated = int(fetch_one(connection, _CATALOG["estimated_rows"], {"relation": relation.oid})[0])
    return count_rows(connection, relation) if estimated < 0 else estimated


def _growth(
    table: TieredTable, known: Sequence[KnownPart], rows_per_month: int | None, now: Month
) -> tuple[Growth, str]:
    whole = [part for part in known if part.rows and part.month < now and part.tier is not Tier.DELETED]
    newest = sorted({part.month for part in whole})[-_NEWEST:]
    if rows_per_month is None and not newest:
        raise NotFoundError(f"{table.name} has no month with rows: give --rows-per-month")
    of_newest = sum(part.rows or 0 for part in whole if part.month in newest)
    rows = rows_per_month if rows_per_month is not None else of_newest // len(newest)
    source = (
        "given" if rows_per_month is not None else f"the mean of {counted(len(newest), 'month')} up to {newest[-1]}"
    )
    archived = [part for part in whole if part.object_bytes is not None]
    shares = (
        _per_row([(part.rows, part.postgres_bytes) for part in whole]),
        _per_row([(part.rows, part.object_bytes) for part in archived]),
        _per_row([(part.rows, part.other_bytes) for part in archived]),
    )
    in_postgres, as_object, beside = (None if share is None else int(rows * share) for share in shares)
    return Growth(rows, in_postgres, as_object, beside or 0), source


def _per_row(sizes: Sequence[tuple[int | None, int | None]]) -> Decimal | None:
    """Bytes a row, over the months of which both are known."""
    known = [(rows, size) for rows, size in sizes if rows and size]
    return Decimal(sum(size for _, size in known)) / sum(rows for rows, _ in known) if known else None


def _as_json(forecast_month: ForecastMonth) -> dict[str, Any]:
    return {
        "month": str(forecast_month.month),
        "moves": {str(tier): [str(month) for month in months] for tier, months in forecast_month.moves.items()},
        "held": [str(month) for month in forecast_month.held],
        "locked": [str(month) for month in forecast_month.locked],
        "tiers": {
            str(tier): {
                "months": forecast_month.tiers[tier].months,
                "rows": forecast_month.tiers[tier].rows,
                "bytes": None if forecast_month.tiers[tier].unknown else forecast_month.tiers[tier].bytes,
                "cost": None if forecast_month.costs[tier] is None else str(forecast_month.costs[tier]),
            }
            for tier in STORED
        },
        "other_objects": {
            "bytes": forecast_month.other_bytes,
            "cost": None if forecast_month.other_cost is None else str(forecast_month.other_cost),
        },
    }
