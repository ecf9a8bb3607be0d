"""Warm to cold: claim, seal, export, upload, verify, write the manifest, flip the tier and drop the partition.

How far a month has come is in PostgreSQL (``archive_months.step``), so a run that was killed anywhere is healed by the
next. It claims the month again and goes through all steps again under a fresh key. Until the last transaction the month
is warm and whole; from its commit on it is cold and proved. Nothing in between is visible to a reader.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from pathlib import Path

import psycopg
from psycopg.sql import SQL
from psycopg.types.json import Jsonb

from config import Settings
from ledger.archive_objects import EVERY_PART
from ledger.columns import Column
from ledger.counts import counted
from ledger.errors import (
    ConfigError,
    ConflictError,
    DataError,
    OwnershipError,
    TransientError,
    TreasuryError,
    VerificationError,
)
from ledger.installation import Owner
from ledger.months import Month
from ledger.proof import MonthContent, sums_per_currency
from ledger.tables import TieredTable
from sql.catalog import columns_of
from sql.connection import Connection, connect, fetch_one, is_rolled_back
from sql.fields import assign_fields
from sql.keepable import unkeepable_value
from sql.log import archived_part, record_event
from sql.lookups import add_lookup
from sql.maintenance import keep_vacuum_out, run_ddl
from sql.obstacles import obstacles
from sql.partitions import monthly_partitions
from sql.queries import load
from sql.relations import Parents, Relation, check_partition
from sql.seal import count_unfinished, is_sealed, row_versions, seal, unseal
from sql.storing import check_stored
from storage.engine import engine
from storage.layout import LOOKUP_SUFFIX, MANIFEST_SUFFIX, data_folder, manifest_folder, tree_folder
from storage.lookups import FileLookup, filtered_columns, make_lookup
from storage.manifest import ManifestFile, ManifestObject, ManifestRowGroup, ManifestTree, describe_month
from storage.month_tree import FileTree, ReadFile, read_file
from storage.spool import spool_folder
from storage.store import ObjectStore, StoredFile, describe_file
from tasks.archiving.export import export_partition
from tasks.archiving.late_rows import refuse_archived, refuse_archived_file
from tasks.archiving.month_lock import month_lock
from tasks.archiving.object_keys import object_key
from tasks.archiving.orphans import remove_orphans
from tasks.archiving.ownership import check_ownership
from tasks.archiving.verify import check_bytes, compare, read_held_rows
from tasks.retention.locks import lock_new_objects

_QUERIES = load("tiers")
_CATALOG = load("catalog")


class Step(StrEnum):
    """The steps of warm to cold, in order. Each names what has been done."""

    CLAIMED = "claimed"
    SEALED = "sealed"
    EXPORTED = "exported"
    UPLOADED = "uploaded"
    VERIFIED = "verified"
    DESCRIBED = "described"
    LOCKED = "locked"
    FLIPPED = "flipped"
    CLEANED = "cleaned"


OnStep = Callable[[Step], None]


class HeldBackError(DataError):
    """The month may not leave yet: it has unfinished rows. Nothing was changed."""


@dataclass(frozen=True, slots=True)
class ArchivedMonth:
    """A month that went cold: its rows, its size before and after, its digest."""

    rows: int
    postgres_bytes: int
    archive_bytes: int
    digest: bytes


@dataclass(frozen=True, slots=True)
class _Claim:
    """A month in hand: what every step needs to know of it."""

    table: TieredTable
    month: Month
    warm_parent: Relation
    partition: Relation
    columns: tuple[Column, ...]
    attempt: int
    part: int
    owner: Owner

    @property
    def row(self) -> dict[str, object]:
        month = {"month": self.month.first_day, "part": self.part}
        return {"table": self.table.name, **month, "attempt": self.attempt}

    @property
    def upload(self) -> dict[str, object]:
        owner = {"installation_id": self.owner.installation_id, "incarnation": self.owner.incarnation}
        return self.row | owner

    def key(self, content: StoredFile, folder: str, suffix: str) -> str:
        """A key for an object of this attempt."""
        return object_key(content, folder, self.owner, self.attempt, suffix)

    @property
    def metadata(self) -> dict[str, str]:
        """What the Parquet file itself says of its rows."""
        return {
            "treasury.table": self.table.name,
            "treasury.month": str(self.month),
            "treasury.part": str(self.part),
            "treasury.installation": str(self.owner.installation_id),
        }


def archive_month(
    settings: Settings, table: TieredTable, month: Month, on_step: OnStep = lambda _: None
) -> ArchivedMonth:
    """Move one warm month to the archive, proved, and drop its partition.

    Safe to run again after any interruption, and from several processes: one of them gets the month, the others get
    ConflictError. Raises HeldBackError for unfinished rows, and VerificationError when the archive does not hold what
    PostgreSQL holds (the month stays warm). Raises OwnershipError when the archive is not this database's to write to,
    and TransientError when a server is away. ``on_step`` is called with each step after it is done.
    """
    with connect(settings.database_dsn, "archive") as connection, month_lock(connection, table, month):
        claim = _claim(connection, settings, table, month)
        on_step(Step.CLAIMED)
        _seal(connection, settings, claim)
        on_step(Step.SEALED)
        try:
            archived = _move(connection, settings, claim, on_step)
        except TransientError:
            raise
        except TreasuryError as error:
            _refuse_values(connection, settings, claim, error)
            raise
        remove_orphans(connection, settings, table)
        on_step(Step.CLEANED)
        return archived


def _move(connection: Connection, settings: Settings, claim: _Claim, on_step: OnStep) -> ArchivedMonth:
    table, columns, partition, month = claim.table, claim.columns, claim.partition, claim.month
    versions = row_versions(connection, partition)  # taken before the proof, so it covers all of it
    with spool_folder(settings.spool, partition.name) as spool, ThreadPoolExecutor(1) as side:
        store = ObjectStore(settings)
        held = side.submit(read_held_rows, settings, table, columns, partition, month, spool)
        file, content = _write(connection, settings, store, claim, spool, on_step, versions[0])
        on_step(Step.UPLOADED)
        check_bytes(content, store.fetch(file, spool / "read.parquet"), file)
        _record_upload(connection, claim, file, content)
        read = read_file(settings, table, columns, month, spool / "read.parquet", spool)
        tree = compare(table, partition, held.result(), read)
        on_step(Step.VERIFIED)
        described = _describe_file(file, content, read)
        columns_with_filter = filtered_columns(table, columns)
        lookup = make_lookup(spool / "read.parquet", columns_with_filter, settings.archive_filter_bits)
        postgres_bytes = _describe(connection, store, claim, read.content, tree, described, lookup)
        on_step(Step.DESCRIBED)
        _lock(connection, settings, claim)
        on_step(Step.LOCKED)
        _decide(connection, settings, claim)
        _flip_or_reopen(connection, settings, claim, versions)
        on_step(Step.FLIPPED)
        return ArchivedMonth(read.content.rows, postgres_bytes, content.size_bytes, tree.head.root)


def _write(
    connection: Connection,
    settings: Settings,
    store: ObjectStore,
    claim: _Claim,
    spool: Path,
    on_step: OnStep,
    rows: int,
) -> tuple[str, StoredFile]:
    """Export the partition of ``rows`` and upload the file; returns its key, and its size and SHA-256."""
    written = spool / "written.parquet"
    with engine(settings) as duck:
        export_partition(duck, settings, claim.table, claim.columns, claim.partition, written, claim.metadata, rows)
    refuse_archived_file(connection, settings, claim.table, claim.month, written)
    on_step(Step.EXPORTED)
    content = describe_file(written)
    key = claim.key(content, data_folder(claim.table.name, str(claim.month)), "parquet")
    _intend(connection, claim, key)
    store.put(written, key)
    return key, content


def _record_upload(connection: Connection, claim: _Claim, key: str, content: StoredFile) -> None:
    stored = {"object_key": key, "object_bytes": content.size_bytes, "object_sha256": content.sha256}
    with connection.transaction():
        _mark(connection, claim, "mark_uploaded", stored)
        _add_event(connection, claim, "uploaded", {"object_key": key, "size_bytes": content.size_bytes})


def _claim(connection: Connection, settings: Settings, table: TieredTable, month: Month) -> _Claim:
    where = {"table": table.name, "month": month.first_day}
    known = connection.execute(_QUERIES["tier_and_step"], where).fetchone()
    if known is None or known[0] != "warm":
        raise ConflictError(f"{table.name} {month} is {known[0] if known else 'unknown'}, not warm")
    warm = Parents.of(connection, table).warm
    partition = monthly_partitions(connection, warm).get(month)
    if warm is None or partition is None:
        raise DataError(f"{table.name} {month}: the catalogue says warm, but {table.warm_parent} has no such partition")
    if (obstacle := obstacles(connection, [partition]).get(partition)) is not None:
        raise ConfigError(f"{table.name} {month}: {obstacle}")
    _refuse_unfinished(connection, table, month, partition)
    columns = _columns(connection, settings, table, partition)
    refuse_archived(connection, settings, table, month, partition)
    owner = check_ownership(connection, settings)
    with connection.transaction():
        attempt, part = fetch_one(connection, _QUERIES["claim"], where)
        claim = _Claim(table, month, warm, partition, columns, attempt, part, owner)
        _add_event(connection, claim, "claimed", {"attempt": attempt})
    return claim


def _columns(connection: Connection, settings: Settings, table: TieredTable, partition: Relation) -> tuple[Column, ...]:
    """The partition's columns with their numbers."""
    hot = Parents.of(connection, table).hot
    if hot is None:
        raise ConfigError(f"table {table.name}: there is no {table.hot_parent} in the database")
    columns = assign_fields(connection, settings, table, hot).numbered(columns_of(connection, partition))
    if unknown := [column.name for column in columns if column.field_id is None]:
        raise ConfigError(f"{partition}.{unknown[0]}: {hot} has no column of that name: rename or drop it in both")
    return columns


def _refuse_unfinished(connection: Connection, table: TieredTable, month: Month, partition: Relation) -> None:
    unfinished = count_unfinished(connection, table, partition)
    if unfinished:
        raise HeldBackError(f"{table.name} {month}: {counted(unfinished, 'unfinished row')}")


def _seal(connection: Connection, settings: Settings, claim: _Claim) -> None:
    def work() -> None:
        seal(connection, claim.partition)
        check_partition(connection, claim.partition, claim.warm_parent)  # under the locks of the seal
        # Writers that were under way have ended now: only this count is final.
        _refuse_unfinished(connection, claim.table, claim.month, claim.partition)
        _mark(connection, claim, "mark_sealed")
        _add_event(connection, claim, "sealed")

    run_ddl(connection, settings, work)


def _refuse_values(connection: Connection, settings: Settings, claim: _Claim, error: TreasuryError) -> None:
    """Where ``error`` came of a value that no file of the archive can hold: name it, and take the seal off, because
    somebody must correct it. Raises DataError then.

    Every such value fails the export, one of the two hashes or their comparison, so the rows need no scan for them as
    long as all goes well.
    """
    value = unkeepable_value(connection, claim.table, claim.columns, claim.partition)
    if value is None:
        return

    def work() -> None:
        check_partition(connection, claim.partition, claim.warm_parent)
        unseal(connection, claim.partition)
        _mark(connection, claim, "mark_unsealed")
        _add_event(connection, claim, "unsealed", {"reason": str(error)})

    run_ddl(connection, settings, work)
    where = f"{claim.table.name} {claim.month}: {claim.partition}"
    raise DataError(f"{where}.{value}, which the archive cannot keep: correct it") from error


def _describe_file(key: str, content: StoredFile, read: ReadFile) -> ManifestFile:
    row_groups = (
        ManifestRowGroup(rows=row_group.rows, first_leaf=row_group.first_leaf) for row_group in read.tree.row_groups
    )
    return ManifestFile(
        key=key,
        size_bytes=content.size_bytes,
        sha256=content.sha256.hex(),
        rows=read.content.rows,
        row_groups=tuple(row_groups),
    )


def _describe(
    connection: Connection,
    store: ObjectStore,
    claim: _Claim,
    content: MonthContent,
    tree: FileTree,
    file: ManifestFile,
    lookup: FileLookup,
) -> int:
    """Write tree, lookup and manifest, read them back, and record the proof; returns the bytes of the month in
    PostgreSQL.
    """
    installation, month = claim.owner.installation_id, str(claim.month)
    key, roots = _store(connection, store, claim, tree.chunk_roots, tree_folder(claim.table.name, month), "tree")
    described = ManifestTree(
        key=key,
        size_bytes=roots.size_bytes,
        sha256=roots.sha256.hex(),
        leaves=tree.head.leaves,
        root=tree.head.root.hex(),
    )
    lookup_key, stored = _store(
        connection, store, claim, lookup.to_bytes(), tree_folder(claim.table.name, month), LOOKUP_SUFFIX
    )
    looked_up = ManifestObject(key=lookup_key, size_bytes=stored.size_bytes, sha256=stored.sha256.hex())
    named = (installation, claim.table, month, claim.part)
    manifest = describe_month(*named, claim.columns, content, described, (file,), lookup=looked_up)
    folder = manifest_folder(claim.table.name, month)
    manifest_key, stored = _store(connection, store, claim, manifest.to_bytes(), folder, MANIFEST_SUFFIX)
    postgres_bytes = int(fetch_one(connection, _CATALOG["relation_bytes"], {"relation": claim.partition.oid})[0])
    proved = {
        "row_count": content.rows,
        "sums": Jsonb(sums_per_currency(claim.table, content.totals)),
        "digest": tree.head.root,
        "manifest_key": manifest_key,
        "manifest_sha256": stored.sha256,
        "postgres_bytes": postgres_bytes,
        "keys_tell_month": content.keys_tell_month,
        "columns": Jsonb([column.model_dump(mode="json") for column in manifest.columns]),
        "tree": Jsonb(manifest.tree.model_dump(mode="json")),
        "layout": Jsonb(manifest.layout.to_record()),
        "lookup": Jsonb(looked_up.model_dump(mode="json")),
    }
    with connection.transaction():
        _mark(connection, claim, "mark_verified", proved)
        copied = (file.key, lookup.pieces, lookup.footer, lookup.filters)
        add_lookup(connection, claim.table.name, claim.month.first_day, claim.part, *copied)
        _add_event(connection, claim, "verified", {"digest": tree.head.root.hex(), "manifest_key": manifest_key})
    return postgres_bytes


def _store(
    connection: Connection, store: ObjectStore, claim: _Claim, content: bytes, folder: str, suffix: str
) -> tuple[str, StoredFile]:
    """Put an object that is not data outside the data folders, and read it back; returns its key and what it is."""
    described = StoredFile.of(content)
    key = claim.key(described, folder, suffix)
    _intend(connection, claim, key)
    store.put_bytes(content, key)
    check_bytes(described, StoredFile.of(store.read_bytes(key)), key)
    return key, described


def _lock(connection: Connection, settings: Settings, claim: _Claim) -> None:
    """Write once: no month goes cold before each of its objects is locked, where the settings and the bucket lock them.

    Not at the upload: what an attempt that was killed has left could not be removed for years.
    """
    keys = [key for (key,) in connection.execute(_QUERIES["attempt_uploads"], claim.row).fetchall()]
    lock_new_objects(connection, settings, claim.table.name, claim.month, claim.part, keys)


def _decide(connection: Connection, settings: Settings, claim: _Claim) -> None:
    """Once more before the drop: a copy that went on meanwhile, or takes over, must not find this attempt undecided."""

    def record() -> None:
        decided = connection.execute(_QUERIES["decide_uploads"], claim.row)
        check_stored(decided, len(EVERY_PART), "archive_uploads")

    if check_ownership(connection, settings, record) != claim.owner:
        raise OwnershipError(f"{claim.table.name} {claim.month}: the installation changed while the month was archived")


def _flip_or_reopen(connection: Connection, settings: Settings, claim: _Claim, versions: tuple[int, Decimal]) -> None:
    """The flip. Where it was rolled back, and only there, this attempt's objects are leftovers like any other."""
    try:
        _flip(connection, settings, claim, versions)
    except (TreasuryError, psycopg.Error) as error:
        if is_rolled_back(connection, error) or isinstance(error, TransientError):  # no lock was free in time
            connection.execute(_QUERIES["reopen_uploads"], claim.row)
        raise


def _flip(connection: Connection, settings: Settings, claim: _Claim, versions: tuple[int, Decimal]) -> None:
    """The one transaction that makes the month cold and drops its partition.

    The seal has kept every writer out since before the export. It is looked at once more here, and so are the rows,
    which must be the very versions that were proved, under a lock that not even a superuser's write passes, before
    the only step that cannot be undone.
    """
    partition = claim.partition.identifier

    def work() -> None:
        keep_vacuum_out(connection, partition)
        connection.execute(SQL("LOCK TABLE {} IN SHARE MODE").format(partition))
        check_partition(connection, claim.partition, claim.warm_parent)
        if not is_sealed(connection, claim.partition):
            raise VerificationError(f"{claim.table.name} {claim.month}: the seal was broken before the drop")
        if row_versions(connection, claim.partition) != versions:
            raise VerificationError(f"{claim.table.name} {claim.month}: rows changed between verification and drop")
        parent = claim.warm_parent.identifier
        connection.execute(SQL("LOCK TABLE ONLY {} IN ACCESS EXCLUSIVE MODE").format(parent))
        connection.execute(SQL("DROP TABLE {}").format(partition))
        _mark(connection, claim, "mark_cold")
        adopted = connection.execute(_QUERIES["adopt_uploads"], claim.row)
        check_stored(adopted, len(EVERY_PART), "archive_uploads")
        _add_event(connection, claim, "archived", {"rows": versions[0]})
        event = archived_part(connection, claim.table.name, claim.month.first_day, claim.part)
        record_event(connection, claim.owner, event)

    run_ddl(connection, settings, work)


def record_failure(settings: Settings, table: TieredTable, month: Month, reason: str) -> None:
    """Keep the reason why a month did not move, for `treasury tiers` and the health checks. Safe to run again."""
    with connect(settings.database_dsn, "archive") as connection:
        parameters = {"table": table.name, "month": month.first_day, "error": reason}
        connection.execute(_QUERIES["mark_failed"], parameters)


def _mark(connection: Connection, claim: _Claim, query: str, values: dict[str, object] | None = None) -> None:
    """Write down how far the month has come. Raises ConflictError when it is not this attempt's any more."""
    if connection.execute(_QUERIES[query], {**claim.row, **(values or {})}).rowcount != 1:
        raise ConflictError(f"{claim.table.name} {claim.month} was taken over by another run")


def _intend(connection: Connection, claim: _Claim, key: str) -> None:
    intended = connection.execute(_QUERIES["intend_upload"], {**claim.upload, "object_key": key})
    check_stored(intended, 1, "archive_uploads")


def _add_event(connection: Connection, claim: _Claim, event: str, detail: dict[str, object] | None = None) -> None:
    added = connection.execute(_QUERIES["add_event"], {**claim.row, "event": event, "detail": Jsonb(detail or {})})
    check_stored(added, 1, "archive_events")
