"""The recent past of the API, a minute at a time: a bounded ring in each process, of readings over all processes.

It begins with the process. What must be kept for longer is in Prometheus.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from api.monitoring.cache_report import hit_ratio
from api.monitoring.performance import pool_use, traffic
from api.monitoring.readings import Reading

MINUTE_S = 60.0
MINUTES = 24 * 60


@dataclass(frozen=True, slots=True)
class Minute:
    """What was measured in about a minute that ended at ``at`` (UTC). None: there was nothing to measure."""

    at: datetime
    requests: int
    per_second: float
    errors: int
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None
    cache_hit_ratio: float | None
    pool_in_use: int
    queued_rows: int


class History:
    """The minutes of the last day. `note` is given every reading, and takes the first one of each minute."""

    def __init__(self, minutes: int = MINUTES) -> None:
        self._minutes: deque[Minute] = deque(maxlen=minutes)
        self._before: Reading | None = None

    @property
    def minutes(self) -> Sequence[Minute]:
        """The minutes, oldest first."""
        return tuple(self._minutes)

    def note(self, reading: Reading, at: datetime | None = None) -> None:
        """Take a reading that was made ``at`` an instant (UTC; default: now), when a minute has passed."""
        before = self._before
        if before is not None and reading.at_s - before.at_s < MINUTE_S:
            return
        self._before = reading
        if before is not None:
            self._minutes.append(_minute(before, reading, at or datetime.now(UTC)))


def _minute(before: Reading, reading: Reading, at: datetime) -> Minute:
    made = traffic(reading, before, reading.at_s - before.at_s, lambda _: True)
    pool = pool_use(reading)
    return Minute(
        at=at,
        requests=max(made.requests, 0),
        per_second=max(made.per_second, 0.0),
        errors=max(made.errors, 0),
        p50_ms=made.p50_ms,
        p95_ms=made.p95_ms,
        p99_ms=made.p99_ms,
        cache_hit_ratio=hit_ratio(reading, before),
        pool_in_use=max(pool.size - pool.available, 0),
        queued_rows=int(sum(reading.values.get("treasury_api_queue_rows", {}).values())),
    )
