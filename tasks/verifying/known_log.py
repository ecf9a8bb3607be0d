"""A log as it is known apart from the archive: its keys, and what PostgreSQL has of it.

The keys come from a policy file that a person has given, else from PostgreSQL and the key files of this home. Keys that
only the archive names are never believed: whoever writes to the bucket could name them.
"""

from collections.abc import Mapping, Set
from contextlib import suppress
from dataclasses import dataclass, field

from config import Settings
from ledger.errors import ConfigError, DeepTierError, VerificationError
from ledger.transparency.checkpoints import Checkpoint
from ledger.transparency.events import Archived, origin_of
from ledger.transparency.notes import Note, open_checkpoint, require_types, split_note
from ledger.transparency.policies import LogPolicy
from ledger.transparency.replay import replay_entries
from ledger.transparency.verifier_keys import VerifierKey
from sql.connection import Connection
from sql.installation import read_installation
from sql.log import cold_parts, count_waiting, known_uploads, read_entries, read_log, waiting_months
from sql.records import known_records
from storage.store import ObjectStore
from tasks.archiving.ownership import OwnershipState, look
from tasks.transparency.archived_log import CHECKPOINT, FOLDER
from tasks.transparency.keys import load_signers

_PREFIX = "treasury/"
_QUIET = frozenset({OwnershipState.OWNER, OwnershipState.FREE})


@dataclass(frozen=True, slots=True)
class DatabaseLog:
    """The log as PostgreSQL has it: its planned entries, how many were published, indexed and last stamped by a
    time-stamping authority, and what surrounds it.

    ``waiting`` is the number of events that are not published yet, ``waiting_months`` the tables and months they are
    about. ``uploads`` are the recorded objects with their states, and ``months`` the archived parts by the catalogue.
    ``records`` are the records of holds, deletions and returns whose upload was begun.
    ``marker`` is what is wrong with the archive's marker, empty when nothing.
    """

    entries: tuple[bytes, ...] = ()
    published_size: int = 0
    indexed_size: int = 0
    timestamped_size: int = 0
    waiting: int = 0
    waiting_months: Set[tuple[str, str]] = frozenset()
    uploads: Mapping[str, str] = field(default_factory=dict)
    months: tuple[Archived, ...] = ()
    marker: str = ""
    records: Set[str] = frozenset()


@dataclass(frozen=True, slots=True)
class KnownLog:
    """A log, where it lies, and who may have signed it. ``database`` is None for an archive that is verified alone."""

    origin: str
    folder: str
    keys: tuple[VerifierKey, ...]
    policy: LogPolicy | None = None
    database: DatabaseLog | None = None

    def open(self, content: bytes) -> tuple[Checkpoint, Note]:
        """The checkpoint in a note. Raises VerificationError unless the policy is met, or known keys signed it, one of
        each signature type.
        """
        if self.policy is not None:
            checkpoint, note = self.policy.check(content)
            if checkpoint.origin != self.origin:
                raise VerificationError(f"the checkpoint is of the log {checkpoint.origin}, not of {self.origin}")
            return checkpoint, note
        checkpoint, note = open_checkpoint(content, self.keys, self.origin)
        require_types(note, self.keys)
        return checkpoint, note


def know_log(
    settings: Settings, store: ObjectStore, connection: Connection | None, policy: LogPolicy | None
) -> KnownLog | None:
    """Return what is known of the archive's log by ``policy``, PostgreSQL and the key files, in this order.

    None where nothing was archived yet by PostgreSQL's word. Raises ConfigError where nobody names a key.
    """
    database = None if connection is None else _of_database(connection, settings, store)
    if database is not None and policy is None:
        return database
    if policy is not None:
        return _of_policy(store, policy, database)
    if connection is not None:
        return None
    return _of_key_files(settings, store)


def _of_database(connection: Connection, settings: Settings, store: ObjectStore) -> KnownLog | None:
    installation = read_installation(connection)
    if installation is None:
        return None
    number = installation.installation_id
    row, origin = read_log(connection, number), origin_of(number)
    entries = tuple(read_entries(connection, number))
    keys = {VerifierKey.parse(text) for _, change in replay_entries(entries).key_changes for text in change.new}
    with suppress(ConfigError):  # a machine without the keys knows who signed
        keys |= {signer.key for signer in load_signers(settings, origin)}
    standing = look(connection, settings, store)
    known = DatabaseLog(
        entries,
        row.published_size if row else 0,
        row.indexed_size if row else 0,
        row.timestamped_size if row else 0,
        count_waiting(connection, number)[0],
        waiting_months(connection, number),
        known_uploads(connection),
        tuple(cold_parts(connection)),
        "" if standing.state in _QUIET else standing.why,
        known_records(connection),
    )
    folder = row.folder if row else FOLDER
    return KnownLog(origin, folder, tuple(sorted(keys, key=lambda key: key.text)), database=known)


def _of_policy(store: ObjectStore, policy: LogPolicy, database: KnownLog | None) -> KnownLog:
    origins = list(dict.fromkeys(log.key.name for log in policy.logs))
    if not origins:
        raise ConfigError("the policy names no log: add what `treasury log keys` prints")
    if database is not None:
        keys = tuple(log.key for log in policy.logs if log.key.name == database.origin)
        return KnownLog(database.origin, database.folder, keys, policy, database.database)
    origin, folder = _find(store, origins)
    return KnownLog(origin, folder, tuple(log.key for log in policy.logs if log.key.name == origin), policy)


def _find(store: ObjectStore, origins: list[str]) -> tuple[str, str]:
    """Return which of the logs is in the archive, and where; the first one at `log` where none is."""
    own = [f"{FOLDER}-{origin.removeprefix(_PREFIX)[:8]}" for origin in origins]
    for folder in (FOLDER, *own):
        origin = _origin_at(store, folder)
        if origin in origins:
            return str(origin), folder
    return origins[0], FOLDER


def _origin_at(store: ObjectStore, folder: str) -> str | None:
    with suppress(VerificationError, DeepTierError):  # what is wrong with it is a finding of the verification
        content = store.find_bytes(f"{folder}/{CHECKPOINT}")
        return None if content is None else Checkpoint.parse(split_note(content)[0]).origin
    return None


def _of_key_files(settings: Settings, store: ObjectStore) -> KnownLog:
    origin = _origin_at(store, FOLDER)
    keys = () if origin is None else tuple(signer.key for signer in load_signers(settings, origin))
    if origin is None or not keys:
        raise ConfigError(
            "no key of the log is known here: name a policy with --policy (`treasury log keys` prints it), or set "
            "TREASURY_DATABASE_URL"
        )
    return KnownLog(origin, FOLDER, keys)
