"""The cost of counting: one request, one named query, one event of the cache, and one scrape; as `treasury up` counts.

In CPU time, so that others on the machine do not count.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

_ROUTES = 30
_TIMES = 50_000
_TARGET_US = 10.0


def run() -> dict[str, Any]:
    """Measure in a process of its own: the library decides at its import where it keeps its numbers."""
    with tempfile.TemporaryDirectory() as folder:
        env = os.environ | {"PROMETHEUS_MULTIPROC_DIR": folder}
        command = (sys.executable, "-m", "bench.metrics_cost")
        done = subprocess.run(command, env=env, check=True, capture_output=True, text=True, timeout=120)  # noqa: S603  # itself
    result: dict[str, Any] = json.loads(done.stdout)
    print(f"one request      {result['request_us']:8.2f} us   target {_TARGET_US:.0f}")
    print(f"one named query  {result['query_us']:8.2f} us")
    print(f"one cache event  {result['cache_event_us']:8.2f} us")
    print(f"one scrape       {result['scrape_ms']:8.2f} ms   {result['series']} series of {_ROUTES} routes")
    return result


def _measure() -> dict[str, Any]:
    from api.monitoring import metrics  # noqa: PLC0415  # in the process that has the folder
    from api.monitoring.readings import exposition  # noqa: PLC0415

    def request(index: int) -> None:
        metrics.request_began()
        metrics.requests_ended([("GET", routes[index % _ROUTES], 200, durations_s[index % 100])])

    routes = [f"/route/{number}" for number in range(_ROUTES)]
    durations_s = [0.001 * 1.05**step for step in range(100)]  # 1 to 125 ms
    measured = {
        "name": "metrics_cost",
        "request_us": _each_us(request),
        "query_us": _each_us(lambda index: metrics.queried("find", durations_s[index % 100], failed=False)),
        "cache_event_us": _each_us(lambda _: metrics.cache_event("local", "hit")),
    }
    started_s = time.process_time()
    text = exposition()
    scrape_ms = (time.process_time() - started_s) * 1000
    series = sum(not line.startswith(b"#") for line in text.splitlines())
    return measured | {"scrape_ms": round(scrape_ms, 2), "series": series, "target_us": _TARGET_US}


def _each_us(work: Callable[[int], None]) -> float:
    for index in range(1000):
        work(index)
    started_s = time.process_time()
    for index in range(_TIMES):
        work(index)
    return round((time.process_time() - started_s) / _TIMES * 1e6, 2)


if __name__ == "__main__":
    print(json.dumps(_measure()))
