"""Where the rows of every table are: the months of the catalogue, and what else is attached to the parents.

Every row that a parent has is read, whether the catalogue knows its partition or not. What the catalogue says that
PostgreSQL has, and it has not, is refused by name.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby

from psycopg.sql import SQL, Composable

from config import Settings
from ledger.columns import Column
from ledger.errors import ConfigError, DataError
from ledger.fields import Fields, matched, view_columns
from ledger.months import Month
from ledger.policy import Tier
from ledger.tables import TieredTable
from sql.catalog import columns_of
from sql.connection import Connection
from sql.fields import read_fields
from sql.obstacles import hidden_relations
from sql.partitions import Partition, readable_partitions, rows_through
from sql.preparation import check_key
from sql.relations import Parents, Relation, lock_parents
from storage.branches import Branch, ColdFile, Described, FileColumns, Need
from storage.engine import identifier, renamed, sql_type
from tasks.archiving.catalogue import (
    MonthState,
    Stray,
    archived_beside,
    gone_text,
    month_states,
    stray_partitions,
    time_span,
)
from tasks.querying.link import linked_relation, postgres_query
from tasks.querying.objects import ArchivedObject, objects_of, path_of_part, source_of


@dataclass(slots=True)
class Places:
    """The tables with the columns of their views, and their places. ``attached`` has those in PostgreSQL, by the
    sources of their branches; ``objects`` the archived objects that a branch reads, by its source and their addresses.
    ``living`` are the columns that each table has now. ``refused`` are the tables that cannot be read, with the reason;
    a query over the others goes on. ``is_lasting``: all of it follows from the catalogues, and from no rows.
    """

    tables: list[Described] = field(default_factory=list)
    branches: list[Branch] = field(default_factory=list)
    attached: dict[str, "Attached"] = field(default_factory=dict)
    objects: dict[str, dict[str, ArchivedObject]] = field(default_factory=dict)
    living: dict[str, tuple[Column, ...]] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    is_lasting: bool = True

    def objects_of(self, needs: Iterable[Need]) -> dict[str, ArchivedObject]:
        """The archived objects that a question reads which needs these places."""
        read = (self.objects.get(need.branch.source, {}) for need in needs)
        return {address: archived_object for objects in read for address, archived_object in objects.items()}

    def keys_of(self, needs: Iterable[Need]) -> list[str]:
        """The keys of those objects."""
        return [archived_object.key for archived_object in self.objects_of(needs).values()]


@dataclass(frozen=True, slots=True)
class Attached:
    """A place in PostgreSQL. ``item`` is the FROM item that PostgreSQL itself reads, ``relation`` the partition that is
    read directly, None for one that is read through its parent. ``names`` are those of the columns there and in the
    view. ``kept`` are FROM items of the archived parts that may have rows of the place already, under the view's names.
    ``oid`` is the partition's, however it is read.
    """

    name: str
    relation: Relation | None
    item: Composable
    names: tuple[tuple[str, str], ...]
    kept: tuple[str, ...]
    oid: int

    def named(self, source: str) -> str:
        """``source``, a FROM item of the place, with the columns under the names of the view."""
        return renamed(source, self.names) if any(old != new for old, new in self.names) else source

    def rows_of(self, table: TieredTable, source: str) -> str:
        """The rows out of ``source``, a FROM item of the place, as the view has them: each row is read once."""
        if not self.kept:
            return self.named(source)
        kept = f"SELECT 1 FROM ({self.kept_keys(table)}) AS kept WHERE {same_row(table)}"
        return f"(SELECT * FROM {self.named(source)} AS late WHERE NOT EXISTS ({kept}))"

    def kept_keys(self, table: TieredTable) -> str:
        """A query of the keys and times of the archived rows."""
        key, time_column = identifier(table.key_column), identifier(table.time_column)
        return " UNION ALL ".join(f"SELECT {key}, {time_column} FROM {item}" for item in self.kept)


def same_row(table: TieredTable) -> str:
    """The condition that a row ``late`` of PostgreSQL is the archived row ``kept``."""
    key, time_column = identifier(table.key_column), identifier(table.time_column)
    return f"kept.{key} = late.{key} AND kept.{time_column} = late.{time_column}"


@dataclass(frozen=True, slots=True)
class _Table:
    """A table under its locks: what its places are made of."""

    table: TieredTable
    parents: Parents
    view: tuple[Column, ...]
    living: tuple[Column, ...]
    states: Sequence[MonthState]
    layouts: dict[tuple[Column, ...], FileColumns] = field(default_factory=dict)

    def layout(self, columns: tuple[Column, ...]) -> FileColumns:
        """The one layout of all files with these columns."""
        if columns not in self.layouts:
            self.layouts[columns] = FileColumns(tuple(matched(self.view, columns)), columns)
        return self.layouts[columns]


@dataclass(frozen=True, slots=True)
class _Origin:
    """How the rows of a partition are read: the engine's FROM item, PostgreSQL's, and whether from itself."""

    tier: Tier
    partition: Partition
    source: str
    item: Composable
    is_direct: bool


def find_places(connection: Connection, settings: Settings, tables: Iterable[TieredTable] | None = None) -> Places:
    """The places of ``tables``, by default of all tables that exist. Their parents are locked: the tier map stays true
    until the end.
    """
    places = Places()
    wanted = settings.registry.values() if tables is None else tables
    locked = [(table, _locked(connection, table, places)) for table in wanted]
    for table, parents in locked:
        if table.name in places.refused:
            continue
        try:
            locked_table = _described(connection, table, parents)
        except ConfigError as error:
            places.refused[table.name] = str(error)
            continue
        places.tables.append((table, locked_table.view))
        places.living[table.name] = locked_table.living
        for state in locked_table.states:
            if state.is_archived:
                branch = _archived(settings, locked_table, state)
                places.branches.append(branch)
                places.objects[branch.source] = _objects(settings, locked_table, [state])
        for month, parts in groupby(locked_table.states, lambda state: state.month):
            if gone := gone_text(list(parts)):
                places.branches.append(_gone(locked_table, month, gone))
        _add_attached(connection, settings, locked_table, places)
    return places


def _locked(connection: Connection, table: TieredTable, places: Places) -> Parents:
    """The parents under their locks. All tables are locked before any is read."""
    try:
        parents = lock_parents(connection, table)
    except ConfigError as error:
        places.refused[table.name] = str(error)
        return Parents(None, None)
    if parents.hot is None or parents.warm is None:
        places.refused[table.name] = "it is not set up; `treasury setup` does that"
    return parents


def _described(connection: Connection, table: TieredTable, parents: Parents) -> _Table:
    assert parents.hot is not None and parents.warm is not None  # noqa: S101, PT018  # such a table is refused before
    states = month_states(connection, table)
    fields = read_fields(connection, table, parents.hot)
    living = fields.numbered(columns_of(connection, parents.warm))
    for parent in parents.found:
        check_key(connection, table, parent)
    return _Table(table, parents, _view(fields, living, states), living, states)


def check_readable(needed: Iterable[Branch]) -> None:
    """Raise DataError for the first needed place that cannot be read, naming it and what to do."""
    for branch in needed:
        if branch.refusal:
            raise DataError(f"SQL: {branch.refusal}")


def notes_of(needed: Iterable[Branch]) -> tuple[str, ...]:
    """What to say about places that were read although the catalogue does not know them."""
    return tuple(branch.note for branch in needed if branch.note)


def _view(fields: Fields, living: tuple[Column, ...], states: Sequence[MonthState]) -> tuple[Column, ...]:
    return view_columns(fields, living, [state.catalogue.archived_columns for state in states])


def _add_attached(connection: Connection, settings: Settings, locked_table: _Table, places: Places) -> None:
    """The partitions of both parents, and what can only be refused: a month that the catalogue places there in vain.

    A partition that this login may not read, as one that was just made, is read through its parent; so is one that the
    catalogue does not know and that has row-level security, which holds for direct reading alone.
    """
    strays = stray_partitions(connection, locked_table.table, locked_table.states)
    places.is_lasting = places.is_lasting and not strays
    known = [state.partition for state in locked_table.states if state.partition is not None]
    readable = readable_partitions(connection, [*known, *(stray.partition for stray in strays)])
    hidden = hidden_relations(connection, [stray.partition.relation for stray in strays])
    for state in locked_table.states:
        if state.partition is not None:
            origin = _origin(connection, locked_table, state.tier, state.partition, state.partition in readable)
            if _is_out_of_sight(origin):
                places.branches.append(_half_detached(locked_table, state.month, origin))
            else:
                _add(settings, locked_table, places, origin, _beside(locked_table, state))
        elif state.is_missing:
            places.branches.append(_absent(locked_table, state))
    for stray in strays:
        is_direct = stray.partition in readable and stray.partition.relation not in hidden
        origin = _origin(connection, locked_table, stray.tier, stray.partition, is_direct)
        if _is_out_of_sight(origin):
            places.branches.append(_half_detached(locked_table, stray.partition.month, origin))
            continue
        span = time_span(connection, locked_table.table, origin.item)
        if span is not None:
            _add(
                settings,
                locked_table,
                places,
                origin,
                archived_beside(locked_table.states, span),
                _note(locked_table, stray),
            )


def _origin(connection: Connection, locked_table: _Table, tier: Tier, partition: Partition, is_direct: bool) -> _Origin:
    parent = locked_table.parents.hot if tier is Tier.HOT else locked_table.parents.warm
    if is_direct or parent is None:
        return _Origin(tier, partition, linked_relation(0, partition.relation), partition.relation.identifier, True)
    query = rows_through(parent, locked_table.table, partition)
    item = SQL("({}) AS through").format(query)
    return _Origin(tier, partition, postgres_query(0, query.as_string(connection)), item, False)


def _is_out_of_sight(origin: _Origin) -> bool:
    """Whether a partition is read through its parent, which does not show its rows any more."""
    return origin.partition.detach_pending and not origin.is_direct


def _half_detached(locked_table: _Table, month: Month | None, origin: _Origin) -> Branch:
    relation = origin.partition.relation
    refusal = (
        f"{relation} of {locked_table.table.name} is half detached: its parent shows no row of it, and this login may "
        f"not read it. Finish it (ALTER TABLE ... DETACH PARTITION {relation} FINALIZE) and attach it again, see "
        "docs/operations.md"
    )
    return Branch(locked_table.table, month, origin.tier, _nothing(locked_table), refusal=refusal)


def _add(
    settings: Settings,
    locked_table: _Table,
    places: Places,
    origin: _Origin,
    beside: Sequence[MonthState],
    note: str = "",
) -> None:
    partition = origin.partition
    relation = partition.relation if origin.is_direct else None
    names = tuple(matched(locked_table.view, locked_table.living))
    has_proven_keys = partition.has_keys_of_month(locked_table.table)
    places.branches.append(
        Branch(locked_table.table, partition.month, origin.tier, origin.source, has_proven_keys, note=note)
    )
    kept = tuple(_source(settings, locked_table, state) for state in beside)
    places.objects[origin.source] = _objects(settings, locked_table, beside)
    places.attached[origin.source] = Attached(
        str(partition.relation), relation, origin.item, names, kept, partition.relation.oid
    )


def _note(locked_table: _Table, stray: Stray) -> str:
    """What to say about a stray; nothing about a month like any other, which the next run enters into the catalogue."""
    month = stray.partition.month
    if month is not None and not any(state.month == month for state in locked_table.states):
        return ""
    return f"also read {stray}, which is the place of no month: see docs/operations.md, partitions made by others"


def _archived(settings: Settings, locked_table: _Table, state: MonthState) -> Branch:
    source, known = _source(settings, locked_table, state), state.catalogue
    layout = locked_table.layout(known.archived_columns)
    file = ColdFile(path_of_part(state), layout) if known.has_lookup and layout.names else None
    return Branch(locked_table.table, state.month, state.tier, source, known.keys_tell_month, file=file)


def _source(settings: Settings, locked_table: _Table, state: MonthState) -> str:
    return source_of(settings, state, _names(locked_table, state))


def _objects(settings: Settings, locked_table: _Table, states: Sequence[MonthState]) -> dict[str, ArchivedObject]:
    return objects_of(settings, locked_table.table.name, states)


def _names(locked_table: _Table, state: MonthState) -> Sequence[tuple[str, str]] | None:
    columns = state.catalogue.archived_columns
    return locked_table.layout(columns).names if columns else None


def _beside(locked_table: _Table, state: MonthState) -> list[MonthState]:
    """The archived parts of the month that rows of ``state`` came late for."""
    return [other for other in locked_table.states if other.month == state.month and other.is_archived]


def _gone(locked_table: _Table, month: Month, text: str) -> Branch:
    """A deleted month: a question that asks for it is answered without its rows, and says so."""
    source = _nothing(locked_table)
    return Branch(locked_table.table, month, Tier.DELETED, source, note=f"{locked_table.table.name} {month} {text}")


def _nothing(locked_table: _Table) -> str:
    """A FROM item with the columns of the view, and without rows."""
    typed = (f"NULL::{sql_type(column)} AS {identifier(column.name)}" for column in locked_table.view)
    return f"(SELECT {', '.join(typed)} WHERE false)"


def _absent(locked_table: _Table, state: MonthState) -> Branch:
    """A month that is not where the catalogue says: a question that needs it is refused."""
    table = locked_table.table
    parent = table.hot_parent if state.tier is Tier.HOT else table.warm_parent
    refusal = (
        f"{table.name} {state.month} is {state.tier} by the catalogue, but {parent} has no partition of it: "
        f"attach it again (ALTER TABLE {parent} ATTACH PARTITION ...), see docs/operations.md"
    )
    return Branch(table, state.month, state.tier, _nothing(locked_table), refusal=refusal)
