"""The summary answer: the worst state, its causes and the key figures on one small page."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated

from msgspec import Meta, Struct

from api.monitoring.cache_report import hit_ratio
from api.monitoring.health_report import Component, ComponentState, HealthReport, troubles
from api.monitoring.performance import performance
from api.monitoring.readings import Reading
from api.monitoring.units import Share


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


@dataclass(frozen=True, slots=True)
class StoredFigures:
    """The figures that PostgreSQL has: its size, open alerts by severity, months by tier. All None while it is away."""

    database_bytes: int | None = None
    open_alerts: dict[str, int] | None = None
    months: dict[str, int] | None = None


def summary(health: HealthReport, latest: Reading, earlier: Reading, stored: StoredFigures) -> Summary:
    """The answer now. ``earlier`` is the reading at which the recent period begins."""
    now = performance(latest, earlier, datetime.now(UTC))
    return Summary(
        state=health.state,
        checked_at=health.checked_at,
        troubles=troubles(health),
        open_alerts=stored.open_alerts,
        requests_per_second=now.recent.per_second,
        error_rate=now.recent.error_rate,
        p95_ms=now.recent.p95_ms,
        query_p95_ms=now.query_time.p95_ms,
        rows_stored=sum(flush.rows for flush in now.flushes),
        queued_rows=sum(flush.queued_rows for flush in now.flushes),
        in_flight=now.in_flight,
        cache_hit_ratio=hit_ratio(latest, earlier),
        workers=now.workers,
        database_bytes=stored.database_bytes,
        months=stored.months,
    )
