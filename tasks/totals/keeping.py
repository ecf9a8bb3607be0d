"""Keeps the daily totals of months that have ended: of each partition and of each archived object, one after the other.

What is kept is used only while it holds (`sql.totals`), so nothing here must happen in time. Where it has not, the rows
are read instead.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from config import Settings
from ledger.errors import ConfigError, DataError, TransientError, TreasuryError
from ledger.fields import matched
from ledger.money import add_exactly
from ledger.months import Month
from ledger.tables import TieredTable
from ledger.totals import DETAILS
from sql.clock import read_now
from sql.connection import Connection, connect
from sql.maintenance import keep_vacuum_out, run_ddl
from sql.obstacles import unlogged_relations
from sql.relations import Relation
from sql.totals import (
    fingerprint,
    forget_others,
    keep_object,
    keep_partition,
    mark_writes,
    read_kept,
    totals_lock,
)
from tasks.archiving.catalogue import CatalogueMonth, month_states
from tasks.totals.archived import Record, object_totals
from tasks.totals.places import PlaceOfRows, TablePlaces, month_of, places_of, refuse_unreadable

OnStep = Callable[[str], object]


class TotalsResult(StrEnum):
    """How it ended for a place."""

    KEPT = "kept"
    HELD = "held"  # what was kept before still holds
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class TotalsOutcome:
    """What became of the totals of a place. ``month`` is None for a table that could not be read at all."""

    table: str
    month: Month | None
    place: str
    result: TotalsResult
    rows: int = 0
    error: TreasuryError | None = None


def keep_daily_totals(
    settings: Settings, tables: Iterable[TieredTable] | None = None, on_step: OnStep = lambda _: None
) -> list[TotalsOutcome]:
    """Keep the totals of every month that has ended and whose totals are not kept, or do not hold any more.

    A place that fails stops no other: its error is in its outcome. Safe to run again after any interruption. Raises
    ConflictError while another run keeps totals. ``on_step`` hears each step after it is done.
    """
    with connect(settings.database_dsn, "keep totals") as connection, totals_lock(connection):
        wanted = settings.registry.values() if tables is None else tables
        return [outcome for table in wanted for outcome in _of_table(connection, settings, table, on_step)]


def _of_table(connection: Connection, settings: Settings, table: TieredTable, on_step: OnStep) -> list[TotalsOutcome]:
    try:
        described, due, held = _look(connection, settings, table)
    except TreasuryError as error:
        return [TotalsOutcome(table.name, None, table.name, TotalsResult.FAILED, error=error)]
    on_step("looked")
    return held + [_outcome(connection, settings, described, place, on_step) for place in due]


def _look(
    connection: Connection, settings: Settings, table: TieredTable
) -> tuple[TablePlaces, list[PlaceOfRows], list[TotalsOutcome]]:
    """The places whose totals must be computed, and those whose totals hold. What is kept of others is removed."""
    with connection.transaction():
        described = places_of(connection, settings, table)
        now = read_now(connection)
        ended = {oid: place for place in described.places if (oid := place.relation_ended(now)) is not None}
        for relation in _unlogged(connection, ended.values()):  # totals of rows that a crash removed would hold
            del ended[relation.oid]
        objects = {place.archived.key: place for place in described.places if place.archived is not None}
        forget_others(connection, table, list(ended), list(objects))
        archived = [place.archived for place in objects.values() if place.archived is not None]
        kept = read_kept(connection, table, ended, archived)
        refuse_unreadable(described.places)
    known = [(place, oid in kept.relations) for oid, place in ended.items()]
    known += [(place, key in kept.objects) for key, place in objects.items()]
    held = [
        TotalsOutcome(table.name, month_of(place), place.name, TotalsResult.HELD) for place, holds in known if holds
    ]
    return described, [place for place, holds in known if not holds], held


def _unlogged(connection: Connection, places: Iterable[PlaceOfRows]) -> Iterable[Relation]:
    relations = [place.attached.relation for place in places if place.attached and place.attached.relation]
    return unlogged_relations(connection, relations)


def _outcome(
    connection: Connection, settings: Settings, table: TablePlaces, place: PlaceOfRows, on_step: OnStep
) -> TotalsOutcome:
    named = (table.table.name, month_of(place), place.name)
    try:
        if place.archived is None:
            rows = _keep_partition(connection, settings, table, place, on_step)
        else:
            rows = _keep_object(connection, settings, table, place, on_step)
    except TreasuryError as error:
        return TotalsOutcome(*named, TotalsResult.FAILED, error=error)
    return TotalsOutcome(*named, TotalsResult.KEPT, rows)


def _keep_partition(
    connection: Connection, settings: Settings, table: TablePlaces, place: PlaceOfRows, on_step: OnStep
) -> int:
    """Mark writes from now on, then keep what all rows before come to: a later write is marked, or is not seen yet."""
    relation = _relation(place)
    if fingerprint(connection, relation) is None:
        run_ddl(connection, settings, lambda: _mark(connection, relation))
    on_step("marked")
    with connection.transaction():
        connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        rows = keep_partition(connection, table.table, month_of(place), relation, table.names)
        on_step("computed")
    on_step("kept")
    return rows


def _mark(connection: Connection, relation: Relation) -> None:
    keep_vacuum_out(connection, relation.identifier)
    mark_writes(connection, relation)


def _relation(place: PlaceOfRows) -> Relation:
    relation = place.attached.relation if place.attached else None
    if relation is None:
        raise ConfigError(f"{place.name}: this login may not read the partition itself; its owner keeps totals")
    return relation


def _keep_object(
    connection: Connection, settings: Settings, table: TablePlaces, place: PlaceOfRows, on_step: OnStep
) -> int:
    archived = place.archived
    assert archived is not None  # noqa: S101  # the caller's branch
    totals = object_totals(connection, settings, table, place)
    on_step("computed")
    rows = _require_proved(connection, table, place, totals)
    with connection.transaction():
        keep_object(connection, table.table, month_of(place), archived, totals)
        on_step("stored")
    on_step("kept")
    return rows


def _require_proved(connection: Connection, table: TablePlaces, place: PlaceOfRows, totals: list[Record]) -> int:
    """The rows of ``totals``. Raises DataError unless rows and sums are those that were proved when the month left."""
    assert place.archived is not None  # noqa: S101  # the caller's branch
    key = place.archived.key
    known = next(
        (state.catalogue for state in month_states(connection, table.table) if state.catalogue.object_key == key), None
    )
    if known is None:
        raise TransientError(f"{place.name}: {key} left the catalogue of months meanwhile; run it again")
    proved = _proved(table, known)
    for detail in range(len(DETAILS)):
        records = [record for record in totals if record[0] == detail]
        summed = _summed(table, (record[-1] for record in records))
        differs = any(proved_sum not in (None, own) for proved_sum, own in zip(proved, summed, strict=True))
        if differs or sum(record[-2] for record in records) != known.row_count:
            raise DataError(f"{place.name}: {key} has other rows or sums than were proved: `treasury verify` says more")
    return known.row_count or 0


def _summed(table: TablePlaces, sums: Iterable[Sequence[Decimal]]) -> list[Decimal]:
    """What each money column adds up to, over all currencies: a number to compare, not one to show."""
    added = [Decimal(0)] * len(table.table.money_columns)
    for row_sums in sums:
        added = [add_exactly(before, more) for before, more in zip(added, row_sums, strict=True)]
    return added


def _proved(table: TablePlaces, known: CatalogueMonth) -> list[Decimal | None]:
    """The sums of the catalogue as `_summed` has them; None for a column that was not summed when the month left."""
    former = {new: old for old, new in matched(table.living, known.archived_columns)}
    names = [former.get(name, name) for name in table.table.money_columns]
    by_currency = (known.sums or {}).values()
    sums = _summed(table, ([Decimal(sums.get(name, "0")) for name in names] for sums in by_currency))
    were_summed = [all(name in sums for sums in by_currency) for name in names]
    return [added if was_summed else None for added, was_summed in zip(sums, were_summed, strict=True)]
