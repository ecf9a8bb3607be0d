"""The two-layer cache of rendered answers. `ResponseCache` is all that the handlers know of it."""

from api.caching.cache import Cleared, Event, ResponseCache
from api.caching.question import Fresh, Kept, Question

__all__ = ["Cleared", "Event", "Fresh", "Kept", "Question", "ResponseCache"]
