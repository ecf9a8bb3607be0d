"""Cold to deep: the object with a month's rows goes into another storage class, under the same key, proved before.

The bytes are read once more and compared with the catalogue, and what the store must say of the copy is recorded. Only
then is the object copied onto itself. The tree, the manifest and the log stay in the standard class. Killed anywhere
and run again, it ends the same way.
"""

import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from config import Settings
from ledger.errors import ConfigError, ConflictError, DataError, VerificationError
from ledger.installation import Owner
from ledger.months import Month
from ledger.policy import Tier
from ledger.tables import TieredTable
from ledger.transparency.events import Deepened
from sql.clock import read_now
from sql.connection import Connection, connect
from sql.deep import BegunCopy, DeepCandidate, begin_copy, drop_copy, find_copy, find_part, mark_deep, note_failure
from sql.log import record_event
from storage.layout import CANARIES, data_folder
from storage.spool import spool_folder
from storage.storage_classes import COPY_PART_BYTES, ClassState, CopySums, StorageClasses, checksum_of
from storage.store import ObjectStore, StoredFile
from storage.versions import KeptVersionError, ObjectVersion, VersionedStore
from tasks.archiving.month_lock import month_lock
from tasks.archiving.ownership import check_ownership
from tasks.archiving.verify import check_bytes

_DAYS_PER_MONTH = 31
_NONCE_BYTES = 8
_SETTING = "TREASURY_DEEP_STORAGE_CLASS"


class DeepStep(StrEnum):
    """The steps of cold to deep, in order. Each names what has been done."""

    READ = "read"
    COPIED = "copied"
    COMPARED = "compared"
    SWEPT = "swept"
    FLIPPED = "flipped"


OnStep = Callable[[DeepStep], object]


class WaitsForTransitionError(DataError):
    """A locked object cannot be copied without leaving its old version: a lifecycle rule of the bucket must move it."""


@dataclass(frozen=True, slots=True)
class DeepPart:
    """A part of a month that went deep: its rows, its bytes, and its storage class; None where it has no other one."""

    rows: int
    size_bytes: int
    storage_class: str | None


def deepen(
    settings: Settings,
    table: TieredTable,
    month: Month,
    part: int = 1,
    on_step: OnStep = lambda _: None,
    part_bytes: int = COPY_PART_BYTES,
) -> DeepPart | None:
    """Move an archived part of a month into the deep tier; None where it is there already.

    Safe to run again after any interruption, and from several processes: the others get ConflictError. Raises
    WaitsForTransitionError for a locked object, naming the lifecycle rule. Raises VerificationError where the object is
    not the archived one, or the store does not prove the copy (the month stays cold). Raises ConfigError for a store
    that does not keep the storage class, and OwnershipError where the archive is not this database's.
    """
    with connect(settings.database_dsn, "deep") as connection, month_lock(connection, table, month):
        known = find_part(connection, table.name, month, part)
        storage_class = wanted_class(settings)
        if known.tier == "deep" and (known.storage_class is not None or storage_class is None):
            return None
        if not Tier(known.tier).is_archived or known.step != "idle":
            raise ConflictError(f"{table.name} {month}, part {part} is {known.tier}: only a cold month goes deep")
        owner = check_ownership(connection, settings)
        work = _Deepening(connection, settings, table, month, known, owner, on_step, part_bytes)
        etag = "" if storage_class is None else _move(work, storage_class).etag
        _flip(work, storage_class, etag)
        on_step(DeepStep.FLIPPED)
        return DeepPart(known.row_count, known.object_bytes, storage_class)


def wanted_class(settings: Settings) -> str | None:
    """The storage class of deep months; None where objects stay as they are: in a folder, or without a setting."""
    return settings.deep_storage_class if settings.archive_location.startswith("s3://") else None


@dataclass(frozen=True, slots=True)
class _Deepening:
    """A part of a month in hand."""

    connection: Connection
    settings: Settings
    table: TieredTable
    month: Month
    part: DeepCandidate
    owner: Owner
    on_step: OnStep
    part_bytes: int

    @property
    def key(self) -> str:
        return self.part.object_key

    @property
    def classes(self) -> StorageClasses:
        return StorageClasses(self.settings)

    def contents(self) -> list[ObjectVersion]:
        """The versions of the object that have content."""
        return [version for version in VersionedStore(self.settings).versions(self.key) if not version.is_marker]

    def __str__(self) -> str:
        return f"{self.table.name} {self.month}, part {self.part.part}"


def _move(work: _Deepening, storage_class: str) -> ClassState:
    """Bring the object into a storage class; returns what the store says of it then."""
    state = work.classes.state(work.key)
    copy = _begun(work, storage_class, state)
    if copy is None:
        if state.storage_class == storage_class:
            return _transitioned(work, state)
        _refuse_locked(work, storage_class)
        prove_class(work.settings, storage_class)
        _read(work, storage_class, state)
        work.on_step(DeepStep.READ)
        copy = find_copy(work.connection, work.key)
        assert copy is not None  # noqa: S101  # recorded a line above
    if state.storage_class != storage_class:
        _refuse_locked(work, storage_class)
        work.classes.copy(work.key, copy.from_version, copy.from_etag, storage_class, copy.part_bytes)
        work.on_step(DeepStep.COPIED)
        state = work.classes.state(work.key)
    _require_class(state, work.key, storage_class, _sums(copy))
    work.on_step(DeepStep.COMPARED)
    _remove_former(work, state, copy.from_version)
    work.on_step(DeepStep.SWEPT)
    return state


def _begun(work: _Deepening, storage_class: str, state: ClassState) -> BegunCopy | None:
    """The copy that was begun; None where it is not of the object that is there: the one that was read, or its copy."""
    copy = find_copy(work.connection, work.key)
    if copy is None:
        return None
    is_of_object = state.storage_class == copy.storage_class or state.etag == copy.from_etag
    if copy.storage_class == storage_class and is_of_object:
        return copy
    drop_copy(work.connection, work.key)
    return None


def _sums(copy: BegunCopy) -> CopySums:
    return CopySums(copy.size_bytes, copy.part_bytes, copy.etag, copy.checksum)


def _refuse_locked(work: _Deepening, storage_class: str) -> None:
    """Raise WaitsForTransitionError where a version is locked: a copy would leave it there, and billed, for years."""
    now = read_now(work.connection)
    for version in work.contents():
        if reason := version.why_kept(now):
            raise WaitsForTransitionError(
                f"{work}: version {version.version} of {work.key}: {reason}. A copy would leave that version as it is. "
                "Give the bucket this lifecycle rule, which moves locked versions too: "
                f"{lifecycle_rule(work.settings, work.table, storage_class)}. The month is recorded as deep once the "
                f"store shows {storage_class}"
            )


def lifecycle_rule(settings: Settings, table: TieredTable, storage_class: str) -> str:
    """The lifecycle configuration of S3 that moves a table's archived objects, as JSON. Its age is in days."""
    _, prefix = ObjectStore(settings).place(data_folder(table.name, ""))
    policy = table.policy
    days = (policy.cold_months - policy.warm_months) * _DAYS_PER_MONTH
    rule = {
        "ID": f"treasury-deep-{table.name}",
        "Status": "Enabled",
        "Filter": {"Prefix": prefix},
        "Transitions": [{"Days": days, "StorageClass": storage_class}],
    }
    return json.dumps({"Rules": [rule]})


def _transitioned(work: _Deepening, state: ClassState) -> ClassState:
    """What a lifecycle rule has moved, proved to be what was archived: by the store's SHA-256, by its bytes where they
    can be read, or by a lock, under which nobody can have replaced the one version.
    """
    versions = work.contents()
    if len(versions) != 1:
        raise VerificationError(f"{work.key}: has {len(versions)} versions, and one was archived")
    if state.size_bytes != work.part.object_bytes:
        raise VerificationError(f"{work.key}: has {state.size_bytes} bytes, and {work.part.object_bytes} were archived")
    wanted = checksum_of(bytes(work.part.object_sha256))
    if state.checksum and "-" not in state.checksum:
        if state.checksum != wanted:
            raise VerificationError(f"{work.key}: its SHA-256 is {state.checksum}, and {wanted} was archived")
    elif ObjectStore(work.settings).is_readable(work.key):
        _fetch(work)
    elif not versions[0].why_kept(read_now(work.connection)):
        raise VerificationError(
            f"{work.key}: is in {state.storage_class}, and neither a SHA-256 of the store nor a lock proves it: run "
            f"`treasury restore-request {work.table.name} {work.month}`, and the next run reads it"
        )
    return state


def _read(work: _Deepening, storage_class: str, state: ClassState) -> None:
    """Read the object once more, compare it with the catalogue, and record what the copy must be."""
    versions = work.contents()
    if len(versions) != 1:
        raise VerificationError(
            f"{work.key}: has {len(versions)} versions, and one was archived: run `treasury verify`"
        )
    if not state.etag:
        raise ConfigError(
            f"{work.key}: the store gives no ETag, so a copy could be of another object: leave {_SETTING} unset"
        )
    sums = _fetch(work)
    whole = (sums.size_bytes, sums.part_bytes, sums.etag, sums.checksum)
    begin_copy(work.connection, work.part, BegunCopy(storage_class, *whole, state.version, state.etag))


def _fetch(work: _Deepening) -> CopySums:
    """Read the object and compare it with the catalogue; returns what a copy of it must be."""
    with spool_folder(work.settings.spool, "deep") as spool:
        file = spool / "object.parquet"
        fetched = ObjectStore(work.settings).fetch(work.key, file)
        check_bytes(StoredFile(work.part.object_bytes, bytes(work.part.object_sha256)), fetched, work.key)
        return CopySums.of(file, work.part_bytes)


def prove_class(settings: Settings, storage_class: str) -> None:
    """Try the storage class with an object of no worth: raises ConfigError, naming what the store does not do."""
    store, classes = ObjectStore(settings), StorageClasses(settings)
    key = f"{CANARIES}/class-{secrets.token_hex(_NONCE_BYTES)}"
    content = b"Treasury tries a storage class with this object."
    store.put_bytes(content, key)
    try:
        before = classes.state(key)
        classes.copy(key, before.version, before.etag, storage_class, COPY_PART_BYTES)
        _require_class(classes.state(key), key, storage_class, CopySums.of_content(content))
    except (ConfigError, VerificationError) as error:
        raise ConfigError(f"{_SETTING}={storage_class}: {error}: name a class of the store, or unset it") from error
    finally:
        _remove_canary(settings, key)


def _require_class(state: ClassState, key: str, storage_class: str, sums: CopySums) -> None:
    if state.storage_class != storage_class:
        raise VerificationError(f"{key}: was copied into {storage_class}, and is in {state.storage_class}")
    state.require(key, sums)


def _remove_canary(settings: Settings, key: str) -> None:
    try:
        VersionedStore(settings).remove(key)
    except KeptVersionError:
        return  # by a retention that the bucket gives to everything: `treasury storage-check` removes it after that


def _remove_former(work: _Deepening, state: ClassState, from_version: str) -> None:
    """Delete the version that was copied, by its id. Raises VerificationError for one that nobody here wrote."""
    store = VersionedStore(work.settings)
    for version in store.versions(work.key):
        name = "" if version.version == "null" else version.version
        if name == state.version:
            continue
        if version.is_marker or name != from_version:
            raise VerificationError(
                f"{work.key}: version {version.version} is not one that was archived: look who wrote it"
            )
        store.remove_version(work.key, version)


def _flip(work: _Deepening, storage_class: str | None, etag: str) -> None:
    with work.connection.transaction():
        mark_deep(work.connection, work.part, storage_class, etag)
        body = Deepened(
            table=work.table.name,
            month=str(work.month),
            part=work.part.part,
            storage_class=storage_class,
            manifest_sha256=bytes(work.part.manifest_sha256).hex(),
        )
        record_event(work.connection, work.owner, body)


def record_deep_failure(settings: Settings, table: TieredTable, month: Month, part: int, reason: str) -> None:
    """Keep the reason why a part did not go deep, for `treasury tiers`. Safe to run again."""
    with connect(settings.database_dsn, "deep") as connection:
        note_failure(connection, table.name, month, part, reason)
