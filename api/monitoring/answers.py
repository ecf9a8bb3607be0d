"""The monitoring answers as types, for the OpenAPI document and for who reads them.

Durations carry their unit, shares are from 0 to 1, times are UTC. A number that nobody has measured is null, never 0.
"""

from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any

from msgspec import Meta, Struct

Share = Annotated[float, Meta(ge=0, le=1)]


class ComponentState(StrEnum):
    """From good to bad."""

    HEALTHY = "healthy"
    WARNING = "warning"
    CRITICAL = "critical"


class Component(Struct, kw_only=True):
    """One health check: what is, and what to do when it is not healthy."""

    name: str
    state: ComponentState
    value: Decimal | None
    threshold: Decimal | None
    unit: str
    line: str
    to_do: str


class HealthReport(Struct, kw_only=True):
    """Every component, and the worst state among them. ``checked_at``: callers share one run for some seconds."""

    state: ComponentState
    checked_at: datetime
    components: list[Component]


class Percentiles(Struct, kw_only=True):
    """Percentiles in milliseconds, each within 10 %."""

    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None


class Traffic(Percentiles, kw_only=True):
    """Requests that ended within a period. Errors are answers from 500 on."""

    requests: int
    per_second: float
    errors: int
    error_rate: Share
    refused: Annotated[int, Meta(description="Answers from 400 to 499")]


class RouteTraffic(Struct, kw_only=True):
    """The requests of one route."""

    method: str
    route: str
    since_start: Traffic
    recent: Traffic


class QueryTime(Percentiles, kw_only=True):
    """Named work on a connection since the start, without the wait for the connection."""

    query: str
    runs: int
    errors: int
    mean_ms: float | None


class FlushWork(Struct, kw_only=True):
    """The group commits of one table since the start."""

    table: str
    flushes: int
    rows: int
    rows_per_flush: float | None
    replays: int
    queued_rows: Annotated[int, Meta(description="Now waiting for their commit")]
    duration: Percentiles


class PoolUse(Struct, kw_only=True):
    """Connections to PostgreSQL over all processes, as of the last second."""

    size: int
    available: int
    waiting: Annotated[int, Meta(description="Requests that wait for a connection")]


class Performance(Struct, kw_only=True):
    """How the API performs, over all its processes. ``recent`` is the last 5 minutes, or less after a start."""

    since: datetime
    since_s: float
    recent_s: float
    workers: int
    resident_bytes: int
    in_flight: int
    since_start: Traffic
    recent: Traffic
    routes: list[RouteTraffic]
    queries: list[QueryTime]
    query_time: Annotated[Percentiles, Meta(description="All named work together, over the recent period")]
    flushes: list[FlushWork]
    pool: PoolUse
    auth_failures: dict[str, int]
    limit_refusals: dict[str, int]


class SlowQuery(Struct, kw_only=True):
    """A statement by the time that it took in all, its values left out."""

    query: str
    calls: int
    total_ms: float
    mean_ms: float
    max_ms: float | None
    rows: int | None


class SlowQueries(Struct, kw_only=True):
    """``source`` is `pg_stat_statements` for everything that ran in the database, `api` for the API's own queries."""

    source: str
    queries: list[SlowQuery]


class Connections(Struct, kw_only=True):
    """Client connections to this database, by state, and the server's limit."""

    by_state: dict[str, int]
    total: int
    server_total: int
    server_limit: int
    longest_transaction_s: float | None


class LockWait(Struct, kw_only=True):
    """A lock that somebody waits for."""

    relation: str | None
    mode: str
    waited_s: float | None
    blocked_by: Annotated[int, Meta(description="Sessions that stand in the way")]


class TableSize(Struct, kw_only=True):
    """A table or partition. ``dead_share`` is of dead among all rows: an estimate of its bloat."""

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
    """An index, and how often it was used."""

    name: str
    table: str
    bytes: int
    scans: int


class DatabaseReport(Struct, kw_only=True):
    """PostgreSQL as it stands; at most 20 entries a list, the largest first."""

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


class PartitionMonth(Struct, kw_only=True):
    """One month of a table. Scans are those of its partition since it was made or the server's counts were reset."""

    table: str
    month: Annotated[str, Meta(examples=["2026-11"])]
    tier: str
    partition: str | None
    rows: int | None
    rows_are_exact: bool
    bytes: int | None
    sequential_scans: int | None
    index_scans: int | None
    last_scan_at: Annotated[datetime | None, Meta(description="Where the server keeps it: PostgreSQL 16 and later")]


class Pruning(Struct, kw_only=True):
    """How the scans of a table fall on its partitions: without pruning each partition is scanned as often as any other.

    ``scanned_share`` is the mean number of scans of a partition by that of the busiest one.
    """

    table: str
    partitions: int
    scanned_partitions: int
    scans: int
    scanned_share: Share | None


class PartitionReport(Struct, kw_only=True):
    """Months, the newest first, from the present one on; then those prepared for rows to come, the nearest first.

    ``next_before`` asks for the older ones; null on the last page.
    """

    months: list[PartitionMonth]
    pruning: list[Pruning]
    next_before: str | None


class AlertItem(Struct, kw_only=True):
    """An alert. ``evidence`` is that of its latest occurrence, masked."""

    id: int
    rule: str
    subject: str
    severity: str
    title: str
    what_to_do: str
    evidence: dict[str, Any]
    first_seen: datetime
    last_seen: datetime
    count: int
    state: str
    resolved_at: datetime | None
    acknowledged: bool
    acknowledged_at: datetime | None
    acknowledged_by: str | None
    notified_at: datetime | None


class CountedRule(Struct, kw_only=True):
    """A rule, the worst severity and the threshold that the settings give it, and what it has raised so far."""

    rule: str
    description: str
    severity: str | None
    threshold: str
    open: int
    acknowledged: int
    alerts: int
    occurrences: int
    first_seen: datetime | None
    last_seen: datetime | None


class AlertPage(Struct, kw_only=True):
    """Alerts, the newest first, and every rule. ``next_before`` asks for the older alerts; null on the last page."""

    items: list[AlertItem]
    rules: list[CountedRule]
    next_before: int | None


class Acknowledged(Struct, kw_only=True):
    """``changed`` is false when somebody had acknowledged it before."""

    id: int
    changed: bool


class CacheLayer(Struct, kw_only=True):
    """One layer of the cache since the start, over all processes. Evictions of `redis` are Redis's own count of every
    key that it put out to make room, whosever it was; null while it does not tell.
    """

    layer: str
    hits: int
    misses: int
    hit_ratio: Share | None
    evictions: int | None
    errors: int


class CacheReport(Struct, kw_only=True):
    """The cache. ``details`` is what all processes know besides, as they told within the last 15 seconds: entries and
    bytes of their own layers, and how many processes there are; the one that answers alone while Redis is away.
    """

    enabled: bool
    layers: list[CacheLayer]
    details: dict[str, Any]


class CacheClear(Struct, kw_only=True, forbid_unknown_fields=True):
    """Which answers the cache is to forget: those whose key fits a pattern with `*`, or all. One of the two."""

    pattern: Annotated[str, Meta(min_length=1, max_length=200)] | None = None
    all: Annotated[bool, Meta(extra_json_schema={"enum": [True]})] | None = None


class CacheCleared(Struct, kw_only=True):
    """How many entries were removed. ``everywhere`` is false when Redis could not be told: then this process alone has
    forgotten, and the others and Redis forget everything as soon as this process reaches Redis again.
    """

    cleared: int
    everywhere: bool


class Summary(Struct, kw_only=True):
    """One small page: the worst state, why, and the key figures of the recent period. What only PostgreSQL knows is
    null while it is away.
    """

    state: ComponentState
    checked_at: datetime
    troubles: Annotated[list[Component], Meta(description="Components that are not healthy, the worst first")]
    open_alerts: dict[str, int] | None
    requests_per_second: float
    error_rate: Share
    p95_ms: float | None
    query_p95_ms: float | None
    rows_stored: Annotated[int, Meta(description="Since the start")]
    queued_rows: int
    in_flight: int
    cache_hit_ratio: Share | None
    workers: int
    database_bytes: int | None
    months: Annotated[dict[str, int] | None, Meta(description="Months by tier, over all tables")]
