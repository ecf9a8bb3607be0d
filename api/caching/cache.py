"""The cache of rendered answers: this process's layer over the one in Redis. What it promises: docs/caching.md."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase

from api.caching.link import FAILURES, Link, end
from api.caching.local import Flight, Flights, LocalEntry, LocalLayer
from api.caching.news import News, Teller
from api.caching.question import Fresh, Kept, Names, Question
from api.caching.shared import Look, SharedAnswer, SharedLayer
from config.cache import CacheSettings

Event = Callable[[str, str, int], None]

LOCAL, SHARED = "local", "redis"
_LOCK_MS = 1000
_LOCK_WAIT_S = 0.25
_FIRST_LOOK_S, _LONGEST_LOOK_S = 0.002, 0.05
_BREAK_S = 0.5  # after a failure Redis is not asked for answers for so long
REPORT_S = 5.0
_REPORTS_S = 3 * REPORT_S
_MOST_STORING = 64


def _no_event(_layer: str, _name: str, _times: int) -> None:
    return


@dataclass(frozen=True, slots=True)
class Cleared:
    """How many answers were forgotten, here and in Redis. ``everywhere``: Redis and the other processes were told."""

    entries: int
    everywhere: bool


class ResponseCache:
    """One process's cache. ``redis_url`` None: the process has only itself, and keeps what may change for a moment.
    ``prefix`` is how every key in Redis begins.

    ``event`` is called with a layer (`local`, `redis`), what happened there (`hit`, `miss`, `eviction`, `error`), and
    how many times.
    """

    def __init__(
        self, settings: CacheSettings, redis_url: str | None, prefix: str, secret: bytes, event: Event | None = None
    ) -> None:
        self.names = Names(secret)
        self._settings = settings
        self._counts: Counter[tuple[str, str]] = Counter()
        self._event = event or _no_event
        self._local = LocalLayer(settings.local_bytes, lambda: self._count(LOCAL, "eviction"))
        self._flights = Flights()
        self._tasks: set[asyncio.Task[None]] = set()
        self._news = News()
        self._shared: SharedLayer | None = None
        self._link: Link | None = None
        self._teller: Teller | None = None
        self._broken_until_s = 0.0
        self._alone_s = settings.stale_s / 2
        self._wait_s = settings.commit_wait_ms / 1000
        self._storing = 0
        if settings.enabled and redis_url is not None:
            timeout_s = settings.redis_timeout_ms / 1000
            self._shared = SharedLayer(redis_url, prefix, self.names, timeout_s)
            self._link = Link(self._shared.pool, self._shared.channel, settings.stale_s, self._hear, self._flush)
            self._teller = Teller(self._shared, self._link, self._news, lambda: self._count(SHARED, "error"))

    @property
    def enabled(self) -> bool:
        """Whether anything is kept at all."""
        return self._settings.enabled

    @property
    def linked(self) -> bool:
        """Whether Redis is there and what it says may be used now."""
        return self._link is not None and self._link.trusted(time.monotonic())

    def open(self) -> None:
        """Start to link to Redis. The cache works before it is linked, and without."""
        if self._link is not None:
            self._link.open()
            self._start(self._report())

    async def close(self) -> None:
        """Tell what is owed, then end. Nothing is kept afterwards."""
        if self._teller is not None:
            await self._teller.close()
        if self._link is not None:
            await self._link.close()
        await end(set(self._tasks))
        self._drop_all()
        if self._shared is not None:
            await self._shared.close()

    def get(self, question: Question) -> Kept | None:
        """The answer that this process has and may give now."""
        kept = self.peek(question)
        if kept is not None:
            self._count(LOCAL, "hit")
        elif self._settings.enabled:
            self._count(LOCAL, "miss")
        return kept

    def peek(self, question: Question) -> Kept | None:
        """As `get`, but not counted: `count_hits` is for whoever does give it."""
        entry = self._local.get(question)
        return entry.kept if entry is not None and self._may_give(entry, time.monotonic()) else None

    def count_hits(self, times: int) -> None:
        """Count answers that `peek` found and that were given."""
        self._count(LOCAL, "hit", times)

    async def read(self, question: Question, tag: bytes, compute: Callable[[], Awaitable[Fresh]]) -> Kept:
        """The answer from Redis, else from ``compute``: once for all who ask the same at the same time.

        ``tag`` is what a change of the answer invalidates. What ``compute`` raises is raised for each of those who
        wait, and not kept.
        """
        if not self._settings.enabled:
            fresh = await compute()
            return Kept(fresh.body, fresh.final)
        flight = self._flights.of(question)
        # What a long reading finds may be older by then than what may be given: who comes late to it waits for its end,
        # and then one of these reads anew, unless what was found never changes.
        while flight is not None and time.monotonic() - flight.began_s > self._alone_s:
            await asyncio.wait({flight.answer})
            kept = self.peek(question)
            if kept is not None:
                return kept
            flight = self._flights.of(question)
        if flight is None:
            flight = Flight(question, tag, self.names.entry(question), _future(), time.monotonic())
            self._flights.begin(flight)
            self._start(self._fly(flight, compute))
        return await asyncio.shield(flight.answer)

    async def invalidate(self, tags: Iterable[bytes]) -> None:
        """After a COMMIT: no read of this process that begins now is given an older answer, nor one in any other
        process once Redis has passed it on. Waits for Redis a moment at most, and never fails. Safe to repeat.
        """
        if not self._settings.enabled:
            return
        outdated = set(tags)
        self._drop(outdated)
        if self._teller is not None:
            await self._teller.tell(outdated, self._wait_s)

    async def clear(self, pattern: str | None = None) -> Cleared:
        """Forget every answer whose name matches ``pattern``, in every process and in Redis; None: all of them.

        Patterns are the shell's: `transactions:*`, `*:page:*`, `transactions:row:<id>:*`. No other key of Redis is
        touched. While Redis is away only this process is cleared; the next link begins with a flush of everything.
        """
        wanted = pattern or "*"

        def matches(name: str) -> bool:
            return fnmatchcase(name, wanted)

        names = self._clear_here(matches)
        if self._shared is None or self._link is None or not self._link.sending:
            return Cleared(len(names), everywhere=False)
        told = True
        try:
            # Told before and after: a process may take an answer from Redis just before it is removed there.
            await self._shared.publish(self._news.clear(wanted))
            if pattern is None:
                await self._shared.invalidate_all(self._news.flush())
            names |= await self._shared.remove_matching(matches)
            await self._shared.publish(self._news.clear(wanted))
        except FAILURES:
            self._count(SHARED, "error")
            self._link.drop()
            told = False
        self._clear_here(matches)
        return Cleared(len(names), everywhere=told)

    def statistics(self) -> dict[str, dict[str, float]]:
        """Of this process, per layer: hits, misses, their ratio, errors; of its own layer also evictions, entries and
        bytes. Counted since the process started.
        """
        return _with_ratios(self._counted())

    async def statistics_of_all(self) -> dict[str, dict[str, float]]:
        """The same summed over every process that has reported in the last seconds, with their number; of this
        process alone while Redis is away.
        """
        counted = {self._news.process.hex(): self._counted()}
        if self._shared is not None and self.linked:
            try:
                counted = await self._shared.reports(_REPORTS_S) | counted
            except FAILURES:
                self._fail()
        total: dict[str, dict[str, int]] = {}
        for one in counted.values():
            for layer, counts in one.items():
                total[layer] = dict(Counter(total.get(layer, {})) + Counter(counts)) or counts
        return {**_with_ratios(total), "processes": {"count": len(counted)}}

    async def evicted(self) -> int | None:
        """Keys that Redis has put out to make room since it started, of whatever use; None when it does not tell."""
        if self._shared is None or not self.linked:
            return None
        try:
            return await self._shared.evicted()
        except FAILURES:
            self._fail()
            return None

    def _may_give(self, entry: LocalEntry, now_s: float) -> bool:
        if now_s >= entry.expires_at_s:
            return False
        link = self._link
        if entry.kept.final or (link is not None and entry.session == link.session and link.trusted(now_s)):
            return True
        return now_s - entry.known_at_s < self._alone_s

    async def _fly(self, flight: Flight, compute: Callable[[], Awaitable[Fresh]]) -> None:
        try:
            look = await self._look(flight)
            if not flight.answer.done():
                await self._compute(flight, compute, look)
        except Exception as error:  # noqa: BLE001  # it is raised where the answer is waited for
            if not flight.answer.done():
                flight.answer.set_exception(error)
        finally:
            self._flights.end(flight)
            flight.answer.cancel()  # only if the process is closing: else it is done

    async def _look(self, flight: Flight) -> Look | None:
        """Answer the flight from Redis if it can be. Gives the stamp for a reading of one's own; None: keep it here."""
        pause_s, until_s = _FIRST_LOOK_S, time.monotonic() + _LOCK_WAIT_S
        while True:
            known_at_s = time.monotonic()
            session = self._session(known_at_s)
            if self._shared is None or not session or known_at_s < self._broken_until_s or flight.spoilt:
                return None
            if self._teller is not None and self._teller.owes(flight.tag):
                return None
            try:
                look = await self._shared.look(flight.name, flight.tag, _LOCK_MS)
            except FAILURES:
                self._fail()
                return None
            if look.answer is not None:
                self._take(flight, look.answer, known_at_s, known_at_s + look.lives_ms / 1000, session)
                return None
            if look.mine or time.monotonic() >= until_s:
                self._count(SHARED, "miss")
                return look
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_LOOK_S)

    def _take(self, flight: Flight, answer: SharedAnswer, known_at_s: float, expires_at_s: float, session: int) -> None:
        """Give an answer from Redis, and keep it here for the rest of its life."""
        self._count(SHARED, "hit")
        kept = Kept(answer.body, answer.final)
        self._keep(flight, kept, known_at_s, expires_at_s, session)
        flight.answer.set_result(kept)

    async def _compute(self, flight: Flight, compute: Callable[[], Awaitable[Fresh]], look: Look | None) -> None:
        """Read from the ledger, answer, and keep the answer in both layers."""
        known_at_s = time.monotonic()  # before the reading: any COMMIT from here on spoils the flight
        session = self._session(known_at_s)
        try:
            fresh = await compute()
        except Exception:
            await self._unlock(flight, look)
            raise
        kept = Kept(fresh.body, fresh.final)
        expires_at_s = known_at_s + fresh.ttl_s
        self._keep(flight, kept, known_at_s, expires_at_s, session)
        self._flights.end(flight)
        flight.answer.set_result(kept)
        if look is None:
            return
        lives_ms = int((expires_at_s - time.monotonic()) * 1000)
        if flight.spoilt or lives_ms <= 0 or self._storing >= _MOST_STORING:
            await self._unlock(flight, look)
        else:
            await self._store(flight, kept, look, lives_ms)

    def _keep(self, flight: Flight, kept: Kept, known_at_s: float, expires_at_s: float, session: int) -> None:
        if not flight.spoilt and expires_at_s > time.monotonic():
            entry = LocalEntry(kept, flight.name, flight.tag, known_at_s, expires_at_s, session)
            self._local.put(flight.question, entry)

    async def _store(self, flight: Flight, kept: Kept, look: Look, lives_ms: int) -> None:
        if self._shared is None:
            return
        answer = SharedAnswer(kept.body, kept.final, int(time.time() * 1000) + lives_ms)
        self._storing += 1
        try:
            await self._shared.store(flight.name, look.stamp, answer, lives_ms, unlock=look.mine)
        except FAILURES:
            self._fail()
        finally:
            self._storing -= 1

    async def _unlock(self, flight: Flight, look: Look | None) -> None:
        if self._shared is None or look is None or not look.mine:
            return
        try:
            await self._shared.unlock(flight.name)
        except FAILURES:
            self._fail()

    def _session(self, now_s: float) -> int:
        """The link's session, 0 while there is none that can be trusted."""
        return self._link.session if self._link is not None and self._link.trusted(now_s) else 0

    def _fail(self) -> None:
        """Redis did not answer in time: let it be for a while."""
        self._count(SHARED, "error")
        self._broken_until_s = time.monotonic() + _BREAK_S

    def _hear(self, message: bytes) -> None:
        self._news.read(message, drop=self._drop, flush=self._drop_all, clear=self._clear_matching)

    async def _flush(self) -> None:
        self._drop_all()
        if self._shared is not None:
            await self._shared.invalidate_all(self._news.flush())

    def _drop(self, tags: Iterable[bytes]) -> None:
        self._flights.spoil(tags)
        self._local.drop(tags)

    def _drop_all(self) -> None:
        self._clear_here(lambda _: True)

    def _clear_matching(self, pattern: str) -> None:
        self._clear_here(lambda name: fnmatchcase(name, pattern))

    def _clear_here(self, matches: Callable[[str], bool]) -> set[str]:
        self._flights.spoil_matching(matches)
        return self._local.drop_matching(matches)

    async def _report(self) -> None:
        """Leave this process's counts in Redis, for the sum over all of them."""
        while True:
            await asyncio.sleep(REPORT_S)
            if self._shared is not None and self.linked:
                try:
                    await self._shared.report(self._news.process.hex(), self._counted(), int(_REPORTS_S * 1000))
                except FAILURES:
                    self._fail()

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
        asked = counts.get("hit", 0) + counts.get("miss", 0)
        result[layer] = {**counts, "ratio": round(counts.get("hit", 0) / asked, 4) if asked else 0.0}
    return result


def _future() -> "asyncio.Future[Kept]":
    future: asyncio.Future[Kept] = asyncio.get_running_loop().create_future()
    future.add_done_callback(_look_at)
    return future


def _look_at(answer: "asyncio.Future[Kept]") -> None:
    """Nobody may be waiting any more; then nobody else would look at the error."""
    if not answer.cancelled():
        answer.exception()
