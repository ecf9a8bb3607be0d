"""The catalogue of archived months, written again into a database that has none."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from typing import Any

import msgspec
from psycopg.types.json import Jsonb

from ledger.errors import ConflictError
from ledger.installation import Owner
from ledger.months import Month
from ledger.transparency.events import Archived
from sql.connection import Connection, fetch_one
from sql.lookups import forget_lookups
from sql.queries import load
from sql.storing import check_counted, check_stored

_QUERIES = load("rebuild")


def require_empty(connection: Connection) -> None:
    """Raise ConflictError unless this database has no month, no installation and no event of the log.

    In a transaction nobody else adds one before its end.
    """
    connection.execute(_QUERIES["lock"])
    if not fetch_one(connection, _QUERIES["is_empty"])[0]:
        raise ConflictError(
            "archive_months: this database has months, an installation or a log already: the catalogue is rebuilt in a "
            "database that has none (`treasury setup` prepares one)"
        )


def add_month(
    connection: Connection,
    owner: Owner,
    month: date,
    archived: Archived,
    attempt: int,
    cold_at: datetime,
    described: Mapping[str, object],
) -> None:
    """Enter an archived part of a month (its first day) with its objects.

    ``described`` is what the manifest says: ``keys_tell_month``; ``columns``, ``tree`` and ``lookup`` as JSON values.
    """
    key = {"table": archived.table, "month": month, "part": archived.part, "attempt": attempt}
    values = _values(archived, month, attempt, cold_at) | {
        "keys_tell_month": described["keys_tell_month"],
        "columns": Jsonb(described["columns"]),
        "tree": Jsonb(described["tree"]),
        "lookup": None if described["lookup"] is None else Jsonb(described["lookup"]),
        "kept": None if archived.kept is None else Jsonb(msgspec.to_builtins(archived.kept)),
    }
    check_stored(connection.execute(_QUERIES["add_month"], values), 1, "archive_months")
    named = {"installation_id": owner.installation_id, "incarnation": owner.incarnation}
    for object_key in (archived.manifest.key, *(logged_object.key for logged_object in archived.objects)):
        added = connection.execute(_QUERIES["add_upload"], key | named | {"object_key": object_key})
        check_stored(added, 1, "archive_uploads")


def add_gone(
    connection: Connection, month: date, archived: Archived, attempt: int, cold_at: datetime, certificate: str
) -> None:
    """Enter a part whose deletion has begun: what the log knows of it, and no object."""
    values = _values(archived, month, attempt, cold_at) | {"certificate": certificate}
    check_stored(connection.execute(_QUERIES["add_gone"], values), 1, "archive_months")


def mark_gone(
    connection: Connection, table: str, month: date, parts: Sequence[int], certificate: str, begun_at: datetime
) -> None:
    """Take parts out of the views whose deletion another database has begun. Those that are gone already stay so."""
    named = {"table": table, "month": month, "parts": list(parts)}
    connection.execute(_QUERIES["mark_gone"], named | {"certificate": certificate, "begun_at": begun_at})
    forget_lookups(connection, table, month, parts)


@contextmanager
def replace_parts(connection: Connection, table: str, month: Month) -> Iterator[None]:
    """Take the archived parts of a month out of the catalogue, while the block enters those that replace them. The
    objects of the former ones stay known. In the caller's transaction.
    """
    named = {"table": table, "month": month.first_day}
    uploads = connection.execute(_QUERIES["take_uploads"], named).fetchall()
    parts = [part for (part,) in connection.execute(_QUERIES["take_parts"], named).fetchall()]
    forget_lookups(connection, table, month.first_day, parts)
    yield
    for object_key, attempt, installation_id, incarnation in uploads:
        owner = {"installation_id": installation_id, "incarnation": incarnation}
        values = named | owner | {"object_key": object_key, "attempt": attempt}
        check_counted(connection.execute(_QUERIES["add_former_upload"], values), "archive_uploads")


def has_part(connection: Connection, archived: Archived, month: date) -> bool:
    """Whether the catalogue has a part of a month (its first day)."""
    named = {"table": archived.table, "month": month, "part": archived.part}
    return bool(fetch_one(connection, _QUERIES["has_part"], named)[0])


def _values(archived: Archived, month: date, attempt: int, cold_at: datetime) -> dict[str, Any]:
    """What the log's entry of a part says, for the catalogue."""
    file = archived.objects[0]
    return {
        "table": archived.table,
        "month": month,
        "part": archived.part,
        "attempt": attempt,
        "row_count": archived.rows,
        "sums": Jsonb(archived.sums),
        "digest": bytes.fromhex(archived.tree.root),
        "object_key": file.key,
        "object_bytes": file.size_bytes,
        "object_sha256": bytes.fromhex(file.sha256),
        "manifest_key": archived.manifest.key,
        "manifest_sha256": bytes.fromhex(archived.manifest.sha256),
        "cold_at": cold_at,
        "layout": Jsonb(archived.layout),
    }


def forget_columns(connection: Connection, table: str) -> None:
    """Take away the numbers of a table's columns, in a database without archived months."""
    connection.execute(_QUERIES["forget_columns"], {"table": table})


def add_column(
    connection: Connection, table: str, field_id: int, name: str, former_names: list[str], *, is_dropped: bool
) -> None:
    """Enter the number of a column that archived months have."""
    values = {
        "table": table,
        "field_id": field_id,
        "name": name,
        "former_names": former_names,
        "attribute": field_id,
        "is_dropped": is_dropped,
    }
    check_stored(connection.execute(_QUERIES["add_column"], values), 1, "archive_columns")
