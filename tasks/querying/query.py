"""The auditor's SQL: one read-only query over every tier, each row seen exactly once."""

import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import duckdb
import pyarrow as pa
from psycopg.sql import SQL, Literal

from config import Settings
from ledger.errors import ConfigError, DataError, TransientError
from ledger.policy import Tier
from sql.connection import Connection, connect
from sql.obstacles import hidden_relations
from sql.relations import Relation
from storage.engine import engine, literal, url_of
from storage.pruning import Branch, create_views, needed_branches
from tasks.querying.link import hidden_rows, linked, milliseconds, scrubbed
from tasks.querying.places import check_readable, find_places, lock_tables, notes_of

BATCH_ROWS = 10_000
_INTERRUPT_S = 0.05
# The plan is made where nothing but the views exists: a query that names anything else fails there.
_PLAN_CONFIG = {"memory_limit": "256MB", "threads": "1", "enable_external_access": "false"}


# The only functions that may stand in FROM. query() and its like would be answered one way where the query is planned
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
    lock is not to be had.
    """
    settings = settings.for_auditor()
    limit = _TimeLimit(settings.sql_timeout_s if timeout_s is None else timeout_s)
    _check_reading(query)
    with ExitStack() as held:
        connection = held.enter_context(connect(settings.database_dsn, "auditor sql"))
        held.enter_context(connection.transaction())
        connection.execute("SET TRANSACTION READ ONLY")
        connection.execute(SQL("SET LOCAL statement_timeout = {}").format(Literal(milliseconds(limit.seconds))))
        lock_tables(connection, settings)
        places = find_places(connection, settings)
        tables, branches = places.tables, places.branches
        with _translated(settings, limit), engine(settings) as duck:
            needed = needed_branches(tables, branches, query, _PLAN_CONFIG)
            _check_sight(connection, needed, places.partitions)
            check_readable(connection, needed, places)
            live = any(branch.tier in (Tier.HOT, Tier.WARM) for branch in needed)
            if not live:
                held.close()  # archived objects never change: the mover need not wait for this query
            with linked(duck, settings, links=int(live), timeout_s=limit.seconds):
                create_views(duck, tables, [(branch, branch.source) for branch in needed])
                _shut_in(duck, settings)
                with limit.watching(duck):
                    batches = duck.execute(query).to_arrow_reader(BATCH_ROWS)
                    yield Answer(batches, len(needed), len(branches), notes_of(needed))


def _check_reading(query: str) -> None:
    try:
        statements = duckdb.extract_statements(query)
    except duckdb.Error as error:
        raise DataError(f"SQL: {error}") from None
    if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
        raise DataError("SQL: exactly one SELECT is answered here; nothing is ever changed through it")
    refused = sorted({name for name in _table_functions(_syntax_tree(query)) if name not in _TABLE_FUNCTIONS})
    if refused:
        raise DataError(f"SQL: {', '.join(refused)}() may not stand in FROM: only the views and plain series are read")


def _syntax_tree(query: str) -> Any:
    """The query as DuckDB parses it, not bound to anything. Raises DataError when it has no such form."""
    with duckdb.connect() as connection:
        row = connection.execute("SELECT json_serialize_sql(?::VARCHAR)", [query]).fetchone()
    tree = json.loads(row[0]) if row else {"error": True}
    if tree.get("error"):
        raise DataError(f"SQL: {tree.get('error_message', 'this statement is not answered here')}")
    return tree


def _table_functions(node: Any) -> Iterator[str]:
    """The name of every function that stands where a table does, however deep."""
    if isinstance(node, dict):
        if node.get("type") == "TABLE_FUNCTION":
            function = node.get("function") or {}
            yield str(function.get("function_name", "an expression")).lower()
        for value in node.values():
            yield from _table_functions(value)
    elif isinstance(node, list):
        for value in node:
            yield from _table_functions(value)


def _check_sight(connection: Connection, needed: Sequence[Branch], partitions: Mapping[str, Relation]) -> None:
    """Raise ConfigError when the query needs a month whose rows this login may not all see, naming the first."""
    relations = [partitions[branch.source] for branch in needed if branch.source in partitions]
    for reason in hidden_relations(connection, relations).values():
        raise ConfigError(f"SQL: {reason}")


def _shut_in(duck: duckdb.DuckDBPyConnection, settings: Settings) -> None:
    """From here on the query reaches the archive and PostgreSQL's link, and no file or address besides."""
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
def _translated(settings: Settings, limit: _TimeLimit) -> Iterator[None]:
    try:
        yield
    except duckdb.Error as error:
        if limit.is_over:
            message = (
                f"SQL: no whole answer within {limit.seconds:g} s; --timeout and TREASURY_SQL_TIMEOUT_S allow more"
            )
            raise DataError(message) from None
        if (hidden := hidden_rows(error)) is not None:
            raise ConfigError(f"SQL: {hidden}") from None
        if isinstance(error, duckdb.IOException | duckdb.HTTPException):
            raise TransientError(f"SQL: a tier cannot be read now: {scrubbed(settings, error)}") from None
        raise DataError(f"SQL: {_told(settings, error)}") from None


def _told(settings: Settings, error: duckdb.Error) -> str:
    """DuckDB's words, without the line of SQL, which is not the one that was asked, and without its guess at a name,
    which may be any of its own tables'.
    """
    reason = scrubbed(settings, error).partition("\n\nLINE ")[0]
    if isinstance(error, duckdb.CatalogException):
        reason = f"{reason.partition(chr(10))[0]} The views are {', '.join(settings.registry)}."
    return reason
