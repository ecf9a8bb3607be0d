"""Where the rows of every table are: the months of the catalogue, and what is attached to the parents besides.

Every row that a parent has is read, whether the catalogue knows its partition or not. What the catalogue says that
PostgreSQL has, and it has not, is refused by name.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from config import Settings
from ledger.columns import Column
from ledger.errors import DataError
from ledger.fields import Fields, matched, view_columns
from ledger.policy import Tier
from ledger.tables import TieredTable
from sql.catalog import columns_of
from sql.connection import Connection
from sql.exclusion import undefined_number
from sql.fields import read_fields
from sql.obstacles import hidden_relations
from sql.partitions import Partition
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
from tasks.querying.link import linked_relation


@dataclass(slots=True)
class Places:
    """The tables with the columns of their views, their places, and the relation behind each that is in PostgreSQL."""

    tables: list[Described] = field(default_factory=list)
    branches: list[Branch] = field(default_factory=list)
    partitions: dict[str, Relation] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Table:
    """A table under its locks: what its places are made of."""

    table: TieredTable
    view: tuple[Column, ...]
    living: tuple[Column, ...]
    states: Sequence[MonthState]


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
        one = _Table(table, _view(fields, living, states), living, states)
        places.tables.append((table, one.view))
        for branch, relation in _branches(connection, settings, one):
            places.branches.append(branch)
            if relation is not None:
                places.partitions[branch.source] = relation
    return places


def check_readable(connection: Connection, needed: Iterable[Branch], places: Places) -> None:
    """Raise DataError for the first needed place that cannot be read as it is, naming it and what to do."""
    for branch in needed:
        if branch.refusal:
            raise DataError(f"SQL: {branch.refusal}")
        relation = places.partitions.get(branch.source)
        name = None if relation is None else undefined_number(connection, columns_of(connection, relation), relation)
        if name is not None:
            raise DataError(
                f"SQL: {relation}.{name} holds NaN, which is no amount: correct the rows; CHECK ({name} < 'Infinity') "
                "keeps such values out"
            )


def notes_of(needed: Iterable[Branch]) -> tuple[str, ...]:
    """What to say about places that were read although the catalogue does not know them."""
    return tuple(branch.note for branch in needed if branch.note)


def _view(fields: Fields, living: tuple[Column, ...], states: Sequence[MonthState]) -> tuple[Column, ...]:
    return view_columns(fields, living, [state.catalogue.archived_columns for state in states])


def _branches(connection: Connection, settings: Settings, one: _Table) -> Iterator[tuple[Branch, Relation | None]]:
    for state in one.states:
        if state.is_archived:
            yield _archived(settings, one, state), None
        elif state.partition is not None:
            yield _attached(settings, one, state.tier, state.partition, _beside(one, state)), state.partition.relation
        elif state.is_missing:
            yield Branch(one.table, state.month, state.tier, _nothing(one), refusal=_missing(one.table, state)), None
    strays = stray_partitions(connection, one.table, one.states)
    hidden = hidden_relations(connection, [stray.partition.relation for stray in strays])
    for stray in strays:
        branch = _stray(connection, settings, one, stray, stray.partition.relation in hidden)
        if branch is not None:
            yield branch, stray.partition.relation


def _archived(settings: Settings, one: _Table, state: MonthState) -> Branch:
    source = archived(settings, state.catalogue.object_key or "", _names(one, state))
    return Branch(one.table, state.month, state.tier, source, state.catalogue.keys_tell_month)


def _names(one: _Table, state: MonthState) -> list[tuple[str, str]] | None:
    columns = state.catalogue.archived_columns
    return matched(one.view, columns) if columns else None


def _beside(one: _Table, state: MonthState) -> list[MonthState]:
    """The archived parts of the month that rows of ``state`` came late for."""
    return [other for other in one.states if other.month == state.month and other.is_archived]


def _attached(
    settings: Settings, one: _Table, tier: Tier, partition: Partition, beside: Sequence[MonthState], note: str = ""
) -> Branch:
    """The rows of a partition, without those that are archived already: each row is read once."""
    source = linked_relation(0, partition.relation)
    names = matched(one.view, one.living)
    if any(old != new for old, new in names):
        source = renamed(source, names)
    if beside:
        source = _without(settings, one, source, beside)
    told = partition.has_keys_of_month(one.table)
    return Branch(one.table, partition.month, tier, source, told, note=note)


def _without(settings: Settings, one: _Table, source: str, beside: Sequence[MonthState]) -> str:
    key, time_column = identifier(one.table.key_column), identifier(one.table.time_column)
    kept = " UNION ALL ".join(
        f"SELECT {key}, {time_column} FROM {archived(settings, state.catalogue.object_key or '', _names(one, state))}"
        for state in beside
    )
    same = f"kept.{key} = late.{key} AND kept.{time_column} = late.{time_column}"
    return f"(SELECT * FROM {source} AS late WHERE NOT EXISTS (SELECT 1 FROM ({kept}) AS kept WHERE {same}))"


def _stray(connection: Connection, settings: Settings, one: _Table, stray: Stray, is_hidden: bool) -> Branch | None:
    """A partition that the catalogue does not know; None for one without rows."""
    span = None if is_hidden else time_span(connection, one.table, stray.partition.relation)
    if span is None and not is_hidden:
        return None
    beside = [] if span is None else archived_beside(one.states, span)
    note = f"also read {stray}, which is the place of no month: see docs/operations.md, partitions made by others"
    if stray.partition.month is not None and not any(state.month == stray.partition.month for state in one.states):
        note = ""  # a month like any other that the next run enters into the catalogue
    return _attached(settings, one, stray.tier, stray.partition, beside, note)


def _nothing(one: _Table) -> str:
    return f"(SELECT {', '.join(f'NULL AS {identifier(column.name)}' for column in one.view)} WHERE false)"


def _missing(table: TieredTable, state: MonthState) -> str:
    parent = table.hot_parent if state.tier is Tier.HOT else table.warm_parent
    return (
        f"{table.name} {state.month} is {state.tier} by the catalogue, but {parent} has no partition of it: attach it "
        f"again (ALTER TABLE {parent} ATTACH PARTITION ...), see docs/operations.md"
    )
