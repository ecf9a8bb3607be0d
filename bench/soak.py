"""The steady load of `bench.serving` for 15 minutes: fails when memory grows or a connection is not given back."""

import statistics
from collections.abc import Sequence
from typing import Any

from bench import serving

DURATION_S = 900.0
MOST_GROWTH = 0.05  # of memory, between the medians of the first and the last third
_WARM_UP = 0.2  # of the samples: caches fill
_FEWEST = 15


def run() -> dict[str, Any]:
    """Measure, print a table, and return the figures; ``passed`` only when nothing leaks either."""
    return judged(serving.run(duration_s=DURATION_S))


def judged(result: dict[str, Any]) -> dict[str, Any]:
    """``result`` of a long run of `bench.serving`, with the growth of what it sampled and whether that passes."""
    memory, connections = result["memory_samples_mb"], result["connection_samples"]
    enough = len(memory) >= _FEWEST
    memory_growth = round(grown(memory) / statistics.median(memory), 4) if enough else 0.0
    connections_grown = grown(connections) if enough else 0
    flat = enough and memory_growth <= MOST_GROWTH and connections_grown <= 0
    figures = {"memory_growth": memory_growth, "connections_grown": connections_grown}
    return {**result, **figures, "name": "soak", "passed": bool(result["passed"] and flat)}


def grown(samples: Sequence[float]) -> float:
    """By how much the median of the last third is above that of the first, the warm-up left out; a leak climbs."""
    warm = samples[int(len(samples) * _WARM_UP) :]
    third = max(1, len(warm) // 3)
    return statistics.median(warm[-third:]) - statistics.median(warm[:third])
