"""Proofs about one archived month, made from its file, the roots of its chunks, and its manifest."""

from collections.abc import Iterator, Sequence
from typing import Any

import duckdb

from config import Settings
from ledger.errors import NotFoundError, VerificationError
from ledger.merkle import leaf_hash
from ledger.merkle_proofs import inclusion_path, range_path
from ledger.month_proofs import GroupAbsenceProof, Place, RowAbsenceProof, RowProof, StatementProof, encoded
from ledger.month_tree import ChunkedTree, Header
from storage.manifest import Manifest
from storage.row_texts import MonthTexts
from storage.store import ObjectStore, StoredFile


class MonthProver:
    """Makes proofs about one part of a month. Reads a few row groups of the file, whatever the month's size.

    Not thread-safe: one for each proof. Raises NotFoundError for what the month does not have, and VerificationError
    where the objects are not those of the manifest. Raises TransientError when the store does not answer.
    """

    def __init__(
        self, settings: Settings, store: ObjectStore, engine: duckdb.DuckDBPyConnection, manifest: Manifest
    ) -> None:
        roots = store.read_bytes(manifest.tree.key)
        if StoredFile.of(roots).sha256.hex() != manifest.tree.sha256:
            raise VerificationError(f"{manifest.tree.key}: its SHA-256 is not the one in the manifest")
        for file in manifest.files:
            if not store.exists(file.key):
                raise VerificationError(f"{file.key}: is missing from the archive")
        self._named = f"{manifest.table} {manifest.month}"
        self._key = manifest.key_column
        self._layout = manifest.layout
        self._texts = MonthTexts(settings, engine, manifest)
        self._tree = ChunkedTree(manifest.head, roots)
        self._size = manifest.head.leaves

    def row(self, key: Any) -> RowProof:
        """The proof of the row with a key. Raises NotFoundError for none, DataError for several."""
        rows = self._texts.rows_where(self._key, key)
        if not rows:
            raise NotFoundError(f"{self._named} has no row with {self._key} {key}")
        index = self._texts.leaf_of_row(rows[0])
        (text,) = self._leaves(range(index, index + 1))
        return RowProof(index=index, text=text, path=self._path(index))

    def fields_of_rows(self, key: Any) -> list[dict[str, str]]:
        """The fields of the rows with a key, by column: several where a key has several times. None of it is proved."""
        numbers = self._texts.rows_where(self._key, key)
        return [self._layout.fields(text) for row in numbers for text in self._texts.texts(range(row, row + 1))]

    def rows_where(self, condition: str) -> Iterator[RowProof]:
        """The proofs of all rows that a condition in the engine's SQL is true for, in the order of the file."""
        chunk, texts = range(0), list[str]()
        for number in self._texts.rows_matching(condition):
            index = self._texts.leaf_of_row(number)
            if index not in chunk:
                chunk = self._tree.chunk_of(index)
                texts = self._leaves(chunk)
            yield RowProof(index=index, text=texts[index - chunk.start], path=self._path(index))

    def has_group(self, group: str) -> bool:
        """Whether the month has rows of a group, given as a field of a row's text."""
        return bool(self._texts.rows_of_group(group))

    def statement(self, group: str) -> StatementProof:
        """The proof of all rows of a group, given as a field of a row's text."""
        rows = self._texts.rows_of_group(group)
        if not rows:
            raise NotFoundError(f"{self._named} has no row of {group!r}")
        first = self._texts.leaf_of_row(rows.start) - 1
        wanted = range(first, first + 1 + len(rows))
        leaves = self._leaves(wanted)
        return StatementProof(index=first, leaves=tuple(leaves), path=self._range(wanted))

    def absence_of_group(self, group: str) -> GroupAbsenceProof:
        """The proof that the month has no row of a group. Raises ConflictError when it has."""
        if rows := self._texts.rows_of_group(group):
            raise NotFoundError(f"{self._named} has {len(rows)} rows of {group!r}: their absence cannot be proved")
        before, behind = self._texts.group_before(group), self._texts.group_behind(group)
        return GroupAbsenceProof(group=group, before=self._header(before), behind=self._header(behind))

    def absence_of_row(self, place: Sequence[str]) -> RowAbsenceProof:
        """The proof that the month has no row at a place: the fields of the columns that the file is sorted by."""
        first = self._texts.leaf_behind(place)
        wanted = range(max(0, first - 1), min(self._size, first + 1))
        leaves = self._leaves(wanted)
        return RowAbsenceProof(place=tuple(place), index=wanted.start, leaves=tuple(leaves), path=self._range(wanted))

    def _header(self, group: str | None) -> Place | None:
        if group is None:
            return None
        index = self._texts.leaf_of_row(self._texts.rows_of_group(group).start) - 1
        (text,) = self._leaves(range(index, index + 1))
        Header.parse(text)
        return Place(index=index, text=text, path=self._path(index))

    def _leaves(self, wanted: range) -> list[str]:
        """The texts of leaves, whose whole chunks are checked against their roots."""
        first, last = self._tree.chunk_of(wanted.start), self._tree.chunk_of(wanted.stop - 1)
        texts = self._texts.leaves(range(first.start, last.stop))
        self._tree.add(first.start, [leaf_hash(text.encode()) for text in texts])
        return texts[wanted.start - first.start : wanted.stop - first.start]

    def _path(self, index: int) -> tuple[str, ...]:
        return encoded(inclusion_path(index, self._size, self._tree.root_of))

    def _range(self, wanted: range) -> tuple[str, ...]:
        return encoded(range_path(wanted.start, wanted.stop, self._size, self._tree.root_of))
