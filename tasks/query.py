"""The auditor's SQL: one read-only query over every tier, each row seen exactly once."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import duckdb
import pyarrow as pa
from psycopg.sql import SQL, Identifier

from config import Settings
from ledger.errors import DataError, TransientError
from ledger.policy import Tier
from ledger.tables import TieredTable
from sql.catalog import columns_of
from sql.connection import Connection, connect
from storage.engine import engine, identifier, literal, url_of
from storage.pruning import Branch, Described, create_views, needed_branches
from tasks.export import SCHEMA
from tasks.link import link_name, linked, scrubbed
from tasks.months import month_states

BATCH_ROWS = 10_000
# The plan is made where nothing but the views exists: a query that names anything else fails there.
_PLAN_CONFIG = {"memory_limit": "256MB", "threads": "1", "enable_external_access": "false"}


@dataclass(frozen=True, slots=True)
class Answer:
    """A running query: its rows as a stream of record batches, and how many months it reads of those there are."""

    batches: pa.RecordBatchReader
    months_read: int
    months_known: int


@contextmanager
def run_query(settings: Settings, query: str) -> Iterator[Answer]:
    """Run one SELECT over the views ``transactions``, ``vas_transactions`` and further tables, all tiers together.

    Each view has the table's columns and ``tier`` and ``month`` (``YYYY-MM``); ``<table>_archive_cold`` is the
    archive alone. While rows of hot or warm months are read, no month can change its tier: the parents are locked
    against that before the tier map is read, and the archiver waits or comes back later. Raises DataError for
    anything that is not one SELECT and for errors in it, TransientError when a server is away.
    """
    _check_reading(query)
    with ExitStack() as held:
        connection = held.enter_context(connect(settings.database_dsn, "auditor sql"))
        held.enter_context(connection.transaction())
        connection.execute("SET TRANSACTION READ ONLY")
        tables = _lock_tables(connection, settings)
        branches = [branch for table, _ in tables for branch in _branches(connection, settings, table)]
        with _translated(settings), engine(settings) as duck:
            needed = needed_branches(tables, branches, query, _PLAN_CONFIG)
            live = any(branch.tier in (Tier.HOT, Tier.WARM) for branch in needed)
            if not live:
                held.close()  # archived objects never change: the mover need not wait for this query
            with linked(duck, settings, links=int(live)):
                create_views(duck, tables, [(branch, branch.source) for branch in needed])
                _shut_in(duck, settings)
                yield Answer(duck.execute(query).to_arrow_reader(BATCH_ROWS), len(needed), len(branches))


def _check_reading(query: str) -> None:
    try:
        statements = duckdb.extract_statements(query)
    except duckdb.Error as error:
        raise DataError(f"SQL: {error}") from None
    if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
        raise DataError("SQL: exactly one SELECT is answered here; nothing is ever changed through it")


def _lock_tables(connection: Connection, settings: Settings) -> list[Described]:
    """The tables that exist, with their columns, and locked: the tier map that is read now stays true until the end."""
    described = ((table, columns_of(connection, table.warm_parent)) for table in settings.registry.values())
    tables = [(table, columns) for table, columns in described if columns]
    for table, _ in tables:
        connection.execute(
            SQL("LOCK TABLE ONLY {}, ONLY {} IN ACCESS SHARE MODE").format(
                Identifier(table.hot_parent), Identifier(table.warm_parent)
            )
        )
    return tables


def _branches(connection: Connection, settings: Settings, table: TieredTable) -> Iterator[Branch]:
    for state in month_states(connection, table):
        if state.partition is not None:
            source = f"{link_name(0)}.{SCHEMA}.{identifier(state.partition.name)}"
        elif state.catalogue.object_key is not None and state.tier in (Tier.COLD, Tier.DEEP):
            source = f"read_parquet({literal(url_of(settings, state.catalogue.object_key))}, hive_partitioning = false)"
        else:
            continue
        yield Branch(table, state.month, state.tier, source)


def _shut_in(duck: duckdb.DuckDBPyConnection, settings: Settings) -> None:
    """From here on the query reaches the archive and PostgreSQL's link, and no file or address besides."""
    root = url_of(settings, "")
    duck.execute(f"SET allowed_directories = [{literal(root)}, current_setting('temp_directory')]")
    duck.execute("SET enable_external_access = false")
    duck.execute("SET lock_configuration = true")


@contextmanager
def _translated(settings: Settings) -> Iterator[None]:
    try:
        yield
    except (duckdb.IOException, duckdb.HTTPException) as error:
        raise TransientError(f"SQL: a tier cannot be read now: {scrubbed(settings, error)}") from None
    except duckdb.Error as error:
        raise DataError(f"SQL: {scrubbed(settings, error)}") from None
