"""The cache answer. What it needs of a cache is `CacheControl`; without one the cache is off."""

import asyncio
from collections.abc import Mapping
from typing import Annotated, Any, Protocol

from msgspec import Meta, Struct

from api.caching import Cleared
from api.caching.cache import SHARED
from api.monitoring.readings import Reading
from api.monitoring.units import Share

_EVENTS = "treasury_api_cache_events_total"  # its labels, in the order of their names: event, layer


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


class CacheControl(Protocol):
    """The part of the response cache that the monitoring uses. It touches its own keys only."""

    async def clear(self, pattern: str | None) -> Cleared:
        """Remove the entries that match ``pattern`` (`*` matches anything), or every entry."""
        ...

    async def statistics_of_all(self) -> Mapping[str, Any]:
        """The statistics of all processes, in JSON's types."""
        ...

    async def evicted(self) -> int | None:
        """The keys that Redis has evicted; None when it does not answer."""
        ...


async def cache_report(cache: CacheControl | None, reading: Reading) -> CacheReport:
    """The layers by what was counted over all processes, and what the cache says of itself."""
    layers = sorted({layer for _, layer in reading.values.get(_EVENTS, {})})
    if cache is None:
        return CacheReport(enabled=False, layers=[_layer(reading, layer, None) for layer in layers], details={})
    details, evicted = await asyncio.gather(cache.statistics_of_all(), cache.evicted())
    shown = [_layer(reading, layer, evicted) for layer in layers]
    return CacheReport(enabled=True, layers=shown, details=dict(details))


async def clear_cache(cache: CacheControl | None, pattern: str | None) -> CacheCleared:
    """Remove the entries that match; with the cache off there are none."""
    if cache is None:
        return CacheCleared(cleared=0, everywhere=True)
    result = await cache.clear(pattern)
    return CacheCleared(cleared=result.entries, everywhere=result.everywhere)


def hit_ratio(reading: Reading, earlier: Reading) -> float | None:
    """The share of look-ups between two readings that some layer answered; None when there were none.

    A miss in the local layer asks Redis: a request hits when either layer does, and misses when the last layer does.
    """
    grown = {
        labels: count - earlier.value(_EVENTS, *labels) for labels, count in reading.values.get(_EVENTS, {}).items()
    }
    hits = sum(count for (event, _), count in grown.items() if event == "hit")
    asked = sum(grown.get((event, "local"), 0.0) for event in ("hit", "miss"))
    return min(hits / asked, 1.0) if asked else None


def _layer(reading: Reading, layer: str, evicted_by_redis: int | None) -> CacheLayer:
    counts = {event: int(reading.value(_EVENTS, event, layer)) for event in ("hit", "miss", "eviction", "error")}
    asked = counts["hit"] + counts["miss"]
    return CacheLayer(
        layer=layer,
        hits=counts["hit"],
        misses=counts["miss"],
        hit_ratio=counts["hit"] / asked if asked else None,
        evictions=evicted_by_redis if layer == SHARED else counts["eviction"],
        errors=counts["error"],
    )
