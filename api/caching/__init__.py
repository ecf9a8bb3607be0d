"""The two-layer cache of rendered answers. The handlers use `ResponseCache` and nothing below it."""

from api.caching.cache import Cleared, Event, ResponseCache
from api.caching.cache_key import CacheKey
from api.caching.entry import Entry, Fresh

__all__ = ["CacheKey", "Cleared", "Entry", "Event", "Fresh", "ResponseCache"]
