"""The auditor's SQL: one read-only query over every tier, each row seen exactly once."""

import json
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any

import duckdb
import psycopg
import pyarrow as pa
from psycopg.sql import SQL, Literal

from config import Settings
from ledger.errors import ConfigError, DataError, TransientError, TreasuryError
from ledger.policy import Tier
from sql.connection import Connection, connect
from sql.errors import translate
from sql.obstacles import hidden_relations
from storage.engine import engine, literal, url_of
from storage.exact import register_exact
from storage.moment import fix_moment
from storage.pruning import Branch, Plan, create_views, plan_of
from storage.wide_sums import register_checks
from tasks.querying.link import broken_text, hidden_rows, linked, milliseconds, scrubbed
from tasks.querying.objects import check_objects
from tasks.querying.partition_rows import Live, check_values, rows_source
from tasks.querying.places import Places, check_readable, find_places, notes_of

BATCH_ROWS = 10_000
_INTERRUPT_S = 0.05
_AWAY = ("IO Error", "HTTP Error", "Connection Error")
# The extension has no class of its own for a session that PostgreSQL has ended.
_GONE = re.compile(
    "server closed the connection|terminating connection|connection .*(lost|reset|refused|timed out)", re.IGNORECASE
)
_TIMED_OUT = "canceling statement due to statement timeout"
_UNSUPPORTED = re.compile(r"Unsupported Arrow type (\w+)")
# The plan is made where nothing but the views exists: a query that names anything else fails there.
_PLAN_CONFIG = {"memory_limit": "256MB", "threads": "1", "enable_external_access": "false"}


# The only functions that FROM may contain. query() and its like would be answered one way where the query is planned
# and another way where it runs; postgres_execute(), read_text() and the rest reach beyond the views.
_TABLE_FUNCTIONS = frozenset({"unnest", "range", "generate_series", "generate_subscripts", "repeat_row"})


@dataclass(frozen=True, slots=True)
class Answer:
    """A running query: its rows as a stream of record batches, and how many months it reads of those there are.

    ``notes`` name the places that were read although the catalogue of months does not know them.
    """

    batches: pa.RecordBatchReader
    months_read: int
    months_known: int
    notes: tuple[str, ...] = ()


@contextmanager
def run_query(settings: Settings, query: str, timeout_s: float | None = None) -> Iterator[Answer]:
    """Run one SELECT over the views ``transactions``, ``vas_transactions`` and further tables, all tiers together.

    Each view has the table's columns and ``tier`` and ``month`` (``YYYY-MM``); ``<table>_archive_cold`` is the
    archive alone. While rows of hot or warm months are read, no month can change its tier: the parents are locked
    against that before the tier map is read, and the archiver waits or comes back later. PostgreSQL is read with the
    auditor's login where ``settings`` have one: then the database itself refuses all else. Raises DataError for
    anything that is not one SELECT, for errors in it, when the answer takes longer than ``timeout_s`` (default:
    ``settings.sql_timeout_s``), reading it included, and when a needed month is not where the catalogue says;
    ConfigError when a policy hides rows of a needed month from the login; TransientError when a server is away or a
    lock is not to be had. Errors that come while rows are read are raised by ``Answer.batches``, and an answer whose
    months could have moved ends in one.
    """
    settings = settings.for_auditor()
    limit = _TimeLimit(settings.sql_timeout_s if timeout_s is None else timeout_s)
    _check_reading(query)
    with ExitStack() as held:
        connection = held.enter_context(connect(settings.database_dsn, "auditor sql"))
        held.enter_context(connection.transaction())
        connection.execute("SET TRANSACTION READ ONLY")
        connection.execute(SQL("SET LOCAL statement_timeout = {}").format(Literal(milliseconds(limit.seconds))))
        places = find_places(connection, settings)
        with _translated(settings, limit, places.refused), engine(settings) as duck:
            moment = datetime.now(UTC)
            plan = plan_of(places.tables, places.branches, query, _PLAN_CONFIG, moment)
            live = _live(plan, places)
            _check_sight(connection, live.values())
            check_readable(need.branch for need in plan.needs)
            check_objects(duck, places.objects_of(plan.needs))
            if not live:
                held.close()  # archived objects never change: the mover need not wait for this query
            with linked(duck, settings, links=int(bool(live)), timeout_s=limit.seconds):
                sources = {source: rows_source(connection, place) for source, place in live.items()}
                needed = [need.branch for need in plan.needs]
                create_views(duck, places.tables, [(one, sources.get(one.source, one.source)) for one in needed])
                _prepare(duck, settings, moment)
                with _one_transaction(duck), limit.watching(duck):
                    check_values(duck, connection, places.living, list(live.values()))
                    batches = _read(duck, settings, plan, limit, lambda: live and connection.execute("SELECT"))
                    yield Answer(batches, _living(needed), _living(places.branches), notes_of(needed))


def _living(branches: Iterable[Branch]) -> int:
    """How many places have rows: not the months that are deleted."""
    return sum(branch.tier != Tier.DELETED for branch in branches)


def _prepare(duck: duckdb.DuckDBPyConnection, settings: Settings, moment: datetime) -> None:
    """Make the engine what the query is to run in: its functions, and nothing else within reach."""
    fix_moment(duck, moment)
    register_checks(duck)
    register_exact(duck)
    _shut_in(duck, settings)


@contextmanager
def _one_transaction(duck: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """The block in one transaction, of PostgreSQL's link too: what is checked in it is what is read."""
    duck.execute("BEGIN TRANSACTION")
    try:
        yield
    finally:
        with suppress(duckdb.Error):  # of a link that is gone: the error that the block met says more
            duck.execute("ROLLBACK")


def _live(plan: Plan, places: Places) -> dict[str, Live]:
    """What is asked of places in PostgreSQL, by the sources of their branches."""
    needs = [need for need in plan.needs if need.branch.source in places.attached]
    return {need.branch.source: Live(need, places.attached[need.branch.source]) for need in needs}


def _read(
    duck: duckdb.DuckDBPyConnection, settings: Settings, plan: Plan, limit: "_TimeLimit", check: Callable[[], object]
) -> pa.RecordBatchReader:
    """The rows, with this project's errors. ``check`` runs behind the last batch: the lock must have been kept."""
    with _translated_stream(settings, limit):
        reader = duck.execute(plan.query).to_arrow_reader(BATCH_ROWS)

    fields = zip(reader.schema, plan.names, strict=True)
    schema = pa.schema([field.with_name(name) for field, name in fields], reader.schema.metadata)

    def batches() -> Iterator[pa.RecordBatch]:
        with _translated_stream(settings, limit):
            for batch in reader:
                yield pa.RecordBatch.from_arrays(batch.columns, schema=schema)
            check()

    return pa.RecordBatchReader.from_batches(schema, batches())


def _check_reading(query: str) -> None:
    try:
        statements = duckdb.extract_statements(query)
    except duckdb.Error as error:
        raise DataError(f"SQL: {error}") from None
    if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
        raise DataError("SQL: exactly one SELECT is answered here; nothing is ever changed through it")
    tree = _syntax_tree(query)
    refused = sorted({name for name in _table_functions(tree) if name not in _TABLE_FUNCTIONS})
    if refused:
        raise DataError(f"SQL: {', '.join(refused)}() must not be in FROM: only the views and plain series are read")
    if qualified := sorted(set(_qualified_functions(tree))):
        raise DataError(f"SQL: {', '.join(qualified)}: call functions without a catalogue")


@cache
def _parser() -> duckdb.DuckDBPyConnection:
    """The engine of the process that parses and nothing else: to make one takes longer than to parse."""
    return duckdb.connect(config=dict(_PLAN_CONFIG))


def _syntax_tree(query: str) -> Any:
    """The query as DuckDB parses it, not bound to anything. Raises DataError when it has no such form."""
    with _parser().cursor() as connection:
        row = connection.execute("SELECT json_serialize_sql(?::VARCHAR)", [query]).fetchone()
    tree = json.loads(row[0]) if row else {"error": True}
    if tree.get("error"):
        raise DataError(f"SQL: {tree.get('error_message', 'this statement is not answered here')}")
    return tree


def _nodes(tree: Any) -> Iterator[dict[str, Any]]:
    """Every node of a syntax tree, however deep."""
    if isinstance(tree, dict):
        yield tree
        for value in tree.values():
            yield from _nodes(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from _nodes(value)


def _table_functions(tree: Any) -> Iterator[str]:
    """The name of every function in the place of a table."""
    for node in _nodes(tree):
        if node.get("type") == "TABLE_FUNCTION":
            function = node.get("function") or {}
            yield str(function.get("function_name", "an expression")).lower()


def _qualified_functions(tree: Any) -> Iterator[str]:
    """Every function called through the engine's catalogue, past the macros of `storage.moment`."""
    for node in _nodes(tree):
        places = [str(node.get(key)) for key in ("catalog", "schema") if node.get(key)]
        if node.get("class") in ("FUNCTION", "WINDOW") and "system" in (place.lower() for place in places):
            yield ".".join([*places, str(node.get("function_name"))])


def _check_sight(connection: Connection, live: Iterable[Live]) -> None:
    """Raise ConfigError when the query needs a month whose rows this login may not all see, naming the first."""
    relations = [one.attached.relation for one in live if one.attached.relation is not None]
    for reason in hidden_relations(connection, relations).values():
        raise ConfigError(f"SQL: {reason}")


def _shut_in(duck: duckdb.DuckDBPyConnection, settings: Settings) -> None:
    """From here on the query reaches the archive and PostgreSQL's link, and no other file or address."""
    root = url_of(settings, "")
    duck.execute(f"SET allowed_directories = [{literal(root)}, current_setting('temp_directory')]")
    duck.execute("SET enable_external_access = false")
    duck.execute("SET lock_configuration = true")


class _TimeLimit:
    """Interrupts an engine when its time is over: a question that holds hot or warm months keeps the mover waiting."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.is_over = False

    @contextmanager
    def watching(self, duck: duckdb.DuckDBPyConnection) -> Iterator[None]:
        """Watch over the block."""

        done = threading.Event()

        def interrupt() -> None:
            if done.wait(self.seconds):
                return
            self.is_over = True
            while not done.wait(_INTERRUPT_S):  # between two statements an interrupt is lost
                duck.interrupt()

        watch = threading.Thread(target=interrupt, name="time limit", daemon=True)
        watch.start()
        try:
            yield
        finally:
            done.set()
            watch.join()


@contextmanager
def _translated(settings: Settings, limit: _TimeLimit, refused: Mapping[str, str] | None = None) -> Iterator[None]:
    try:
        yield
    except duckdb.Error as error:
        away = isinstance(error, duckdb.IOException | duckdb.HTTPException | duckdb.ConnectionException)
        for name, reason in (refused or {}).items():
            if isinstance(error, duckdb.CatalogException) and re.search(rf"with name {name}\b", str(error)):
                raise ConfigError(f"SQL: table {name} cannot be read: {reason}") from None
        raise _error(settings, limit, str(error), is_away=away) from None


@contextmanager
def _translated_stream(settings: Settings, limit: _TimeLimit) -> Iterator[None]:
    """`_translated` for rows on their way: Arrow passes on the engine's text alone, without its class."""
    try:
        with _translated(settings, limit):
            yield
    except psycopg.Error as error:
        raise _lost_lock(limit, error) from None
    except (pa.ArrowException, OSError) as error:
        raise _error(settings, limit, str(error), is_away=str(error).startswith(_AWAY)) from None


def _lost_lock(limit: _TimeLimit, error: psycopg.Error) -> TreasuryError:
    """The error of an answer behind whose back months could move."""
    if limit.is_over:
        return DataError(_too_late(limit))
    return TransientError(f"SQL: months could have moved while the answer was read; ask again ({translate(error)})")


def _error(settings: Settings, limit: _TimeLimit, text: str, *, is_away: bool) -> TreasuryError:
    if limit.is_over or _TIMED_OUT in text:
        return DataError(_too_late(limit))
    if (hidden := hidden_rows(text)) is not None:
        return ConfigError(f"SQL: {hidden}")
    if (broken := broken_text(text)) is not None:
        return DataError(f"SQL: {broken}")
    if is_away or _GONE.search(text):
        return TransientError(f"SQL: a tier cannot be read now: {scrubbed(settings, text)}")
    return DataError(f"SQL: {_duckdb_message(settings, text)}")


def _too_late(limit: _TimeLimit) -> str:
    return f"SQL: no whole answer within {limit.seconds:g} s; --timeout and TREASURY_SQL_TIMEOUT_S allow more"


def _duckdb_message(settings: Settings, text: str) -> str:
    """DuckDB's words, without the line of SQL, which is not the one that was asked, and without its guess at a name,
    which may be any of its own tables'.
    """
    reason = scrubbed(settings, text).partition("\n\nLINE ")[0].partition("\n\nAt:")[0]
    if reason.startswith("Catalog Error"):
        reason = f"{reason.partition(chr(10))[0]} The views are {', '.join(settings.registry)}."
    if (found := _UNSUPPORTED.search(reason)) is not None:
        reason = f"a column has the type {found[1]}, which no answer can hold: use CAST(... AS VARCHAR)"
    return reason
