"""An import from its first byte to its row in the table `imports`. Parsing runs while the chunk before is loaded."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from config import Settings
from ledger.card_finder import mask_card_numbers
from ledger.errors import ConfigError, DataError, FieldError
from ledger.tables import BUILT_IN, TieredTable
from sql.connection import Connection, connect
from sql.partitions import prepare_table
from sql.queries import load
from sql.storing import check_stored
from tasks.importing.loading import Loader
from tasks.importing.mapping import Mapping, check_table, read_mapping
from tasks.importing.occurrences import count_occurrences
from tasks.importing.records import Record, read_records
from tasks.importing.rejects import Reject, RejectsFile, open_rejects
from tasks.importing.rows import Row, RowBuilder
from tasks.importing.source import SourceFile, open_source

CHUNK_ROWS = 5_000  # small enough that a chunk's locks are gone before anybody who wants them gives up
CHUNK_CHARACTERS = 8 << 20  # what bounds the memory where lines are long

Progress = Callable[[str, int, int], None]


class ImportRequest(NamedTuple):
    """What to import. ``table`` overrides the mapping's; ``rejects`` is `<file>.rejects.csv` unless given."""

    file: Path
    mapping: Path
    table: str | None = None
    rejects: Path | None = None
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What became of the lines: ``read == loaded + rejected``, always. In a dry run, what would."""

    table: str
    read: int
    loaded: int
    rejected: int
    rejects: Path
    dry_run: bool


class Chunk(NamedTuple):
    """Consecutive records: the rows that were made of them, and what was not made a row."""

    rows: list[Row]
    rejects: list[Reject]


@dataclass(slots=True)
class _Counts:
    read: int = 0
    loaded: int = 0


def import_file(settings: Settings, request: ImportRequest, progress: Progress, now: datetime) -> ImportReport:
    """Load every line of ``request.file`` or write it to the rejects file with its reason.

    ``progress(step, bytes_done, bytes_in_all)`` is called between chunks. ``now`` (aware) is the instant that no row
    may lie after. Memory does not grow with the file. Safe to run again: what is loaded is rejected as such, and what
    an interrupted run left out is loaded. Raises ConfigError for a mapping that does not fit the table or the file,
    DataError for a damaged file, TransientError when PostgreSQL goes away: then run it again.
    """
    mapping, mapping_sha256 = read_mapping(request.mapping)
    table = _table(settings, mapping, request.table)
    rejects_path = request.rejects or request.file.with_name(f"{request.file.name}.rejects.csv")
    counts = _Counts()
    with ExitStack() as stack:
        source = stack.enter_context(open_source(request.file))
        if any(_is_same(rejects_path, read) for read in (request.file, request.mapping)):
            raise ConfigError(f"rejects file {rejects_path}: is a file that the import reads")
        file_sha256 = source.survey(lambda done: progress("checking", done, source.size))
        connection = stack.enter_context(connect(settings.database_dsn, "import"))
        prepare_table(connection, settings, table)
        builder, records = stack.enter_context(_open_rows(settings, mapping, table, source, now))
        loader = Loader(connection, settings, table, builder.columns, request.dry_run)
        rejects = stack.enter_context(open_rejects(rejects_path))
        for _ in _load_chunks(loader, _chunks(builder, records), rejects, counts):
            progress("loading", source.position(), source.size)
        rejects.finish()
        source.check_unchanged()
        report = ImportReport(table.name, counts.read, counts.loaded, rejects.count, rejects_path, request.dry_run)
        if not request.dry_run:
            _record(connection, report, request.file, (file_sha256, mapping_sha256), now)
    return report


def _is_same(path: Path, other: Path) -> bool:
    """Whether both are one file, under whatever names: through links, hard ones too."""
    return path.exists() and path.samefile(other)


def _table(settings: Settings, mapping: Mapping, name: str | None) -> TieredTable:
    name = name or mapping.table
    if name is None:
        raise ConfigError(f"mapping {mapping.name}: table is missing; add it, or give --table")
    table = settings.table(name)
    if table.name not in {known.name for known in BUILT_IN}:
        raise ConfigError(
            f"table {name}: the import knows the rows of {' and '.join(one.name for one in BUILT_IN)} only"
        )
    check_table(mapping, table)
    return table


@contextmanager
def _open_rows(
    settings: Settings, mapping: Mapping, table: TieredTable, source: SourceFile, now: datetime
) -> Iterator[tuple[RowBuilder, Iterator[Record]]]:
    """The builder for the columns that the file has, and the records that follow its header."""
    records = read_records(source.stream(), mapping.file)
    header = mapping.file.columns or _read_header(source, records)
    _check_columns(source, mapping, header)
    if mapping.key:
        yield RowBuilder(table, mapping, header, now, suppliers=settings.suppliers.names), records
    else:
        with count_occurrences(settings.spool) as occurrences:
            yield RowBuilder(table, mapping, header, now, occurrences, settings.suppliers.names), records


def _read_header(source: SourceFile, records: Iterator[Record]) -> tuple[str, ...]:
    first = next(records, None)
    if first is None:
        raise DataError(f"{source.path} is empty: it has no header line")
    if first.problem is not None:
        raise DataError(f"{source.path}: the header line {first.problem}")
    return tuple(name.strip() for name in first.fields)


def _check_columns(source: SourceFile, mapping: Mapping, header: Sequence[str]) -> None:
    for column, key in mapping.columns_used().items():
        if header.count(column) != 1:
            found = "no column" if column not in header else "more than one column"
            columns = ", ".join(header)
            raise ConfigError(f"mapping {mapping.name}: {key}: {source.path} has {found} {column!r} in: {columns}")


def _chunks(builder: RowBuilder, records: Iterator[Record]) -> Iterator[Chunk]:
    """The records as chunks, bounded in number and in characters."""
    chunk, characters = Chunk([], []), 0
    for record in records:
        try:
            chunk.rows.append(builder.build(record))
        except FieldError as error:
            chunk.rejects.append(Reject(record.line, error.rule, error.field, record.text))
        characters += len(record.text)
        if len(chunk.rows) + len(chunk.rejects) >= CHUNK_ROWS or characters >= CHUNK_CHARACTERS:
            yield chunk
            chunk, characters = Chunk([], []), 0
    if chunk.rows or chunk.rejects:
        yield chunk


def _load_chunks(loader: Loader, chunks: Iterator[Chunk], rejects: RejectsFile, counts: _Counts) -> Iterator[None]:
    """Load each chunk while the next is being parsed, one at a time and in order; yields after every chunk."""
    with ThreadPoolExecutor(1, "import") as pool:
        loading: Future[None] | None = None
        for chunk in chunks:
            if loading is not None:
                loading.result()
            loading = pool.submit(_load_chunk, loader, chunk, rejects, counts)
            yield
        if loading is not None:
            loading.result()
            yield


def _load_chunk(loader: Loader, chunk: Chunk, rejects: RejectsFile, counts: _Counts) -> None:
    refused = loader.load(chunk.rows) if chunk.rows else []
    counts.read += len(chunk.rows) + len(chunk.rejects)
    counts.loaded += len(chunk.rows) - len(refused)
    rejects.write(sorted([*chunk.rejects, *refused]))


def _record(
    connection: Connection, report: ImportReport, file: Path, digests: tuple[bytes, bytes], started_at: datetime
) -> None:
    parameters: dict[str, Any] = {
        "table": report.table,
        "file": mask_card_numbers(file.name),
        "file_sha256": digests[0],
        "mapping_sha256": digests[1],
        "read": report.read,
        "loaded": report.loaded,
        "rejected": report.rejected,
        "started_at": started_at.astimezone(UTC),
    }
    check_stored(connection.execute(load("imports")["record_import"], parameters), 1, "imports")
