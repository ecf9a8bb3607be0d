"""The auditor's SQL: one read-only query over every tier, each row seen exactly once."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from threading import BoundedSemaphore
from types import TracebackType
from typing import Self

import duckdb
import pyarrow as pa
from psycopg.sql import SQL, Literal

from config import Settings
from ledger.errors import ConfigError, TransientError
from ledger.policy import Tier
from sql.connection import Connection
from sql.kept_connections import KeptConnections
from sql.obstacles import hidden_relations
from storage.archive_engine import ArchiveEngine, prepare, shut_in
from storage.archive_files import ArchiveFiles
from storage.branches import Branch, Described, Plan
from storage.engine import engine
from storage.object_reader import ObjectReader
from storage.readable import naming_unreadable
from storage.row_groups import RowGroups
from storage.views import create_views
from tasks.querying.denied import without_denied
from tasks.querying.failures import TimeLimit, of_question, translated, translated_stream
from tasks.querying.left_out import find_left_out
from tasks.querying.link import linked, milliseconds
from tasks.querying.objects import check_objects, load_files
from tasks.querying.partition_rows import Live, check_values, rows_source, wanted_source
from tasks.querying.places import Places, check_readable, notes_of
from tasks.querying.reading import PLAN_CONFIG, check_reading
from tasks.querying.tier_map import Map, TierMap
from tasks.totals.views import TotalsView, read_view

BATCH_ROWS = 10_000
_ENGINES_AT_ONCE = 2  # over hot or warm rows, in a process: each may take the memory of one
_engines = BoundedSemaphore(_ENGINES_AT_ONCE)


@dataclass(frozen=True, slots=True)
class Answer:
    """A running query: its rows as a stream of record batches, and how many months it reads of those there are.

    ``notes`` name the places that were read although the catalogue of months does not know them. They also name rows of
    PostgreSQL that are left out because the archive has them.
    """

    batches: pa.RecordBatchReader
    months_read: int
    months_known: int
    notes: tuple[str, ...] = ()


@contextmanager
def run_query(settings: Settings, query: str, timeout_s: float | None = None) -> Iterator[Answer]:
    """Run one SELECT, as `Querier.answer` does, in a process that asks no other."""
    with Querier(settings) as querier, querier.answer(query, timeout_s) as answer:
        yield answer


class Querier:
    """Answers queries over all tiers. Thread-safe; keep one for the life of a process, and close it.

    It keeps the engine that archived months are read with, what it has planned, and some connections to PostgreSQL. So
    a query costs little more than the engine needs. It takes the memory of one engine (``archive_memory_mb``) for all
    queries over archived months. Queries that read PostgreSQL take that of two in a process, and wait for each other.
    Plans take 256 MB, and objects `storage.object_reader.MEMORY_BYTES`.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings.for_auditor()
        self._reader = ObjectReader(self._settings)
        self.files = ArchiveFiles(self._reader)
        self._archive = ArchiveEngine(self._settings, self.files)
        self._map = TierMap(self._settings, PLAN_CONFIG)
        self._row_groups = RowGroups()
        self._connections = KeptConnections(self._settings.database_dsn, "auditor sql")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Give back what it has open. Safe to call twice."""
        self._archive.close()
        self._reader.close()
        self._connections.close()

    def tables(self) -> list[Described]:
        """The tables that can be asked, with the columns of their views."""
        with self._connections.taken() as connection, connection.transaction():
            return list(self._map.read(connection).places.tables)

    @property
    def fetched_bytes(self) -> int:
        """How many bytes of archived files the store has given."""
        return self._reader.fetched_bytes

    def forget(self) -> None:
        """Drop what memory has of archived files, as if nothing had been read. No question may be under way."""
        self._archive.close()
        self._reader.forget()

    @contextmanager
    def answer(self, query: str, timeout_s: float | None = None) -> Iterator[Answer]:
        """Run one SELECT over the views ``transactions``, ``vas_transactions`` and further tables, all tiers together.

        Each view has the table's columns and ``tier`` and ``month`` (``YYYY-MM``); ``<table>_archive_cold`` is the
        archive alone, ``<table>_daily_totals`` the totals of days. While rows of hot or warm months are read, no month
        can change its tier. The parents are locked against that before the tier map is read, and the archiver waits or
        comes back later. PostgreSQL is read with the auditor's login where ``settings`` have one: then the database
        itself refuses all else. Raises DataError for anything that is not one SELECT, and for errors in it. Raises it
        when the answer, reading it included, takes longer than ``timeout_s`` (default: ``settings.sql_timeout_s``).
        Raises it when a needed month is not where the catalogue says, or not what was archived. Raises ConfigError when
        a policy hides rows of a needed month from the login. Raises TransientError when a server is away, a lock is not
        to be had, or too many queries are under way. Errors that come while rows are read are raised by
        ``Answer.batches``, and an answer whose months could have moved ends in one.
        """
        limit = TimeLimit(self._settings.sql_timeout_s if timeout_s is None else timeout_s)
        check_reading(query)
        moment = datetime.now(UTC)
        with ExitStack() as held:
            connection = held.enter_context(self._connections.taken())
            held.enter_context(connection.transaction())
            connection.execute(
                SQL("SET TRANSACTION READ ONLY; SET LOCAL statement_timeout = {}").format(
                    Literal(milliseconds(limit.seconds))
                )
            )
            with translated(self._settings, limit, self.files):
                known = self._map.read(connection)
            with translated(self._settings, limit, self.files, known.places.refused):
                plan = self._plan(connection, known, query, moment, limit)
                asked = _Asked(query, moment, limit, plan, known.places)
                totals = self._totals(connection, asked)
                if not asked.live:
                    held.close()  # archived objects never change: the mover need not wait for this query
                with naming_unreadable(self._settings, asked.keys):
                    self._read_ahead(asked)
                with self._engine(connection, asked) as duck, limit.watching(duck), _shown(duck, totals):
                    check_values(duck, connection, asked.places.living, list(asked.live.values()))
                    needed = asked.branches
                    notes = [*notes_of(needed), *_left_out(duck, connection, asked)]
                    notes += [note for totals_view in totals.values() for note in totals_view.notes]
                    batches = _read(duck, self._settings, asked, self.files, connection)
                    yield Answer(batches, _living(needed), _living(asked.places.branches), tuple(notes))

    def _plan(self, connection: Connection, known: Map, query: str, moment: datetime, limit: TimeLimit) -> Plan:
        """What the query needs, once it is sure that all of it can be read."""
        plan = known.plan(query, moment, limit.watching)
        plan = replace(plan, needs=without_denied(connection, known.places, plan.needs))
        _check_sight(connection, _live(plan, known.places).values())
        check_readable(need.branch for need in plan.needs)
        with of_question():
            load_files(connection, self.files, known.places.objects_of(plan.needs).values())
        return plan

    def _totals(self, connection: Connection, asked: "_Asked") -> dict[str, TotalsView]:
        """The rows of the views of daily totals that the query reads, by their names."""
        settings, seconds = self._settings, asked.limit.seconds
        return {
            view: read_view(connection, settings, asked.places, view, wanted, seconds)
            for view, wanted in asked.plan.totals.items()
        }

    def _read_ahead(self, asked: "_Asked") -> None:
        """Fetch what the engine will read first, from many files at once."""
        wanted = []
        for need in asked.plan.needs:
            branch = need.branch
            if branch.file is None:
                continue
            (archived,) = asked.places.objects[branch.source].values()
            file = self.files.find_file(archived.sha256)
            if file is not None:
                searched = (branch.table.key_column, *branch.table.bloom_columns)
                wanted.append((file, self._row_groups.ranges(file, branch.file.layout.there, need.asked, searched)))
        with of_question():
            self._reader.read_ahead(wanted)

    @contextmanager
    def _engine(self, connection: Connection, asked: "_Asked") -> Iterator[duckdb.DuckDBPyConnection]:
        """An engine with the views: the kept one, where archived files with lookups are all that is read."""
        places, needed = asked.places, asked.branches
        if not asked.live and all(
            archived_object.has_lookup for archived_object in places.objects_of(asked.plan.needs).values()
        ):
            with self._archive.session(asked.query, asked.moment) as duck:
                with naming_unreadable(self._settings, asked.keys):
                    create_views(duck, places.tables, [(branch, branch.source) for branch in needed], query=asked.query)
                with _one_transaction(duck):
                    yield duck
            return
        links = int(bool(asked.live))
        with (
            _turn(asked.limit),
            engine(self._settings) as duck,
            linked(duck, self._settings, links, timeout_s=asked.limit.seconds),
        ):
            self.files.register(duck)
            sources = {source: rows_source(connection, place) for source, place in asked.live.items()}
            with naming_unreadable(self._settings, asked.keys):
                with of_question():
                    check_objects(duck, places.objects_of(asked.plan.needs))
                create_views(
                    duck, places.tables, [(branch, sources.get(branch.source, branch.source)) for branch in needed]
                )
            prepare(duck, asked.moment)
            shut_in(duck, self._settings)
            with _one_transaction(duck):
                yield duck


class _Asked:
    """A query under way: its plan, and what it needs."""

    def __init__(self, query: str, moment: datetime, limit: TimeLimit, plan: Plan, places: Places) -> None:
        self.query, self.moment, self.limit, self.plan, self.places = query, moment, limit, plan, places
        self.live = _live(plan, places)

    @property
    def branches(self) -> list[Branch]:
        return [need.branch for need in self.plan.needs]

    @property
    def keys(self) -> list[str]:
        return self.places.keys_of(self.plan.needs)


def _living(branches: Iterable[Branch]) -> int:
    """How many places have rows: not the months that are deleted."""
    return sum(branch.tier != Tier.DELETED for branch in branches)


@contextmanager
def _turn(limit: TimeLimit) -> Iterator[None]:
    """One of the process's few engines of their own, for the block."""
    if not _engines.acquire(timeout=limit.left_s):
        raise TransientError("SQL: other questions over hot or warm months are under way in this process: ask again")
    try:
        yield
    finally:
        _engines.release()


@contextmanager
def _shown(duck: duckdb.DuckDBPyConnection, totals: Mapping[str, TotalsView]) -> Iterator[None]:
    """The views of daily totals in the session of a query, for the block."""
    for view, totals_view in totals.items():
        duck.register(view, totals_view.rows)
    try:
        yield
    finally:
        for view in totals:
            duck.unregister(view)


@contextmanager
def _one_transaction(duck: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """The block in one transaction, of PostgreSQL's link too: what is checked in it is what is read."""
    duck.execute("BEGIN TRANSACTION")
    try:
        yield
    finally:
        duck.interrupt()  # after a Ctrl-C other threads are still at work, and the end would wait for them
        with suppress(duckdb.Error):  # of a link that is gone: the error that the block met says more
            duck.execute("ROLLBACK")


def _live(plan: Plan, places: Places) -> dict[str, Live]:
    """What is asked of places in PostgreSQL, by the sources of their branches."""
    needs = [need for need in plan.needs if need.branch.source in places.attached]
    return {need.branch.source: Live(need, places.attached[need.branch.source]) for need in needs}


def _read(
    duck: duckdb.DuckDBPyConnection, settings: Settings, asked: _Asked, files: ArchiveFiles, connection: Connection
) -> pa.RecordBatchReader:
    """The rows, with this project's errors. Behind the last batch the lock is looked at: it must have been kept."""
    with naming_unreadable(settings, asked.keys), translated_stream(settings, asked.limit, files):
        reader = duck.execute(asked.plan.query).to_arrow_reader(BATCH_ROWS)

    fields = zip(reader.schema, asked.plan.names, strict=True)
    schema = pa.schema([field.with_name(name) for field, name in fields], reader.schema.metadata)
    check: Callable[[], object] = (lambda: connection.execute("SELECT")) if asked.live else (lambda: None)

    def batches() -> Iterator[pa.RecordBatch]:
        with naming_unreadable(settings, asked.keys), translated_stream(settings, asked.limit, files):
            for batch in reader:
                yield pa.RecordBatch.from_arrays(batch.columns, schema=schema)
            check()

    return pa.RecordBatchReader.from_batches(schema, batches())


def _left_out(duck: duckdb.DuckDBPyConnection, connection: Connection, asked: _Asked) -> list[str]:
    """What to say about rows of PostgreSQL that the query asks for and that the archive has."""
    columns = {table.name: view for table, view in asked.places.tables}
    notes = []
    for live in asked.live.values():
        table, source = live.need.branch.table, wanted_source(connection, live)
        left_out = find_left_out(duck, table, columns[table.name], live.attached, source)
        notes += [left_out.note] if left_out else []
    return notes


def _check_sight(connection: Connection, live: Iterable[Live]) -> None:
    """Raise ConfigError when the query needs a month whose rows this login may not all see, naming the first."""
    relations = [place.attached.relation for place in live if place.attached.relation is not None]
    for reason in hidden_relations(connection, relations).values():
        raise ConfigError(f"SQL: {reason}")
