"""What is known of every month of a table: its place in the catalogue beside what PostgreSQL really has."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import lru_cache
from typing import Any

from psycopg.rows import class_row
from psycopg.sql import SQL, Composable, Identifier, Literal

from ledger.columns import Column, ColumnKind
from ledger.instants import FIRST_INSTANT, LAST_INSTANT
from ledger.months import FIRST_MONTH, LAST_MONTH, Month
from ledger.policy import Tier
from ledger.tables import TieredTable
from sql.connection import Connection, fetch_one
from sql.partitions import Partition, list_partitions
from sql.queries import load
from sql.relations import Parents, Relation
from sql.storing import not_stored

_QUERIES = load("tiers")
_CATALOG = load("catalog")


@dataclass(frozen=True, slots=True)
class CatalogueMonth:
    """A row of ``archive_months``. Counts, sums and digest are known from the verification on."""

    month: Any  # the first day, a date
    part: int
    tier: str
    step: str
    attempt: int
    row_count: int | None
    sums: dict[str, dict[str, str]] | None
    digest: bytes | None
    postgres_bytes: int | None
    object_key: str | None
    object_bytes: int | None
    object_sha256: bytes | None
    has_lookup: bool
    manifest_key: str | None
    last_error: str | None
    warm_at: datetime | None
    sealed_at: datetime | None
    verified_at: datetime | None
    cold_at: datetime | None
    tidied_at: datetime | None
    keys_tell_month: bool
    columns: list[dict[str, Any]] | None
    certificate: str | None
    deleted_at: datetime | None
    kept: dict[str, Any] | None
    deep_at: datetime | None
    storage_class: str | None
    work_until: date | None  # of a month that went back to warm: up to and with this UTC day it is worked on

    @property
    def archived_columns(self) -> tuple[Column, ...]:
        """The columns of an archived month as they are in its file, each with its number."""
        return _columns_of(json.dumps(self.columns or []))


@lru_cache(maxsize=256)  # most months of a table have the same ones
def _columns_of(text: str) -> tuple[Column, ...]:
    kinds = ({**column, "kind": ColumnKind(column["kind"])} for column in json.loads(text))
    return tuple(Column(**column) for column in kinds)


@dataclass(frozen=True, slots=True)
class MonthState:
    """A month or a later part of it, its tier by the catalogue, and its partition, if PostgreSQL has one there."""

    month: Month
    tier: Tier
    catalogue: CatalogueMonth
    partition: Partition | None

    @property
    def is_missing(self) -> bool:
        """Whether the catalogue says that PostgreSQL has the month, and it has not."""
        return self.partition is None and self.tier.is_in_postgres

    @property
    def is_sealed(self) -> bool:
        """Whether the partition takes no writes. A claim begins the steps of a move again, and leaves the seal."""
        return self.tier is Tier.WARM and self.catalogue.sealed_at is not None

    @property
    def is_archived(self) -> bool:
        """Whether the rows are in an object of the archive."""
        return self.tier.is_archived and self.catalogue.object_key is not None


@dataclass(frozen=True, slots=True)
class Stray:
    """A partition of a parent that is not the place of any month by the catalogue. ``tier`` is that of the parent."""

    tier: Tier
    partition: Partition

    def __str__(self) -> str:
        return f"{self.partition.relation} ({self.tier}, {self.partition.bound})"


def gone_text(states: Sequence[MonthState]) -> str:
    """What became of a month of which parts are deleted, in words; empty for any other month."""
    gone = [state.catalogue for state in states if state.tier is Tier.DELETED]
    if not gone:
        return ""
    numbers = ", ".join(dict.fromkeys(str(month.certificate) for month in gone))
    return f"was deleted with certificate {numbers}: `treasury certificate show` prints it"


def register_months(connection: Connection, table: TieredTable) -> None:
    """Enter partitions that exist without a catalogue row, as what they are. Safe to run again.

    Raises NotStoredError when PostgreSQL did not store one.
    """
    parents = Parents.of(connection, table)
    for tier, parent in ((Tier.HOT, parents.hot), (Tier.WARM, parents.warm)):
        months = [part.month.first_day for part in list_partitions(connection, parent) if part.month is not None]
        named = {"table": table.name, "tier": tier, "months": months}
        connection.execute(_QUERIES["register_months"], named)
        registered = fetch_one(connection, _QUERIES["count_registered"], named)[0]
        if registered != len(set(months)):
            raise not_stored(len(set(months)), registered, "archive_months")


def month_states(connection: Connection, table: TieredTable) -> list[MonthState]:
    """Every month of ``table`` that the catalogue knows, oldest first, and each of its parts."""
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


def stray_partitions(connection: Connection, table: TieredTable, states: Sequence[MonthState]) -> list[Stray]:
    """The partitions of both parents that are not the place of one of ``states``. They are made by others, of a month
    that is archived, of other bounds than a month's, or in the other parent. Their rows are rows of the table.
    """
    known = {state.partition.relation.oid for state in states if state.partition is not None}
    parents = Parents.of(connection, table)
    return [
        Stray(tier, part)
        for tier, parent in ((Tier.HOT, parents.hot), (Tier.WARM, parents.warm))
        for part in list_partitions(connection, parent)
        if part.relation.oid not in known
    ]


def archived_beside(states: Sequence[MonthState], span: tuple[datetime, datetime]) -> list[MonthState]:
    """The archived months that rows between two instants, both included, may belong to."""
    first, last = span
    return [state for state in states if state.is_archived and state.month.lower <= last and state.month.upper > first]


def time_span(connection: Connection, table: TieredTable, source: Composable) -> tuple[datetime, datetime] | None:
    """The first and the last instant of the rows of a FROM item; None for one without rows. Infinity, and what is
    outside the years 1 to 9999, count as the end of those years. No month is there, and Python has no such instant.
    """
    query = SQL("SELECT greatest(least(min({0}), {2}), {1}), greatest(least(max({0}), {2}), {1}) FROM {3}").format(
        Identifier(table.time_column), Literal(FIRST_INSTANT), Literal(LAST_INSTANT), source
    )
    first, last = fetch_one(connection, query)
    return None if first is None else (first, last)


def count_rows(connection: Connection, relation: Relation) -> int:
    """The exact number of rows of a relation now."""
    return int(fetch_one(connection, SQL("SELECT count(*) FROM {}").format(relation.identifier))[0])


def rows_by_month(connection: Connection, table: TieredTable, relation: Relation) -> dict[Month | None, int]:
    """The exact number of rows of a relation by UTC month. None is for those of no month, as at infinity and before
    1970.
    """
    month = SQL("CASE WHEN {0} >= {1} AND {0} < {2} THEN date_trunc('month', {0} AT TIME ZONE 'UTC')::date END").format(
        Identifier(table.time_column), Literal(FIRST_MONTH.lower), Literal(LAST_MONTH.upper)
    )
    query = SQL("SELECT {}, count(*) FROM {} GROUP BY 1 ORDER BY 1").format(month, relation.identifier)
    return {None if first is None else Month.of(first): count for first, count in connection.execute(query)}


def relation_bytes(connection: Connection, relation: Relation) -> int:
    """Bytes of heap, indexes and TOAST of a relation now."""
    return int(fetch_one(connection, _CATALOG["relation_bytes"], {"relation": relation.oid})[0])
