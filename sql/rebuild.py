"""The catalogue of archived months, written again into a database that has none."""

from collections.abc import Mapping
from datetime import date, datetime

from psycopg.types.json import Jsonb

from ledger.errors import ConflictError
from ledger.installation import Owner
from ledger.transparency.events import Archived
from sql.connection import Connection, fetch_one
from sql.queries import load
from sql.storing import check_stored

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

    ``described`` is what the manifest says: ``keys_tell_month``, and ``columns`` and ``tree`` as JSON values.
    """
    file = archived.objects[0]
    key = {"table": archived.table, "month": month, "part": archived.part, "attempt": attempt}
    values = key | {
        "row_count": archived.rows,
        "sums": Jsonb(archived.sums),
        "digest": bytes.fromhex(archived.tree.root),
        "object_key": file.key,
        "object_bytes": file.size_bytes,
        "object_sha256": bytes.fromhex(file.sha256),
        "manifest_key": archived.manifest.key,
        "manifest_sha256": bytes.fromhex(archived.manifest.sha256),
        "cold_at": cold_at,
        "keys_tell_month": described["keys_tell_month"],
        "columns": Jsonb(described["columns"]),
        "tree": Jsonb(described["tree"]),
        "layout": Jsonb(archived.layout),
    }
    check_stored(connection.execute(_QUERIES["add_month"], values), 1, "archive_months")
    named = {"installation_id": owner.installation_id, "incarnation": owner.incarnation}
    for object_key in (archived.manifest.key, *(one.key for one in archived.objects)):
        added = connection.execute(_QUERIES["add_upload"], key | named | {"object_key": object_key})
        check_stored(added, 1, "archive_uploads")


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
