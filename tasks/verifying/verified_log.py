"""What a verified log says: the months that must exist, the records beside them, and the keys that it names."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from ledger.transparency.events import Archived, Event, LoggedManifest, LoggedObject, LoggedTree, Returned
from ledger.transparency.replay import Gone, MonthKey
from tasks.verifying.remembered_log import RememberedLog


@dataclass(frozen=True, slots=True)
class ExpectedMonth:
    """A part of a month that must exist, by the log or, where that is damaged, by an index. ``tree``, ``sums`` and
    ``layout`` are None where only the index says so.
    """

    table: str
    month: str
    part: int
    rows: int
    manifest: LoggedManifest
    objects: tuple[LoggedObject, ...]
    tree: LoggedTree | None = None
    sums: Mapping[str, Mapping[str, str]] | None = None
    layout: Mapping[str, object] | None = None


@dataclass(slots=True)
class VerifiedLog:
    """The verified content of a log. It has the months that must exist, the keys of objects that earlier entries name,
    and the parts of the head that the home remembers. ``is_whole``: the entries lead to the signed root.

    ``gone`` are the parts whose deletion has begun or ended. ``records`` are the objects that record who held, released
    or deleted what, each with the entry that names it. ``returned`` are parts that went back to warm, whose objects
    stay. ``in_work`` are the months that did and are not archived again, each with the entry that says so.
    """

    months: list[ExpectedMonth] = field(default_factory=list)
    gone: dict[MonthKey, Gone] = field(default_factory=dict)
    records: list[tuple[int, LoggedObject]] = field(default_factory=list)
    former: set[str] = field(default_factory=set)
    returned: list[ExpectedMonth] = field(default_factory=list)
    in_work: dict[tuple[str, str], tuple[int, Returned]] = field(default_factory=dict)
    tables: set[str] = field(default_factory=set)
    incarnation: int = 0
    is_whole: bool = False
    remembered: RememberedLog | None = None


def _expected(archived: Archived) -> ExpectedMonth:
    return ExpectedMonth(
        archived.table,
        archived.month,
        archived.part,
        archived.rows,
        archived.manifest,
        archived.objects,
        tree=archived.tree,
        sums=archived.sums,
        layout=archived.layout,
    )


def _records(events: Sequence[tuple[int, Event]]) -> list[tuple[int, LoggedObject]]:
    """The objects beside the months that entries name, each once."""
    records: dict[str, tuple[int, LoggedObject]] = {}
    for index, event in events:
        for name in ("record", "page"):
            record = getattr(event.body, name, None)
            if record is not None:
                records.setdefault(record.key, (index, record))
    return list(records.values())


def _named_keys(events: Iterator[Event]) -> Iterator[str]:
    for event in events:
        if isinstance(event.body, Archived):
            yield from keys_of(event.body)


def keys_of(archived: Archived) -> tuple[str, ...]:
    """The keys of all objects of a part of a month."""
    return (archived.manifest.key, *(stored.key for stored in archived.objects))
