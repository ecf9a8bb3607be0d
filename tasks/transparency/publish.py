"""Publication: what was recorded in PostgreSQL becomes the log in the archive, signed, and the same after every kill.

The order is: places in PostgreSQL (one transaction), tiles and bundles, checkpoint, record, indexes, record. Tiles
never change, so a run that was killed anywhere is completed by the next, which makes what is missing. From the commit
of the places on a root may be signed at that size, and never another one. PostgreSQL and the archive are compared
first.
"""

import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

import psycopg

from config import Settings
from ledger.errors import ConflictError, DataError, ForkError, OwnershipError, TreasuryError, VerificationError
from ledger.installation import Owner
from ledger.transparency.checkpoints import Checkpoint
from ledger.transparency.events import origin_of
from ledger.transparency.notes import Signer, open_note, require_keys, sign_note, split_note
from ledger.transparency.policies import LogPolicy
from ledger.transparency.replay import LogState, index_of, replay_entries
from ledger.transparency.tiles import Tile, Tree, new_tiles
from ledger.transparency.verifier_keys import SignatureType, VerifierKey
from sql.connection import Connection, connect
from sql.installation import read_installation
from sql.log import (
    LogRow,
    begin_log,
    count_waiting,
    log_lock,
    mark_indexed,
    mark_published,
    mark_timestamped,
    note_publication,
    plan_entries,
    read_entries,
    read_log,
)
from sql.session_lock import SESSION_WAIT_S
from storage.store import ObjectStore
from tasks.alerting.store import raise_alert
from tasks.archiving.ownership import check_ownership, find_owner
from tasks.transparency.alert_rules import forked_alert, set_back_alert, witnessed_alert
from tasks.transparency.archived_log import CHECKPOINT, FOLDER, ArchivedLog
from tasks.transparency.keys import choose, load_signers, make_keys, newest
from tasks.transparency.timestamps import read_certificates, request_timestamp, verify_timestamp
from tasks.transparency.witnesses import gather, read_policy

OnStep = Callable[[str], object]
_EITHER = (
    "If this database was restored or set back, run `treasury installation continue`; if it is a copy, `treasury "
    "installation separate`"
)


@dataclass(frozen=True, slots=True)
class Published:
    """The result of a publication: the log's size, how many events it published, how many objects it wrote.

    ``shortfall`` is what had to be done without, empty when nothing.
    """

    origin: str
    size: int
    events: int
    objects: int
    shortfall: str = ""


@dataclass(frozen=True, slots=True)
class _Publication:
    """A publication in hand."""

    connection: Connection
    settings: Settings
    archive: ArchivedLog
    owner: Owner
    row: LogRow
    on_step: OnStep

    def put(self, content: bytes, name: str, *, may_replace: bool = False) -> None:
        """Make an object that never changes.

        Where another one of its key is there, it is replaced if it may be; else ForkError is raised.
        """
        self.on_step(f"putting {name}")
        try:
            self.archive.store.put_bytes(content, self.archive.key(name))
        except ConflictError as error:
            if not may_replace:
                raise ForkError(f"the log {self.row.origin} goes on in two ways: {error}. {_EITHER}") from error
            self.archive.store.replace_bytes(content, self.archive.key(name))
        self.on_step(f"put {name}")

    def replace(self, content: bytes, name: str) -> None:
        """Write an object in place of the one that is there, and read it back."""
        self.on_step(f"putting {name}")
        self.archive.store.replace_bytes(content, self.archive.key(name))
        if self.archive.store.find_bytes(self.archive.key(name)) != content:
            raise ForkError(f"{self.archive.key(name)} was replaced by another program at the same moment. {_EITHER}")
        self.on_step(f"put {name}")


def publish_log(settings: Settings, on_step: OnStep = lambda _: None, wait_s: int = SESSION_WAIT_S) -> Published | None:
    """Publish every event that is recorded and not in the archive yet; None where no event was ever recorded.

    Safe to run again after any interruption, and from several processes: one publishes, the others wait for it, up to
    ``wait_s``.
    ``on_step`` hears each step before and after it. Costs one request when there is nothing to do. Raises ForkError,
    with an alert, where the archive's log is not the one that PostgreSQL knows, and OwnershipError where the archive is
    not this database's. Raises ConfigError naming a key that is not there, and the store's errors.
    """
    with connect(settings.database_dsn, "log") as connection, log_lock(connection, wait_s):
        try:
            return _publish(connection, settings, on_step)
        except TreasuryError as error:
            _note_failure(connection, error)
            raise


def _publish(connection: Connection, settings: Settings, on_step: OnStep) -> Published | None:
    installation = read_installation(connection)
    if installation is None:
        return None
    row = read_log(connection, installation.installation_id)
    waiting, _ = count_waiting(connection, installation.installation_id)
    if row is None and not waiting:
        return None
    store = ObjectStore(settings)
    policy = read_policy(settings, origin_of(installation.installation_id))
    if row is not None and not waiting and _is_as_recorded(settings, policy, row, ArchivedLog(store, row.folder)):
        return Published(row.origin, row.published_size, 0, 0)
    owner = check_ownership(connection, settings)
    if row is None:
        begin_log(connection, owner, _find_folder(store, owner))
        on_step("begun")
        row = _require(connection, owner)
    work = _Publication(connection, settings, ArchivedLog(store, row.folder), owner, row, on_step)
    return _complete(work, load_signers(settings, row.origin), policy)


def _is_as_recorded(settings: Settings, policy: LogPolicy | None, row: LogRow, archive: ArchivedLog) -> bool:
    """Return whether nothing is left to do: one request."""
    is_whole = row.indexed_size == row.published_size == row.planned_size and not row.shortfall
    is_stamped = settings.tsa_url is None or row.timestamped_size == row.published_size
    is_witnessed = policy is None or not policy.witnesses or bool(row.witnessed)
    return is_whole and is_stamped and is_witnessed and archive.find_checkpoint() == row.checkpoint


def _complete(work: _Publication, signers: list[Signer], policy: LogPolicy | None) -> Published:
    base = _compare(work, [signer.key for signer in signers], policy)
    keys = None
    if not work.row.keys:
        signers = _with_first_keys(work, signers)
        keys = [signer.key.text for signer in newest(signers)]
    size = plan_entries(work.connection, work.owner, keys)
    work.on_step("planned")
    entries = read_entries(work.connection, work.owner.installation_id)
    state, tree = replay_entries(entries, are_own=True), Tree(entries)
    _check_history(work.row, tree)
    tiles = new_tiles(base, size)
    for tile in tiles:
        work.put(tree.content(tile), tile.path, may_replace=_is_leftover(work, base, tile))
    row = _require(work.connection, work.owner)
    if base < size:
        _require_owner(work)
    note = _sign(work, state, tree, signers) if base < size else row.checkpoint or b""
    witnessed = gather(work.settings, policy, note, tree, row.published_size)
    for fork in witnessed.forks:
        raise_alert(work.connection, witnessed_alert(row.origin, fork))
    if witnessed.note != row.checkpoint or base < size:
        _require_owner(work)
        _put_checkpoint(work, tree, witnessed.note)
    if base < size or row.indexed_size < size:
        _write_indexes(work, state, tree, signers)
    stamped, missing_stamp = _stamp(work, tree)
    shortfall = "; ".join(filter(None, (witnessed.shortfall, missing_stamp)))
    note_publication(work.connection, work.owner, witnessed.line, stamped, shortfall)
    return Published(row.origin, size, size - row.published_size, len(tiles), shortfall)


def _is_leftover(work: _Publication, base: int, tile: Tile) -> bool:
    """Return whether another object in the place of ``tile`` is what a former database left behind, so that it may go.

    No signed checkpoint covers it, and a person decided that this database takes the place of the one that wrote it:
    that one was killed between its tiles and its checkpoint.
    """
    return work.owner.incarnation > 1 and tile.stop > max(base, work.row.published_size)


def _with_first_keys(work: _Publication, signers: list[Signer]) -> list[Signer]:
    """The signers of a log that nobody has signed yet, made where there are none."""
    if signers:
        return signers
    make_keys(work.settings)
    work.on_step("made keys")
    return load_signers(work.settings, work.row.origin)


def _compare(work: _Publication, own_keys: Sequence[VerifierKey], policy: LogPolicy | None) -> int:
    """The size up to which the archive's log is the one that PostgreSQL knows, and needs nothing written again.

    A checkpoint that PostgreSQL does not know is taken over only as a killed publisher leaves it: whoever can write to
    the bucket must not choose what is recorded. Raises ForkError for a longer log and for another root; DataError for a
    checkpoint that no key of this log signed.
    """
    row = work.row
    entries = read_entries(work.connection, row.installation_id)
    tree = Tree(entries)
    state = replay_entries(entries, are_own=True)
    known = {*own_keys, *(VerifierKey.parse(key) for _, change in state.key_changes for key in change.new)}
    try:
        opened = work.archive.open_checkpoint(known, row.origin)
    except VerificationError as error:
        raise DataError(
            f"{error}. Restore the object from a version or a backup of the bucket; if there is none, delete it: the "
            "next publication writes it again"
        ) from None
    if opened is None:
        return _set_back(work, "no checkpoint") if row.published_size else 0
    checkpoint, _, content = opened
    _refuse_fork(work, tree, checkpoint)
    if checkpoint.size < row.published_size:
        return _set_back(work, f"a checkpoint of {checkpoint.size} entries")
    if content == row.checkpoint:
        return checkpoint.size
    is_longer = checkpoint.size > row.published_size
    recorded = None if is_longer else row.checkpoint
    signing = [VerifierKey.parse(text) for text in state.keys_at(checkpoint.size)]
    known |= set(policy.witness_keys if policy is not None else ())
    if _is_of_publisher(content, recorded, signing, known):
        mark_published(work.connection, work.owner, checkpoint.size, checkpoint.root, content)
    elif recorded is None:
        return _set_back(work, f"a checkpoint of {checkpoint.size} entries with other signatures than a publisher's")
    else:
        _set_back(work, "a checkpoint with other signatures")
        _require_owner(work)
        work.replace(recorded, CHECKPOINT)
    return checkpoint.size


def _is_of_publisher(
    content: bytes, recorded: bytes | None, signing: Sequence[VerifierKey], known: Collection[VerifierKey]
) -> bool:
    """Whether a publisher that was killed may have left this note: every key of the log has signed it, and it has all
    cosignatures of the ``recorded`` one. Every other line is a signature of a known key that verifies.
    """
    try:
        note = open_note(content, known)
        require_keys(note, signing)
    except VerificationError:
        return False
    lines, former = split_note(content)[1], split_note(recorded)[1] if recorded else []
    is_known = all(line in former or any(line.is_of(key) for key in known) for line in lines)
    return is_known and all(line in lines or any(line.is_of(key) for key in note.keys) for line in former)


def _refuse_fork(work: _Publication, tree: Tree, checkpoint: Checkpoint) -> None:
    row, name = work.row, work.archive.key(CHECKPOINT)
    if checkpoint.size > row.planned_size:
        raise ForkError(
            f"{name} of the log {row.origin} has {checkpoint.size} entries, and PostgreSQL knows {row.planned_size}: "
            f"another database went on with it, or this one was set back. {_EITHER}"
        )
    if tree.root(checkpoint.size) != checkpoint.root:
        raise ForkError(
            f"{name} of the log {row.origin} has the root {checkpoint.root.hex()[:16]}… at {checkpoint.size} entries, "
            f"and PostgreSQL has {tree.root(checkpoint.size).hex()[:16]}…: two histories. {_EITHER}"
        )


def _set_back(work: _Publication, what: str) -> int:
    """Report that the archive has not what was published; everything, from entry 0 on, is to be written again."""
    raise_alert(work.connection, set_back_alert(work.row.origin, what, work.row.published_size))
    return 0


def _check_history(row: LogRow, tree: Tree) -> None:
    """Raise VerificationError where the entries in PostgreSQL are not those that were published."""
    if row.published_size > tree.size or (row.root is not None and tree.root(row.published_size) != row.root):
        raise VerificationError(
            f"log_events: the first {row.published_size} entries are not those that were published and signed: "
            "somebody changed them in PostgreSQL. Restore the table from a backup"
        )


def _sign(work: _Publication, state: LogState, tree: Tree, signers: list[Signer]) -> bytes:
    """The signed checkpoint of the log at its size."""
    checkpoint = Checkpoint(work.row.origin, tree.size, tree.root(tree.size))
    signing = choose(signers, state.keys)
    rotated = [change for index, change in state.key_changes if index >= work.row.published_size and change.old]
    former = {key for change in rotated for key in change.old} - {signer.key.text for signer in signing}
    leaving = [signer for signer in signers if signer.key.text in former]  # they confirm the new ones
    return sign_note(checkpoint.text, [*signing, *leaving], int(time.time()))


def _require_owner(work: _Publication) -> None:
    """Once more before a signature, and before the checkpoint: another database may have taken over meanwhile."""
    if find_owner(work.connection, work.settings) != work.owner:
        raise OwnershipError(f"the log {work.row.origin}: the installation changed while it was published")


def _put_checkpoint(work: _Publication, tree: Tree, note: bytes) -> None:
    """Put the checkpoint into the archive, and record that it is there."""
    work.replace(note, CHECKPOINT)
    mark_published(work.connection, work.owner, tree.size, tree.root(tree.size), note)
    work.on_step("recorded")


def _write_indexes(work: _Publication, state: LogState, tree: Tree, signers: list[Signer]) -> None:
    """Say for each table which months must exist. After the checkpoint, so that no index is ahead of it."""
    signing = [signer for signer in choose(signers, state.keys) if signer.key.type is SignatureType.ED25519]
    for table in sorted(state.tables):
        index = index_of(state, table, tree.root(tree.size))
        note = sign_note(index.to_text(), signing, 0)
        work.on_step(f"putting index/{table}")
        work.archive.store.replace_bytes(note, work.archive.key(f"index/{table}"))
        work.on_step(f"put index/{table}")
    mark_indexed(work.connection, work.owner, tree.size)
    work.on_step("indexed")


def _stamp(work: _Publication, tree: Tree) -> tuple[str, str]:
    """Have the checkpoint stamped, where an authority is set: a line for people, and what is missing."""
    if work.settings.tsa_url is None:
        return "", ""
    name = f"timestamps/{tree.size}.tsr"
    text = Checkpoint(work.row.origin, tree.size, tree.root(tree.size)).text
    try:
        content = work.archive.store.find_bytes(work.archive.key(name))
        if content is None:
            content = request_timestamp(work.settings, text, datetime.now(UTC))
            work.put(content, name)
        at = verify_timestamp(content, text, read_certificates(work.settings.tsa_certificates))
    except TreasuryError as error:
        return "", f"no timestamp: {error}"
    mark_timestamped(work.connection, work.owner, tree.size)
    work.on_step("timestamped")
    return f"stamped at {at:%Y-%m-%d %H:%M:%S} UTC", ""


def _find_folder(store: ObjectStore, owner: Owner) -> str:
    """Return where this installation's log lies, or will: beside another's log that was copied to this prefix."""
    own = f"{FOLDER}-{owner.short}"
    for folder in (FOLDER, own):
        if _origin_at(ArchivedLog(store, folder)) == origin_of(owner.installation_id):
            return folder
    return own if store.keys(FOLDER) else FOLDER


def _origin_at(archive: ArchivedLog) -> str | None:
    content = archive.find_checkpoint()
    if content is None:
        return None
    with suppress(VerificationError):
        return Checkpoint.parse(split_note(content)[0]).origin
    return None


def _require(connection: Connection, owner: Owner) -> LogRow:
    row = read_log(connection, owner.installation_id)
    if row is None:
        raise DataError(f"log_state: the row of installation {owner.installation_id} is not there")
    return row


def _note_failure(connection: Connection, error: TreasuryError) -> None:
    """Keep the reason for the health check, and raise the alert of a fork; PostgreSQL may be away itself."""
    if connection.closed:
        return
    with suppress(psycopg.Error, TreasuryError):
        installation = read_installation(connection)
        row = read_log(connection, installation.installation_id) if installation else None
        if installation is None or row is None:
            return
        owner = Owner(installation.installation_id, installation.incarnation)
        note_publication(connection, owner, row.witnessed, row.timestamped, str(error))
        if isinstance(error, ForkError):
            raise_alert(connection, forked_alert(row.origin, str(error)))
