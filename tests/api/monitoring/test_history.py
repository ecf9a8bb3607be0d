"""The minutes of the last day: each is measured between two readings, and the ring is bounded."""

from datetime import UTC, datetime, timedelta

from api.monitoring import metrics
from api.monitoring.history import History
from api.monitoring.performance import key_figures, performance
from api.monitoring.readings import Reading

START = datetime(2026, 11, 30, tzinfo=UTC)
BOUNDS = len(metrics.DURATION_BUCKETS_S) + 1


def reading(at_s: float, requests: int, errors: int = 0) -> Reading:
    """What a process would have counted since its start: every request took less than the tenth bound."""
    counts = [0.0] * 9 + [float(requests)] * (BOUNDS - 9)
    ended: dict[tuple[str, ...], float] = {
        ("GET", "/x", "2xx"): float(requests - errors),
        ("GET", "/x", "5xx"): float(errors),
    }
    values: dict[str, dict[tuple[str, ...], float]] = {
        "treasury_api_requests_total": ended,
        "treasury_api_pool": {("size",): 8.0, ("available",): 5.0, ("waiting",): 0.0},
        "treasury_api_queue_rows": {("transactions",): 3.0, ("vas_transactions",): 4.0},
        "treasury_api_cache_events_total": {("hit", "local"): requests / 2, ("miss", "local"): requests / 2},
    }
    return Reading(at_s, values, {"treasury_api_request_duration_seconds": {("GET", "/x"): counts}})


def test_a_minute_is_what_was_counted_in_it() -> None:
    history = History()
    for second in range(0, 135, 15):
        history.note(reading(second, requests=2 * second, errors=second // 60), START + timedelta(seconds=second))

    first, second_minute = history.minutes
    assert [one.at for one in history.minutes] == [START + timedelta(seconds=60), START + timedelta(seconds=120)]
    assert (first.requests, first.per_second, first.errors) == (120, 2.0, 1)
    assert (second_minute.requests, second_minute.errors) == (120, 1)
    assert first.p50_ms == first.p99_ms
    assert first.p50_ms is not None
    assert metrics.DURATION_BUCKETS_S[8] * 1000 < first.p50_ms < metrics.DURATION_BUCKETS_S[9] * 1000
    assert (first.cache_hit_ratio, first.pool_in_use, first.queued_rows) == (0.5, 3, 7)


def test_a_minute_without_requests_has_no_latency() -> None:
    history = History()
    for second in (0, 60):
        history.note(reading(second, requests=10), START)
    (minute,) = history.minutes
    assert (minute.requests, minute.per_second, minute.p50_ms, minute.cache_hit_ratio) == (0, 0.0, None, None)


def test_counts_that_fall_are_no_requests() -> None:
    """A worker whose numbers were lost must not make a minute negative."""
    history = History()
    history.note(reading(0, requests=1000), START)
    history.note(reading(60, requests=10), START)
    (minute,) = history.minutes
    assert (minute.requests, minute.per_second) == (0, 0.0)


def test_only_the_last_minutes_are_kept() -> None:
    history = History(minutes=3)
    for minute in range(10):
        history.note(reading(minute * 60, requests=minute), START + timedelta(minutes=minute))
    assert [one.at for one in history.minutes] == [START + timedelta(minutes=minute) for minute in (7, 8, 9)]


def test_the_key_figures_are_those_of_the_performance_answer() -> None:
    earlier, latest = reading(0, requests=10), reading(300, requests=610, errors=6)
    whole, key = performance(latest, earlier, datetime.now(UTC)), key_figures(latest, earlier)
    assert (key.recent, key.recent_s, key.pool, key.query_time) == (
        whole.recent,
        whole.recent_s,
        whole.pool,
        whole.query_time,
    )
    assert (key.workers, key.in_flight, key.resident_bytes) == (whole.workers, whole.in_flight, whole.resident_bytes)
    assert key.queued_rows == 7
