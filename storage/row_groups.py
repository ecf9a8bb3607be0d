"""Which bytes of an archived file a question will read: columns of the row groups that may have rows of it.

A guess in favour of speed: the engine reads what it needs, whether it was foreseen or not.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from storage.conditions import Asked
from storage.object_ranges import Range
from storage.object_reader import ArchivedFile
from storage.pieces import column_range

if TYPE_CHECKING:
    from pyarrow.parquet import ColumnChunkMetaData, FileMetaData, RowGroupMetaData


@dataclass(frozen=True, slots=True)
class _Chunk:
    """A column of a row group: where it lies, and its smallest and largest text, if it has texts."""

    place: Range
    texts: tuple[bytes, bytes] | None


class RowGroups:
    """What the footers say of files, parsed once. Not more than a process has open files: kept with them."""

    def __init__(self) -> None:
        self._columns: dict[tuple[str, str], list[_Chunk]] = {}

    def ranges(
        self, file: ArchivedFile, names: Mapping[str, str], asked: Asked, searched: Sequence[str]
    ) -> list[Range]:
        """The ranges of a file that a question reads at first. ``names`` are those of columns in the file by those in
        the view. ``searched`` are columns with a bloom filter in the file; a query by one of them reads the filters
        first, and then decides.
        """
        equal = {
            condition.column
            for conditions in asked.alternatives
            for condition in conditions
            if condition.comparison == "="
        }
        if not equal.isdisjoint(searched):
            return [self._behind_the_columns(file)]
        wanted = self._wanted(file, names, asked)
        columns = [old for new, old in names.items() if asked.columns is None or new in asked.columns]
        chunks_of_columns = [self._chunks(file, name) for name in columns]
        return [chunks[group].place for group in wanted for chunks in chunks_of_columns if chunks]

    def _wanted(self, file: ArchivedFile, names: Mapping[str, str], asked: Asked) -> list[int]:
        """The row groups whose statistics let them have a row that is asked for, by equality with texts."""
        every = range(file.row_groups)
        if not asked.alternatives:
            return list(every)
        possible: set[int] = set()
        for conditions in asked.alternatives:
            groups = set(every)
            for condition in conditions:
                if condition.comparison == "=" and condition.column in names:
                    groups &= self._possible(file, names[condition.column], condition.values)
            possible |= groups
        return sorted(possible)

    def _possible(self, file: ArchivedFile, name: str, values: Sequence[object]) -> set[int]:
        sought = [value.encode() for value in values if isinstance(value, str)]
        chunks = self._chunks(file, name)
        if len(sought) != len(values) or not chunks:
            return set(range(file.row_groups))
        texts = [chunk.texts for chunk in chunks]
        return {
            group
            for group, bounds in enumerate(texts)
            if bounds is None or any(bounds[0] <= value <= bounds[1] for value in sought)
        }

    def _chunks(self, file: ArchivedFile, name: str) -> list[_Chunk]:
        """The column of each row group; empty where the file has no such column."""
        known = (file.sha256, name)
        if known not in self._columns:
            self._columns[known] = _read_chunks(file.metadata, name)
        return self._columns[known]

    def _behind_the_columns(self, file: ArchivedFile) -> Range:
        """Where bloom filters and page indexes lie."""
        last = file.metadata.row_group(file.row_groups - 1) if file.row_groups else None
        end = file.size_bytes - len(file.footer)
        return (end if last is None else max(column_range(chunk)[1] for chunk in _columns(last)), end)


def _columns(row_group: "RowGroupMetaData") -> "Iterator[ColumnChunkMetaData]":
    return (row_group.column(number) for number in range(row_group.num_columns))


def _read_chunks(metadata: "FileMetaData", name: str) -> list[_Chunk]:
    number = next((n for n in range(metadata.num_columns) if metadata.schema.column(n).name == name), None)
    if number is None:
        return []
    return [_read_chunk(metadata.row_group(group).column(number)) for group in range(metadata.num_row_groups)]


def _read_chunk(chunk: "ColumnChunkMetaData") -> _Chunk:
    statistics = chunk.statistics
    has_texts = statistics is not None and statistics.has_min_max and statistics.logical_type.type == "STRING"
    return _Chunk(column_range(chunk), (statistics.min.encode(), statistics.max.encode()) if has_texts else None)
