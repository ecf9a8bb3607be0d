"""Where the rows of every table are: the months of the catalogue, and what is attached to the parents besides.

Every row that a parent has is read, whether the catalogue knows its partition or not. What the catalogue says that
PostgreSQL has, and it has not, is refused by name.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from psycopg.sql import SQL, Composable

from config import Settings
from ledger.columns import Column
from ledger.errors import DataError
from ledger.fields import Fields, matched, view_columns
from ledger.policy import Tier
from ledger.tables import TieredTable
from sql.catalog import columns_of
from sql.connection import Connection
from sql.exclusion import undefined_numbers
from sql.fields import read_fields
from sql.obstacles import hidden_relations
from sql.partitions import Partition, readable_partitions, rows_through
from sql.relations import Parents, Relation, lock_parents
from storage.engine import archived, identifier, renamed
from storage.pruning import Branch, Described
from tasks.archiving.catalogue import (
    MonthState,
    Stray,
    archived_beside,
    month_states,
    stray_partitions,
    time_span,
)
from tasks.querying.link import linked_relation, postgres_query


@dataclass(slots=True)
class Places:
    """The tables with the columns of their views, and their places. Of those in PostgreSQL, by their sources: the
    relation that is read directly, and the FROM item that PostgreSQL itself reads. ``living`` are the columns that
    each table has now.
    """

    tables: list[Described] = field(default_factory=list)
    branches: list[Branch] = field(default_factory=list)
    partitions: dict[str, Relation] = field(default_factory=dict)
    attached: dict[str, Composable] = field(default_factory=dict)
    living: dict[str, tuple[Column, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Table:
    """A table under its locks: what its places are made of."""

    table: TieredTable
    parents: Parents
    view: tuple[Column, ...]
    living: tuple[Column, ...]
    states: Sequence[MonthState]


@dataclass(frozen=True, slots=True)
class _Origin:
    """How the rows of a partition are read: the engine's FROM item, PostgreSQL's, and whether from itself."""

    tier: Tier
    partition: Partition
    source: str
    item: Composable
    is_direct: bool


def lock_tables(connection: Connection, settings: Settings) -> None:
    """Lock every table's parents against moves: the tier map that is read next stays true until the end."""
    for table in settings.registry.values():
        lock_parents(connection, table)


def find_places(connection: Connection, settings: Settings) -> Places:
    """The places of all tables that exist. Their parents must be locked, see `lock_tables`."""
    places = Places()
    for table in settings.registry.values():
        parents = Parents.of(connection, table)
        if parents.hot is None or parents.warm is None:
            continue
        states = month_states(connection, table)
        fields = read_fields(connection, table, parents.hot)
        living = fields.numbered(columns_of(connection, parents.warm))
        one = _Table(table, parents, _view(fields, living, states), living, states)
        places.tables.append((table, one.view))
        places.living[table.name] = living
        places.branches += _archived_branches(settings, one)
        _add_attached(connection, settings, one, places)
    return places


def check_readable(connection: Connection, needed: Sequence[Branch], places: Places) -> None:
    """Raise DataError for the first needed place that cannot be read as it is, naming it and what to do."""
    for branch in needed:
        if branch.refusal:
            raise DataError(f"SQL: {branch.refusal}")
    for table, columns in places.living.items():
        sources = [
            branch.source for branch in needed if branch.table.name == table and branch.source in places.attached
        ]
        found = undefined_numbers(connection, columns, [places.attached[source] for source in sources])
        for source, name in zip(sources, found, strict=True):
            if name is not None:
                where = places.partitions.get(source, table)
                raise DataError(
                    f"SQL: {where}.{name} holds NaN, which is no amount: correct the rows, and add a "
                    f"CHECK ({name} < 'Infinity') that keeps such values out"
                )


def notes_of(needed: Iterable[Branch]) -> tuple[str, ...]:
    """What to say about places that were read although the catalogue does not know them."""
    return tuple(branch.note for branch in needed if branch.note)


def _view(fields: Fields, living: tuple[Column, ...], states: Sequence[MonthState]) -> tuple[Column, ...]:
    return view_columns(fields, living, [state.catalogue.archived_columns for state in states])


def _archived_branches(settings: Settings, one: _Table) -> list[Branch]:
    return [_archived(settings, one, state) for state in one.states if state.is_archived]


def _add_attached(connection: Connection, settings: Settings, one: _Table, places: Places) -> None:
    """The partitions of both parents, and what can only be refused: a month that the catalogue places there in vain.

    A partition that this login may not read, as one that was just made, is read through its parent; so is one that the
    catalogue does not know and that has row-level security, which holds for direct reading alone.
    """
    strays = stray_partitions(connection, one.table, one.states)
    known = [state.partition for state in one.states if state.partition is not None]
    readable = readable_partitions(connection, [*known, *(stray.partition for stray in strays)])
    hidden = hidden_relations(connection, [stray.partition.relation for stray in strays])
    for state in one.states:
        if state.partition is not None:
            origin = _origin(connection, one, state.tier, state.partition, state.partition in readable)
            _add(settings, one, places, origin, _beside(one, state))
        elif state.is_missing:
            places.branches.append(_absent(one, state))
    for stray in strays:
        is_direct = stray.partition in readable and stray.partition.relation not in hidden
        origin = _origin(connection, one, stray.tier, stray.partition, is_direct)
        span = time_span(connection, one.table, origin.item)
        if span is not None:
            _add(settings, one, places, origin, archived_beside(one.states, span), _note(one, stray))


def _origin(connection: Connection, one: _Table, tier: Tier, partition: Partition, is_direct: bool) -> _Origin:
    parent = one.parents.hot if tier is Tier.HOT else one.parents.warm
    if is_direct or parent is None:
        return _Origin(tier, partition, linked_relation(0, partition.relation), partition.relation.identifier, True)
    query = rows_through(parent, one.table, partition)
    item = SQL("({}) AS through").format(query)
    return _Origin(tier, partition, postgres_query(0, query.as_string(connection)), item, False)


def _add(
    settings: Settings, one: _Table, places: Places, origin: _Origin, beside: Sequence[MonthState], note: str = ""
) -> None:
    """The rows of a partition, without those that are archived already: each row is read once."""
    source, partition = origin.source, origin.partition
    names = matched(one.view, one.living)
    if any(old != new for old, new in names):
        source = renamed(source, names)
    if beside:
        source = _without(settings, one, source, beside)
    told = partition.has_keys_of_month(one.table)
    places.branches.append(Branch(one.table, partition.month, origin.tier, source, told, note=note))
    places.attached[source] = origin.item
    if origin.is_direct:
        places.partitions[source] = partition.relation


def _note(one: _Table, stray: Stray) -> str:
    """What to say about a stray; nothing about a month like any other, which the next run enters into the catalogue."""
    month = stray.partition.month
    if month is not None and not any(state.month == month for state in one.states):
        return ""
    return f"also read {stray}, which is the place of no month: see docs/operations.md, partitions made by others"


def _archived(settings: Settings, one: _Table, state: MonthState) -> Branch:
    source = archived(settings, state.catalogue.object_key or "", _names(one, state))
    return Branch(one.table, state.month, state.tier, source, state.catalogue.keys_tell_month)


def _names(one: _Table, state: MonthState) -> list[tuple[str, str]] | None:
    columns = state.catalogue.archived_columns
    return matched(one.view, columns) if columns else None


def _beside(one: _Table, state: MonthState) -> list[MonthState]:
    """The archived parts of the month that rows of ``state`` came late for."""
    return [other for other in one.states if other.month == state.month and other.is_archived]


def _without(settings: Settings, one: _Table, source: str, beside: Sequence[MonthState]) -> str:
    key, time_column = identifier(one.table.key_column), identifier(one.table.time_column)
    kept = " UNION ALL ".join(
        f"SELECT {key}, {time_column} FROM {archived(settings, state.catalogue.object_key or '', _names(one, state))}"
        for state in beside
    )
    same = f"kept.{key} = late.{key} AND kept.{time_column} = late.{time_column}"
    return f"(SELECT * FROM {source} AS late WHERE NOT EXISTS (SELECT 1 FROM ({kept}) AS kept WHERE {same}))"


def _absent(one: _Table, state: MonthState) -> Branch:
    """A month that is not where the catalogue says: a question that needs it is refused."""
    parent = one.table.hot_parent if state.tier is Tier.HOT else one.table.warm_parent
    refusal = (
        f"{one.table.name} {state.month} is {state.tier} by the catalogue, but {parent} has no partition of it: attach "
        f"it again (ALTER TABLE {parent} ATTACH PARTITION ...), see docs/operations.md"
    )
    nothing = f"(SELECT {', '.join(f'NULL AS {identifier(column.name)}' for column in one.view)} WHERE false)"
    return Branch(one.table, state.month, state.tier, nothing, refusal=refusal)
