"""The deep tier in PostgreSQL: which archived parts are there, and the copies that were begun."""

from dataclasses import dataclass
from datetime import date, datetime

from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from ledger.errors import NotFoundError
from ledger.months import Month
from sql.connection import Connection
from sql.queries import load
from sql.storing import check_stored

_QUERIES = load("deep")
_TIERS = load("tiers")


@dataclass(frozen=True, slots=True)
class DeepCandidate:
    """A part of a month (its first day) with its object of rows, as the catalogue has it."""

    table_name: str
    month: date
    part: int
    tier: str
    step: str
    row_count: int
    object_key: str
    object_bytes: int
    object_sha256: bytes
    manifest_sha256: bytes
    storage_class: str | None

    @property
    def row(self) -> dict[str, object]:
        """The part as parameters of the queries."""
        return {"table": self.table_name, "month": self.month, "part": self.part}


@dataclass(frozen=True, slots=True)
class BegunCopy:
    """A copy that was begun: into which class, and what the store must say of it when it has ended.

    ``from_version`` and ``from_etag`` are of the object that was read. In a copy of several parts each but the last has
    ``part_bytes``.
    """

    storage_class: str
    size_bytes: int
    part_bytes: int
    etag: str
    checksum: str
    from_version: str
    from_etag: str


@dataclass(frozen=True, slots=True)
class ClassedPart:
    """An archived part of a month (``YYYY-MM``) whose object is in a storage class of its own."""

    table_name: str
    month: str
    part: int
    object_key: str
    object_bytes: int
    storage_class: str
    deep_etag: str | None


def find_part(connection: Connection, table: str, month: Month, part: int) -> DeepCandidate:
    """A part of a month. Raises NotFoundError."""
    with connection.cursor(row_factory=class_row(DeepCandidate)) as cursor:
        named = {"table": table, "month": month.first_day, "part": part}
        candidate = cursor.execute(_QUERIES["part"], named).fetchone()
    if candidate is None:
        raise NotFoundError(f"{table} {month} has no part {part}")
    return candidate


def find_copy(connection: Connection, key: str) -> BegunCopy | None:
    """The copy of an object that was begun; None where none was."""
    with connection.cursor(row_factory=class_row(BegunCopy)) as cursor:
        return cursor.execute(_QUERIES["copy"], {"object_key": key}).fetchone()


def begin_copy(connection: Connection, part: DeepCandidate, copy: BegunCopy) -> None:
    """Record a copy before its first request."""
    values = part.row | {"object_key": part.object_key} | {name: getattr(copy, name) for name in BegunCopy.__slots__}
    check_stored(connection.execute(_QUERIES["begin_copy"], values), 1, "archive_copies")


def drop_copy(connection: Connection, key: str) -> None:
    """Forget a copy that was begun."""
    connection.execute(_QUERIES["drop_copy"], {"object_key": key})


def mark_deep(connection: Connection, part: DeepCandidate, storage_class: str | None, etag: str) -> None:
    """Record that a part is deep, and forget its copy. In the caller's transaction."""
    values = part.row | {"storage_class": storage_class, "etag": etag or None}
    check_stored(connection.execute(_QUERIES["mark_deep"], values), 1, "archive_months")
    drop_copy(connection, part.object_key)
    detail = Jsonb({"part": part.part, "storage_class": storage_class})
    event = {"table": part.table_name, "month": part.month, "event": "deepened", "detail": detail}
    check_stored(connection.execute(_TIERS["add_event"], event), 1, "archive_events")


def note_failure(connection: Connection, table: str, month: Month, part: int, reason: str) -> None:
    """Keep the reason why a part did not go deep."""
    values = {"table": table, "month": month.first_day, "part": part, "error": reason}
    connection.execute(_QUERIES["note_failure"], values)


def classed_parts(connection: Connection) -> list[ClassedPart]:
    """The archived parts whose objects are in a storage class of their own."""
    with connection.cursor(row_factory=class_row(ClassedPart)) as cursor:
        return cursor.execute(_QUERIES["classed_parts"]).fetchall()


def mark_went_deep(
    connection: Connection, table: str, month: date, part: int, storage_class: str | None, at: datetime
) -> None:
    """Record what the log says of a part that another database has moved; nothing where the part is not archived."""
    values = {"table": table, "month": month, "part": part, "storage_class": storage_class, "at": at}
    connection.execute(_QUERIES["mark_went_deep"], values)


def note_etag(connection: Connection, part: ClassedPart, etag: str) -> None:
    """Record the ETag of an object whose bytes are known."""
    values = {"object_key": part.object_key, "etag": etag}
    check_stored(connection.execute(_QUERIES["note_etag"], values), 1, "archive_months")
