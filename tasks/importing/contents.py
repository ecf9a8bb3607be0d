"""The parts of a file: lines to skip, the header, the records, and the lines behind them. Every line is counted."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

from ledger.errors import ConfigError, DataError
from tasks.importing.mapping import Mapping
from tasks.importing.records import FileRecord, Part


@dataclass(slots=True)
class LineCounts:
    """The physical lines of a file. ``records`` of ``record_lines`` lines are what the account of rows is made of.

    ``end`` is the line that ended the records, 0 where none did.
    """

    skipped: int = 0
    header: int = 0
    records: int = 0
    record_lines: int = 0
    footer: int = 0
    end: int = 0

    def count(self, record: FileRecord, part: Part) -> None:
        """Count the lines of ``record`` in ``part`` of the file."""
        if part is Part.SKIPPED:
            self.skipped += record.lines
        elif part is Part.FOOTER:
            self.footer += record.lines
        else:
            self.records += 1
            self.record_lines += record.lines

    @property
    def all(self) -> int:
        """Every line of the file."""
        return self.skipped + self.header + self.record_lines + self.footer


@dataclass(slots=True)
class Contents:
    """The header of a file and, once, its records. ``lines`` grows while they are read, by whoever reads them."""

    header: tuple[str, ...]
    records: Iterator[FileRecord]
    lines: LineCounts = field(default_factory=LineCounts)


def read_contents(path: Path, mapping: Mapping, records: Iterator[FileRecord]) -> Contents:
    """The contents of the file at ``path``, whose records, header and all, are ``records``.

    Raises DataError for a file without a header or without a record behind it, ConfigError for one that lacks a column
    of the mapping. The skipped lines and those of the footer come, too, each with its part. So nothing vanishes in a
    line that only looks like one of them. The caller that makes rows counts all of them but the header.
    """
    lines = LineCounts()
    skipped = [_skipped(path, mapping, records) for _ in range(mapping.file.skip_lines)]
    header = mapping.file.columns
    if header is None:
        header, lines.header = _read_header(path, records)
    _check_columns(path, mapping, header)
    parted = _until(records, mapping.file.until, lines)
    first = next(parted, None)
    if first is None:
        what = "no record" if mapping.file.columns else "no line but its header"
        raise DataError(f"{path} has {what}: nothing was read")
    if first.part is Part.FOOTER:
        raise DataError(f"{path} has no record before line {first.line}, where file.until ends them: nothing was read")
    return Contents(header, chain(skipped, [first], parted), lines)


def _skipped(path: Path, mapping: Mapping, records: Iterator[FileRecord]) -> FileRecord:
    record = next(records, None)
    if record is None:
        raise DataError(f"{path} has fewer lines than file.skip_lines of mapping {mapping.name} says")
    if record.lines > 1:
        raise DataError(
            f"{path}: line {record.line} is to be skipped and has a quote that goes on over {record.lines} lines"
        )
    return record._replace(part=Part.SKIPPED)


def _read_header(path: Path, records: Iterator[FileRecord]) -> tuple[tuple[str, ...], int]:
    first = next(records, None)
    if first is None:
        raise DataError(f"{path} is empty: it has no header line")
    if first.problem is not None:
        raise DataError(f"{path}: the header line {first.problem}")
    return tuple(name.strip() for name in first.fields), first.lines


def _check_columns(path: Path, mapping: Mapping, header: Sequence[str]) -> None:
    for column, key in mapping.columns_used().items():
        if header.count(column) != 1:
            problem = "no column" if column not in header else "more than one column"
            columns = ", ".join(header)
            raise ConfigError(f"mapping {mapping.name}: {key}: {path} has {problem} {column!r} in: {columns}")


def _until(records: Iterator[FileRecord], end: str | None, lines: LineCounts) -> Iterator[FileRecord]:
    """The records, and from the line that ends them on every line of the footer."""
    for record in records:
        if not lines.end and end is not None and record.text.lstrip(' "').startswith(end):
            lines.end = record.line
        yield record._replace(part=Part.FOOTER) if lines.end else record
