"""Deletions of months in PostgreSQL: how far each one has come, with its parts, objects and certificate."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from ledger.errors import NotFoundError
from ledger.installation import Owner
from ledger.months import Month
from sql.connection import Connection, fetch_one
from sql.lookups import forget_lookups
from sql.queries import load
from sql.session_lock import try_session_lock
from sql.storing import check_counted, check_stored
from sql.totals import forget_deleted

_QUERIES = load("deletions")


@contextmanager
def deletion_lock(connection: Connection) -> Iterator[None]:
    """Delete alone, until the end of the block or of the connection. Raises ConflictError while another run does."""
    otherwise = "another run deletes months; one does so at a time"
    with try_session_lock(connection, _QUERIES["lock"], _QUERIES["unlock"], otherwise):
        yield


@dataclass(frozen=True, slots=True)
class MonthPart:
    """A part of a month that is about to be deleted, as the catalogue has it."""

    part: int
    tier: str
    step: str
    attempt: int
    row_count: int
    sums: dict[str, dict[str, str]]
    digest: bytes
    object_key: str
    object_bytes: int
    object_sha256: bytes
    manifest_key: str
    manifest_sha256: bytes
    tree: dict[str, Any]
    kept: dict[str, Any] | None


def month_parts(connection: Connection, table: str, month: Month) -> list[MonthPart]:
    """The parts of a month that are not deleted, locked until the end of the transaction."""
    with connection.cursor(row_factory=class_row(MonthPart)) as cursor:
        return cursor.execute(_QUERIES["month_parts"], {"table": table, "month": month.first_day}).fetchall()


def newest_part(connection: Connection, table: str, month: Month) -> tuple[int, int]:
    """The highest number of a part of a month, deleted ones too, and of an attempt."""
    part, attempt = fetch_one(connection, _QUERIES["newest_part"], {"table": table, "month": month.first_day})
    return part, attempt


def unused_copies(connection: Connection, table: str, month: Month) -> list[tuple[str, bool]]:
    """The objects with held rows that interrupted tries left, each with whether these rows are held for sure."""
    return connection.execute(_QUERIES["unused_copies"], {"table": table, "month": month.first_day}).fetchall()


def leftovers(connection: Connection, table: str, month: Month) -> list[tuple[str, int, str]]:
    """The objects that interrupted attempts at a month left behind: key, part and state."""
    rows = connection.execute(_QUERIES["leftovers"], {"table": table, "month": month.first_day})
    return [(key, part, state) for key, part, state in rows]


def uploads_of_month(connection: Connection, table: str, month: Month) -> set[str]:
    """The keys of all objects of a month whose upload was begun and that are not removed."""
    rows = connection.execute(_QUERIES["uploads_of_month"], {"table": table, "month": month.first_day})
    return {key for (key,) in rows}


def removed_uploads(connection: Connection, table: str, month: Month) -> set[str]:
    """The keys of all objects of a month that were removed, as far as the store let them go."""
    rows = connection.execute(_QUERIES["removed_uploads"], {"table": table, "month": month.first_day})
    return {key for (key,) in rows}


@dataclass(frozen=True, slots=True)
class DoomedObject:
    """An object that a deletion removes. Size and SHA-256 are None for a leftover, of which only the key is known.

    ``versions`` are what the store had of it, with size, storage class and lock of each version.
    """

    object_key: str
    part: int
    kind: str
    size_bytes: int | None
    sha256: bytes | None
    versions: list[dict[str, Any]]
    removed_at: datetime | None = None
    proved_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Deletion:
    """A deletion of a month. ``order_content`` says what was ordered; the event is the log's ``deletion_begun``."""

    number: int
    certificate: str
    request_id: int | None
    table_name: str
    month: date
    state: str
    order_content: bytes
    order_key: str
    begun_at: datetime
    event_incarnation: int
    event_number: int
    certificate_content: bytes | None
    certificate_key: str | None
    page_key: str | None
    finished_at: datetime | None
    last_error: str | None

    def __str__(self) -> str:
        return f"{self.table_name} {Month.of(self.month)}"


def next_number(connection: Connection) -> int:
    """The number of the next deletion. Under `deletion_lock`."""
    return int(fetch_one(connection, _QUERIES["next_number"])[0])


def add_deletion(connection: Connection, values: Mapping[str, Any], objects: Sequence[DoomedObject]) -> None:
    """Record that a deletion has begun, and the objects that it removes. ``values`` are the columns of `deletions`."""
    check_stored(connection.execute(_QUERIES["add_deletion"], values), 1, "deletions")
    for doomed_object in objects:
        named = {
            "number": values["number"],
            "object_key": doomed_object.object_key,
            "part": doomed_object.part,
            "kind": doomed_object.kind,
        }
        content = {"size_bytes": doomed_object.size_bytes, "sha256": doomed_object.sha256}
        check_stored(connection.execute(_QUERIES["add_object"], named | content), 1, "deletion_objects")


def begin_parts(
    connection: Connection, table: str, month: Month, parts: Sequence[int], certificate: str, begun_at: datetime
) -> None:
    """Take parts of a month out of the archive's views, and their filters away. Raises NotStoredError unless all of
    them are archived.
    """
    values = {"table": table, "month": month.first_day, "parts": list(parts)}
    changed = connection.execute(_QUERIES["begin_parts"], values | {"certificate": certificate, "begun_at": begun_at})
    check_stored(changed, len(parts), "archive_months")
    forget_lookups(connection, table, month.first_day, parts)
    forget_deleted(connection, table, month, parts)


def add_kept_part(connection: Connection, values: Mapping[str, Any], keys: Sequence[str]) -> None:
    """Enter the part whose rows holds keep, and adopt its objects."""
    stored = {**values, **{name: Jsonb(values[name]) for name in ("sums", "tree", "lookup", "kept")}}
    check_stored(connection.execute(_QUERIES["add_kept_part"], stored), 1, "archive_months")
    named = {name: values[name] for name in ("table", "month", "part")}
    adopted = connection.execute(_QUERIES["adopt_kept"], {**named, "keys": list(keys)})
    check_stored(adopted, len(keys), "archive_uploads")


def mark_wholly_held(connection: Connection, table: str, month: Month, part: int, holds: Sequence[str]) -> None:
    """Record that these holds keep every row of a part. It is forgotten when the part goes back to warm."""
    named = {"table": table, "month": month.first_day, "part": part, "holds": list(holds)}
    check_stored(connection.execute(_QUERIES["mark_wholly_held"], named), 1, "archive_months")


def intend_kept(
    connection: Connection, owner: Owner, table: str, month: Month, former: int, attempt: int, key: str
) -> None:
    """Record an object with held rows before its upload."""
    named = {"object_key": key, "table": table, "month": month.first_day, "former": former, "attempt": attempt}
    writer = {"installation_id": owner.installation_id, "incarnation": owner.incarnation}
    check_stored(connection.execute(_QUERIES["intend_kept"], named | writer), 1, "archive_uploads")


def unfinished(connection: Connection) -> list[Deletion]:
    """The deletions that have begun and not ended, the oldest first."""
    return [get_deletion(connection, number) for (number,) in connection.execute(_QUERIES["unfinished"]).fetchall()]


def list_deletions(connection: Connection, limit: int = 10_000) -> list[Deletion]:
    """The deletions, the newest first."""
    rows = connection.execute(_QUERIES["deletions"], {"limit": limit}).fetchall()
    return [get_deletion(connection, number) for (number,) in rows]


def get_deletion(connection: Connection, number: int) -> Deletion:
    """The deletion with a number. Raises NotFoundError."""
    with connection.cursor(row_factory=class_row(Deletion)) as cursor:
        deletion = cursor.execute(_QUERIES["deletion"], {"number": number}).fetchone()
    if deletion is None:
        raise NotFoundError(f"deletion {number} does not exist")
    return deletion


def find_certificate(connection: Connection, certificate: str) -> Deletion:
    """The deletion with a certificate's number. Raises NotFoundError."""
    row = connection.execute(_QUERIES["find_certificate"], {"certificate": certificate}).fetchone()
    if row is None:
        raise NotFoundError(
            f"certificate {certificate} does not exist: `treasury certificate list` shows those that do"
        )
    return get_deletion(connection, row[0])


def find_number(connection: Connection, certificate: str) -> int | None:
    """The number of the deletion with a certificate's number; None where there is none."""
    row = connection.execute(_QUERIES["find_certificate"], {"certificate": certificate}).fetchone()
    return None if row is None else int(row[0])


def restore_certificate(
    connection: Connection, certificate: str, content: bytes, key: str, finished_at: datetime
) -> None:
    """Record the end of a deletion that another database finished; nothing where it is recorded."""
    page = f"{key.removesuffix('.json')}.html"
    values = {"certificate": certificate, "content": content, "certificate_key": key, "page_key": page}
    connection.execute(_QUERIES["restore_certificate"], values | {"finished_at": finished_at})
    connection.execute(_QUERIES["end_parts"], values)


def doomed_objects(connection: Connection, number: int) -> list[DoomedObject]:
    """The objects of a deletion, by their keys."""
    with connection.cursor(row_factory=class_row(DoomedObject)) as cursor:
        return cursor.execute(_QUERIES["objects"], {"number": number}).fetchall()


def note_versions(connection: Connection, number: int, key: str, versions: Sequence[Mapping[str, Any]]) -> None:
    """Record what the store has of an object, before any of it is removed."""
    values = {"number": number, "object_key": key, "versions": Jsonb(list(versions))}
    check_stored(connection.execute(_QUERIES["note_versions"], values), 1, "deletion_objects")


def mark_removed(connection: Connection, number: int, key: str) -> None:
    """Record that an object was found to be absent, by its key and in the list of versions."""
    with connection.transaction():
        values = {"number": number, "object_key": key}
        check_stored(connection.execute(_QUERIES["mark_removed"], values), 1, "deletion_objects")
        mark_upload_removed(connection, key)


def mark_upload_removed(connection: Connection, key: str) -> None:
    """Record that an object which no month uses was removed."""
    check_counted(connection.execute(_QUERIES["mark_upload_removed"], {"object_key": key}), "archive_uploads")


def event_index(connection: Connection, owner: Owner, incarnation: int, number: int) -> int | None:
    """The place in the log of an event of the installation; None before it is planned."""
    named = {"installation_id": owner.installation_id, "incarnation": incarnation, "number": number}
    row = connection.execute(_QUERIES["event_index"], named).fetchone()
    return None if row is None else row[0]


def certify(connection: Connection, number: int, content: bytes, certificate_key: str, page_key: str) -> None:
    """Keep the certificate's bytes, so that every later try puts the same ones into the archive."""
    values = {"number": number, "content": content, "certificate_key": certificate_key, "page_key": page_key}
    check_stored(connection.execute(_QUERIES["certify"], values), 1, "deletions")


def finish(connection: Connection, number: int, table: str, month: date, parts: Sequence[int]) -> None:
    """Record the end of a deletion."""
    check_stored(connection.execute(_QUERIES["finish"], {"number": number}), 1, "deletions")
    values = {"table": table, "month": month, "parts": list(parts)}
    check_stored(connection.execute(_QUERIES["finish_parts"], values), len(parts), "archive_months")


def note_error(connection: Connection, number: int, error: str) -> None:
    """Keep the reason why a deletion did not end, for lists and the health check."""
    connection.execute(_QUERIES["note_error"], {"number": number, "error": error})


def manifests(connection: Connection, table: str, month: date, parts: Sequence[int]) -> dict[int, str]:
    """The SHA-256 of the manifests of parts, in hex."""
    values = {"table": table, "month": month, "parts": list(parts)}
    return {part: bytes(sha256).hex() for part, sha256 in connection.execute(_QUERIES["manifests"], values)}
