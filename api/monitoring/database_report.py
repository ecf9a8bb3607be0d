"""The database answer: what PostgreSQL says about itself, in one short transaction."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

import psycopg
from msgspec import Meta, Struct
from psycopg import sql
from psycopg.rows import TupleRow

from api.connections.database import AsyncConnection, Database
from api.monitoring.performance import QueryTime
from api.monitoring.statement_text import without_values
from api.monitoring.units import Share
from sql.queries import load

MOST_ENTRIES = 20
_QUERIES = load("monitoring")
_TIME_LIMITS = "SET LOCAL statement_timeout = 3000; SET LOCAL lock_timeout = 500"


class SlowQuery(Struct, kw_only=True):
    """A statement and its times. Values are omitted."""

    query: str
    calls: int
    total_ms: float
    mean_ms: float
    max_ms: float | None
    rows: int | None


class SlowQueries(Struct, kw_only=True):
    """The slowest statements. ``source`` is `pg_stat_statements` (all of the database) or `api` (the API alone)."""

    source: str
    queries: list[SlowQuery]


class Connections(Struct, kw_only=True):
    """Client connections to this database by state, and the limit of the server."""

    by_state: dict[str, int]
    total: int
    server_total: int
    server_limit: int
    longest_transaction_s: float | None


class LockWait(Struct, kw_only=True):
    """A lock that a session waits for."""

    relation: str | None
    mode: str
    waited_s: float | None
    blocked_by: Annotated[int, Meta(description="Number of sessions that block it")]


class TableSize(Struct, kw_only=True):
    """A table or partition. ``dead_share`` is the share of dead rows, an estimate of bloat."""

    name: str
    heap_bytes: int
    index_bytes: int
    total_bytes: int
    live_rows: int
    dead_rows: int
    dead_share: Share
    vacuumed_at: datetime | None
    analyzed_at: datetime | None


class IndexSize(Struct, kw_only=True):
    """An index and the number of its scans."""

    name: str
    table: str
    bytes: int
    scans: int


class DatabaseReport(Struct, kw_only=True):
    """The state of PostgreSQL. Each list has at most 20 entries, the largest first."""

    checked_at: datetime
    version: str
    started_at: datetime
    database_bytes: int
    buffer_hit_share: Share | None
    deadlocks: int
    rolled_back: int
    slow_queries: SlowQueries
    connections: Connections
    locks_waiting: list[LockWait]
    tables: list[TableSize]
    indexes: list[IndexSize]


async def database_report(database: Database, parents: Sequence[str], own_queries: list[QueryTime]) -> DatabaseReport:
    """PostgreSQL now. ``parents`` are the names of those of every table. ``own_queries`` are used where
    pg_stat_statements is not installed.

    Raises TransientError when the database does not answer within its time limits.
    """

    async def work(connection: AsyncConnection) -> DatabaseReport:
        async with connection.transaction():
            await connection.execute(_TIME_LIMITS, prepare=False)
            return await _report(connection, parents, own_queries)

    return await database.run(work, "monitoring")


@dataclass(frozen=True, slots=True)
class DatabaseFigures:
    """What PostgreSQL says at little cost: no sizes of tables, no statements. ``locks_waiting`` counts sessions."""

    version: str
    database_bytes: int
    buffer_hit_share: float | None
    deadlocks: int
    connections: Connections
    locks_waiting: int


async def database_figures(database: Database) -> DatabaseFigures:
    """PostgreSQL now. Raises TransientError when it does not answer within its time limits."""

    async def work(connection: AsyncConnection) -> DatabaseFigures:
        async with connection.transaction():
            await connection.execute(_TIME_LIMITS, prepare=False)
            (server,) = await _rows(connection, "server")
            version, _, size_bytes, connection_limit, hit_share, deadlocks, _, clients = server
            connections = await _connections(connection, clients, connection_limit)
            waiting = await _rows(connection, "locks_waiting", limit=MOST_ENTRIES)
            return DatabaseFigures(version, size_bytes, hit_share, deadlocks, connections, len(waiting))

    return await database.run(work, "monitoring")


async def read(
    database: Database, query: str, parameters: dict[str, Any] | None = None, *, text: str = ""
) -> list[TupleRow]:
    """The rows of one query, of `monitoring.sql` unless ``text`` is the query, within the time limits of this page."""

    async def work(connection: AsyncConnection) -> list[TupleRow]:
        async with connection.transaction():
            await connection.execute(_TIME_LIMITS, prepare=False)
            return await (await connection.execute(text or _QUERIES[query], parameters or {})).fetchall()

    return await database.run(work, "monitoring")


async def _rows(connection: AsyncConnection, query: str, **parameters: Any) -> list[TupleRow]:
    return await (await connection.execute(_QUERIES[query], parameters)).fetchall()


async def _report(connection: AsyncConnection, parents: Sequence[str], own_queries: list[QueryTime]) -> DatabaseReport:
    ledger: dict[str, Any] = {"parents": list(parents), "limit": MOST_ENTRIES}
    (server,) = await _rows(connection, "server")
    version, started_at, size_bytes, connection_limit, hit_share, deadlocks, rolled_back, clients = server
    return DatabaseReport(
        checked_at=datetime.now(UTC),
        version=version,
        started_at=started_at,
        database_bytes=size_bytes,
        buffer_hit_share=hit_share,
        deadlocks=deadlocks,
        rolled_back=rolled_back,
        slow_queries=await _slow_queries(connection, own_queries),
        connections=await _connections(connection, clients, connection_limit),
        locks_waiting=[
            LockWait(relation=relation, mode=mode, waited_s=waited_s, blocked_by=blockers)
            for relation, mode, waited_s, blockers in await _rows(connection, "locks_waiting", limit=MOST_ENTRIES)
        ],
        tables=[_table(row) for row in await _rows(connection, "table_sizes", **ledger)],
        indexes=[
            IndexSize(name=name, table=table, bytes=size, scans=scans)
            for name, table, size, scans in await _rows(connection, "index_sizes", **ledger)
        ],
    )


async def _connections(connection: AsyncConnection, clients: int, connection_limit: int) -> Connections:
    by_state: dict[str, int] = dict(await _rows(connection, "connections"))
    ((longest_s,),) = await _rows(connection, "longest_transaction")
    return Connections(
        by_state=by_state,
        total=sum(by_state.values()),
        server_total=clients,
        server_limit=connection_limit,
        longest_transaction_s=longest_s,
    )


def _table(row: TupleRow) -> TableSize:
    name, heap_bytes, index_bytes, live, dead, dead_share, vacuumed_at, analyzed_at = row
    return TableSize(
        name=name,
        heap_bytes=heap_bytes or 0,  # null: dropped while the query ran
        index_bytes=index_bytes or 0,
        total_bytes=(heap_bytes or 0) + (index_bytes or 0),
        live_rows=live,
        dead_rows=dead,
        dead_share=dead_share,
        vacuumed_at=vacuumed_at,
        analyzed_at=analyzed_at,
    )


async def _slow_queries(connection: AsyncConnection, own_queries: list[QueryTime]) -> SlowQueries:
    schema = await _rows(connection, "statements_schema")
    if schema:
        try:
            async with connection.transaction():
                return await _statements(connection, schema[0][0])
        except psycopg.errors.InsufficientPrivilege:
            pass  # the extension is there but not for this role: what the API knows itself is better than nothing
    ranked = sorted(own_queries, key=lambda own: (own.mean_ms or 0) * own.runs, reverse=True)
    return SlowQueries(source="api", queries=[_own(query) for query in ranked[:MOST_ENTRIES]])


async def _statements(connection: AsyncConnection, schema: str) -> SlowQueries:
    query = sql.SQL(_QUERIES["slow_statements"]).format(schema=sql.Identifier(schema))
    rows = await (await connection.execute(query, {"limit": MOST_ENTRIES})).fetchall()
    return SlowQueries(
        source="pg_stat_statements",
        queries=[
            SlowQuery(
                query=without_values(text),
                calls=calls,
                total_ms=round(total_ms, 3),
                mean_ms=round(mean_ms, 3),
                max_ms=round(max_ms, 3),
                rows=rows,
            )
            for text, calls, total_ms, mean_ms, max_ms, rows in rows
        ],
    )


def _own(query: QueryTime) -> SlowQuery:
    mean_ms = query.mean_ms or 0.0
    total_ms = round(mean_ms * query.runs, 3)
    return SlowQuery(query=query.query, calls=query.runs, total_ms=total_ms, mean_ms=mean_ms, max_ms=None, rows=None)
