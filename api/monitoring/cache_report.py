"""The cache answer. What it needs of a cache is `CacheControl`; without one the cache is off."""

from collections.abc import Mapping
from typing import Any, Protocol

from api.monitoring.answers import CacheCleared, CacheLayer, CacheReport
from api.monitoring.readings import Reading

_EVENTS = "treasury_api_cache_events_total"  # its labels, in the order of their names: event, layer


class CacheControl(Protocol):
    """What may be asked of the cache of responses. Both touch its own keys only."""

    async def clear(self, pattern: str | None) -> int:
        """Forget what fits ``pattern`` (`*` stands for anything), or everything; returns how many entries that were."""
        ...

    def statistics(self) -> Mapping[str, Any]:
        """What it knows of itself, in JSON's types."""
        ...


def cache_report(cache: CacheControl | None, reading: Reading) -> CacheReport:
    """The layers by what was counted over all processes, and what the cache says of itself."""
    layers = sorted({layer for _, layer in reading.values.get(_EVENTS, {})})
    details = dict(cache.statistics()) if cache is not None else {}
    return CacheReport(enabled=cache is not None, layers=[_layer(reading, layer) for layer in layers], details=details)


async def clear_cache(cache: CacheControl | None, pattern: str | None) -> CacheCleared:
    """Forget what fits; with the cache off there is nothing to forget."""
    return CacheCleared(cleared=0 if cache is None else await cache.clear(pattern))


def hit_ratio(reading: Reading, earlier: Reading) -> float | None:
    """The share of look-ups between two readings that some layer answered; None when there were none.

    Who misses the local layer asks Redis: a request hits when either does, and misses when the last one asked does.
    """
    grown = {
        labels: count - earlier.value(_EVENTS, *labels) for labels, count in reading.values.get(_EVENTS, {}).items()
    }
    hits = sum(count for (event, _), count in grown.items() if event == "hit")
    asked = sum(grown.get((event, "local"), 0.0) for event in ("hit", "miss"))
    return min(hits / asked, 1.0) if asked else None


def _layer(reading: Reading, layer: str) -> CacheLayer:
    counts = {event: int(reading.value(_EVENTS, event, layer)) for event in ("hit", "miss", "eviction", "error")}
    asked = counts["hit"] + counts["miss"]
    return CacheLayer(
        layer=layer,
        hits=counts["hit"],
        misses=counts["miss"],
        hit_ratio=counts["hit"] / asked if asked else None,
        evictions=counts["eviction"],
        errors=counts["error"],
    )
