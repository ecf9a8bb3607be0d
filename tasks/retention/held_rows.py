"""The rows that holds keep when their month is deleted. They get a small file of their own, proved, with a proof of
each row against the root that the month had.

They become a part of the month like any other, so every reader, verifier and rebuild knows them.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import rfc8785
from duckdb import DuckDBPyConnection

from config import Settings
from ledger.columns import Column
from ledger.errors import VerificationError
from ledger.holds import Hold, Subject
from ledger.installation import Owner
from ledger.merkle import leaf_hash
from ledger.month_proofs import RowProof, check_month_proof, parse_month_proof
from ledger.month_tree import TreeHead
from ledger.months import Month
from ledger.proof import sums_per_currency
from ledger.transparency.events import KeptRows, LoggedObject
from sql.connection import Connection
from sql.deletions import MonthPart, intend_kept
from storage.engine import engine, identifier, literal, sql_type
from storage.layout import LOOKUP_SUFFIX, MANIFEST_SUFFIX, data_folder, manifest_folder, tree_folder
from storage.leaf_files import only_on_one_side
from storage.lookups import FileLookup, filtered_columns, make_lookup
from storage.manifest import Manifest, ManifestFile, ManifestObject, ManifestRowGroup, ManifestTree, describe_month
from storage.month_proofs import MonthProver
from storage.month_tree import ReadFile, read_file
from storage.parquet import BATCH_ROWS, write_parquet
from storage.spool import spool_folder
from storage.store import ObjectStore, StoredFile, describe_file
from tasks.archiving.object_keys import object_key
from tasks.archiving.verify import check_bytes
from tasks.retention.subjects import archived_columns
from tasks.verifying.month_verification import table_of

FORMAT = "treasury-kept-rows-v1"


@dataclass(frozen=True, slots=True)
class KeptPart:
    """A part made of held rows: the values of its row in the catalogue, its rows and root, and its objects' keys."""

    part: int
    of_part: int
    rows: int
    root: str
    holds: tuple[str, ...]
    values: dict[str, Any]
    lookup: FileLookup
    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Keeping:
    """What every step needs to know of the part whose rows are kept."""

    connection: Connection
    settings: Settings
    store: ObjectStore
    owner: Owner
    manifest: Manifest
    former: MonthPart
    holds: Sequence[Hold]
    part: int
    attempt: int
    named_by: Mapping[Subject, Sequence[str]]  # the columns of the file that name a subject, whatever they are called

    @property
    def month(self) -> Month:
        return Month.parse(self.manifest.month)

    @property
    def columns(self) -> tuple[Column, ...]:
        return self.manifest.layout.columns

    @property
    def subjects(self) -> dict[str, list[str]]:
        """The held values by column, of the columns that the rows have."""
        values_by_column: dict[str, list[str]] = {}
        for hold in self.holds:
            for name, value in self.held_by(hold):
                values_by_column.setdefault(name, []).append(value)
        return values_by_column

    def held_by(self, hold: Hold) -> list[tuple[str, str]]:
        """Column and value of the rows that a hold keeps."""
        scope = hold.scope
        if scope.subject is None or scope.value is None:
            return []
        return [(name, scope.value) for name in self.named_by[scope.subject]]

    def keeps(self, row: Mapping[str, str]) -> bool:
        """Whether a hold keeps a row with these fields."""
        return any(row[name] in values for name, values in self.subjects.items())

    @property
    def condition(self) -> str:
        """What is true for a held row, in the engine's SQL."""
        tests = [f"{identifier(name)} IN ({', '.join(map(literal, values))})" for name, values in self.subjects.items()]
        return " OR ".join(tests) or "false"

    def put(self, content: bytes, folder: str, suffix: str) -> tuple[str, StoredFile]:
        """Store an object that is recorded before its first byte, and read it back."""
        described = StoredFile.of(content)
        key = self.intend(described, folder, suffix)
        self.store.put_bytes(content, key)
        check_bytes(described, StoredFile.of(self.store.read_bytes(key)), key)
        return key, described

    def intend(self, content: StoredFile, folder: str, suffix: str) -> str:
        """A fresh key, recorded in PostgreSQL."""
        key = object_key(content, folder, self.owner, self.attempt, suffix)
        named = (self.manifest.table, self.month, self.former.part, self.attempt, key)
        intend_kept(self.connection, self.owner, *named)
        return key


def keep_rows(
    connection: Connection,
    settings: Settings,
    owner: Owner,
    former: MonthPart,
    holds: Sequence[Hold],
    part: int,
    attempt: int,
) -> KeptPart | None:
    """Store the rows of the part ``former`` that ``holds`` keep, as the part ``part``; None where it has none of them.

    Nothing reads the objects before the catalogue names them; a run that does not come so far leaves them recorded in
    the state ``keeping``. Raises VerificationError where a copy is not what it must be, and the store's errors.
    """
    store = ObjectStore(settings)
    manifest = read_manifest(store, former)
    named_by = _named_by(connection, settings, manifest, holds)
    work = _Keeping(connection, settings, store, owner, manifest, former, holds, part, attempt, named_by)
    with spool_folder(settings.spool, "held") as spool:
        source = spool / "month.parquet"
        fetched_file = store.fetch(former.object_key, source)
        check_bytes(StoredFile(former.object_bytes, bytes(former.object_sha256)), fetched_file, former.object_key)
        written = spool / "held.parquet"
        if not _write(work, source, written):
            return None
        (spool / "read").mkdir()
        key, content = _upload(work, written)
        fresh = spool / "fresh.parquet"
        check_bytes(content, store.fetch(key, fresh), key)
        read = read_file(settings, table_of(manifest), work.columns, work.month, fresh, spool / "read")
        proofs, names = _prove(work, source, read, spool)
        table = settings.registry.get(manifest.table, table_of(manifest))
        lookup = make_lookup(fresh, filtered_columns(table, work.columns), settings.archive_filter_bits)
        return _describe(work, key, content, read, proofs, names, lookup)


def _named_by(
    connection: Connection, settings: Settings, manifest: Manifest, holds: Sequence[Hold]
) -> dict[Subject, tuple[str, ...]]:
    table, columns = settings.registry.get(manifest.table, table_of(manifest)), manifest.layout.columns
    subjects = {hold.scope.subject for hold in holds if hold.scope.subject is not None}
    return {subject: archived_columns(connection, table, subject, columns) for subject in subjects}


def read_manifest(store: ObjectStore, former: MonthPart) -> Manifest:
    """The manifest of a part. Raises VerificationError where it is not the one of the catalogue."""
    content = store.read_bytes(former.manifest_key)
    described = StoredFile.of(content)
    if described.sha256 != bytes(former.manifest_sha256):
        raise VerificationError(f"{former.manifest_key}: its SHA-256 is not the one in the catalogue")
    return Manifest.from_bytes(content, former.manifest_key)


def _write(work: _Keeping, source: Path, target: Path) -> int:
    """Write the held rows in the order of the file; returns how many they are."""
    table, columns = table_of(work.manifest), work.columns
    names = ", ".join(
        f"{identifier(column.name)}::{sql_type(column)} AS {identifier(column.name)}" for column in columns
    )
    order = ", ".join(f"{identifier(name)} ASC NULLS LAST" for name in work.manifest.sorted_by)
    query = f"SELECT {names} FROM read_parquet({literal(str(source))}) WHERE {work.condition} ORDER BY {order}"  # noqa: S608
    metadata = {
        "treasury.table": work.manifest.table,
        "treasury.month": work.manifest.month,
        "treasury.part": str(work.part),
        "treasury.installation": str(work.owner.installation_id),
    }
    with engine(work.settings) as duck:
        batches = duck.execute(query).to_arrow_reader(BATCH_ROWS)
        return write_parquet(batches, columns, table, target, metadata)


def _upload(work: _Keeping, written: Path) -> tuple[str, StoredFile]:
    content = describe_file(written)
    key = work.intend(content, data_folder(work.manifest.table, work.manifest.month), "parquet")
    work.store.put(written, key)
    return key, content


def _prove(work: _Keeping, source: Path, read: ReadFile, spool: Path) -> tuple[bytes, tuple[str, ...]]:
    """The proofs of the held rows, a line each, behind one that says against what; the holds that keep any.

    Three readers must agree: pyarrow counts the held rows of the month's file, DuckDB gives their texts, each proved to
    be in the month, and DataFusion has hashed the rows of the new file. The texts of rows that were kept before are
    those of their proofs.
    """
    manifest = work.manifest
    counted, names = _count(work, source)
    leaves = spool / "proved.leaves"
    with engine(work.settings) as duck, leaves.open("wb") as file:
        head, proofs = _new_proofs(work, duck) if work.former.kept is None else _former_proofs(work)
        lines, tree = [rfc8785.dumps(head)], TreeHead(head["leaves"], bytes.fromhex(head["root"]))
        for proof in proofs:
            (row,) = check_month_proof(proof, tree, manifest.layout).rows
            if work.keeps(row):
                file.write(leaf_hash(proof.text.encode()))
                lines.append(rfc8785.dumps(msgspec.to_builtins(proof)))
    missing, extra = only_on_one_side([leaves], read.leaves)
    if missing or extra or read.content.rows != counted:
        raise VerificationError(
            f"{manifest.table} {manifest.month}: {counted} rows are held, {len(lines) - 1} are proved, and the file "
            f"has {read.content.rows}: {missing} of the proved ones are missing there, {extra} are others"
        )
    return b"\n".join(lines) + b"\n", names


def _new_proofs(work: _Keeping, duck: DuckDBPyConnection) -> tuple[dict[str, Any], Iterator[RowProof]]:
    """What the rows are proved against, the root of their part, and the proofs."""
    tree = work.manifest.tree
    head = {
        "format": FORMAT,
        "table": work.manifest.table,
        "month": work.manifest.month,
        "of_part": work.former.part,
        "leaves": tree.leaves,
        "root": tree.root,
        "manifest_sha256": bytes(work.former.manifest_sha256).hex(),
    }
    return head, MonthProver(work.settings, work.store, duck, work.manifest).rows_where(work.condition)


def _former_proofs(work: _Keeping) -> tuple[dict[str, Any], Iterator[RowProof]]:
    """The same of rows that were kept before, from beside them: their part's root is not the one that the month had."""
    stored = msgspec.convert(work.former.kept, KeptRows).proofs
    content = work.store.read_bytes(stored.key)
    check_bytes(StoredFile(stored.size_bytes, bytes.fromhex(stored.sha256)), StoredFile.of(content), stored.key)
    first, *lines = content.splitlines()
    return json.loads(first), (_row_proof(line, stored.key) for line in lines)


def _row_proof(line: bytes, place: str) -> RowProof:
    proof = parse_month_proof(json.loads(line))
    if not isinstance(proof, RowProof):
        raise VerificationError(f"{place}: has a proof that is not one of a row")
    return proof


def _count(work: _Keeping, source: Path) -> tuple[int, tuple[str, ...]]:
    """How many rows are held, and the names of the holds that keep any of them."""
    total, held_values = 0, set[tuple[str, str]]()
    for batch in pq.ParquetFile(source).iter_batches(columns=list(work.subjects)):
        held: pa.Array = pa.repeat(False, batch.num_rows)
        for name, values in work.subjects.items():
            texts = batch.column(name).cast(pa.string())
            here = pc.is_in(texts, pa.array(values, pa.string()))
            held_values |= {(name, value) for value in pc.unique(texts.filter(here)).to_pylist()}
            held = pc.or_(held, here)
        total += int(pc.sum(held).as_py() or 0)
    return total, tuple(hold.name for hold in work.holds if not held_values.isdisjoint(work.held_by(hold)))


def _describe(
    work: _Keeping,
    key: str,
    content: StoredFile,
    read: ReadFile,
    proofs: bytes,
    holds: tuple[str, ...],
    lookup: FileLookup,
) -> KeptPart:
    """Store tree, proofs, lookup and manifest, and describe the part for the catalogue."""
    manifest, month, table = work.manifest, str(work.month), table_of(work.manifest)
    folder = tree_folder(manifest.table, month)
    tree_key, roots = work.put(read.tree.chunk_roots, folder, "tree")
    proofs_key, proved = work.put(proofs, folder, "proofs")
    lookup_key, stored = work.put(lookup.to_bytes(), folder, LOOKUP_SUFFIX)
    looked_up = ManifestObject(key=lookup_key, size_bytes=stored.size_bytes, sha256=stored.sha256.hex())
    tree = ManifestTree(
        key=tree_key,
        size_bytes=roots.size_bytes,
        sha256=roots.sha256.hex(),
        leaves=read.tree.head.leaves,
        root=read.tree.head.root.hex(),
    )
    groups = tuple(
        ManifestRowGroup(rows=row_group.rows, first_leaf=row_group.first_leaf) for row_group in read.tree.row_groups
    )
    sizes = {"size_bytes": content.size_bytes, "sha256": content.sha256.hex()}
    file = ManifestFile(key=key, rows=read.content.rows, row_groups=groups, **sizes)
    named = (work.owner.installation_id, table, month, work.part)
    described = describe_month(*named, work.columns, read.content, tree, (file,), lookup=looked_up)
    manifest_key, stored = work.put(described.to_bytes(), manifest_folder(manifest.table, month), MANIFEST_SUFFIX)
    logged = LoggedObject(key=proofs_key, size_bytes=proved.size_bytes, sha256=proved.sha256.hex())
    kept = KeptRows(of_part=work.former.part, holds=holds, proofs=logged)
    values = {
        "table": manifest.table,
        "month": work.month.first_day,
        "part": work.part,
        "former": work.former.part,
        "attempt": work.attempt,
        "row_count": read.content.rows,
        "sums": sums_per_currency(table, read.content.totals),
        "digest": read.tree.head.root,
        "object_key": key,
        "object_bytes": content.size_bytes,
        "object_sha256": content.sha256,
        "manifest_key": manifest_key,
        "manifest_sha256": stored.sha256,
        "tree": tree.model_dump(mode="json"),
        "lookup": looked_up.model_dump(mode="json"),
        "kept": msgspec.to_builtins(kept),
    }
    keys = (key, tree_key, proofs_key, lookup_key, manifest_key)
    return KeptPart(work.part, work.former.part, read.content.rows, tree.root, holds, values, lookup, keys)
