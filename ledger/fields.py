"""The number of every column that a table has or had: it outlives names, so that archived columns are known by it.

A column is known in PostgreSQL by its attribute number, which a RENAME keeps and no other column of the relation ever
gets. A restored dump gives other numbers, and another parent other attributes: then names are compared instead.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace

from ledger.columns import Column
from ledger.installation import Identity


@dataclass(frozen=True, slots=True)
class ColumnPlace:
    """The place of a column in PostgreSQL: an attribute of a relation of a database."""

    identity: Identity
    relation_oid: int
    attribute: int

    def is_beside(self, other: "ColumnPlace") -> bool:
        """Return whether both are attributes of one relation, so that their numbers can be compared."""
        return self.relation_oid == other.relation_oid and self.identity.is_same(other.identity)


@dataclass(frozen=True, slots=True)
class Field:
    """A column of a table. ``name`` is the one that it has, or had last; ``former_names`` those before, in order."""

    field_id: int
    name: str
    former_names: tuple[str, ...]
    place: ColumnPlace
    is_dropped: bool = False

    def named(self, name: str, place: ColumnPlace) -> "Field":
        """The field under the name and at the place that it has now."""
        former = self.former_names if name == self.name else (*self.former_names, self.name)
        kept = self.place if self.place.is_beside(place) else place
        return replace(self, name=name, former_names=former, place=kept)


@dataclass(frozen=True, slots=True)
class Fields:
    """The columns of a table: ``living`` by their present names, ``dropped`` ones, ``new`` ones without a number."""

    living: tuple[Field, ...] = ()
    dropped: tuple[Field, ...] = ()
    new: tuple[tuple[str, ColumnPlace], ...] = ()

    @classmethod
    def of(cls, known: Sequence[Field], attributes: Sequence[tuple[str, ColumnPlace]]) -> "Fields":
        """Return what is ``known`` of a table, held against the ``attributes`` that its hot parent has now."""
        open_fields = [field for field in known if not field.is_dropped]
        living, new = [], []
        for name, place in attributes:
            known_field = next((field for field in open_fields if _is_at(field, name, place)), None)
            if known_field is None:
                new.append((name, place))
            else:
                living.append(known_field.named(name, place))
        kept = {field.field_id for field in living}
        dropped = tuple(field for field in known if field.field_id not in kept)
        return cls(tuple(living), dropped, tuple(new))

    def numbered(self, columns: Sequence[Column]) -> tuple[Column, ...]:
        """``columns`` of the table as it is now, with their numbers."""
        numbers = {field.name: field.field_id for field in self.living}
        return tuple(replace(column, field_id=numbers.get(column.name)) for column in columns)


def _is_at(field: Field, name: str, place: ColumnPlace) -> bool:
    if field.place.is_beside(place):
        return field.place.attribute == place.attribute
    return field.name == name


def view_columns(fields: Fields, columns: Sequence[Column], archived: Iterable[Sequence[Column]]) -> tuple[Column, ...]:
    """The columns of a table's view over all tiers: those that it has now, then what old questions and archived months
    know in addition. ``archived`` are the columns of the archived months, oldest month first.

    A renamed column also answers to each former name that no other column has. A dropped column that archived months
    still have keeps its last name, or is ``<name>_field_<number>`` where another column has that name now.
    """
    view = {column.name.lower(): column for column in fields.numbered(columns)}
    last = {column.field_id: column for month in archived for column in month}
    for field in fields.dropped:
        if (column := last.get(field.field_id)) is not None:
            name = _free(field.name, f"{field.name}_field_{field.field_id}", view)
            view[name.lower()] = replace(column, name=name, nullable=True)
    numbers = {column.field_id: column for column in view.values() if column.field_id is not None}
    for field in (*fields.living, *fields.dropped):
        for former in reversed(field.former_names):
            if field.field_id in numbers and former.lower() not in view:
                view[former.lower()] = replace(numbers[field.field_id], name=former)
    return tuple(view.values())


def _free(name: str, longer: str, taken: Collection[str]) -> str:
    """``name`` or ``longer``, whichever is free. SQL over all tiers ignores case."""
    if name.lower() not in taken:
        return name
    while longer.lower() in taken:
        longer += "_"
    return longer


def matched(view: Sequence[Column], source: Sequence[Column]) -> list[tuple[str, str]]:
    """For each column of the view that ``source`` has: its name there, and in the view. Numbers decide, then names."""
    numbered = {column.field_id: column.name for column in source if column.field_id is not None}
    named = {column.name for column in source if column.field_id is None}
    pairs = []
    for column in view:
        name = numbered.get(column.field_id) if column.field_id is not None else None
        if name is None and column.name in named:
            name = column.name
        if name is not None:
            pairs.append((name, column.name))
    return pairs
