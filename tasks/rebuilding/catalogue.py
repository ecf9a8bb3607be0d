"""The catalogue rebuilt from the bucket alone: months, columns, uploads and the log, for a PostgreSQL that was lost.

The archive is verified first, by keys that a person gives. The database becomes the next incarnation of the
installation, as a restored backup does.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID, uuid4

from config import Settings
from ledger.errors import DataError, NotFoundError, VerificationError
from ledger.installation import Owner
from ledger.months import Month
from ledger.transparency.events import Archived, Event, Former, Incarnation
from ledger.transparency.policies import LogPolicy
from ledger.transparency.replay import replay, replay_entries
from sql.connection import Connection, connect
from sql.installation import add_event, become, confirm, installation_lock, read_identity
from sql.log import insert_published, log_lock, record_event, take_log
from sql.lookups import add_lookup
from sql.rebuild import add_column, add_gone, add_month, forget_columns, require_empty
from storage.lookups import FileLookup
from storage.manifest import Manifest, ManifestObject
from storage.marker import location_of, read_marker
from storage.store import ObjectStore, StoredFile
from tasks.archiving.ownership import put_marker
from tasks.restoring.recovery import restore_returns
from tasks.retention.recovery import restore_life
from tasks.transparency.archived_log import ArchivedLog, LogContent
from tasks.verifying.known_log import KnownLog, know_log
from tasks.verifying.verification import VerificationScope, verify_archive


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What was written: the installation and its incarnation, parts of months, columns and entries of the log.

    ``returned`` are the months that had gone back to warm. Their rows were in the lost PostgreSQL, like those of any
    hot month, and only their former objects are in the archive.
    """

    owner: Owner
    parts: int
    columns: int
    entries: int
    returned: tuple[str, ...] = ()


def rebuild_catalogue(settings: Settings, policy: LogPolicy | None) -> Rebuilt:
    """Fill an empty database with what the archive says, after all of the archive was verified.

    All rows are written in one transaction. A process that is killed between it and the new marker leaves a database
    that is refused as the archive's writer: `treasury installation continue` settles it. Raises ConflictError for a
    database that has months, and VerificationError naming all that is wrong in the archive. Raises ConfigError where
    nobody names a key of the log, and the store's errors.
    """
    store = ObjectStore(settings)
    with connect(settings.database_dsn, "rebuild") as connection:
        with connection.transaction():
            require_empty(connection)
        known = know_log(settings, store, None, policy)
        log = _verified(settings, store, known, policy)
        with log_lock(connection), installation_lock(connection):
            return _write(connection, settings, store, known, log)


def _verified(settings: Settings, store: ObjectStore, known: KnownLog | None, policy: LogPolicy | None) -> LogContent:
    report = verify_archive(settings, VerificationScope(), None, policy)
    if report.findings:
        raise VerificationError(f"nothing was rebuilt: {'; '.join(map(str, report.findings))}")
    log = None if known is None else ArchivedLog(store, known.folder).verify(known.keys, known.origin)
    if log is None:
        raise NotFoundError("the archive has no public log: there is nothing to rebuild a catalogue from")
    return log


def _write(
    connection: Connection, settings: Settings, store: ObjectStore, known: KnownLog | None, log: LogContent
) -> Rebuilt:
    folder = known.folder if known is not None else ""
    events = [Event.from_bytes(entry) for entry in log.entries]
    former, owner = _owners(store, events)
    identity, token = read_identity(connection), uuid4()
    with connection.transaction():
        require_empty(connection)
        become(connection, owner, identity, token)
        for index, event in enumerate(events):
            insert_published(connection, event, index)
        head = log.checkpoint
        keys = replay_entries(log.entries).keys
        take_log(connection, owner, folder, head.size, head.root, log.note, keys)
        parts, columns = _add_months(connection, store, owner, events)
        _add_gone(connection, events)
        restore_returns(connection, store, events)
        restore_life(connection, store, events)
        add_event(connection, owner, "continued", state="rebuilt", location=location_of(store.url))
        was = Former(installation=former.installation_id, incarnation=former.incarnation)
        record_event(connection, owner, Incarnation(kind="continued", former=was))
    put_marker(connection, settings, store, owner, token)
    with connection.transaction():
        confirm(connection, owner, token, location_of(store.url), identity)
    returned = tuple(f"{table} {month}" for table, month in sorted(replay(events).returned))
    return Rebuilt(owner, parts, columns, len(events), returned)


def _owners(store: ObjectStore, events: Sequence[Event]) -> tuple[Owner, Owner]:
    """The last database that wrote the archive, and this one after it."""
    marker = read_marker(store)
    installation: UUID = events[0].installation
    newest = max(event.incarnation for event in events)
    last = max(newest, marker.incarnation if marker is not None else 0)
    return Owner(installation, last), Owner(installation, last + 1)


def _add_months(connection: Connection, store: ObjectStore, owner: Owner, events: Sequence[Event]) -> tuple[int, int]:
    """Enter the months that must exist by the log, and the columns that they have."""
    columns: dict[str, list[Manifest]] = defaultdict(list)
    months = replay(events).months
    for _, existing in sorted(months.items()):
        archived = existing.archived
        manifest = add_archived(connection, store, owner, archived, events[existing.index].happened_at)
        columns[archived.table].append(manifest)
    return len(months), sum(_add_columns(connection, table, numbers) for table, numbers in columns.items())


def add_archived(
    connection: Connection, store: ObjectStore, owner: Owner, archived: Archived, happened_at: datetime
) -> Manifest:
    """Enter an archived part of a month with what its manifest says; returns the manifest."""
    manifest = Manifest.from_bytes(store.read_bytes(archived.manifest.key), archived.manifest.key)
    lookup = manifest.lookup
    described = {
        "keys_tell_month": manifest.keys_tell_month,
        "columns": [column.model_dump(mode="json") for column in manifest.columns],
        "tree": manifest.tree.model_dump(mode="json"),
        "lookup": None if lookup is None else lookup.model_dump(mode="json"),
    }
    first_day, attempt = Month.parse(archived.month).first_day, _attempt_of(archived.objects[0].key)
    add_month(connection, owner, first_day, archived, attempt, happened_at, described)
    if lookup is not None:
        lookup_content = read_lookup(store, lookup)
        copied = (manifest.files[0].key, lookup_content.pieces, lookup_content.footer, lookup_content.filters)
        add_lookup(connection, archived.table, first_day, archived.part, *copied)
    return manifest


def read_lookup(store: ObjectStore, described: ManifestObject) -> FileLookup:
    """The lookup that a manifest names. Raises VerificationError where the object is another one."""
    content = store.read_bytes(described.key)
    if StoredFile.of(content) != StoredFile(described.size_bytes, bytes.fromhex(described.sha256)):
        raise VerificationError(f"{described.key}: its SHA-256 is not the one in the manifest")
    return FileLookup.from_bytes(content, described.key)


def _add_gone(connection: Connection, events: Sequence[Event]) -> None:
    """Enter the parts whose deletion has begun or ended."""
    for _, gone in sorted(replay(events).gone.items()):
        if gone.archived is None:
            continue
        archived, at = gone.archived.archived, events[gone.archived.index].happened_at
        first_day, attempt = Month.parse(archived.month).first_day, _attempt_of(archived.objects[0].key)
        named = gone.begun[1].certificate if gone.begun else ""
        add_gone(connection, first_day, archived, attempt, at, named)


def _attempt_of(key: str) -> int:
    """The number of the attempt in a key: ``<content id>-<installation>-<attempt>-<nonce>``."""
    parts = key.rpartition("/")[2].split("-")
    if len(parts) != 4 or not parts[2].isdecimal():
        raise DataError(f"{key}: the key does not name its attempt")
    return int(parts[2])


def _add_columns(connection: Connection, table: str, manifests: Sequence[Manifest]) -> int:
    """Enter every column that ``manifests``, the oldest first, name; those that the newest lacks as dropped."""
    names: dict[int, list[str]] = defaultdict(list)
    for manifest in manifests:
        for column in manifest.columns:
            if column.name not in names[column.field_id][-1:]:
                names[column.field_id].append(column.name)
    living = {column.field_id for column in manifests[-1].columns}
    forget_columns(connection, table)
    for field_id, known in sorted(names.items()):
        add_column(connection, table, field_id, known[-1], known[:-1], is_dropped=field_id not in living)
    return len(names)
