"""A database that takes the place of another takes the log over: the entries that it lacks come out of the archive.

They are believed where they lead to the root of the archive's checkpoint, and begin with what PostgreSQL knows to be
published. A key that this database knows, or signs with itself, must have signed the checkpoint.
"""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal
from uuid import UUID

from config import Settings
from ledger.errors import ConfigError, ForkError
from ledger.installation import Owner
from ledger.transparency.events import Archived, Event, Former, Incarnation, KeyRotated, LogOpened, origin_of
from ledger.transparency.replay import replay_entries
from ledger.transparency.tiles import Tile, Tree
from ledger.transparency.verifier_keys import VerifierKey
from sql.connection import Connection
from sql.log import (
    LogRow,
    insert_published,
    list_undecided,
    read_entries,
    read_log,
    record_event,
    replace_events,
    take_log,
)
from storage.store import ObjectStore
from tasks.transparency.archived_log import FOLDER, ArchivedLog, LogContent
from tasks.transparency.keys import load_signers


@dataclass(frozen=True, slots=True)
class Ahead:
    """A log in the archive that goes on beyond PostgreSQL's, from the entry ``common`` on."""

    folder: str
    log: LogContent
    common: int


def find_ahead(connection: Connection, settings: Settings, installation_id: UUID) -> Ahead | None:
    """The log in the archive, where it has entries that PostgreSQL lacks; None where it has none. Reads only.

    Raises ForkError where it contradicts what PostgreSQL knows to be published. Raises VerificationError where it is
    not whole or not signed by a known key, and the store's errors.
    """
    row = read_log(connection, installation_id)
    entries = read_entries(connection, installation_id)
    origin = origin_of(installation_id)
    keys = _known_keys(settings, origin, entries)
    folders = [row.folder] if row else [FOLDER, f"{FOLDER}-{Owner(installation_id, 1).short}"]
    for folder in folders:
        archive = ArchivedLog(ObjectStore(settings), folder)
        if row is None and not _is_of(archive, origin):
            continue
        log = archive.verify(keys, origin)
        if log is not None:
            return _ahead(folder, log, entries, row)
    return None


def has_leftovers(connection: Connection, settings: Settings, installation_id: UUID) -> bool:
    """Whether the archive has tiles beyond every checkpoint that are not what PostgreSQL would put there.

    A database was killed between its tiles and its checkpoint, and this one was set back to before it. Reads only.
    """
    row = read_log(connection, installation_id)
    if row is None:
        return False
    tree = Tree(read_entries(connection, installation_id))
    archive = ArchivedLog(ObjectStore(settings), row.folder)
    keys = archive.store.keys(archive.key("tile"))
    tiles = [Tile.parse(key.removeprefix(f"{row.folder}/")) for key in keys]
    beyond = [tile for tile in tiles if tile is not None and tile.stop > row.published_size]
    return any(tile.stop > tree.size or archive.read_tile(tile) != tree.content(tile) for tile in beyond)


def _is_of(archive: ArchivedLog, origin: str) -> bool:
    content = archive.find_checkpoint()
    return content is not None and content.startswith(f"{origin}\n".encode())


def _known_keys(settings: Settings, origin: str, entries: Iterable[bytes]) -> set[VerifierKey]:
    """The keys of the events that PostgreSQL has, and those that this machine signs with."""
    known = {VerifierKey.parse(text) for _, change in replay_entries(entries).key_changes for text in change.new}
    with suppress(ConfigError):  # a machine without the keys may still know who signed
        known |= {signer.key for signer in load_signers(settings, origin)}
    return known


def _ahead(folder: str, log: LogContent, entries: list[bytes], row: LogRow | None) -> Ahead | None:
    both = zip(entries, log.entries, strict=False)
    common = next((place for place, (ours, theirs) in enumerate(both) if ours != theirs), None)
    if common is None:
        common = min(len(entries), len(log.entries))
    published = row.published_size if row else 0
    if common < min(published, len(log.entries)):
        raise ForkError(
            f"the log {log.checkpoint.origin} in the archive has another entry {common} than PostgreSQL, which knows "
            f"{published} published ones: two histories. Restore a backup of PostgreSQL whose log the archive continues"
        )
    return Ahead(folder, log, common) if common < len(log.entries) else None


def record_incarnation(connection: Connection, owner: Owner, former: Owner | None, ahead: Ahead | None) -> None:
    """Record, in the caller's transaction, that this database became ``owner``, after taking over what it lacked.

    What this database recorded itself and the log does not have follows, recorded again by ``owner``.
    """
    undecided: list[Event] = []
    is_same = former is not None and former.installation_id == owner.installation_id
    if former is not None and (ahead is not None or not is_same):
        undecided = _withdraw(connection, former, ahead)
    if ahead is not None:
        _take_over(connection, owner, ahead)
    kind: Literal["continued", "separated"] = "continued" if former is None or is_same else "separated"
    was = Former(installation=former.installation_id, incarnation=former.incarnation) if former else None
    record_event(connection, owner, Incarnation(kind=kind, former=was))
    for event in undecided:
        if not _is_about_the_log(event) and (is_same or not isinstance(event.body, Archived)):
            record_event(connection, owner, event.body, event.happened_at)


def _is_about_the_log(event: Event) -> bool:
    """Whether an event is true of the log that it was recorded for only."""
    adopted = isinstance(event.body, Archived) and event.body.adopted
    return adopted or isinstance(event.body, LogOpened | KeyRotated | Incarnation)


def _withdraw(connection: Connection, former: Owner, ahead: Ahead | None) -> list[Event]:
    """Take back the events that this database knows of no publication of; returns those that the log does not have, in
    the order in which they were recorded. The former database may have published them since the backup: a second entry
    would undo what came after the first, such as a move to the deep tier or a deletion.
    """
    row = read_log(connection, former.installation_id)
    from_index = ahead.common if ahead else row.published_size if row else 0
    undecided = list_undecided(connection, former.installation_id, from_index)
    replace_events(connection, [event_id for event_id, _ in undecided])
    published = frozenset(ahead.log.entries) if ahead else frozenset()
    return [Event.from_bytes(entry) for _, entry in undecided if entry not in published]


def _take_over(connection: Connection, owner: Owner, ahead: Ahead) -> None:
    missing = ahead.log.entries[ahead.common :]
    for place, entry in enumerate(missing, ahead.common):
        insert_published(connection, Event.from_bytes(entry), place)
    checkpoint = ahead.log.checkpoint
    keys = replay_entries(ahead.log.entries).keys
    take_log(connection, owner, ahead.folder, checkpoint.size, checkpoint.root, ahead.log.note, keys)
