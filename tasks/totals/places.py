"""Where the rows of one table are, as totals read them: each place once, and of which places totals may be kept."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

from config import Settings
from ledger.columns import Column
from ledger.errors import ConfigError, MissingRowsError
from ledger.months import Month
from ledger.policy import Tier
from ledger.tables import TieredTable
from sql.connection import Connection
from sql.relations import Parents, Relation
from sql.totals import KeptObject, KeptPlaces
from storage.branches import Branch
from tasks.querying.objects import ArchivedObject
from tasks.querying.places import Attached, Places, find_places
from tasks.querying.tier_map import map_version

_FORMAT = 1  # of what is kept: another number makes all that was kept before go


@dataclass(frozen=True, slots=True)
class PlaceOfRows:
    """A place of rows. ``attached`` is its side in PostgreSQL, None for an archived object. ``objects`` are the
    archived objects that reading it reads, by their addresses. ``archived`` is the object whose totals may be kept.
    """

    branch: Branch
    attached: Attached | None
    objects: dict[str, ArchivedObject]
    archived: KeptObject | None

    @property
    def name(self) -> str:
        """The place for a message."""
        where = self.attached.name if self.attached else "the archive"
        return f"{self.branch.table.name} {self.branch.month or ''} in {where}"

    def overlaps(self, lower: datetime, upper: datetime) -> bool:
        """Whether the place may have rows between two aware instants."""
        month = self.branch.month
        return month is None or (month.lower < upper and month.upper > lower)

    @property
    def is_plain(self) -> bool:
        """Whether PostgreSQL alone has the rows: none of them is archived already."""
        return self.attached is not None and not self.attached.kept

    def is_among(self, kept: KeptPlaces) -> bool:
        """Whether the totals of the place hold."""
        if self.archived is not None:
            return self.archived.key in kept.objects
        return self.attached is not None and self.attached.oid in kept.relations

    def relation_ended(self, now: datetime) -> int | None:
        """The OID of a partition whose totals may be kept at ``now``: it has a month's rows, and the month is over."""
        month = self.branch.month
        if self.attached is None or not self.is_plain:
            return None
        return self.attached.oid if month is not None and month.upper <= now else None


@dataclass(frozen=True)
class TablePlaces:
    """A table, its parents, its columns now and in the views over all tiers, and its places. ``is_lasting``: all of it
    follows from the catalogues, and from no rows.
    """

    table: TieredTable
    living: tuple[Column, ...]
    view: tuple[Column, ...]
    places: tuple[PlaceOfRows, ...]
    gone: tuple[Branch, ...]
    parents: tuple[Relation, ...]
    is_lasting: bool

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The names of the columns that the table has now."""
        return tuple(column.name for column in self.living)

    @property
    def scales(self) -> list[int]:
        """The decimal places of each money column."""
        scales = {column.name: column.scale or 0 for column in self.living}
        return [scales.get(name, 0) for name in self.table.money_columns]


def places_of(connection: Connection, settings: Settings, table: TieredTable) -> TablePlaces:
    """The places of ``table``, whose parents are locked until the transaction ends. Raises ConfigError for a table that
    cannot be read.
    """
    return places_among(connection, find_places(connection, settings, [table]), table)


def places_among(connection: Connection, all_places: Places, table: TieredTable) -> TablePlaces:
    """The places of ``table`` among those that were found. Raises ConfigError for a table that cannot be read."""
    if table.name in all_places.refused:
        raise ConfigError(f"table {table.name}: {all_places.refused[table.name]}")
    view = next(columns for known_table, columns in all_places.tables if known_table is table)
    branches = [branch for branch in all_places.branches if branch.table is table]
    deleted = tuple(branch for branch in branches if branch.tier == Tier.DELETED)
    others = [branch for branch in branches if branch.tier != Tier.DELETED]
    places = tuple(_place(all_places, branch) for branch in others)
    parents = Parents.of(connection, table).found
    return TablePlaces(table, all_places.living[table.name], view, places, deleted, parents, all_places.is_lasting)


class KnownPlaces:
    """The places of tables for a process that asks often: found again only when the catalogues have changed.
    Thread-safe; keeps the last ones of each table.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._known: dict[str, tuple[str, TablePlaces]] = {}

    def read(self, connection: Connection, table: TieredTable) -> TablePlaces:
        """See `places_of`."""
        version = map_version(connection, [table])
        known = self._known.get(table.name)
        if known is not None and known[0] == version:
            return known[1]
        places = places_of(connection, self._settings, table)
        if version is not None and places.is_lasting:
            self._known[table.name] = version, places
        return places


def _place(all_places: Places, branch: Branch) -> PlaceOfRows:
    attached, objects = all_places.attached.get(branch.source), all_places.objects.get(branch.source, {})
    archived = None
    if attached is None and len(objects) == 1:
        ((address, known),) = objects.items()
        content = f"{_FORMAT} {branch.select(branch.source)} {known}".replace(address, "")
        archived = KeptObject(known.key, hashlib.sha256(content.encode()).hexdigest())
    return PlaceOfRows(branch, attached, objects, archived)


def month_of(place: PlaceOfRows) -> Month:
    """The month of a place that has one."""
    month = place.branch.month
    assert month is not None  # noqa: S101  # totals are kept of such places alone
    return month


def refuse_unreadable(places: Sequence[PlaceOfRows]) -> None:
    """Raise MissingRowsError for the first place that is not where the catalogue says."""
    for place in places:
        if place.branch.refusal:
            raise MissingRowsError(place.branch.refusal)
