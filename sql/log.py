"""The public log in PostgreSQL: the outbox that events are recorded in, and how far the log was published.

An event is recorded in the transaction that makes the change: when it cannot be, nothing happens. What is recorded
is put into the archive by `tasks.transparency.publish`.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID

import msgspec
from psycopg.rows import namedtuple_row

from ledger.errors import DataError
from ledger.installation import Owner
from ledger.month_tree import DIGEST_METHOD
from ledger.transparency.events import (
    Archived,
    Body,
    Event,
    KeptRows,
    KeyRotated,
    LoggedManifest,
    LoggedObject,
    LoggedTree,
    LogOpened,
    origin_of,
)
from sql.connection import Connection, fetch_one
from sql.queries import load
from sql.session_lock import SESSION_WAIT_S, session_lock
from sql.storing import check_stored

_QUERIES = load("log")


@dataclass(frozen=True, slots=True)
class LogRow:
    """The row of `log_state`. ``planned_size`` entries may have been signed, ``published_size`` are in the archive."""

    installation_id: UUID
    origin: str
    folder: str
    keys: tuple[str, ...]
    planned_size: int
    published_size: int
    root: bytes | None
    checkpoint: bytes | None
    published_at: datetime | None
    indexed_size: int
    timestamped_size: int
    witnessed: str
    timestamped: str
    shortfall: str


@contextmanager
def log_lock(connection: Connection, wait_s: int = SESSION_WAIT_S) -> Iterator[None]:
    """Keep every other publisher of this database out. Raises TransientError after ``wait_s`` of waiting."""
    with session_lock(connection, _QUERIES["lock_log"], _QUERIES["unlock_log"], "the public log", wait_s):
        yield


def may_publish(connection: Connection) -> bool:
    """Return whether the login of a connection may write to the log, which the API's own login may not."""
    return bool(fetch_one(connection, _QUERIES["may_publish"])[0])


def record_event(connection: Connection, owner: Owner, body: Body, happened_at: datetime | None = None) -> Event:
    """Record an event of ``owner`` in the caller's transaction, as its last statement; returns it.

    Others that record wait for the end of the transaction. The first event of an installation opens its log: before it
    are the log's opening and the months that are archived already. ``happened_at`` is aware; default: now, by
    PostgreSQL's clock. Raises DataError for an event that is too long.
    """
    with connection.transaction():
        connection.execute(_QUERIES["lock_outbox"])
        return _append(connection, owner, body, happened_at)


def _append(connection: Connection, owner: Owner, body: Body, happened_at: datetime | None = None) -> Event:
    """Record an event under the lock of the outbox, behind those that open the log where it is the first one."""
    last, has_events, now = fetch_one(connection, _QUERIES["last_number"], _of(owner))
    opening = [] if has_events else _opening(connection, owner, body)
    times = [*(now for _ in opening), happened_at or now]
    for number, (event_body, at) in enumerate(zip((*opening, body), times, strict=True), last + 1):
        event = Event(
            installation=owner.installation_id,
            incarnation=owner.incarnation,
            number=number,
            happened_at=at,
            body=event_body,
        )
        _insert(connection, event, None)
    return event


def _opening(connection: Connection, owner: Owner, first: Body) -> list[Body]:
    """What precedes the first event of a log: its opening, and the months that are archived already."""
    this = (first.table, first.month, first.part) if isinstance(first, Archived) else None
    others = [part for part in cold_parts(connection) if (part.table, part.month, part.part) != this]
    adopted = [msgspec.structs.replace(other, adopted=True) for other in others]
    return [LogOpened(origin=origin_of(owner.installation_id)), *adopted]


def _insert(connection: Connection, event: Event, entry_index: int | None) -> None:
    values = {
        "installation_id": event.installation,
        "incarnation": event.incarnation,
        "number": event.number,
        "event": event.body.event,
        "entry": event.to_bytes(),
        "happened_at": event.happened_at,
        "entry_index": entry_index,
    }
    check_stored(connection.execute(_QUERIES["add_event"], values), 1, "log_events")


def archived_part(connection: Connection, table: str, month: date, part: int) -> Archived:
    """The event of a part of a month that is cold, from the catalogue. ``month`` is its first day."""
    parts = list(cold_parts(connection, table, month, part))
    if not parts:
        raise DataError(f"{table} {month:%Y-%m}, part {part} is not archived: there is no event to record")
    return parts[0]


def cold_parts(
    connection: Connection, table: str | None = None, month: date | None = None, part: int | None = None
) -> Iterator[Archived]:
    """The events of the archived parts of months by the catalogue: of all of them, of a month, or of one."""
    where = {"table": table, "month": month, "part": part}
    with connection.cursor(row_factory=namedtuple_row) as cursor:
        for row in cursor.execute(_QUERIES["cold_parts"], where).fetchall():
            yield _archived(row)


def _archived(row: Any) -> Archived:
    if row.tree is None:
        raise DataError(
            f"{row.table_name} {row.month}: archived by a version that made no tree, so no event describes it"
        )
    return Archived(
        table=row.table_name,
        month=row.month,
        part=row.part,
        manifest=LoggedManifest(key=row.manifest_key, sha256=bytes(row.manifest_sha256).hex()),
        objects=msgspec.convert(row.objects, tuple[LoggedObject, ...]),
        kept=None if row.kept is None else msgspec.convert(row.kept, KeptRows),
        tree=LoggedTree(method=DIGEST_METHOD, size=row.tree["leaves"], root=bytes(row.digest).hex()),
        layout=row.layout,
        rows=row.row_count,
        sums=row.sums,
    )


def known_uploads(connection: Connection) -> dict[str, str]:
    """Every object whose upload was begun, with its state in `archive_uploads`."""
    return dict(connection.execute(_QUERIES["uploads"]).fetchall())


def read_log(connection: Connection, installation_id: UUID) -> LogRow | None:
    """How far the log of an installation was published; None before its first publication."""
    row = connection.execute(_QUERIES["state"], {"installation_id": installation_id}).fetchone()
    if row is None:
        return None
    number, origin, folder, keys, *rest = row
    return LogRow(number, origin, folder, tuple(keys), *rest)


def begin_log(connection: Connection, owner: Owner, folder: str) -> None:
    """Make the row of a log that will lie in ``folder``, unless it is there."""
    named = {"origin": origin_of(owner.installation_id), "folder": folder}
    connection.execute(_QUERIES["begin_log"], {"installation_id": owner.installation_id} | named)


def read_entries(connection: Connection, installation_id: UUID) -> list[bytes]:
    """The entries that have a place in the log, in order. Raises DataError where a place is missing."""
    rows = connection.execute(_QUERIES["entries"], {"installation_id": installation_id}).fetchall()
    for place, (entry_index, _) in enumerate(rows):
        if entry_index != place:
            raise DataError(f"log_events: the entry {place} of the log is missing: it was removed from PostgreSQL")
    return [bytes(entry) for _, entry in rows]


def plan_entries(connection: Connection, owner: Owner, keys: Sequence[str] | None) -> int:
    """Give what waits its places in the log, in one transaction; returns the size that the log will have.

    From its commit on the log may be signed at this size, and at no other content of it. ``keys`` are recorded first as
    the log's keys, when they are given. Safe to run again.
    """
    with connection.transaction():
        connection.execute(_QUERIES["lock_outbox"])
        row = _require(connection, owner)
        if keys is not None:
            _append(connection, owner, KeyRotated(old=row.keys, new=tuple(keys)))
        where = {"installation_id": owner.installation_id, "planned_size": row.planned_size}
        planned = connection.execute(_QUERIES["plan"], where).rowcount
        size = row.planned_size + planned
        values = where | {"planned_size": size, "keys": list(row.keys if keys is None else keys)}
        check_stored(connection.execute(_QUERIES["set_planned"], values), 1, "log_state")
        return size


def mark_published(connection: Connection, owner: Owner, size: int, root: bytes, checkpoint: bytes) -> None:
    """Record that the archive holds ``checkpoint``, of ``size`` entries."""
    values = {"size": size, "root": root, "checkpoint": checkpoint}
    _change(connection, owner, "set_published", values)


def mark_indexed(connection: Connection, owner: Owner, size: int) -> None:
    """Record that the archive holds the indexes of ``size`` entries."""
    _change(connection, owner, "set_indexed", {"size": size})


def mark_timestamped(connection: Connection, owner: Owner, size: int) -> None:
    """Record that the archive holds a timestamp of the checkpoint of ``size`` entries."""
    _change(connection, owner, "set_timestamped", {"size": size})


def note_publication(connection: Connection, owner: Owner, witnessed: str, timestamped: str, shortfall: str) -> None:
    """Record the results of witnesses and time-stamping, for the health check."""
    values = {"witnessed": witnessed, "timestamped": timestamped, "shortfall": shortfall}
    connection.execute(_QUERIES["set_notes"], values | {"installation_id": owner.installation_id})


def list_undecided(connection: Connection, installation_id: UUID, from_index: int) -> list[tuple[int, bytes]]:
    """The events without a place, or with one from ``from_index`` on: number of the row and entry, in their order."""
    where = {"installation_id": installation_id, "from_index": from_index}
    return [(event_id, bytes(entry)) for event_id, entry, _ in connection.execute(_QUERIES["undecided"], where)]


def replace_events(connection: Connection, event_ids: Sequence[int]) -> None:
    """Take events back that were never published, so that they can be recorded again."""
    replaced = connection.execute(_QUERIES["replace_events"], {"event_ids": list(event_ids)})
    check_stored(replaced, len(event_ids), "log_events")


def insert_published(connection: Connection, event: Event, entry_index: int) -> None:
    """Record an event that another database has published, at its place in the log."""
    _insert(connection, event, entry_index)


def take_log(
    connection: Connection, owner: Owner, folder: str, size: int, root: bytes, checkpoint: bytes, keys: Sequence[str]
) -> None:
    """Record that the log is the one that another database has published, at ``size`` entries."""
    begin_log(connection, owner, folder)
    values = {"size": size, "root": root, "checkpoint": checkpoint, "keys": list(keys)}
    _change(connection, owner, "take_log", values)


def count_waiting(connection: Connection, installation_id: UUID) -> tuple[int, datetime | None]:
    """How many events are recorded and not published, and since when the oldest one waits (UTC)."""
    count, oldest = fetch_one(connection, _QUERIES["waiting"], {"installation_id": installation_id})
    return count, oldest


def waiting_months(connection: Connection, installation_id: UUID) -> set[tuple[str, str]]:
    """The tables and months that recorded and unpublished events are about."""
    return set(connection.execute(_QUERIES["waiting_months"], {"installation_id": installation_id}).fetchall())


@dataclass(frozen=True, slots=True)
class RecordedEvent:
    """An event as lists show it. ``entry_index`` is its place in the log, None before it is planned."""

    entry_index: int | None
    incarnation: int
    number: int
    event: str
    happened_at: datetime


def newest_events(connection: Connection, installation_id: UUID, limit: int) -> list[RecordedEvent]:
    """The newest events of an installation, the newest first."""
    rows = connection.execute(_QUERIES["newest_events"], {"installation_id": installation_id, "limit": limit})
    return [RecordedEvent(*row) for row in rows]


def find_archived(connection: Connection, installation_id: UUID, table: str, month: str, part: int = 1) -> Any:
    """The place in the log (None before it is planned) and the entry of the event that archived a part of a month.

    ``month`` is ``YYYY-MM``. None where there is no such event.
    """
    where = {"installation_id": installation_id, "table": table, "month": month, "part": part}
    row = connection.execute(_QUERIES["archived_event"], where).fetchone()
    return None if row is None else (row[0], bytes(row[1]))


def _change(connection: Connection, owner: Owner, query: str, values: dict[str, object]) -> None:
    changed = connection.execute(_QUERIES[query], values | {"installation_id": owner.installation_id})
    check_stored(changed, 1, "log_state")


def _require(connection: Connection, owner: Owner) -> LogRow:
    row = read_log(connection, owner.installation_id)
    if row is None:
        raise DataError(f"log_state: there is no row of the log of installation {owner.installation_id}")
    return row


def _of(owner: Owner) -> dict[str, object]:
    return {"installation_id": owner.installation_id, "incarnation": owner.incarnation}
