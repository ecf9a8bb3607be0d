"""What the store was asked to keep, version by version, in PostgreSQL: recorded before the store is asked."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime

from psycopg.rows import class_row

from ledger.months import Month
from sql.connection import Connection
from sql.queries import load
from sql.storing import check_stored

_QUERIES = load("locks")


@dataclass(frozen=True, slots=True)
class LockedObject:
    """An object of an archived part of a month (its first day)."""

    table_name: str
    month: date
    part: int
    object_key: str

    @property
    def row(self) -> dict[str, object]:
        """The object as parameters of the queries."""
        named = {"object_key": self.object_key, "table": self.table_name}
        return named | {"month": self.month, "part": self.part}

    def __str__(self) -> str:
        return f"{self.table_name} {self.month:%Y-%m}"


@dataclass(frozen=True, slots=True)
class Promise:
    """What was asked of the store for a version: a retention, with its end in UTC, and a legal hold since when.

    ``kept_until`` and ``hold_taken_at`` are what the store took of it.
    """

    object_key: str
    version: str
    mode: str | None
    locked_until: datetime | None
    kept_until: datetime | None
    hold_placed_at: datetime | None
    hold_taken_at: datetime | None


def archived_objects(
    connection: Connection, table: str | None = None, first: Month | None = None, last: Month | None = None
) -> list[LockedObject]:
    """Every object of the archived months, or of those of a table from ``first`` to ``last``."""
    days = {"first": first.first_day if first else None, "last": last.first_day if last else None}
    with connection.cursor(row_factory=class_row(LockedObject)) as cursor:
        return cursor.execute(_QUERIES["archived_objects"], {"table": table} | days).fetchall()


def promises(connection: Connection, keys: Sequence[str]) -> dict[tuple[str, str], Promise]:
    """What was asked of the store for the versions of some objects, by key and version."""
    with connection.cursor(row_factory=class_row(Promise)) as cursor:
        recorded = cursor.execute(_QUERIES["locks"], {"keys": list(keys)}).fetchall()
    return {(record.object_key, record.version): record for record in recorded}


def intend_retention(connection: Connection, locked: LockedObject, version: str, mode: str, until: datetime) -> None:
    """Record the retention that the store is about to be asked for. An earlier one is never shortened."""
    values = locked.row | {"version": version, "mode": mode, "until": until}
    check_stored(connection.execute(_QUERIES["intend_retention"], values), 1, "archive_locks")


def intend_hold(connection: Connection, locked: LockedObject, version: str) -> None:
    """Record the legal hold that the store is about to be asked for."""
    check_stored(connection.execute(_QUERIES["intend_hold"], locked.row | {"version": version}), 1, "archive_locks")


def took_retention(connection: Connection, key: str, version: str, until: datetime) -> None:
    """Record that the store took a retention."""
    values = {"object_key": key, "version": version, "until": until}
    check_stored(connection.execute(_QUERIES["took_retention"], values), 1, "archive_locks")


def took_hold(connection: Connection, key: str, version: str) -> None:
    """Record that the store took a legal hold."""
    values = {"object_key": key, "version": version}
    check_stored(connection.execute(_QUERIES["took_hold"], values), 1, "archive_locks")


def clear_hold(connection: Connection, key: str, version: str) -> None:
    """Record that the store's legal hold was taken off."""
    connection.execute(_QUERIES["clear_hold"], {"object_key": key, "version": version})


def forget_locks(connection: Connection, key: str) -> None:
    """Forget what was asked for an object that was deleted."""
    connection.execute(_QUERIES["forget"], {"object_key": key})


def placed_holds(connection: Connection, key: str) -> set[str]:
    """The versions of an object that this project's legal hold is on."""
    return {version for (version,) in connection.execute(_QUERIES["placed_holds"], {"object_key": key})}


def promised_until(connection: Connection, table: str) -> dict[Month, datetime]:
    """Until when (UTC) the store keeps the archived months of a table, by what it was asked for."""
    rows = connection.execute(_QUERIES["promised"], {"table": table})
    return {Month.of(month): until for month, until in rows}
