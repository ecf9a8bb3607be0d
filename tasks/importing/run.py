"""An import from its first byte to its row in the table `imports`. Parsing runs while the chunk before is loaded."""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from config import Settings
from ledger.card_finder import mask_card_numbers
from ledger.counts import counted
from ledger.errors import ConfigError, FieldError
from ledger.tables import BUILT_IN, TieredTable
from sql.connection import Connection, connect
from sql.preparation import prepare_table
from sql.queries import load
from sql.storing import check_stored
from tasks.importing.alike_amounts import warnings
from tasks.importing.contents import Contents, LineCounts, read_contents
from tasks.importing.identity import make_namer
from tasks.importing.known_rows import check_source
from tasks.importing.loading import Loader
from tasks.importing.mapping import Mapping, check_table, read_mapping
from tasks.importing.occurrences import count_occurrences
from tasks.importing.preview import Preview
from tasks.importing.records import FileRecord, Part, read_records
from tasks.importing.rejects import RecordOutcome, Reject, RejectsFile, choose_path, open_rejects
from tasks.importing.rows import Row, RowBuilder
from tasks.importing.source import open_source

CHUNK_ROWS = 5_000  # small enough that a chunk's locks are gone before anybody who wants them gives up
CHUNK_CHARACTERS = 8 << 20  # what bounds the memory where lines are long

_CUT = "the last line has no line end: the file may be cut off"

Progress = Callable[[str, int, int], None]
Check = Callable[[int], None]


class ImportRequest(NamedTuple):
    """The request for an import. ``table`` overrides the mapping's; ``rejects`` is a file, a folder, or else beside the
    file.
    """

    file: Path
    mapping: Path
    table: str | None = None
    rejects: Path | None = None
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class ImportReport:
    """The outcome of the records: ``read == loaded + known + different + rejected``, always. In a dry run, what would.

    ``known`` were loaded before with the same values, ``different`` with other values. ``lines`` are all of the file.
    ``preview`` is that of a dry run. ``warnings`` say what looks wrong in what was loaded.
    """

    table: str
    read: int
    loaded: int
    known: int
    different: int
    rejected: int
    rejects: Path
    dry_run: bool
    lines: LineCounts
    preview: Preview
    warnings: tuple[str, ...] = ()


class Chunk(NamedTuple):
    """Consecutive records: the rows that were made of them, and what was not made a row."""

    rows: list[Row]
    rejects: list[Reject]

    @property
    def first_line(self) -> int:
        """The line that its first record starts on."""
        return min(records[0].line for records in (self.rows, self.rejects) if records)


@dataclass(slots=True)
class _Counts:
    read: int = 0
    loaded: int = 0
    preview: Preview = field(default_factory=Preview)


def import_file(settings: Settings, request: ImportRequest, progress: Progress, now: datetime) -> ImportReport:
    """Load every record of ``request.file`` or write it to the rejects file with its reason.

    ``progress(step, bytes_done, bytes_in_all)`` is called between chunks. ``now`` (aware) is the instant that no row
    may lie after. Memory does not grow with the file. Safe to run again: what is loaded is known as such, and what an
    interrupted run left out is loaded. Raises ConfigError for a mapping that does not fit the table or the file. Raises
    DataError for a damaged file, or one of which nothing is read. Raises TransientError when PostgreSQL goes away: then
    run it again.
    """
    mapping, mapping_sha256 = read_mapping(request.mapping)
    table = _table(settings, mapping, request.table)
    counts = _Counts()
    with ExitStack() as stack:
        source = stack.enter_context(open_source(request.file))
        rejects_path = choose_path(request.file, request.rejects)
        if any(_is_same(rejects_path, read) for read in (request.file, request.mapping)):
            raise ConfigError(f"rejects file {rejects_path}: is a file that the import reads")
        survey = source.survey(lambda done: progress("checking", done, source.size), mapping.file.encoding)
        contents = read_contents(request.file, mapping, read_records(source.stream(), mapping.file))
        connection = stack.enter_context(connect(settings.database_dsn, "import"))
        prepare_table(connection, settings, table)
        check_source(connection, mapping, table, request.dry_run)
        builder = stack.enter_context(_builder(settings, mapping, table, contents, survey.content, now))
        same_values = mapping.identity == "values"
        loader = Loader(connection, settings, table, builder.columns, request.dry_run, same_values)
        counts.preview.columns = builder.columns
        rejects = stack.enter_context(open_rejects(rejects_path, request.rejects))
        check: Check = lambda line: source.check_unchanged(_advice(mapping, loader, counts, line))  # noqa: E731  # partial
        for _ in _load_chunks(loader, _chunks(builder, contents), rejects, counts, check):
            progress("loading", source.position(), source.size)
        rejects.finish()
        check(contents.lines.all + 1)
        warned = (*((_CUT,) if survey.is_cut else ()), *warnings(mapping, builder.tallies))
        report = _report(request, table, counts, rejects, contents.lines, warned)
        if not request.dry_run:
            _record(connection, report, request.file, (survey.file, mapping_sha256), now)
    return report


def _report(
    request: ImportRequest,
    table: TieredTable,
    counts: _Counts,
    rejects: RejectsFile,
    lines: LineCounts,
    warnings: tuple[str, ...],
) -> ImportReport:
    outcomes = rejects.counts
    return ImportReport(
        table=table.name,
        read=counts.read,
        loaded=counts.loaded,
        known=outcomes[RecordOutcome.KNOWN],
        different=outcomes[RecordOutcome.DIFFERENT],
        rejected=outcomes[RecordOutcome.REJECTED],
        rejects=rejects.path,
        dry_run=request.dry_run,
        lines=lines,
        preview=counts.preview,
        warnings=warnings,
    )


def _is_same(path: Path, other: Path) -> bool:
    """Return whether both are one file, under whatever names: through links, hard ones too."""
    return path.exists() and path.samefile(other)


def _table(settings: Settings, mapping: Mapping, name: str | None) -> TieredTable:
    name = name or mapping.table
    if name is None:
        raise ConfigError(f"mapping {mapping.name}: table is missing; add it, or give --table")
    table = settings.table(name)
    if table.name not in {known.name for known in BUILT_IN}:
        raise ConfigError(
            f"table {name}: the import knows the rows of {' and '.join(built_in.name for built_in in BUILT_IN)} only"
        )
    check_table(mapping, table)
    return table


@contextmanager
def _builder(
    settings: Settings, mapping: Mapping, table: TieredTable, contents: Contents, content: bytes, now: datetime
) -> Iterator[RowBuilder]:
    """The builder for the columns that the file has."""
    positions = {name: position for position, name in enumerate(contents.header)}
    with ExitStack() as stack:
        namer = make_namer(
            mapping, table, positions, content, lambda: stack.enter_context(count_occurrences(settings.spool))
        )
        yield RowBuilder(table, mapping, contents.header, now, namer, settings.suppliers.names)


def _chunks(builder: RowBuilder, contents: Contents) -> Iterator[Chunk]:
    """The records as chunks, bounded in number and in characters."""
    chunk, characters = Chunk([], []), 0
    for record in contents.records:
        _add(chunk, builder, record, contents.lines)
        characters += len(record.text)
        if len(chunk.rows) + len(chunk.rejects) >= CHUNK_ROWS or characters >= CHUNK_CHARACTERS:
            yield chunk
            chunk, characters = Chunk([], []), 0
    if chunk.rows or chunk.rejects:
        yield chunk


def _add(chunk: Chunk, builder: RowBuilder, record: FileRecord, lines: LineCounts) -> None:
    """Add the row or the reject of ``record``, and count its lines."""
    if record.part is not Part.RECORDS and not builder.looks_like_record(record):
        lines.count(record, record.part)
        return
    lines.count(record, Part.RECORDS)
    if record.part is not Part.RECORDS:
        chunk.rejects.append(Reject(record.line, _misplaced(record, lines.end), "", record.text))
        return
    try:
        chunk.rows.append(builder.build(record))
    except FieldError as error:
        chunk.rejects.append(Reject(record.line, error.rule, error.field, record.text))


def _misplaced(record: FileRecord, end: int) -> str:
    """Return what to say of a record that is none by the mapping: it is rejected, and does not vanish."""
    if record.part is Part.SKIPPED:
        return "is one of the lines that file.skip_lines leaves out, and looks like a record"
    if record.line == end:
        return "begins as file.until says that the lines behind the records begin, and looks like a record"
    return f"is behind line {end}, which ends the records, and looks like one"


def _load_chunks(
    loader: Loader, chunks: Iterator[Chunk], rejects: RejectsFile, counts: _Counts, check: Check
) -> Iterator[None]:
    """Load each chunk while the next is being parsed, one at a time and in order; yields after every chunk.

    ``check`` is called with the first line of a chunk before it is loaded: a file that somebody writes to has other
    lines than those that were looked through.
    """
    with ThreadPoolExecutor(1, "import") as pool:
        loading: Future[None] | None = None
        for chunk in chunks:
            if loading is not None:
                loading.result()
            check(chunk.first_line)
            loading = pool.submit(_load_chunk, loader, chunk, rejects, counts)
            yield
        if loading is not None:
            loading.result()
            yield


def _advice(mapping: Mapping, loader: Loader, counts: _Counts, line: int) -> str:
    """Return what to do about a file that changed before its ``line`` was loaded."""
    if mapping.identity != "file":
        return "import it again: nothing is loaded twice"
    if loader.dry_run or not counts.loaded:
        return "nothing was loaded: import it when it is whole"
    return (
        f'{counted(counts.loaded, "row is", "rows are")} loaded. By identity = "file" the whole file would be loaded '
        f"again: import the lines from line {line} on as a file of their own"
    )


def _load_chunk(loader: Loader, chunk: Chunk, rejects: RejectsFile, counts: _Counts) -> None:
    refused = loader.load(chunk.rows) if chunk.rows else []
    counts.read += len(chunk.rows) + len(chunk.rejects)
    counts.loaded += len(chunk.rows) - len(refused)
    rejects.write(sorted([*chunk.rejects, *refused]))
    if loader.dry_run:
        lines = {reject.line for reject in refused}
        counts.preview.add([row for row in chunk.rows if row.line not in lines])


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
        "known": report.known,
        "different": report.different,
        "rejected": report.rejected,
        "lines": report.lines.all,
        "started_at": started_at.astimezone(UTC),
    }
    check_stored(connection.execute(load("imports")["record_import"], parameters), 1, "imports")
