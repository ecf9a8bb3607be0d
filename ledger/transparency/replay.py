"""The log replayed: which months must exist, as which objects, and which keys sign it; and the index that says so."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

import msgspec
import rfc8785

from ledger.errors import DataError
from ledger.transparency.events import (
    Archived,
    Body,
    Count,
    Deepened,
    Deleted,
    DeletionBegun,
    Event,
    Held,
    KeyRotated,
    LoggedManifest,
    LoggedObject,
    LogOpened,
    MonthName,
    Number,
    Record,
    Released,
    Returned,
    Sha256,
    TableName,
)

INDEX_FORMAT = "treasury-index-v1"
MonthKey = tuple[str, str, int]


@dataclass(frozen=True, slots=True)
class Existing:
    """A part of a month that must exist, by the entry ``index`` of the log."""

    index: int
    archived: Archived


@dataclass(frozen=True, slots=True)
class Gone:
    """A part of a month that need not exist any more. It has how it was archived, and the entries that say that its
    deletion began and, where it has ended, that it was deleted. ``former`` are the parts that went back to warm before,
    whose objects go with it: at the first part of the month.
    """

    archived: Existing | None
    begun: tuple[int, DeletionBegun] | None
    deleted: tuple[int, Deleted] | None = None
    former: tuple[Existing, ...] = ()


@dataclass(slots=True)
class LogState:
    """The state of a log after its first ``size`` entries.

    ``deep``: those of the months that are in the deep tier, each with its storage class and the entry that says so.
    ``former``: by table and month, the parts that went back to warm; their objects stay until the month is deleted.
    ``returned``: the months that did and are not archived again, each with the entry that says so.
    ``gone``: parts whose deletion has begun or ended. ``holds``: those that are open, by their names, each with its
    entry. ``key_changes``: from which entry on which keys sign it. ``tables``: those that a month was ever archived of.
    """

    size: int = 0
    origin: str | None = None
    months: dict[MonthKey, Existing] = field(default_factory=dict)
    deep: dict[MonthKey, tuple[int, Deepened]] = field(default_factory=dict)
    former: dict[tuple[str, str], tuple[Existing, ...]] = field(default_factory=dict)
    returned: dict[tuple[str, str], tuple[int, Returned]] = field(default_factory=dict)
    gone: dict[MonthKey, Gone] = field(default_factory=dict)
    holds: dict[str, tuple[int, Held]] = field(default_factory=dict)
    key_changes: list[tuple[int, KeyRotated]] = field(default_factory=list)
    tables: set[str] = field(default_factory=set)

    @property
    def keys(self) -> tuple[str, ...]:
        """The verifier keys that sign the log now."""
        return self.key_changes[-1][1].new if self.key_changes else ()

    def keys_at(self, size: int) -> tuple[str, ...]:
        """The verifier keys that a checkpoint of ``size`` entries must be signed by."""
        changes = [change.new for index, change in self.key_changes if index < size]
        return changes[-1] if changes else ()


def replay(events: Iterable[Event]) -> LogState:
    """The state that all events of a log give, in their order.

    A part of a month that is archived again, as after a restored backup, is what the later event says.
    """
    state = LogState()
    for index, event in enumerate(events):
        _apply(state, index, event.body)
        state.size = index + 1
    return state


def _apply(state: LogState, index: int, body: Body) -> None:
    match body:
        case LogOpened():
            state.origin = body.origin
        case Archived():
            state.months[body.table, body.month, body.part] = Existing(index, body)
            state.gone.pop((body.table, body.month, body.part), None)
            state.deep.pop((body.table, body.month, body.part), None)
            state.returned.pop((body.table, body.month), None)
            state.tables.add(body.table)
        case Returned():
            _return(state, index, body)
        case Deepened() if body.part is not None:
            state.deep[body.table, body.month, body.part] = (index, body)
        case DeletionBegun():
            _begin_deletion(state, index, body)
        case Deleted():
            _delete(state, index, body)
        case Held():
            state.holds[body.hold] = (index, body)
        case Released():
            state.holds.pop(body.hold, None)
        case KeyRotated():
            state.key_changes.append((index, body))


def _return(state: LogState, index: int, body: Returned) -> None:
    of_month = (body.table, body.month)
    keys = [(*of_month, part.part) for part in body.parts]
    former = [state.months.pop(key) for key in keys if key in state.months]
    for key in keys:
        state.deep.pop(key, None)
    state.former[of_month] = (*state.former.get(of_month, ()), *former)
    state.returned[of_month] = (index, body)


def _begin_deletion(state: LogState, index: int, body: DeletionBegun) -> None:
    former = state.former.pop((body.table, body.month), ())
    for part in body.parts:
        key = (body.table, body.month, part)
        state.deep.pop(key, None)
        state.gone[key] = Gone(state.months.pop(key, None), (index, body), former=former)
        former = ()


def _delete(state: LogState, index: int, body: Deleted) -> None:
    for key in [*state.months, *(key for key, gone in state.gone.items() if gone.deleted is None)]:
        if key[:2] == (body.table, body.month) and body.part in (None, key[2]):
            former = state.gone.get(key) or Gone(state.months.pop(key, None), None)
            state.gone[key] = Gone(former.archived, former.begun, (index, body), former.former)


def replay_entries(entries: Iterable[bytes], *, are_own: bool = False) -> LogState:
    """`replay` of entries. Raises DataError naming the first that is not an event.

    That they are canonical is not looked at again where they ``are_own``: PostgreSQL keeps the bytes that were made.
    """
    return replay(_events(entries, Event.read_own if are_own else Event.from_bytes))


def _events(entries: Iterable[bytes], read: Callable[[bytes], Event]) -> Iterable[Event]:
    for index, entry in enumerate(entries):
        try:
            yield read(entry)
        except DataError as error:
            raise DataError(f"log, entry {index}: {error}") from None


def number_gaps(events: Iterable[tuple[int, Event]]) -> Iterator[str]:
    """A sentence for each event, given with its place in the log, whose number does not follow the one before it of its
    incarnation.
    """
    last: dict[tuple[str, int], int] = {}
    for index, event in events:
        incarnation = (str(event.installation), event.incarnation)
        if event.number != last.get(incarnation, 0) + 1:
            yield (
                f"entry {index}: number {event.number} of incarnation {event.incarnation} follows "
                f"{last.get(incarnation, 0)}: an event was taken out before it was published"
            )
        last[incarnation] = event.number


def check_numbers(events: Sequence[Event]) -> None:
    """Raise DataError naming the first event whose number leaves a gap (`number_gaps`)."""
    for gap in number_gaps(enumerate(events)):
        raise DataError(f"log, {gap}")


class IndexedMonth(Record, frozen=True):
    """A part of a month that must exist. ``entry`` is the index of its event in the log."""

    month: MonthName
    part: Number
    entry: Count
    rows: Count
    manifest: LoggedManifest
    objects: tuple[LoggedObject, ...]


class Index(Record, frozen=True, kw_only=True):
    """The months of one table that must exist by the first ``size`` entries of the log, whose root is ``root``."""

    format: Literal["treasury-index-v1"] = "treasury-index-v1"
    origin: str
    table: TableName
    size: Count
    root: Sha256
    months: tuple[IndexedMonth, ...]

    def to_text(self) -> str:
        """The text of the signed note: one line of canonical JSON (RFC 8785)."""
        return rfc8785.dumps(msgspec.to_builtins(self)).decode() + "\n"

    @classmethod
    def from_text(cls, text: str) -> "Index":
        """Read the text of a note. Raises DataError for one that is not an index, or not in canonical form."""
        try:
            index = msgspec.json.decode(text, type=cls)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            raise DataError(f"the text of the note is not a {INDEX_FORMAT}") from None
        if index.to_text() != text:
            raise DataError("the index is not in canonical form")
        return index


def index_of(state: LogState, table: str, root: bytes) -> Index:
    """The index of a table by a replayed log. Raises DataError for a log that was not opened."""
    if state.origin is None:
        raise DataError("the log does not say its origin: the event log_opened is missing")
    months = tuple(
        IndexedMonth(
            month=month,
            part=part,
            entry=existing.index,
            rows=existing.archived.rows,
            manifest=existing.archived.manifest,
            objects=existing.archived.objects,
        )
        for (name, month, part), existing in sorted(state.months.items())
        if name == table
    )
    return Index(origin=state.origin, table=table, size=state.size, root=root.hex(), months=months)
