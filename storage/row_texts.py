"""The leaves of an archived month as texts, some at a time: what proofs are made from. DuckDB reads the file.

A wrong text cannot pass: `ledger.month_tree.ChunkedTree` compares every chunk with its root.
"""

from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate
from typing import Any

import duckdb
import numpy as np
import numpy.typing as npt

from config import Settings
from ledger.canonical import FIELD_SEPARATOR, NULL_MARK
from ledger.columns import Column, ColumnKind
from ledger.errors import ConfigError, DataError, TransientError, VerificationError
from ledger.merkle import leaf_hash
from ledger.month_tree import Layout, header_text, sort_value, totals_hash, totals_text
from storage.engine import identifier, literal, url_of
from storage.manifest import Manifest
from storage.readable import naming_unreadable

_NUMBER = "file_row_number"
_GROUP_TYPES = {ColumnKind.TEXT: "VARCHAR", ColumnKind.UUID: "UUID", ColumnKind.INTEGER: "BIGINT"}


def row_text_expression(columns: Sequence[Column]) -> str:
    """The canonical text of a row in DuckDB's SQL; the text is defined in `ledger.canonical`."""
    return f"concat_ws({literal(FIELD_SEPARATOR)}, {', '.join(field_expression(column) for column in columns)})"


def field_expression(column: Column) -> str:
    """The canonical text of one field."""
    name = identifier(column.name)
    if column.kind is ColumnKind.DECIMAL and column.precision == column.scale:
        # DuckDB prints no zero before the point where the type has no digit there.
        text = f"regexp_replace({name}::VARCHAR, '^(-?)[.]', '\\10.')"
    else:
        text = {
            ColumnKind.TIMESTAMP: f"epoch_us({name})::VARCHAR",
            ColumnKind.DATE: f"({name} - DATE '1970-01-01')::VARCHAR",
            ColumnKind.BOOLEAN: f"CASE WHEN {name} THEN 't' WHEN NOT {name} THEN 'f' END",
        }.get(column.kind, f"{name}::VARCHAR")
    return f"coalesce({text}, {literal(NULL_MARK)})" if column.nullable else text


class MonthTexts:
    """The rows and leaves of one archived file, by their numbers. Not thread-safe: one for each proof.

    Raises TransientError when the store does not answer, DataError for a file that cannot be decoded.
    """

    def __init__(self, settings: Settings, engine: duckdb.DuckDBPyConnection, manifest: Manifest) -> None:
        if len(manifest.files) != 1:
            raise DataError(f"{manifest.table} {manifest.month}: a manifest of {len(manifest.files)} files")
        (self._file,) = manifest.files
        self._settings = settings
        self._table = manifest.table
        self._layout: Layout = manifest.layout
        self._leaf_count = manifest.head.leaves
        self._engine = engine
        self._source = f"read_parquet({literal(url_of(settings, self._file.key))}, {_NUMBER} = true)"
        self._first_rows = [0, *accumulate(group.rows for group in self._file.row_groups)]
        self.starts = lru_cache(maxsize=None)(self._starts)

    def rows_where(self, column: str, value: Any) -> list[int]:
        """The numbers of the rows with a value, rising."""
        query = f"SELECT {_NUMBER} FROM {self._source} WHERE {identifier(column)} = ? ORDER BY 1"
        return [int(number) for (number,) in self._fetch(query, [value])]

    def rows_matching(self, condition: str) -> list[int]:
        """The numbers of the rows that a condition in the engine's SQL is true for, rising."""
        query = f"SELECT {_NUMBER} FROM {self._source} WHERE {condition} ORDER BY 1"
        return [int(number) for (number,) in self._fetch(query, [])]

    def rows_of_group(self, field: str) -> range:
        """The rows of a group, given as the field of a row's text; empty where the month has none."""
        name = identifier(self._group.name)
        is_null = field == NULL_MARK
        test, parameters = (f"{name} IS NULL", []) if is_null else (f"{name} = {self._parameter}", [field])
        query = f"SELECT min({_NUMBER}), max({_NUMBER}), count(*) FROM {self._source} WHERE {test}"
        first, last, count = self._fetch(query, parameters)[0]
        if not count:
            return range(0)
        if last - first + 1 != count:
            raise VerificationError(f"{self._file.key}: the rows of a group do not lie together")
        return range(first, last + 1)

    def texts(self, rows: range) -> list[str]:
        """The texts of rows."""
        query = (
            f"SELECT {row_text_expression(self._layout.columns)} FROM {self._source} "
            f"WHERE {_NUMBER} BETWEEN {rows.start} AND {rows.stop - 1} ORDER BY {_NUMBER}"
        )
        texts = [str(text) for (text,) in self._fetch(query, [])] if rows else []
        if len(texts) != len(rows):
            raise VerificationError(f"{self._file.key}: {len(texts)} rows where {len(rows)} must be")
        return texts

    def group_before(self, field: str) -> str | None:
        """The last group before the place of ``field`` in the file's order; None at the beginning."""
        name = identifier(self._group.name)
        test, parameters = ("true", []) if field == NULL_MARK else (f"{name} < {self._parameter}", [field])
        return self._field_of(f"SELECT max({name}) AS {name} FROM {self._source} WHERE {test}", parameters)

    def group_behind(self, field: str) -> str | None:
        """The first group behind the place of ``field`` in the file's order; None at the end. NULL is the last."""
        name = identifier(self._group.name)
        if field == NULL_MARK:
            return None
        query = f"SELECT min({name}) AS {name} FROM {self._source} WHERE {name} > {self._parameter}"
        group = self._field_of(query, [field])
        return NULL_MARK if group is None and self.rows_of_group(NULL_MARK) else group

    def _field_of(self, query: str, parameters: list[Any]) -> str | None:
        """The group that a query finds, as a field of a row's text; None where it finds none."""
        text = field_expression(self._group)
        rows = self._fetch(
            f"SELECT CASE WHEN {identifier(self._group.name)} IS NOT NULL THEN {text} END FROM ({query})", parameters
        )
        return None if rows[0][0] is None else str(rows[0][0])

    @property
    def _group(self) -> Column:
        """The group column. Raises ConfigError for a table without one, or of a kind that no statement is made of."""
        if self._layout.group_column is None:
            raise ConfigError(
                f"table {self._table}: its archived rows have no groups, because they are sorted by key or time"
            )
        column = self._layout.column(self._layout.group_column)
        if column.kind not in _GROUP_TYPES:
            raise ConfigError(f"table {self._table}: no statement is made of groups by {column.name}, a {column.kind}")
        return column

    @property
    def _parameter(self) -> str:
        return f"?::{_GROUP_TYPES[self._group.kind]}"

    def leaf_behind(self, place: Sequence[str]) -> int:
        """The number of the first leaf behind a place: the fields of the columns that the file is sorted by. It is the
        number of leaves where nothing lies behind. Raises DataError when a row is at that very place.
        """
        wanted = tuple(
            sort_value(self._layout.column(name), field)
            for name, field in zip(self._layout.sorted_by, place, strict=True)
        )
        low, high = 0, self._first_rows[-1]
        while low < high:  # by halves: about 20 short reads
            middle = (low + high) // 2
            (text,) = self.texts(range(middle, middle + 1))
            place_of_row = self._layout.place(self._layout.fields(text))
            if place_of_row == wanted:
                raise DataError(f"{self._file.key}: there is a row at the place whose emptiness was to be proved")
            low, high = (middle + 1, high) if place_of_row < wanted else (low, middle)
        if low == self._first_rows[-1]:
            return self._leaf_count
        leaf = self.leaf_of_row(low)
        is_start = low in self.starts(self._row_group(low))
        if not is_start:
            return leaf
        (text,) = self.texts(range(low, low + 1))
        group = self._layout.fields(text)[self._group.name]
        return leaf if sort_value(self._group, group) == wanted[0] else leaf - 1

    def leaf_of_row(self, row: int) -> int:
        """The number of a row's leaf: the rows before it, and the headers up to its own group."""
        group = self._row_group(row)
        first = self._file.row_groups[group]
        return first.first_leaf + row - self._first_rows[group] + int(np.searchsorted(self.starts(group), row, "right"))

    def leaves(self, wanted: range) -> list[str]:
        """The texts of leaves, headers and rows, from one reading of the rows that these leaves are made of."""
        headers, rows = self._places(wanted)
        groups = {leaf: range(start, self._end_of_group(start)) for leaf, start in headers.items()}
        needed = [*groups.values(), *(range(row, row + 1) for row in rows.values())]
        first, stop = min(group.start for group in needed), max(group.stop for group in needed)
        texts = self.texts(range(first, stop))
        leaf_texts = {leaf: texts[row - first] for leaf, row in rows.items()}
        leaf_texts |= {
            leaf: self._header(texts[group.start - first : group.stop - first]) for leaf, group in groups.items()
        }
        if len(leaf_texts) != len(wanted):
            raise VerificationError(f"{self._file.key}: {len(leaf_texts)} leaves where {len(wanted)} must be")
        return [leaf_texts[leaf] for leaf in wanted]

    def _places(self, wanted: range) -> tuple[dict[int, int], dict[int, int]]:
        """The wanted leaves: headers, each with the first row of its group, and rows, each with its number."""
        headers: dict[int, int] = {}
        rows: dict[int, int] = {}
        for group in self._row_groups_of(wanted):
            starts = self.starts(group)
            first_row, base = self._first_rows[group], self._file.row_groups[group].first_leaf
            of_headers = base + starts - first_row + np.arange(len(starts))
            of_group = np.arange(first_row, self._first_rows[group + 1])
            of_rows = base + of_group - first_row + np.searchsorted(starts, of_group, "right")
            headers |= _inside(wanted, of_headers, starts)
            rows |= _inside(wanted, of_rows, of_group)
        return headers, rows

    def _end_of_group(self, start: int) -> int:
        """The row behind the last row of the group that begins with the row ``start``."""
        for group in range(self._row_group(start), len(self._file.row_groups)):
            starts = self.starts(group)
            place = int(np.searchsorted(starts, start, "right"))
            if place < len(starts):
                return int(starts[place])
        return self._first_rows[-1]

    def _header(self, rows: Sequence[str]) -> str:
        """The text of the header before these rows, which are all rows of a group."""
        fields = [self._layout.fields(row) for row in rows]
        totals = totals_text(self._layout, fields)
        return header_text(fields[0][self._group.name], len(rows), totals_hash(leaf_hash(rows[0].encode()), totals))

    def _row_group(self, row: int) -> int:
        return int(np.searchsorted(self._first_rows, row, "right")) - 1

    def _row_groups_of(self, wanted: range) -> range:
        firsts = [group.first_leaf for group in self._file.row_groups]
        first = int(np.searchsorted(firsts, wanted.start, "right")) - 1
        return range(first, int(np.searchsorted(firsts, wanted.stop - 1, "right")))

    def _starts(self, group: int) -> npt.NDArray[np.int64]:
        """The rows of a row group that groups begin with."""
        if self._layout.group_column is None:
            return np.empty(0, np.int64)
        first, last = self._first_rows[group], self._first_rows[group + 1]
        name = identifier(self._layout.group_column)
        query = (
            f"SELECT {_NUMBER} FROM (SELECT {_NUMBER}, {name} IS DISTINCT FROM lag({name}) OVER (ORDER BY {_NUMBER}) "
            f"AS begins FROM {self._source} WHERE {_NUMBER} BETWEEN {first} AND {last - 1}) WHERE begins ORDER BY 1"
        )
        starts = np.array([number for (number,) in self._fetch(query, [])], np.int64)
        if first not in starts:  # NULL after nothing counts as no change for the engine
            starts = np.concatenate([np.array([first], np.int64), starts])
        last_leaf = self._file.row_groups[group + 1].first_leaf if group + 1 < len(self._file.row_groups) else None
        headers = (self._leaf_count if last_leaf is None else last_leaf) - self._file.row_groups[group].first_leaf
        surplus = len(starts) - (headers - (last - first))
        if surplus not in (0, 1):
            raise VerificationError(f"{self._file.key}: the groups of row group {group} are not those of the manifest")
        return starts[surplus:]  # its first rows may belong to a group that began before

    def _fetch(self, query: str, parameters: list[Any]) -> list[tuple[Any, ...]]:
        try:
            with naming_unreadable(self._settings, [self._file.key]), self._engine.cursor() as cursor:
                return cursor.execute(query, parameters).fetchall()
        except (duckdb.IOException, duckdb.HTTPException) as error:
            raise TransientError(f"the archive cannot be read now: {error}") from error
        except duckdb.Error as error:
            raise DataError(f"{self._file.key} cannot be decoded: {error}") from error


def _inside(wanted: range, leaves: npt.NDArray[np.int64], rows: npt.NDArray[np.int64]) -> dict[int, int]:
    """The leaves that are wanted, each with its row."""
    is_wanted = (leaves >= wanted.start) & (leaves < wanted.stop)
    return dict(zip(leaves[is_wanted].tolist(), rows[is_wanted].tolist(), strict=True))
