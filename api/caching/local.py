"""The layer inside one process: entries by cache key, least recently used evicted first, found by tag.

Reads race with writes: a read that began before a COMMIT must not be kept after its tag was invalidated. So reads in
flight are known by tag, too, and invalidating a tag marks them as outdated.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from cachetools import LRUCache

from api.caching.cache_key import CacheKey
from api.caching.entry import Entry
from api.caching.single_flight import SingleFlight

T = TypeVar("T")
_OVERHEAD_BYTES = 900  # an entry's objects and its places in the two indexes, as measured with tracemalloc


@dataclass(slots=True)
class LocalEntry:
    """An entry and what decides whether it may still be returned. Times are seconds of the monotonic clock.

    ``known_at_s`` is a moment at which the answer was still right; ``session`` the link's session at that moment.
    """

    entry: Entry
    name: str
    tag: bytes
    known_at_s: float
    expires_at_s: float
    session: int


@dataclass(eq=False, slots=True)
class InFlightRead:
    """A read under way that all callers with the same key wait for. ``outdated``: its tag was invalidated meanwhile."""

    key: CacheKey
    tag: bytes
    name: str
    began_s: float
    outdated: bool = False


class _Index(Generic[T]):
    """Members by tag."""

    def __init__(self) -> None:
        self.of_tag: dict[bytes, dict[T, None]] = {}

    def add(self, tag: bytes, member: T) -> None:
        self.of_tag.setdefault(tag, {})[member] = None

    def remove(self, tag: bytes, member: T) -> None:
        members = self.of_tag.get(tag)
        if members is not None:
            members.pop(member, None)
            if not members:
                del self.of_tag[tag]


class _Entries(LRUCache[CacheKey, LocalEntry]):
    """Bounded by bytes; reports each entry that it evicts."""

    def __init__(self, limit_bytes: int, evicted: Callable[[CacheKey, LocalEntry], None]) -> None:
        super().__init__(limit_bytes, getsizeof=_size_bytes)
        self._evicted = evicted

    def popitem(self) -> tuple[CacheKey, LocalEntry]:
        key, entry = super().popitem()
        self._evicted(key, entry)
        return key, entry


def _size_bytes(local: LocalEntry) -> int:
    return len(local.entry.body) + _OVERHEAD_BYTES


class LocalLayer:
    """The entries of one process. Every method returns without waiting."""

    def __init__(self, limit_bytes: int, evicted: Callable[[], None]) -> None:
        self._entries = _Entries(limit_bytes, self._forget_evicted)
        self._index: _Index[CacheKey] = _Index()
        self._evicted = evicted

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def size_bytes(self) -> int:
        """Memory of the entries, about."""
        return int(self._entries.currsize)

    def get(self, key: CacheKey) -> LocalEntry | None:
        """The entry, whether or not it may still be returned to a client."""
        try:
            return self._entries[key]
        except KeyError:
            return None

    def put(self, key: CacheKey, entry: LocalEntry) -> None:
        """Keep an entry; one that is larger than the whole layer is not kept."""
        self.remove(key)
        if _size_bytes(entry) <= self._entries.maxsize:
            self._entries[key] = entry
            self._index.add(entry.tag, key)

    def remove(self, key: CacheKey) -> None:
        """Remove one entry, if it is there."""
        entry = self._entries.pop(key, None)
        if entry is not None:
            self._index.remove(entry.tag, key)

    def drop(self, tags: Iterable[bytes]) -> int:
        """Remove every entry with one of ``tags``. Returns their number."""
        dropped = 0
        for tag in tags:
            for key in self._index.of_tag.pop(tag, ()):
                self._entries.pop(key, None)
                dropped += 1
        return dropped

    def drop_matching(self, matches: Callable[[str], bool]) -> set[str]:
        """Remove every entry whose name fulfils ``matches``. Returns the names."""
        names = {key: entry.name for key, entry in self._entries.items() if matches(entry.name)}
        for key in names:
            self.remove(key)
        return set(names.values())

    def _forget_evicted(self, key: CacheKey, entry: LocalEntry) -> None:
        self._index.remove(entry.tag, key)
        self._evicted()


class InFlightReads:
    """The reads under way, at most one for each key that callers may join."""

    def __init__(self) -> None:
        self._reads: dict[CacheKey, InFlightRead] = {}
        self._index: _Index[InFlightRead] = _Index()
        self._flights: SingleFlight[CacheKey, Entry] = SingleFlight()

    @property
    def running(self) -> frozenset[asyncio.Task[Entry]]:
        """Every read that has not ended, outdated ones included."""
        return self._flights.running

    def joinable(self, key: CacheKey) -> InFlightRead | None:
        """The read that a caller may join: it began after the last write that the caller must see."""
        return self._reads.get(key)

    async def join(self, key: CacheKey, begin: Callable[[], tuple[InFlightRead, Coroutine[Any, Any, Entry]]]) -> Entry:
        """The result of the read under way; else of the one that ``begin`` makes. Raises what the read raises."""
        task = self._flights.joinable(key)
        if task is None:
            read, work = begin()
            self._reads[key] = read
            self._index.add(read.tag, read)
            task = self._flights.start(key, work)
        return await asyncio.shield(task)

    async def wait(self, key: CacheKey) -> None:
        """Wait until the read under way has ended, however it ends."""
        task = self._flights.joinable(key)
        if task is not None:
            await asyncio.wait({task})

    def end(self, read: InFlightRead) -> None:
        """Let no further caller join. Safe to repeat."""
        self._index.remove(read.tag, read)
        if self._reads.get(read.key) is read:
            del self._reads[read.key]
            self._flights.release(read.key)

    def invalidate(self, tags: Iterable[bytes]) -> None:
        """Mark the reads with one of ``tags``: callers that wait get their results, and no other caller does."""
        for tag in tags:
            for read in list(self._index.of_tag.get(tag, ())):
                self._invalidate(read)

    def invalidate_matching(self, matches: Callable[[str], bool]) -> None:
        """The same for reads whose entry's name fulfils ``matches``."""
        for read in [read for read in self._reads.values() if matches(read.name)]:
            self._invalidate(read)

    def _invalidate(self, read: InFlightRead) -> None:
        read.outdated = True
        self.end(read)
