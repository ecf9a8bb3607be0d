"""The nightly look at objects in storage classes of their own: by HEAD alone, without a byte read."""

from collections.abc import Sequence
from dataclasses import dataclass

from config import Settings
from ledger.errors import DataError
from sql.connection import Connection
from sql.deep import ClassedPart, classed_parts, note_etag
from sql.verified import PartAge, part_ages
from storage.storage_classes import ClassState, StorageClasses
from storage.store import ObjectStore

PartKey = tuple[str, str, int]


@dataclass(frozen=True, slots=True)
class LookedAt:
    """The result of the look: what is wrong, and the parts that can be read now. It also has those that must be read,
    because the ETag of their object has changed.
    """

    findings: Sequence[tuple[str, str]]
    readable: Sequence[PartAge]
    changed: frozenset[PartKey]


def look_at_classes(connection: Connection, settings: Settings) -> LookedAt:
    """Look at every object that is in a storage class of its own. Raises the store's errors; safe to run again."""
    parts = classed_parts(connection)
    ages = part_ages(connection, classed=True)
    present = {(age.table_name, age.month, age.part): age for age in ages if age.former_key is None}
    findings: list[tuple[str, str]] = []
    readable, changed = list[PartAge](), set[PartKey]()
    store, classes = ObjectStore(settings), StorageClasses(settings)
    readable += [age for age in ages if age.former_key is not None and store.is_readable(age.former_key)]
    for part in parts:
        named = (part.table_name, part.month, part.part)
        try:
            state = classes.state(part.object_key)
        except DataError:
            continue  # the look at the list of objects finds what is missing
        is_readable = store.is_readable(part.object_key)
        if is_readable and named in present:
            readable.append(present[named])
        is_same = _is_same(connection, part, state)
        if not is_same and is_readable:
            changed.add(named)
            note_etag(connection, part, state.etag)  # tonight its bytes are read, which say more
        elif not is_same:
            findings.append((part.object_key, _replaced(part, state)))
    return LookedAt(findings, readable, frozenset(changed))


def _replaced(part: ClassedPart, state: ClassState) -> str:
    return (
        f"its ETag is {state.etag}, and was {part.deep_etag} in {part.storage_class}: somebody has replaced or copied "
        "it. Restore it, and verify it"
    )


def _is_same(connection: Connection, part: ClassedPart, state: ClassState) -> bool:
    """Whether the store has the object that went there. A rebuilt catalogue does not know its ETag yet."""
    if part.deep_etag is None and state.etag:
        note_etag(connection, part, state.etag)
        return True
    return part.deep_etag in (None, state.etag)
