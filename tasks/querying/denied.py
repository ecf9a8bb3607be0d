"""Archived months that cannot have the value that a question looks for: their filters deny it, and no file is opened.

A filter says what cannot be there. The filters are asked about equality with a text or a UUID, exactly as the value is
stored. A column that the file has as another type, or not at all, and a month without filters stay in.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from uuid import UUID

from ledger.columns import ColumnKind
from sql.connection import Connection
from sql.lookups import filter_blocks
from storage.branches import ColdFile, Need
from storage.conditions import Condition
from storage.filters import hash_of, may_have
from tasks.querying.places import Places

_MOST_VALUES = 16  # of a list of equals: of more, some month has one of them
_KINDS = {ColumnKind.TEXT: str, ColumnKind.UUID: UUID}


@dataclass(frozen=True, slots=True)
class _Asked:
    """A value that a filter is asked for: the file's key, the column's number, the value's hash."""

    key: str
    field_id: int
    hashed: int


def without_denied(connection: Connection, places: Places, needs: Sequence[Need]) -> list[Need]:
    """``needs`` without the archived months whose filters deny every row that is asked for."""
    asked = {id(need): [[*_filtered(places, need, all_)] for all_ in need.asked.alternatives] for need in needs}
    flat = list(
        {
            question: None
            for alternatives in asked.values()
            for all_ in alternatives
            for values in all_
            for question in values
        }
    )
    if not flat:
        return list(needs)
    blocks = filter_blocks(connection, [(question.key, question.field_id, question.hashed) for question in flat])
    denied = {flat[place] for place, block in blocks.items() if not may_have(block, flat[place].hashed)}

    def is_possible(need: Need) -> bool:
        alternatives = asked[id(need)]
        return not alternatives or any(all(not denied.issuperset(values) for values in all_) for all_ in alternatives)

    return [need for need in needs if is_possible(need)]


def _filtered(places: Places, need: Need, conditions: Sequence[Condition]) -> Iterator[list[_Asked]]:
    """For each condition that a filter of the need's file can deny: the values of which one must be there."""
    file = need.branch.file
    if file is None:
        return
    (archived,) = places.objects[need.branch.source].values()
    for condition in conditions:
        column = _column(file, condition)
        if column is not None:
            values = (value for value in condition.values if isinstance(value, str | UUID))
            yield [_Asked(archived.key, column, hash_of(value)) for value in values]


def _column(file: ColdFile, condition: Condition) -> int | None:
    """The number of the column in a file that a condition is about; None where no filter can deny it."""
    if condition.comparison != "=" or not 0 < len(condition.values) <= _MOST_VALUES:
        return None
    column = file.layout.by_name.get(file.layout.there.get(condition.column, ""))
    kind = _KINDS.get(column.kind) if column is not None else None
    if column is None or kind is None or not all(isinstance(value, kind) for value in condition.values):
        return None
    return column.field_id
