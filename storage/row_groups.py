"""Which bytes of an archived file a question will read: columns of the row groups that may have rows of it.

A guess in favour of speed: the engine reads what it needs, whether it was foreseen or not.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from storage.conditions import Asked, Condition
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
        self._chunks: dict[tuple[str, int, str], _Chunk | None] = {}

    def ranges(
        self, file: ArchivedFile, names: Mapping[str, str], asked: Asked, searched: Sequence[str]
    ) -> list[Range]:
        """The ranges of a file that a question reads at first. ``names`` are those of columns in the file by those in
        the view; ``searched`` are columns with a bloom filter in the file: a question by one of them reads the filters
        first, and then decides.
        """
        groups = range(file.metadata.num_row_groups)
        wanted = [group for group in groups if self._is_wanted(file, group, names, asked)]
        equal = {one.column for conditions in asked.alternatives for one in conditions if one.comparison == "="}
        if equal & set(searched):
            return [self._behind_the_columns(file)]
        columns = [old for new, old in names.items() if asked.columns is None or new in asked.columns]
        chunks = (self._chunk(file, group, name) for group in wanted for name in columns)
        return [chunk.place for chunk in chunks if chunk is not None]

    def _is_wanted(self, file: ArchivedFile, group: int, names: Mapping[str, str], asked: Asked) -> bool:
        return not asked.alternatives or any(
            all(self._is_possible(file, group, names, one) for one in conditions) for conditions in asked.alternatives
        )

    def _is_possible(self, file: ArchivedFile, group: int, names: Mapping[str, str], condition: Condition) -> bool:
        if condition.comparison != "=" or condition.column not in names:
            return True
        values = [value.encode() for value in condition.values if isinstance(value, str)]
        chunk = self._chunk(file, group, names[condition.column])
        if len(values) != len(condition.values) or chunk is None or chunk.texts is None:
            return True
        low, high = chunk.texts
        return any(low <= value <= high for value in values)

    def _chunk(self, file: ArchivedFile, group: int, name: str) -> _Chunk | None:
        known = (file.sha256, group, name)
        if known not in self._chunks:
            self._chunks[known] = _read_chunk(file.metadata, group, name)
        return self._chunks[known]

    def _behind_the_columns(self, file: ArchivedFile) -> Range:
        """Where bloom filters and page indexes lie."""
        last = file.metadata.row_group(file.metadata.num_row_groups - 1) if file.metadata.num_row_groups else None
        end = file.size_bytes - len(file.footer)
        return (end if last is None else max(column_range(chunk)[1] for chunk in _columns(last)), end)


def _columns(row_group: "RowGroupMetaData") -> "Iterator[ColumnChunkMetaData]":
    return (row_group.column(number) for number in range(row_group.num_columns))


def _read_chunk(metadata: "FileMetaData", group: int, name: str) -> _Chunk | None:
    number = next((n for n in range(metadata.num_columns) if metadata.schema.column(n).name == name), None)
    if number is None:
        return None
    chunk = metadata.row_group(group).column(number)
    found = chunk.statistics
    has_texts = found is not None and found.has_min_max and found.logical_type.type == "STRING"
    return _Chunk(column_range(chunk), (found.min.encode(), found.max.encode()) if has_texts else None)
