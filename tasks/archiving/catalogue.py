"""What is known of every month of a table: its place in the catalogue beside what PostgreSQL really has."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg.rows import class_row
from psycopg.sql import SQL

from ledger.months import Month
from ledger.policy import Tier
from ledger.tables import TieredTable
from sql.connection import Connection, fetch_one
from sql.partitions import Partition, list_partitions
from sql.queries import load
from sql.relations import Parents, Relation

_QUERIES = load("tiers")
_CATALOG = load("catalog")


@dataclass(frozen=True, slots=True)
class CatalogueMonth:
    """A row of ``archive_months``. Counts, sums and digest are known from the verification on."""

    month: Any  # the first day, a date
    tier: str
    step: str
    attempt: int
    row_count: int | None
    sums: dict[str, dict[str, str]] | None
    digest: bytes | None
    postgres_bytes: int | None
    object_key: str | None
    object_bytes: int | None
    manifest_key: str | None
    last_error: str | None
    warm_at: datetime | None
    sealed_at: datetime | None
    verified_at: datetime | None
    cold_at: datetime | None
    tidied_at: datetime | None


@dataclass(frozen=True, slots=True)
class MonthState:
    """A month, its tier by the catalogue, and its partition, if PostgreSQL has one in that tier."""

    month: Month
    tier: Tier
    catalogue: CatalogueMonth
    partition: Partition | None


def register_months(connection: Connection, table: TieredTable) -> None:
    """Enter partitions that exist without a catalogue row, as what they are. Safe to run again."""
    parents = Parents.of(connection, table)
    for tier, parent in ((Tier.HOT, parents.hot), (Tier.WARM, parents.warm)):
        months = [part.month.first_day for part in list_partitions(connection, parent) if part.month is not None]
        connection.execute(_QUERIES["register_months"], {"table": table.name, "tier": tier, "months": months})


def month_states(connection: Connection, table: TieredTable) -> list[MonthState]:
    """Every month of ``table`` that the catalogue knows, oldest first."""
    parents = Parents.of(connection, table)
    parts = {
        (tier, part.month): part
        for tier, parent in ((Tier.HOT, parents.hot), (Tier.WARM, parents.warm))
        for part in list_partitions(connection, parent)
    }
    with connection.cursor(row_factory=class_row(CatalogueMonth)) as cursor:
        rows = cursor.execute(_QUERIES["months"], {"table": table.name}).fetchall()
    states = []
    for row in rows:
        month, tier = Month.of(row.month), Tier(row.tier)
        states.append(MonthState(month, tier, row, parts.get((tier, month))))
    return states


def count_rows(connection: Connection, relation: Relation) -> int:
    """The exact number of rows of a relation now."""
    return int(fetch_one(connection, SQL("SELECT count(*) FROM {}").format(relation.identifier))[0])


def relation_bytes(connection: Connection, relation: Relation) -> int:
    """Bytes of heap, indexes and TOAST of a relation now."""
    return int(fetch_one(connection, _CATALOG["relation_bytes"], {"relation": relation.oid})[0])
