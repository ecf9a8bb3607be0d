"""The archived months, verified from their objects: manifest, sizes and SHA-256, the tree; with ``deep`` every row."""

from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa

from config import Settings
from ledger.columns import Column
from ledger.errors import DataError, DeepTierError, VerificationError
from ledger.month_tree import CHUNK_LEAVES, ChunkedTree
from ledger.months import Month
from ledger.proof import sums_per_currency
from ledger.tables import TieredTable
from ledger.transparency.events import LoggedObject
from storage.layout import month_of_key
from storage.lookups import FileLookup, remake_lookup
from storage.manifest import Manifest, ManifestFile, ManifestRowGroup, ManifestTree, describe_month
from storage.month_tree import ReadFile, read_file
from storage.spool import spool_folder
from storage.store import ObjectStore, StoredFile
from storage.unreadable import MOVED
from tasks.verifying.findings import CheckedMonth, VerificationReport
from tasks.verifying.verified_log import ExpectedMonth


class MonthVerification:
    """Verifies parts of months, one after the other. ``listed`` are the keys of the archive with their sizes."""

    def __init__(
        self, settings: Settings, store: ObjectStore, listed: Mapping[str, int], report: VerificationReport
    ) -> None:
        self._settings, self._store, self._listed, self._report = settings, store, listed, report

    def look(self, expected: ExpectedMonth) -> None:
        """Whether the objects are there with their sizes. Reads none of them."""
        for stored in expected.objects:
            self._check_size(stored, self._listed.get(stored.key))
        if expected.manifest.key not in self._listed:
            self._report.add(expected.manifest.key, "the manifest is missing")
        self._report.counts["months looked at"] += 1

    def check_former(self, expected: ExpectedMonth, *, read: bool) -> None:
        """Whether the objects of a part that went back to warm are still there; with ``read`` whether they are the same
        ones. They must stay until the month is deleted: they say what its rows were.
        """
        what = f"a former object of {expected.table} {expected.month}"
        manifest = expected.manifest
        sizes = {stored.key: (stored.size_bytes, stored.sha256) for stored in expected.objects} | {
            manifest.key: (-1, manifest.sha256)
        }
        same = 0
        with spool_folder(self._settings.spool, "verify") as spool:
            for key, (size_bytes, sha256) in sizes.items():
                size = self._listed.get(key)
                if size is None:
                    self._report.add(key, f"is missing: {what}, which stays until the month is deleted")
                elif size_bytes not in (-1, size):
                    self._report.add(key, f"has {size} bytes, the log says {size_bytes}: {what}")
                elif read and (stored_sha256 := self._sha256(key, spool)) is not None:
                    same += stored_sha256 == sha256
                    if stored_sha256 != sha256:
                        self._report.add(key, f"its SHA-256 is not the one in the log: {what}")
                self._report.counts["former objects"] += size is not None
        if same == len(sizes):
            self._report.months.append(_checked(expected, deep=False))

    def _sha256(self, key: str, spool: Path) -> str | None:
        """The hash of an object's bytes; None for rows that must be restored first, which a note names."""
        try:
            return self._store.fetch(key, spool / "former").sha256.hex()
        except DeepTierError as error:
            if month_of_key(key) is None:
                self._report.add(key, MOVED)
            else:
                self._report.notes.append(f"looked at, not read: {error}")
            return None

    def verify(self, expected: ExpectedMonth, *, deep: bool) -> None:
        """Read every object of a part of a month; with ``deep`` decode and hash every row too.

        Rows that must be restored first are looked at, and a note names them; any other such object is a finding.
        """
        before = len(self._report.findings)
        with spool_folder(self._settings.spool, "verify") as spool:
            manifest = self._manifest(expected)
            try:
                rows_last = sorted(expected.objects, key=lambda stored: month_of_key(stored.key) is not None)
                files = {stored.key: self._object(stored, spool) for stored in rows_last}
            except DeepTierError as error:
                self._report.notes.append(f"looked at, not read: {error}")
                self.look(expected)
                return
            if manifest is not None:
                self._check_manifest(expected, manifest)
                self._check_tree(manifest, files)
                self._check_lookup(manifest, files)
                if deep:
                    self._read_rows(expected, manifest, files, spool)
        self._report.counts["months"] += 1
        if len(self._report.findings) == before:
            self._note(expected, deep=deep)

    def _note(self, expected: ExpectedMonth, *, deep: bool) -> None:
        checked = _checked(expected, deep=deep)
        self._report.months.append(checked)
        self._report.counts["bytes"] += checked.size_bytes
        if deep:
            self._report.counts["rows"] += expected.rows

    def _check_size(self, said: LoggedObject, size: int | None) -> None:
        if size is None:
            self._report.add(said.key, "is missing")
        elif size != said.size_bytes:
            self._report.add(said.key, f"has {size} bytes, the log says {said.size_bytes}")

    def _manifest(self, expected: ExpectedMonth) -> Manifest | None:
        key = expected.manifest.key
        try:
            content = self._store.find_bytes(key)
        except DeepTierError:
            self._report.add(key, MOVED)
            return None
        if content is None:
            self._report.add(key, "the manifest is missing")
            return None
        self._report.counts["objects"] += 1
        sha256 = StoredFile.of(content).sha256.hex()
        if sha256 != expected.manifest.sha256:
            self._report.add(key, f"its SHA-256 is {sha256}, the log says {expected.manifest.sha256}")
            return None
        try:
            return Manifest.from_bytes(content, key)
        except DataError as error:
            self._report.add(key, str(error))
            return None

    def _object(self, said: LoggedObject, spool: Path) -> Path | None:
        """Fetch an object; None where it is not the one that the log names."""
        target = spool / f"{len(list(spool.iterdir()))}.parquet"
        try:
            fetched_file = self._store.fetch(said.key, target)
        except DeepTierError:
            if month_of_key(said.key) is not None:
                raise
            self._report.add(said.key, MOVED)
            return None
        except DataError:
            self._report.add(said.key, "is missing")
            return None
        self._report.counts["objects"] += 1
        if fetched_file.size_bytes != said.size_bytes:
            self._report.add(said.key, f"has {fetched_file.size_bytes} bytes, the log says {said.size_bytes}")
        elif fetched_file.sha256.hex() != said.sha256:
            self._report.add(said.key, f"its SHA-256 is {fetched_file.sha256.hex()}, the log says {said.sha256}")
        else:
            return target
        return None

    def _check_manifest(self, expected: ExpectedMonth, manifest: Manifest) -> None:
        """The manifest says what the log's entry says."""
        objects = {stored.key: (stored.size_bytes, stored.sha256) for stored in manifest.objects}
        said = {
            "table": (manifest.table, expected.table),
            "month": (manifest.month, expected.month),
            "part": (manifest.part, expected.part),
            "rows": (manifest.rows, expected.rows),
            "objects": (objects, {stored.key: (stored.size_bytes, stored.sha256) for stored in _of_manifest(expected)}),
        }
        if expected.tree is not None:
            tree = (expected.tree.method, expected.tree.size, expected.tree.root)
            said["tree"] = ((manifest.digest_method, manifest.tree.leaves, manifest.tree.root), tree)
            said["layout"] = (manifest.layout.to_record(), expected.layout)
        for name, (value, wanted) in said.items():
            if value != wanted:
                self._report.add(expected.manifest.key, f"its {name} is not what the log says")

    def _check_tree(self, manifest: Manifest, files: Mapping[str, Path | None]) -> None:
        path = files.get(manifest.tree.key)
        if path is None:
            return
        try:
            ChunkedTree(manifest.head, path.read_bytes())
        except VerificationError as error:
            self._report.add(manifest.tree.key, str(error))

    def _check_lookup(self, manifest: Manifest, files: Mapping[str, Path | None]) -> None:
        """The lookup is the one that follows from the file with the rows."""
        if manifest.lookup is None:
            return
        (file,) = manifest.files
        path, rows = files.get(manifest.lookup.key), files.get(file.key)
        if path is None or rows is None:
            return
        try:
            said = FileLookup.from_bytes(path.read_bytes(), manifest.lookup.key)
            is_right = remake_lookup(rows, manifest.layout.columns, said) == said
        except (DataError, OSError, pa.ArrowException) as error:
            self._report.add(manifest.lookup.key, f"cannot be compared with the rows: {error}")
            return
        if not is_right:
            self._report.add(manifest.lookup.key, "its pieces or filters are not those of the file with the rows")

    def _read_rows(
        self, expected: ExpectedMonth, manifest: Manifest, files: Mapping[str, Path | None], spool: Path
    ) -> None:
        """Decode the file with the second reader, and compare everything computed from the rows with the manifest."""
        (file,) = manifest.files
        path = files.get(file.key)
        if path is None:
            return
        table = table_of(manifest)
        try:
            read = read_file(self._settings, table, manifest.layout.columns, Month.parse(manifest.month), path, spool)
        except DataError as error:
            self._report.add(file.key, str(error))
            return
        described_manifest = _described(table, manifest, file, read)
        for name in type(manifest).model_fields:
            if getattr(described_manifest, name) != getattr(manifest, name):
                self._report.add(file.key, f"its rows have another `{name}` than the manifest says")
        sums = sums_per_currency(table, read.content.totals)
        if expected.sums is not None and sums != expected.sums:
            self._report.add(file.key, "the sums of its rows are not those of the log")


def _checked(expected: ExpectedMonth, *, deep: bool) -> CheckedMonth:
    size_bytes = sum(stored.size_bytes for stored in expected.objects)
    keys = (*(stored.key for stored in expected.objects), expected.manifest.key)
    named = (expected.table, expected.month, expected.part, expected.manifest.sha256)
    return CheckedMonth(*named, keys, size_bytes, expected.rows, deep)


def _of_manifest(expected: ExpectedMonth) -> list[LoggedObject]:
    """The objects that a manifest names: not the proofs of rows that a hold has kept."""
    return [stored for stored in expected.objects if not stored.key.endswith(".proofs")]


def table_of(manifest: Manifest) -> TieredTable:
    """The table as it was when the month was archived."""
    return TieredTable(
        name=manifest.table,
        time_column=manifest.time_column,
        key_column=manifest.key_column,
        money_columns=manifest.money_columns,
        currency_column=manifest.currency_column,
        type_column=manifest.type_column,
        status_column=manifest.status_column,
        cold_sort=manifest.sorted_by,
        policy=manifest.policy,
    )


def _described(table: TieredTable, manifest: Manifest, file: ManifestFile, read: ReadFile) -> Manifest:
    """The manifest computed from the rows of a file."""
    roots = StoredFile.of(read.tree.chunk_roots)
    tree = ManifestTree(
        key=manifest.tree.key,
        size_bytes=roots.size_bytes,
        sha256=roots.sha256.hex(),
        leaves=read.tree.head.leaves,
        root=read.tree.head.root.hex(),
        chunk_leaves=CHUNK_LEAVES,
    )
    groups = tuple(
        ManifestRowGroup(rows=row_group.rows, first_leaf=row_group.first_leaf) for row_group in read.tree.row_groups
    )
    described = file.model_copy(update={"rows": read.content.rows, "row_groups": groups})
    columns = tuple(Column(**column.model_dump()) for column in manifest.columns)
    named = (manifest.installation, table, manifest.month, manifest.part)
    return describe_month(*named, columns, read.content, tree, (described,), lookup=manifest.lookup)
