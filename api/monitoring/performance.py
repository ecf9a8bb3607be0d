"""The performance answer: what two readings say about the time between them."""

from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated

from msgspec import Meta, Struct

from api.monitoring import metrics
from api.monitoring.quantiles import quantile
from api.monitoring.readings import Labels, Reading
from api.monitoring.units import Share

_REQUESTS = "treasury_api_requests_total"
_DURATIONS = "treasury_api_request_duration_seconds"
_QUERIES = "treasury_api_query_duration_seconds"
_FLUSHES = "treasury_api_flush_duration_seconds"
_BOUND_COUNT = len(metrics.DURATION_BUCKETS_S) + 1

Choice = Callable[[Labels], bool]


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


@dataclass(frozen=True, slots=True)
class KeyFigures:
    """The figures of all processes that a page shows: of `Performance` those that cost little."""

    recent_s: float
    recent: Traffic
    workers: int
    resident_bytes: int
    in_flight: int
    queued_rows: int
    pool: PoolUse
    query_time: Percentiles


def key_figures(latest: Reading, earlier: Reading) -> KeyFigures:
    """The figures of ``latest``, ``earlier`` being where the recent period begins."""
    recent_s = max(latest.at_s - earlier.at_s, 0.0)
    return KeyFigures(
        recent_s=round(recent_s, 3),
        recent=traffic(latest, earlier, recent_s, lambda _: True),
        workers=int(latest.value("treasury_api_workers")),
        resident_bytes=int(latest.value("treasury_api_resident_bytes")),
        in_flight=int(latest.value("treasury_api_requests_in_flight")),
        queued_rows=int(sum(latest.values.get("treasury_api_queue_rows", {}).values())),
        pool=pool_use(latest),
        query_time=query_time(latest, earlier),
    )


def performance(latest: Reading, earlier: Reading, now: datetime) -> Performance:
    """The answer at ``now`` (UTC), ``earlier`` being where the recent period begins."""
    since = datetime.fromtimestamp(latest.value("treasury_api_start_time_seconds"), UTC)
    since_s = max((now - since).total_seconds(), 0.001)
    recent_s = max(latest.at_s - earlier.at_s, 0.0)
    nothing = Reading(latest.at_s, {}, {})

    def over(choice: Choice) -> tuple[Traffic, Traffic]:
        return traffic(latest, nothing, since_s, choice), traffic(latest, earlier, recent_s, choice)

    everything = over(lambda _: True)
    return Performance(
        since=since,
        since_s=round(since_s, 3),
        recent_s=round(recent_s, 3),
        workers=int(latest.value("treasury_api_workers")),
        resident_bytes=int(latest.value("treasury_api_resident_bytes")),
        in_flight=int(latest.value("treasury_api_requests_in_flight")),
        since_start=everything[0],
        recent=everything[1],
        routes=[_route(method, route, over) for method, route in _routes(latest)],
        queries=[_query(latest, query) for (query,) in sorted(latest.distributions.get(_QUERIES, {}))],
        query_time=query_time(latest, earlier),
        flushes=[_flush(latest, table) for (table,) in sorted(latest.distributions.get(_FLUSHES, {}))],
        pool=pool_use(latest),
        auth_failures=_by_label(latest, "treasury_api_auth_failures_total"),
        limit_refusals=_by_label(latest, "treasury_api_limit_refusals_total"),
    )


def traffic(latest: Reading, earlier: Reading, period_s: float, choice: Choice) -> Traffic:
    """The requests between two readings whose labels (method, route) are chosen."""
    ended: dict[str, float] = {}
    for labels, count in latest.values.get(_REQUESTS, {}).items():
        method, route, status = labels
        if choice((method, route)):
            ended[status] = ended.get(status, 0) + count - earlier.value(_REQUESTS, *labels)
    requests, errors = sum(ended.values()), ended.get("5xx", 0)
    return Traffic(
        requests=int(requests),
        per_second=round(requests / period_s, 3) if period_s else 0.0,
        errors=int(errors),
        error_rate=errors / requests if requests else 0.0,
        refused=int(ended.get("4xx", 0)),
        **_percentiles(_between(latest, earlier, _DURATIONS, choice)),
    )


def query_time(latest: Reading, earlier: Reading) -> Percentiles:
    """All named work on connections between two readings."""
    return Percentiles(**_percentiles(_between(latest, earlier, _QUERIES, lambda _: True)))


def pool_use(reading: Reading) -> PoolUse:
    """The connections of all processes."""
    state = {name: int(reading.value("treasury_api_pool", name)) for name in ("size", "available", "waiting")}
    return PoolUse(**state)


def _routes(reading: Reading) -> list[tuple[str, str]]:
    """Method and route of all that was ever asked for, by route."""
    return sorted({(labels[0], labels[1]) for labels in reading.values.get(_REQUESTS, {})}, key=lambda pair: pair[::-1])


def _route(method: str, route: str, over: Callable[[Choice], tuple[Traffic, Traffic]]) -> RouteTraffic:
    since_start, recent = over(lambda labels: labels == (method, route))
    return RouteTraffic(method=method, route=route, since_start=since_start, recent=recent)


def _query(reading: Reading, query: str) -> QueryTime:
    counts = reading.distributions[_QUERIES][(query,)]
    runs = int(counts[-1])
    return QueryTime(
        query=query,
        runs=runs,
        errors=int(reading.value("treasury_api_query_errors_total", query)),
        mean_ms=_ms(reading.value(f"{_QUERIES}_sum", query) / runs) if runs else None,
        **_percentiles(counts),
    )


def _flush(reading: Reading, table: str) -> FlushWork:
    counts = reading.distributions[_FLUSHES][(table,)]
    flushes, rows = int(counts[-1]), int(reading.value("treasury_api_rows_stored_total", table))
    return FlushWork(
        table=table,
        flushes=flushes,
        rows=rows,
        rows_per_flush=round(rows / flushes, 2) if flushes else None,
        replays=int(reading.value("treasury_api_replays_total", table)),
        queued_rows=int(reading.value("treasury_api_queue_rows", table)),
        duration=Percentiles(**_percentiles(counts)),
    )


def _between(latest: Reading, earlier: Reading, name: str, choice: Choice) -> Sequence[float]:
    chosen = (
        (counts, earlier.distributions.get(name, {}).get(labels))
        for labels, counts in latest.distributions.get(name, {}).items()
        if choice(labels)
    )
    return _sum(array("d", map(_growth, counts, before)) if before else counts for counts, before in chosen)


def _growth(count: float, before: float) -> float:
    return max(count - before, 0.0)


def _sum(all_counts: Iterable[Sequence[float]]) -> Sequence[float]:
    total = array("d", [0.0]) * _BOUND_COUNT
    for counts in all_counts:
        total = array("d", map(float.__add__, total, counts))
    return total


def _percentiles(counts: Sequence[float]) -> dict[str, float | None]:
    quantiles = {name: quantile(metrics.DURATION_BUCKETS_S, counts, share) for name, share in _SHARES.items()}
    return {name: None if value_s is None else _ms(value_s) for name, value_s in quantiles.items()}


_SHARES: Mapping[str, float] = {"p50_ms": 0.50, "p95_ms": 0.95, "p99_ms": 0.99}


def _by_label(reading: Reading, name: str) -> dict[str, int]:
    return {labels[0]: int(count) for labels, count in sorted(reading.values.get(name, {}).items())}


def _ms(value_s: float) -> float:
    return round(value_s * 1000, 3)
