"""The cache of rendered answers: the layer of this process over the layer in Redis. Its promises: docs/caching.md."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase

from api.caching.cache_key import CacheKey, Names
from api.caching.entry import Entry, Fresh
from api.caching.link import Link, end
from api.caching.local import InFlightRead, InFlightReads, LocalEntry, LocalLayer
from api.caching.publisher import InvalidationMessages, Publisher
from api.caching.shared import Lookup, SharedLayer, StoredEntry
from api.connections.shared_redis import FAILURES, SharedRedis
from config.cache import CacheSettings

Event = Callable[[str, str, int], None]
Compute = Callable[[], Awaitable[Fresh]]

LOCAL, SHARED = "local", "redis"
_LOCK_MS = 1000
_LOCK_WAIT_S = 0.25
_FIRST_LOOKUP_S, _LONGEST_LOOKUP_S = 0.002, 0.05
REPORT_S = 5.0
_REPORTS_S = 3 * REPORT_S
_MOST_STORING = 64


def _no_event(_layer: str, _name: str, _times: int) -> None:
    return


@dataclass(frozen=True, slots=True)
class Cleared:
    """The number of entries removed here and in Redis. ``everywhere``: Redis and the other processes confirmed it."""

    entries: int
    everywhere: bool


class ResponseCache:
    """The cache of one process. Without ``redis`` it has its own layer only, and keeps what may change for a moment.

    ``event`` is called with a layer (`local`, `redis`), what happened there (`hit`, `miss`, `eviction`, `error`), and
    how many times.
    """

    def __init__(
        self, settings: CacheSettings, redis: SharedRedis | None, secret: bytes, event: Event | None = None
    ) -> None:
        self.names = Names(secret)
        self._settings = settings
        self._counts: Counter[tuple[str, str]] = Counter()
        self._event = event or _no_event
        self._local = LocalLayer(settings.local_bytes, lambda: self._count(LOCAL, "eviction"))
        self._reads = InFlightReads()
        self._tasks: set[asyncio.Task[None]] = set()
        self._messages = InvalidationMessages()
        self._shared: SharedLayer | None = None
        self._link: Link | None = None
        self._publisher: Publisher | None = None
        self._alone_s = settings.stale_s / 2
        self._wait_s = settings.commit_wait_ms / 1000
        self._storing = 0
        if settings.enabled and redis is not None and redis.pool is not None:
            self._shared = SharedLayer(redis.access("cache", settings.redis_timeout_ms / 1000), self.names)
            self._link = Link(redis.pool, self._shared.channel, settings.stale_s, self._receive, self._flush)
            self._publisher = Publisher(self._shared, self._link, self._messages, lambda: self._count(SHARED, "error"))

    @property
    def enabled(self) -> bool:
        """Whether anything is kept at all."""
        return self._settings.enabled

    @property
    def linked(self) -> bool:
        """Whether Redis is reachable and its entries may be used now."""
        return self._link is not None and self._link.trusted(time.monotonic())

    def open(self) -> None:
        """Start to link to Redis. The cache works before it is linked, and without a link."""
        if self._link is not None:
            self._link.open()
            self._start(self._report())

    async def close(self) -> None:
        """Send the pending invalidations, then end. Nothing is kept afterwards."""
        if self._publisher is not None:
            await self._publisher.close()
        if self._link is not None:
            await self._link.close()
        await end({*self._tasks, *self._reads.running})
        self._drop_all()

    def get(self, key: CacheKey) -> Entry | None:
        """The entry that this process has and may return now."""
        entry = self.peek(key)
        if entry is not None:
            self._count(LOCAL, "hit")
        elif self._settings.enabled:
            self._count(LOCAL, "miss")
        return entry

    def peek(self, key: CacheKey) -> Entry | None:
        """As `get`, but not counted: a caller that returns the entry counts it with `count_hits`."""
        local = self._local.get(key)
        return local.entry if local is not None and self._is_usable(local, time.monotonic()) else None

    def count_hits(self, times: int) -> None:
        """Count entries that `peek` found and that were returned to clients."""
        self._count(LOCAL, "hit", times)

    async def read(self, key: CacheKey, tag: bytes, compute: Compute) -> Entry:
        """The entry from Redis, else from ``compute``: once for all callers with the same key at the same time.

        ``tag`` is what a change of the answer invalidates. What ``compute`` raises is raised for each caller that
        waits, and not kept.
        """
        if not self._settings.enabled:
            fresh = await compute()
            return Entry(fresh.body, fresh.final)
        read = self._reads.joinable(key)
        # The result of a long read may by then be older than may be returned. A caller that comes late to it waits for
        # its end; then one of these callers reads again, unless the result never changes.
        while read is not None and time.monotonic() - read.began_s > self._alone_s:
            await self._reads.wait(key)
            entry = self.peek(key)
            if entry is not None:
                return entry
            read = self._reads.joinable(key)
        return await self._reads.join(key, lambda: self._begin(key, tag, compute))

    async def invalidate(self, tags: Iterable[bytes]) -> None:
        """Call after a COMMIT. No read of this process that begins now gets an older entry, nor one in any other
        process once Redis has passed the invalidation on. Waits for Redis a moment at most, and never fails. Safe to
        repeat.
        """
        if not self._settings.enabled:
            return
        outdated = set(tags)
        self._drop(outdated)
        if self._publisher is not None:
            await self._publisher.publish(outdated, self._wait_s)

    async def clear(self, pattern: str | None = None) -> Cleared:
        """Remove every entry whose name matches ``pattern``, in every process and in Redis; None: every entry.

        Patterns are the shell's: `transactions:*`, `*:page:*`, `transactions:row:<id>:*`. No other key of Redis is
        touched. While Redis is away only this process is cleared; the next link begins with a flush of everything.
        """
        wanted = pattern or "*"

        def matches(name: str) -> bool:
            return fnmatchcase(name, wanted)

        names = self._clear_here(matches)
        if self._shared is None or self._link is None or not self._link.sending:
            return Cleared(len(names), everywhere=False)
        everywhere = True
        try:
            names |= await self._clear_shared(self._shared, pattern, wanted, matches)
        except FAILURES:
            self._count(SHARED, "error")
            self._link.drop()
            everywhere = False
        self._clear_here(matches)
        return Cleared(len(names), everywhere=everywhere)

    async def _clear_shared(
        self, shared: SharedLayer, pattern: str | None, wanted: str, matches: Callable[[str], bool]
    ) -> set[str]:
        """Remove entries from Redis and from the other processes. Returns the names that Redis had."""
        # Sent before and after: a process may take an entry from Redis just before it is removed there.
        await shared.publish(self._messages.clear(wanted))
        if pattern is None:
            await shared.invalidate_all(self._messages.flush())
        removed = await shared.remove_matching(matches)
        await shared.publish(self._messages.clear(wanted))
        return removed

    def statistics(self) -> dict[str, dict[str, float]]:
        """Of this process, per layer: hits, misses, their ratio, errors; of its own layer also evictions, entries and
        bytes. Counted since the process started.
        """
        return _with_ratios(self._counted())

    async def statistics_of_all(self) -> dict[str, dict[str, float]]:
        """The same summed over every process that has reported in the last seconds, with their number; of this
        process alone while Redis is away.
        """
        reports = {self._messages.process.hex(): self._counted()}
        if self._shared is not None and self.linked:
            try:
                reports = await self._shared.reports(_REPORTS_S) | reports
            except FAILURES:
                self._count(SHARED, "error")
        total: dict[str, dict[str, int]] = {}
        for report in reports.values():
            for layer, counts in report.items():
                total[layer] = dict(Counter(total.get(layer, {})) + Counter(counts)) or counts
        return {**_with_ratios(total), "processes": {"count": len(reports)}}

    async def evicted(self) -> int | None:
        """The keys that Redis has evicted since it started, of every application; None when Redis does not answer."""
        if self._shared is None or not self.linked:
            return None
        try:
            return await self._shared.evicted()
        except FAILURES:
            self._count(SHARED, "error")
            return None

    def _is_usable(self, local: LocalEntry, now_s: float) -> bool:
        """Return whether the entry may be returned now."""
        if now_s >= local.expires_at_s:
            return False
        link = self._link
        if local.entry.final or (link is not None and local.session == link.session and link.trusted(now_s)):
            return True
        return now_s - local.known_at_s < self._alone_s

    def _begin(self, key: CacheKey, tag: bytes, compute: Compute) -> tuple[InFlightRead, Coroutine[None, None, Entry]]:
        read = InFlightRead(key, tag, self.names.entry(key), time.monotonic())
        return read, self._perform(read, compute)

    async def _perform(self, read: InFlightRead, compute: Compute) -> Entry:
        """The entry from Redis, else from the ledger. No caller joins the read once it has its entry."""
        try:
            lookup = await self._look_up(read)
            return lookup if isinstance(lookup, Entry) else await self._compute(read, compute, lookup)
        finally:
            self._reads.end(read)

    async def _look_up(self, read: InFlightRead) -> Entry | Lookup | None:
        """The entry from Redis; else the stamp for a read of one's own; None: the entry is kept here only."""
        pause_s, until_s = _FIRST_LOOKUP_S, time.monotonic() + _LOCK_WAIT_S
        while True:
            known_at_s = time.monotonic()
            session = self._session(known_at_s)
            if self._shared is None or not session or not self._may_ask(self._shared, read):
                return None
            try:
                lookup = await self._shared.look_up(read.name, read.tag, _LOCK_MS)
            except FAILURES:
                self._count(SHARED, "error")
                return None
            if lookup.entry is not None:
                return self._take(read, lookup.entry, known_at_s, known_at_s + lookup.lives_ms / 1000, session)
            if lookup.locked or time.monotonic() >= until_s:
                self._count(SHARED, "miss")
                return lookup
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_LOOKUP_S)

    def _may_ask(self, shared: SharedLayer, read: InFlightRead) -> bool:
        """Return whether Redis answers, and may have an entry that is not out of date."""
        if shared.away or read.outdated:
            return False
        return self._publisher is None or not self._publisher.is_pending(read.tag)

    def _take(
        self, read: InFlightRead, stored: StoredEntry, known_at_s: float, expires_at_s: float, session: int
    ) -> Entry:
        """Keep an entry from Redis here for the rest of its life."""
        self._count(SHARED, "hit")
        entry = Entry(stored.body, stored.final)
        self._keep(read, entry, known_at_s, expires_at_s, session)
        return entry

    async def _compute(self, read: InFlightRead, compute: Compute, lookup: Lookup | None) -> Entry:
        """Read from the ledger and keep the entry in both layers; callers do not wait for Redis to store it."""
        known_at_s = time.monotonic()  # before the read: any COMMIT from here on makes it outdated
        session = self._session(known_at_s)
        try:
            fresh = await compute()
        except Exception:
            await self._unlock(read, lookup)
            raise
        entry = Entry(fresh.body, fresh.final)
        expires_at_s = known_at_s + fresh.ttl_s
        self._keep(read, entry, known_at_s, expires_at_s, session)
        if lookup is not None:
            self._start(self._store(read, entry, lookup, expires_at_s))
        return entry

    def _keep(self, read: InFlightRead, entry: Entry, known_at_s: float, expires_at_s: float, session: int) -> None:
        if not read.outdated and expires_at_s > time.monotonic():
            self._local.put(read.key, LocalEntry(entry, read.name, read.tag, known_at_s, expires_at_s, session))

    async def _store(self, read: InFlightRead, entry: Entry, lookup: Lookup, expires_at_s: float) -> None:
        """Keep the entry in Redis, or give up the lock when it may not be kept."""
        lives_ms = int((expires_at_s - time.monotonic()) * 1000)
        if self._shared is None or read.outdated or lives_ms <= 0 or self._storing >= _MOST_STORING:
            await self._unlock(read, lookup)
            return
        stored = StoredEntry(entry.body, entry.final, int(time.time() * 1000) + lives_ms)
        self._storing += 1
        try:
            await self._shared.store(read.name, lookup.stamp, stored, lives_ms, unlock=lookup.locked)
        except FAILURES:
            self._count(SHARED, "error")
        finally:
            self._storing -= 1

    async def _unlock(self, read: InFlightRead, lookup: Lookup | None) -> None:
        if self._shared is None or lookup is None or not lookup.locked:
            return
        try:
            await self._shared.unlock(read.name)
        except FAILURES:
            self._count(SHARED, "error")

    def _session(self, now_s: float) -> int:
        """The link's session, 0 while there is none that can be trusted."""
        return self._link.session if self._link is not None and self._link.trusted(now_s) else 0

    def _receive(self, message: bytes) -> None:
        self._messages.read(message, drop=self._drop, flush=self._drop_all, clear=self._clear_matching)

    async def _flush(self) -> None:
        self._drop_all()
        if self._shared is not None:
            await self._shared.invalidate_all(self._messages.flush())

    def _drop(self, tags: Iterable[bytes]) -> None:
        self._reads.invalidate(tags)
        self._local.drop(tags)

    def _drop_all(self) -> None:
        self._clear_here(lambda _: True)

    def _clear_matching(self, pattern: str) -> None:
        self._clear_here(lambda name: fnmatchcase(name, pattern))

    def _clear_here(self, matches: Callable[[str], bool]) -> set[str]:
        self._reads.invalidate_matching(matches)
        return self._local.drop_matching(matches)

    async def _report(self) -> None:
        """Leave this process's counts in Redis, for the sum over all processes."""
        while True:
            await asyncio.sleep(REPORT_S)
            if self._shared is not None and self.linked:
                try:
                    await self._shared.report(self._messages.process.hex(), self._counted(), int(_REPORTS_S * 1000))
                except FAILURES:
                    self._count(SHARED, "error")

    def _start(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _count(self, layer: str, name: str, times: int = 1) -> None:
        self._counts[layer, name] += times
        self._event(layer, name, times)

    def _counted(self) -> dict[str, dict[str, int]]:
        counts = self._counts
        local = {name: counts[LOCAL, name] for name in ("hit", "miss", "eviction")}
        local |= {"entries": len(self._local), "bytes": self._local.size_bytes}
        return {LOCAL: local, SHARED: {name: counts[SHARED, name] for name in ("hit", "miss", "error")}}


def _with_ratios(counted: dict[str, dict[str, int]]) -> dict[str, dict[str, float]]:
    result: dict[str, dict[str, float]] = {}
    for layer, counts in counted.items():
        lookups = counts.get("hit", 0) + counts.get("miss", 0)
        result[layer] = {**counts, "ratio": round(counts.get("hit", 0) / lookups, 4) if lookups else 0.0}
    return result
