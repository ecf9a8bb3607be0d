"""The tree and the totals of an archived file, computed from a fresh read of it by the second reader."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from datafusion import RecordBatchStream, SessionContext

from config import Settings
from ledger.canonical import FIELD_SEPARATOR
from ledger.columns import Column
from ledger.errors import DataError, VerificationError
from ledger.identifiers import id_bounds
from ledger.merkle import EMPTY_ROOT, HASH_BYTES, fold
from ledger.month_tree import CHUNK_LEAVES, Layout, TreeHead
from ledger.months import Month
from ledger.proof import MonthContent, totals_of
from ledger.tables import TieredTable
from storage.engine import identifier
from storage.hashing import Hashes, chunk_roots, hashes_of
from storage.leaf_files import leaf_slices, read_leaves
from storage.second_reader import (
    SOURCE,
    header_expression,
    leaf_expression,
    open_file,
    records_query,
    second_reader,
    totals_query,
    unhashable_expression,
)

UNHASHABLE = "U+001E or U+001F in a text, or an infinite date or instant,"
_LEAF, _UNHASHABLE = "#leaf", "#unhashable"
_SLICE_ROWS = 1 << 20
_BELOW_48_BITS = 80  # of a UUIDv7, whose first 48 bits are milliseconds
_Positions = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class RowGroup:
    """A row group of the file: its rows, and the first leaf that belongs to it, which is a header where one begins."""

    rows: int
    first_leaf: int


@dataclass(frozen=True, slots=True)
class FileTree:
    """The tree of a file: its head, the roots of its chunks one after the other, and where each row group begins."""

    head: TreeHead
    chunk_roots: bytes
    row_groups: tuple[RowGroup, ...]


@dataclass(frozen=True, slots=True)
class ReadFile:
    """What the second reader found in a file. ``leaves`` are files with the leaf of every row, in the file's order."""

    content: MonthContent
    tree: FileTree
    leaves: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class _Part:
    """The rows of a part of the file: their leaves in a file, where groups begin, and the first and the last place."""

    leaves: Path
    rows: int
    starts: _Positions
    names: list[pa.Array]
    first: tuple[Any, ...] | None
    last: tuple[Any, ...] | None
    has_strangers: bool
    has_unhashable: bool


def read_file(
    settings: Settings, table: TieredTable, columns: Sequence[Column], month: Month, file: Path, spool: Path
) -> ReadFile:
    """Read an archived file afresh: every row is hashed, every total summed, the order checked. Memory stays bounded.

    ``spool`` is a folder for the leaves. Raises DataError for a row without a canonical form. Raises VerificationError
    for a file that cannot be decoded, or whose rows are not in the table's order.
    """
    layout = Layout.of(table, columns)
    with second_reader(settings, settings.archive_threads) as context, second_reader(settings, 1) as totals:
        try:
            open_file(context, layout, file)
            open_file(totals, layout, file)
            with ThreadPoolExecutor(1) as side:
                summed = side.submit(_totals, totals, table, columns)
                parts = _read_parts(context, table, layout, month, spool)
                _require_order(table, context, columns, parts)
                content = MonthContent(totals_of(summed.result()), not any(part.has_strangers for part in parts))
            return ReadFile(content, _tree(totals, layout, parts, file), tuple(part.leaves for part in parts))
        except (DataError, VerificationError):
            raise
        except Exception as error:  # DataFusion raises plain Exceptions
            raise VerificationError(f"{table.name}: the archived file cannot be decoded: {error}") from error


def _totals(context: SessionContext, table: TieredTable, columns: Sequence[Column]) -> list[list[Any]]:
    """The records of `totals_query` as Python values."""
    table_of_totals = context.sql(totals_query(table, columns)).to_arrow_table()
    return [list(record) for record in zip(*(column.to_pylist() for column in table_of_totals.columns), strict=True)]


def _read_parts(context: SessionContext, table: TieredTable, layout: Layout, month: Month, spool: Path) -> list[_Part]:
    """Hash every row; each part of the file in a thread of its own."""
    order = [identifier(name) for name in dict.fromkeys((*layout.sorted_by, table.key_column))]
    leaf, unhashable = leaf_expression(layout.columns), unhashable_expression(layout.columns)
    wanted = f'{", ".join(order)}, {leaf} AS "{_LEAF}", ({unhashable}) AS "{_UNHASHABLE}"'
    streams = context.sql(f"SELECT {wanted} FROM {SOURCE}").execute_stream_partitioned()
    with ThreadPoolExecutor(max(1, len(streams))) as threads:
        read = [
            threads.submit(_read_part, stream, table, layout, month, spool / f"{number}.leaves")
            for number, stream in enumerate(streams)
        ]
        parts = [future.result() for future in read]
    return [part for part in parts if part.rows]


def _read_part(stream: RecordBatchStream, table: TieredTable, layout: Layout, month: Month, target: Path) -> _Part:
    reader = _OrderedRows(table, layout, month)
    with target.open("wb") as file:
        for batch in stream:
            rows = batch.to_pyarrow()
            if rows.num_rows:
                file.write(hashes_of(rows.column(_LEAF)).tobytes())
                reader.add(rows)
    return reader.part(target)


class _OrderedRows:
    """Takes batches of rows in the file's order and notes what a part of the file needs. Raises VerificationError for
    rows out of order.
    """

    def __init__(self, table: TieredTable, layout: Layout, month: Month) -> None:
        self._table, self._layout = table, layout
        self._bounds = tuple(bound.int >> _BELOW_48_BITS for bound in id_bounds(month))
        self._before: list[pa.Array] | None = None
        self._first: tuple[Any, ...] | None = None
        self._rows = 0
        self._starts: list[_Positions] = []
        self._names: list[pa.Array] = []
        self._has_strangers = self._has_unhashable = False

    def add(self, rows: pa.RecordBatch) -> None:
        """The next rows."""
        order = [rows.column(name) for name in self._layout.sorted_by]
        before = self._before or [column.slice(0, 0) for column in order]
        joined = [pa.concat_arrays([last, column]) for last, column in zip(before, order, strict=True)]
        if not _is_sorted(joined):
            raise VerificationError(f"{self._table.name}: the rows of the archived file are not in the table's order")
        if self._layout.group_column is not None:
            self._note_groups(joined[0], order[0])
        self._first = self._first or _place(order, 0)
        self._before = [column.slice(len(column) - 1) for column in order]
        self._rows += rows.num_rows
        self._has_unhashable |= bool(pc.any(rows.column(_UNHASHABLE)).as_py())
        self._has_strangers |= self._is_strange(rows.column(self._table.key_column))

    def _note_groups(self, joined: pa.Array, column: pa.Array) -> None:
        _, equal = _compare(joined.slice(0, len(joined) - 1), joined.slice(1))
        starts = np.flatnonzero(~equal) + (len(column) - len(equal))
        if self._before is None:
            starts = np.concatenate([np.zeros(1, np.int64), starts])
        self._starts.append(starts + self._rows)
        self._names.append(column.take(pa.array(starts)))

    def _is_strange(self, keys: pa.Array) -> bool:
        """Whether a key lies outside the month. `id_bounds` are whole numbers of 2**80."""
        content = np.frombuffer(keys.buffers()[1], ">u8")[2 * keys.offset : 2 * (keys.offset + len(keys)) : 2]
        milliseconds = content.astype(np.uint64) >> np.uint64(16)
        first, last = self._bounds
        return bool(keys.null_count or (milliseconds < first).any() or (milliseconds >= last).any())

    def part(self, leaves: Path) -> _Part:
        """What was noted of all rows so far."""
        return _Part(
            leaves=leaves,
            rows=self._rows,
            starts=np.concatenate(self._starts) if self._starts else np.empty(0, np.int64),
            names=self._names,
            first=self._first,
            last=_place(self._before, 0) if self._before else None,
            has_strangers=self._has_strangers,
            has_unhashable=self._has_unhashable,
        )


def _place(order: Sequence[pa.Array], row: int) -> tuple[Any, ...]:
    """The place of a row: values that compare as the file is sorted."""
    values = (column[row].as_py() for column in order)
    return tuple((value is None, value) for value in values)


def _is_sorted(order: Sequence[pa.Array]) -> bool:
    """Whether rows, given by the columns that they are sorted by, are in their order. NULL comes last."""
    undecided = np.ones(max(0, len(order[0]) - 1), bool)
    for column in order:
        if not undecided.any():
            return True
        less, equal = _compare(column.slice(0, len(column) - 1), column.slice(1))
        if (undecided & ~less & ~equal).any():
            return False
        undecided &= equal
    return True


def _compare(left: pa.Array, right: pa.Array) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Where ``left`` is less, and where both are equal; NULL is equal to NULL and more than everything else."""
    less = _truth(pc.less(left, right)) | (_truth(left.is_valid()) & _truth(right.is_null()))
    equal = _truth(pc.equal(left, right)) | (_truth(left.is_null()) & _truth(right.is_null()))
    return less, equal


def _truth(values: pa.Array) -> npt.NDArray[np.bool_]:
    flags: npt.NDArray[np.bool_] = values.fill_null(False).to_numpy(zero_copy_only=False)
    return flags.astype(bool)


def _require_order(
    table: TieredTable, context: SessionContext, columns: Sequence[Column], parts: Sequence[_Part]
) -> None:
    """Raise unless each part begins where the one before it ends, and every row has a canonical form."""
    for before, after in pairwise(parts):
        if before.last is None or after.first is None or after.first < before.last:
            raise VerificationError(f"{table.name}: the rows of the archived file are not in the table's order")
    if any(part.has_unhashable for part in parts):
        key = identifier(table.key_column)
        query = f"SELECT encode({key}, 'hex') FROM {SOURCE} WHERE {unhashable_expression(columns)} LIMIT 1"
        (row,) = context.sql(query).to_arrow_table().column(0).to_pylist()
        raise DataError(f"{table.name}: row {UUID(row)} has {UNHASHABLE} and cannot be archived")


def _tree(context: SessionContext, layout: Layout, parts: Sequence[_Part], file: Path) -> FileTree:
    starts, names = _groups(parts)
    rows = sum(part.rows for part in parts)
    headers = _headers(context, layout, parts, starts, names, rows)
    roots, rest, leaves = [], np.empty((0, HASH_BYTES), np.uint8), 0
    for window in _leaves(parts, starts, headers):
        waiting = np.concatenate([rest, window])
        whole = len(waiting) - len(waiting) % CHUNK_LEAVES
        roots.append(chunk_roots(context, waiting[:whole]).tobytes())
        rest, leaves = waiting[whole:], leaves + len(window)
    if len(rest):
        roots.append(fold(rest.tobytes()))
    together = b"".join(roots)
    head = TreeHead(leaves, fold(together) if together else EMPTY_ROOT)
    return FileTree(head, together, _row_groups(file, starts))


def _groups(parts: Sequence[_Part]) -> tuple[_Positions, pa.Array | None]:
    """The rows that groups begin with, and the groups' names, over all parts: a group may go on in the next part."""
    starts, names, offset, last = [], [], 0, None
    for part in parts:
        here, named = part.starts, part.names
        goes_on = bool(len(here)) and last is not None and part.first is not None and part.first[0] == last[0]
        starts.append(here[int(goes_on) :] + offset)
        names += [pa.concat_arrays(named).slice(int(goes_on))] if named else []
        offset, last = offset + part.rows, part.last
    return np.concatenate(starts) if starts else np.empty(0, np.int64), pa.concat_arrays(names) if names else None


def _headers(
    context: SessionContext,
    layout: Layout,
    parts: Sequence[_Part],
    starts: _Positions,
    names: pa.Array | None,
    rows: int,
) -> Hashes:
    """The leaves of all group headers. The totals of a group are summed apart from its rows: both must agree on the
    group's name and on its number of rows.
    """
    if layout.group_column is None or names is None:
        return np.empty((0, HASH_BYTES), np.uint8)
    counts, done, hashes = np.diff(np.append(starts, rows)), 0, []
    for groups in _summed_groups(context, layout):
        here = slice(done, done + groups.num_rows)
        is_same = groups.column(0).combine_chunks().equals(names.slice(done, groups.num_rows))
        if not is_same or not np.array_equal(groups.column(2).to_numpy(), counts[here]):
            raise VerificationError("the groups of the archived file are not where its rows say")
        first = pa.array([leaf.tobytes() for leaf in _leaves_at(parts, starts[here])], pa.binary())
        described = pa.table([*groups.columns[1:], first], ["name", "rows", "totals", "first"])
        hashed = context.from_arrow(described).select_exprs(f"{header_expression()} AS leaf").execute_stream()
        hashes += [hashes_of(batch.to_pyarrow().column(0)) for batch in hashed]
        done += groups.num_rows
    if done != len(starts):
        raise VerificationError(f"the archived file has {len(starts)} groups, and totals of {done}")
    return np.concatenate(hashes) if hashes else np.empty((0, HASH_BYTES), np.uint8)


def _summed_groups(context: SessionContext, layout: Layout) -> Iterator[pa.Table]:
    """(group, group as text, rows, totals as text) of whole groups, some at a time, in the order of the file."""
    waiting: pa.Table | None = None
    for batch in context.sql(records_query(layout)).execute_stream():
        records = _without_views(batch.to_pyarrow())
        waiting = records if waiting is None else pa.concat_tables([waiting, records])
        edges = _edges(waiting.column(0).combine_chunks())
        if len(edges) > 1:  # the last group may go on in the next batch
            yield _joined(waiting.slice(0, int(edges[-1])), edges[:-1])
            waiting = waiting.slice(int(edges[-1]))
    if waiting is not None and waiting.num_rows:
        yield _joined(waiting, _edges(waiting.column(0).combine_chunks()))


def _without_views(batch: pa.RecordBatch) -> pa.Table:
    """The batch with plain strings: pyarrow cannot take from the views that DataFusion makes."""
    fields = (field.with_type(pa.string()) if field.type == pa.string_view() else field for field in batch.schema)
    return pa.Table.from_batches([batch]).cast(pa.schema(list(fields)))


def _edges(groups: pa.Array) -> _Positions:
    """Where each run of equal values begins."""
    if not len(groups):
        return np.empty(0, np.int64)
    _, equal = _compare(groups.slice(0, len(groups) - 1), groups.slice(1))
    return np.concatenate([np.zeros(1, np.int64), np.flatnonzero(~equal) + 1])


def _joined(records: pa.Table, starts: _Positions) -> pa.Table:
    """The records of each group made one: their numbers of rows added, their texts joined."""
    offsets = pa.array(np.append(starts, records.num_rows), pa.int32())
    texts = pa.ListArray.from_arrays(offsets, records.column(3).combine_chunks())
    rows = np.add.reduceat(records.column(2).to_numpy(), starts)
    first = records.take(pa.array(starts))
    return pa.table(
        [first.column(0), first.column(1), rows, pc.binary_join(texts, FIELD_SEPARATOR)],
        ["group", "name", "rows", "totals"],
    )


def _leaves_at(parts: Sequence[_Part], rows: _Positions) -> Hashes:
    """The leaves of rows, whose numbers rise."""
    leaves, offset = [], 0
    for part in parts:
        here = rows[(rows >= offset) & (rows < offset + part.rows)] - offset
        leaves.append(np.asarray(read_leaves(part.leaves)[here]))
        offset += part.rows
    return np.concatenate(leaves)


def _leaves(parts: Sequence[_Part], starts: _Positions, headers: Hashes) -> Iterator[Hashes]:
    """All leaves of the tree in their order, some at a time: before the rows of a group its header."""
    row = 0
    for leaves in leaf_slices([part.leaves for part in parts], _SLICE_ROWS):
        first, last = np.searchsorted(starts, [row, row + len(leaves)])
        yield np.insert(leaves, starts[first:last] - row, headers[first:last], axis=0)
        row += len(leaves)


def _row_groups(file: Path, starts: _Positions) -> tuple[RowGroup, ...]:
    metadata = pq.read_metadata(file)
    counts = [metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)]
    rows = np.concatenate([[0], np.cumsum(counts)])[:-1] if counts else np.empty(0, np.int64)
    leaves = rows + np.searchsorted(starts, rows)
    return tuple(RowGroup(count, int(leaf)) for count, leaf in zip(counts, leaves, strict=True))
