"""The monitoring answers as types, for the OpenAPI document and for clients.

Durations carry their unit, shares are from 0 to 1, times are UTC. A number without a measurement is null, never 0.
"""

from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any

from msgspec import Meta, Struct

Share = Annotated[float, Meta(ge=0, le=1)]


class ComponentState(StrEnum):
    """The states of a component, from best to worst."""

    HEALTHY = "healthy"
    WARNING = "warning"
    CRITICAL = "critical"


class Component(Struct, kw_only=True):
    """The result of one health check. ``to_do`` says what to do when the component is not healthy."""

    name: str
    state: ComponentState
    value: Decimal | None
    threshold: Decimal | None
    unit: str
    line: str
    to_do: str


class HealthReport(Struct, kw_only=True):
    """Every component and the worst state among them. Callers share one run; ``checked_at`` is its time."""

    state: ComponentState
    checked_at: datetime
    components: list[Component]


class Percentiles(Struct, kw_only=True):
    """Percentiles in milliseconds, each accurate to within 10 %."""

    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None


class Traffic(Percentiles, kw_only=True):
    """Requests that ended within a period. Errors are answers with status 500 or higher."""

    requests: int
    per_second: float
    errors: int
    error_rate: Share
    refused: Annotated[int, Meta(description="Answers with status 400 to 499")]


class RouteTraffic(Struct, kw_only=True):
    """The traffic of one route."""

    method: str
    route: str
    since_start: Traffic
    recent: Traffic


class QueryTime(Percentiles, kw_only=True):
    """The times of one named query since the start, without the wait for a connection."""

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
    queued_rows: Annotated[int, Meta(description="Rows that wait for their commit now")]
    duration: Percentiles


class PoolUse(Struct, kw_only=True):
    """Connections to PostgreSQL over all processes, as of the last second."""

    size: int
    available: int
    waiting: Annotated[int, Meta(description="Requests that wait for a connection now")]


class Performance(Struct, kw_only=True):
    """The performance of all API processes together. ``recent`` is the last 5 minutes, or less after a start."""

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
    query_time: Annotated[Percentiles, Meta(description="All named queries together, over the recent period")]
    flushes: list[FlushWork]
    pool: PoolUse
    auth_failures: dict[str, int]
    limit_refusals: dict[str, int]


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


class PartitionMonth(Struct, kw_only=True):
    """One month of a table. Scans are counted since the partition was made or the statistics were reset."""

    table: str
    month: Annotated[str, Meta(examples=["2026-11"])]
    tier: str
    partition: str | None
    rows: int | None
    rows_are_exact: bool
    bytes: int | None
    sequential_scans: int | None
    index_scans: int | None
    last_scan_at: Annotated[datetime | None, Meta(description="PostgreSQL 16 and later; otherwise null")]


class Pruning(Struct, kw_only=True):
    """The scans of a table's partitions. Without pruning, all partitions are scanned equally often.

    ``scanned_share`` is the mean number of scans per partition, divided by that of the busiest partition.
    """

    table: str
    partitions: int
    scanned_partitions: int
    scans: int
    scanned_share: Share | None


class PartitionReport(Struct, kw_only=True):
    """Months from the current one back, newest first; then the months prepared ahead, nearest first.

    ``next_before`` gets the next, older page; it is null on the last page.
    """

    months: list[PartitionMonth]
    pruning: list[Pruning]
    next_before: str | None


class AlertItem(Struct, kw_only=True):
    """An alert. ``evidence`` is the masked evidence of its latest occurrence."""

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
    """A rule with its highest severity, its threshold from the settings, and counts of its alerts."""

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
    """Alerts, newest first, and every rule. ``next_before`` gets the next page; it is null on the last page."""

    items: list[AlertItem]
    rules: list[CountedRule]
    next_before: int | None


class Acknowledged(Struct, kw_only=True):
    """The acknowledgement. ``changed`` is false if the alert had been acknowledged before."""

    id: int
    changed: bool


class CacheLayer(Struct, kw_only=True):
    """One cache layer since the start, over all processes. For `redis`, ``evictions`` counts every key that Redis
    evicted, including keys of other applications. It is null while Redis does not answer.
    """

    layer: str
    hits: int
    misses: int
    hit_ratio: Share | None
    evictions: int | None
    errors: int


class CacheReport(Struct, kw_only=True):
    """The cache. ``details`` has the number of processes, and the entries and bytes of their layers, as reported within
    the last 15 seconds. While Redis is unavailable, it covers only the process that answers.
    """

    enabled: bool
    layers: list[CacheLayer]
    details: dict[str, Any]


class CacheClear(Struct, kw_only=True, forbid_unknown_fields=True):
    """The answers to clear: those whose cache key matches ``pattern`` (with `*`), or ``all``. Give exactly one."""

    pattern: Annotated[str, Meta(min_length=1, max_length=200)] | None = None
    all: Annotated[bool, Meta(extra_json_schema={"enum": [True]})] | None = None


class CacheCleared(Struct, kw_only=True):
    """The number of entries removed. ``everywhere`` is false when Redis did not answer: only this process is cleared
    then. Redis and the other processes are cleared completely as soon as this process reaches Redis again.
    """

    cleared: int
    everywhere: bool


class Summary(Struct, kw_only=True):
    """The worst state, its causes, and the key figures of the recent period. Figures that come from PostgreSQL are null
    while it is unavailable.
    """

    state: ComponentState
    checked_at: datetime
    troubles: Annotated[list[Component], Meta(description="Components that are not healthy, worst first")]
    open_alerts: dict[str, int] | None
    requests_per_second: float
    error_rate: Share
    p95_ms: float | None
    query_p95_ms: float | None
    rows_stored: Annotated[int, Meta(description="Rows stored since the start")]
    queued_rows: int
    in_flight: int
    cache_hit_ratio: Share | None
    workers: int
    database_bytes: int | None
    months: Annotated[dict[str, int] | None, Meta(description="Number of months by tier, over all tables")]
