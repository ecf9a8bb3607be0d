"""The metrics of the API, for Prometheus and for the monitoring endpoints, over all worker processes.

With PROMETHEUS_MULTIPROC_DIR set (`servers.api` does) each process keeps its numbers in files of that folder, and any
of them answers for all. Without it a process answers for itself. The variable is read when this module is imported.

Labels are bounded: routes are templates and never paths. Each metric has a most number of label sets, after which
everything further counts as `other`. Call the functions of this module; a name's first call binds its labels, later
calls find them in one dictionary. All of them may be called from any thread and never raise.
"""

import os
import time
from bisect import bisect_left
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics, values

OTHER = "other"
# 61 bounds from 0.25 ms on, each 1.2 times the one before, up to 14 s. The geometric middle of such a range is at most
# sqrt(1.2), so 9.6 %, away from anything in it.
BUCKET_RATIO = 1.2
DURATION_BUCKETS_S = tuple(float(f"{0.00025 * BUCKET_RATIO**step:.6g}") for step in range(61))
_ROW_BUCKETS = (0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384)
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_STATUS_CLASSES = ("aborted", "1xx", "2xx", "3xx", "4xx", "5xx")
_MOST_ROUTES = 200
_MOST_QUERIES = 100
_MOST_NAMES = 64

if "PROMETHEUS_MULTIPROC_DIR" in os.environ:
    # Asked for the process's number at every count, the kernel would cost more than the count. Workers are spawned,
    # never forked: the number stays.
    _PID = os.getpid()
    values.ValueClass = values.MultiProcessValue(process_identifier=lambda: _PID)

disable_created_metrics()  # it would be one more series for each
REGISTRY = CollectorRegistry()

REQUESTS = Counter(
    "treasury_api_requests",
    "Requests that have ended; status aborted: the client left before the answer",
    ("route", "method", "status"),
    registry=REGISTRY,
)
DURATIONS = Histogram(
    "treasury_api_request_duration_seconds",
    "From the request's head to the end of its answer",
    ("route", "method"),
    buckets=DURATION_BUCKETS_S,
    registry=REGISTRY,
)
IN_FLIGHT = Gauge(
    "treasury_api_requests_in_flight",
    "Requests that are being answered",
    multiprocess_mode="livesum",
    registry=REGISTRY,
)
ROWS_STORED = Counter("treasury_api_rows_stored", "Rows made durable by the API", ("table",), registry=REGISTRY)
REPLAYS = Counter("treasury_api_replays", "Writes that were answered again by their key", ("table",), registry=REGISTRY)
FLUSH_ROWS = Histogram(
    "treasury_api_flush_rows", "Rows of one group commit", ("table",), buckets=_ROW_BUCKETS, registry=REGISTRY
)
FLUSH_DURATIONS = Histogram(
    "treasury_api_flush_duration_seconds",
    "One group commit",
    ("table",),
    buckets=DURATION_BUCKETS_S,
    registry=REGISTRY,
)
QUEUE_ROWS = Gauge(
    "treasury_api_queue_rows",
    "Rows that wait for their commit",
    ("table",),
    multiprocess_mode="livesum",
    registry=REGISTRY,
)
QUERY_DURATIONS = Histogram(
    "treasury_api_query_duration_seconds",
    "Named work on one connection to PostgreSQL, without the wait for the connection",
    ("query",),
    buckets=DURATION_BUCKETS_S,
    registry=REGISTRY,
)
QUERY_ERRORS = Counter(
    "treasury_api_query_errors", "Named work that PostgreSQL refused or broke off", ("query",), registry=REGISTRY
)
POOL = Gauge(
    "treasury_api_pool",
    "Connections to PostgreSQL by state, and requests that wait for one",
    ("state",),
    multiprocess_mode="livesum",
    registry=REGISTRY,
)
CACHE_EVENTS = Counter(
    "treasury_api_cache_events", "Events of each layer of the cache", ("layer", "event"), registry=REGISTRY
)
LIMIT_REFUSALS = Counter(
    "treasury_api_limit_refusals", "Requests that a rate limit refused", ("policy",), registry=REGISTRY
)
AUTH_FAILURES = Counter(
    "treasury_api_auth_failures",
    "Requests that were refused for their key (unauthorized) or its scopes (forbidden)",
    ("reason",),
    registry=REGISTRY,
)
LOG_LINES_DROPPED = Counter(
    "treasury_api_log_lines_dropped", "Lines of the log that nobody read in time", registry=REGISTRY
)
WORKERS = Gauge("treasury_api_workers", "Processes that serve the API", multiprocess_mode="livesum", registry=REGISTRY)
RESIDENT_BYTES = Gauge(
    "treasury_api_resident_bytes",
    "Resident memory of the processes that serve the API",
    multiprocess_mode="livesum",
    registry=REGISTRY,
)
START_TIME = Gauge(
    "treasury_api_start_time_seconds",
    "When the first of the processes started, as Unix time",
    multiprocess_mode="min",
    registry=REGISTRY,
)
START_TIME.set(time.time())  # at once: a 0 would be the smallest

_Child = TypeVar("_Child")
_Labels = tuple[str, ...]


class _Children(dict[_Labels, _Child], Generic[_Child]):
    """The children of one metric by their labels, at most ``most``; a dictionary's speed once a child is there."""

    def __init__(self, bind: Callable[..., _Child], most: int) -> None:
        super().__init__()
        self._bind = bind
        self._most = most

    def __missing__(self, labels: _Labels) -> _Child:
        if len(self) >= self._most:
            labels = (OTHER,) * len(labels)
        child = self[labels] = self._bind(*labels)
        return child


class _Route:
    """The bound numbers of one route and method. A status class is bound when it first occurs."""

    __slots__ = ("_by_class", "_durations", "_method", "_route")

    def __init__(self, route: str, method: str) -> None:
        self._route, self._method = route, method
        self._durations = DURATIONS.labels(route, method)
        self._by_class: list[Callable[[float], None] | None] = [None] * len(_STATUS_CLASSES)

    def ended(self, requests: list[tuple[int, float]]) -> None:
        """Count requests by status and duration (seconds)."""
        by_class: dict[int, int] = {}
        for status, _ in requests:
            index = min(status // 100, len(_STATUS_CLASSES) - 1)
            by_class[index] = by_class.get(index, 0) + 1
        for index, times in by_class.items():
            self._count(index, times)
        answered_s = [duration_s for status, duration_s in requests if status]
        if len(answered_s) == 1:
            self._durations.observe(answered_s[0])
        elif answered_s:
            _observe_all(self._durations, answered_s)

    def _count(self, index: int, times: int) -> None:
        count = self._by_class[index]
        if count is None:
            count = self._by_class[index] = REQUESTS.labels(self._route, self._method, _STATUS_CLASSES[index]).inc
        count(times)


def _observe_all(histogram: Histogram, amounts: list[float]) -> None:
    """`Histogram.observe` of each of ``amounts``, with one write to each number. The library has no call for that."""
    buckets: dict[int, int] = {}
    for amount in amounts:
        index = bisect_left(DURATION_BUCKETS_S, amount)  # the last bucket, for what is beyond all bounds, follows them
        buckets[index] = buckets.get(index, 0) + 1
    histogram._sum.inc(sum(amounts))  # noqa: SLF001  # see above; a test compares with `observe`
    for index, times in buckets.items():
        histogram._buckets[index].inc(times)  # noqa: SLF001  # the same


_routes = _Children(_Route, _MOST_ROUTES)
_rows_stored = _Children(lambda table: ROWS_STORED.labels(table).inc, _MOST_NAMES)
_replays = _Children(lambda table: REPLAYS.labels(table).inc, _MOST_NAMES)
_flush_rows = _Children(lambda table: FLUSH_ROWS.labels(table).observe, _MOST_NAMES)
_flush_durations = _Children(lambda table: FLUSH_DURATIONS.labels(table).observe, _MOST_NAMES)
_queue_rows = _Children(lambda table: QUEUE_ROWS.labels(table).set, _MOST_NAMES)
_query_durations = _Children(lambda query: QUERY_DURATIONS.labels(query).observe, _MOST_QUERIES)
_query_errors = _Children(lambda query: QUERY_ERRORS.labels(query).inc, _MOST_QUERIES)
_pool = _Children(lambda state: POOL.labels(state).set, _MOST_NAMES)
_cache_events = _Children(lambda layer, event: CACHE_EVENTS.labels(layer, event).inc, _MOST_NAMES)
_limit_refusals = _Children(lambda policy: LIMIT_REFUSALS.labels(policy).inc, _MOST_NAMES)
_auth_failures = _Children(lambda reason: AUTH_FAILURES.labels(reason).inc, _MOST_NAMES)


class _InFlight:
    """Requests that have begun and not ended: counted one by one, and written to the gauge once a second."""

    count = 0


def request_began() -> None:
    """Count a request from its head on."""
    _InFlight.count += 1


Ended = tuple[str, str, int, float]


def requests_ended(requests: Iterable[Ended]) -> None:
    """Count requests that `request_began` announced: of each its method, route, status and duration in seconds.

    The route is a template, empty for an address that is none; status 0: the client left before it was answered. Each
    number is written once however many requests there are: in a file that processes share, writing is what costs.
    """
    by_labels: dict[_Labels, list[tuple[int, float]]] = {}
    for method, route, status, duration_s in requests:
        labels: _Labels = (route or OTHER, method if method in _METHODS else OTHER)
        by_labels.setdefault(labels, []).append((status, duration_s))
    for labels, some in by_labels.items():
        _InFlight.count -= len(some)
        _routes[labels].ended(some)


def flushed(table: str, stored_rows: int, replays: int, duration_s: float) -> None:
    """Count a group commit of ``table``: the rows that it made durable, the requests that it only answered again."""
    labels = (table,)
    _flush_rows[labels](stored_rows)
    _flush_durations[labels](duration_s)
    _rows_stored[labels](stored_rows)
    if replays:
        _replays[labels](replays)


def queried(query: str, duration_s: float, failed: bool) -> None:
    """Count named work on a connection. ``query`` comes from the program, never from a request."""
    labels = (query,)
    _query_durations[labels](duration_s)
    if failed:
        _query_errors[labels]()


def cache_event(layer: str, event: str, count: int = 1) -> None:
    """Count ``count`` events of the cache. Layers: `local`, `redis`. Events that the monitoring endpoints know:
    `hit`, `miss`, `eviction`, `error`; others are passed on to Prometheus as they are.
    """
    _cache_events[layer, event](count)


def limit_refused(policy: str) -> None:
    """Count a request that the rate limit ``policy`` refused."""
    _limit_refusals[(policy,)]()


def auth_failed(reason: str) -> None:
    """Count a request refused for its key (`unauthorized`) or its scopes (`forbidden`)."""
    _auth_failures[(reason,)]()


def log_lines_dropped(count: int) -> None:
    """Count lines of the log that were dropped."""
    LOG_LINES_DROPPED.inc(count)


def queue_is(table: str, rows: int) -> None:
    """Note how many rows wait for their commit in this process."""
    _queue_rows[(table,)](rows)


def pool_is(size: int, available: int, waiting: int) -> None:
    """Note the state of this process's connections to PostgreSQL."""
    _pool[("size",)](size)
    _pool[("available",)](available)
    _pool[("waiting",)](waiting)


def process_is(resident_bytes: int) -> None:
    """Note how much memory this process has, and how many requests it is at."""
    IN_FLIGHT.set(_InFlight.count)
    RESIDENT_BYTES.set(resident_bytes)


def process_started() -> None:
    """Note that this process serves from now on."""
    WORKERS.set(1)


def shared_folder() -> str | None:
    """The folder that the processes share their numbers in; None when each has its own."""
    return os.environ.get("PROMETHEUS_MULTIPROC_DIR")
