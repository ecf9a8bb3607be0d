"""Objects that interrupted attempts left in the bucket: removed where they are surely this database's alone."""

from collections.abc import Iterable
from datetime import date
from itertools import groupby

from psycopg.types.json import Jsonb

from config import Settings
from ledger.errors import DataError
from ledger.months import Month
from ledger.tables import TieredTable
from sql.connection import Connection
from sql.queries import load
from sql.storing import check_stored
from storage.layout import manifest_folder
from storage.manifest import Manifest
from storage.store import ObjectStore
from storage.versions import KeptVersionError, VersionedStore
from tasks.archiving.ownership import check_ownership

_QUERIES = load("tiers")
_DECIDING = "deciding"


def remove_orphans(connection: Connection, settings: Settings, table: TieredTable) -> int:
    """Delete objects that an interrupted attempt left behind, of months that are cold by now; returns how many.

    Only keys that this incarnation of this installation recorded before their upload are touched. What another manifest
    of the month names is kept. So is what an attempt left that may have been flipped by a copy of this database. A kept
    object gets an event of its month. One that its attempt has locked stays until its lock ends. Safe to run again.
    Raises OwnershipError when the archive is not this database's.
    """
    if not _orphans(connection, table):
        return 0
    check_ownership(connection, settings)
    store, removed = ObjectStore(settings), 0
    for month, orphans in groupby(_orphans(connection, table), lambda orphan: orphan[1]):  # again: now nobody else may
        states = {key: state for key, _, state in orphans}
        reasons = _reasons_to_keep(store, table, month, states)
        for key in states:
            if key in reasons:
                _keep(connection, table, month, key, reasons[key])
            elif _removed(VersionedStore(settings), key):
                _mark(connection, key, "removed")
                removed += 1
    return removed


def _removed(versioned: VersionedStore, key: str) -> bool:
    """Delete every version of an orphan. False for one that its attempt has locked: a later run does it."""
    try:
        versioned.remove(key)
    except KeptVersionError:  # without versions: a server shows for minutes what somebody deleted in its folder
        return not any(version.version for version in versioned.versions(key))
    return True


def _orphans(connection: Connection, table: TieredTable) -> list[tuple[str, date, str]]:
    return [
        (key, month, state)
        for key, month, state in connection.execute(_QUERIES["orphaned_uploads"], {"table": table.name})
    ]


def _reasons_to_keep(store: ObjectStore, table: TieredTable, month: date, orphans: dict[str, str]) -> dict[str, str]:
    """Which of the orphans must stay, each with the reason."""
    undecided = "its attempt was about to become the month when it was interrupted"
    reasons = {key: undecided for key, state in orphans.items() if state == _DECIDING}
    folder = manifest_folder(table.name, str(Month.of(month)))
    others = [key for key in store.keys(folder) if key not in orphans]
    for manifest in others:
        named = _named_by(store, manifest)
        if named is None:
            return dict.fromkeys(orphans, f"{manifest} cannot be read, so what it names is not known")
        reasons |= {key: f"{manifest} names it" for key in named if key in orphans}
    return reasons


def _named_by(store: ObjectStore, manifest: str) -> Iterable[str] | None:
    try:
        return Manifest.from_bytes(store.read_bytes(manifest), manifest).keys
    except DataError:
        return None


def _mark(connection: Connection, key: str, state: str) -> None:
    check_stored(connection.execute(_QUERIES["mark_upload"], {"object_key": key, "state": state}), 1, "archive_uploads")


def _keep(connection: Connection, table: TieredTable, month: date, key: str, reason: str) -> None:
    with connection.transaction():
        _mark(connection, key, "kept")
        detail = Jsonb({"object_key": key, "reason": reason})
        event = {"table": table.name, "month": month, "event": "kept", "detail": detail}
        check_stored(connection.execute(_QUERIES["add_event"], event), 1, "archive_events")
