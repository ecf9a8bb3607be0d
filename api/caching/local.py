"""The layer inside one process: answers by question, least recently used first out, found again by tag.

Reads race with writes: one that began before a COMMIT must not be kept after its tag was dropped. So reads that are
under way (flights) are known by tag, too, and dropping a tag spoils them.
"""

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

from cachetools import LRUCache

from api.caching.question import Kept, Question

T = TypeVar("T")
_OVERHEAD_BYTES = 900  # an entry's objects and its places in the two indexes, as measured with tracemalloc


@dataclass(slots=True)
class LocalEntry:
    """An answer and what decides whether it may still be given. Times are seconds of the monotonic clock.

    ``known_at_s`` is a moment at which the answer was still right; ``session`` the link's session at that moment.
    """

    kept: Kept
    name: str
    tag: bytes
    known_at_s: float
    expires_at_s: float
    session: int


@dataclass(eq=False, slots=True)
class Flight:
    """A read under way that all who ask the same wait for. ``spoilt``: its tag was dropped meanwhile."""

    question: Question
    tag: bytes
    name: str
    answer: "asyncio.Future[Kept]"
    began_s: float
    spoilt: bool = False


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


class _Entries(LRUCache[Question, LocalEntry]):
    """Bounded by bytes; says which entries it put out."""

    def __init__(self, limit_bytes: int, put_out: Callable[[Question, LocalEntry], None]) -> None:
        super().__init__(limit_bytes, getsizeof=_size_bytes)
        self._put_out = put_out

    def popitem(self) -> tuple[Question, LocalEntry]:
        question, entry = super().popitem()
        self._put_out(question, entry)
        return question, entry


def _size_bytes(entry: LocalEntry) -> int:
    return len(entry.kept.body) + _OVERHEAD_BYTES


class LocalLayer:
    """The entries of one process. Everything here is done at once, without waiting."""

    def __init__(self, limit_bytes: int, evicted: Callable[[], None]) -> None:
        self._entries = _Entries(limit_bytes, self._put_out)
        self._index: _Index[Question] = _Index()
        self._evicted = evicted

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def size_bytes(self) -> int:
        """Memory of the entries, about."""
        return int(self._entries.currsize)

    def get(self, question: Question) -> LocalEntry | None:
        """The entry, whether or not it may still be given."""
        try:
            return self._entries[question]
        except KeyError:
            return None

    def put(self, question: Question, entry: LocalEntry) -> None:
        """Keep an entry; one that is larger than the whole layer is not kept."""
        self.remove(question)
        if _size_bytes(entry) <= self._entries.maxsize:
            self._entries[question] = entry
            self._index.add(entry.tag, question)

    def remove(self, question: Question) -> None:
        """Forget one entry, if it is there."""
        entry = self._entries.pop(question, None)
        if entry is not None:
            self._index.remove(entry.tag, question)

    def drop(self, tags: Iterable[bytes]) -> int:
        """Forget every entry with one of ``tags``. Returns how many there were."""
        dropped = 0
        for tag in tags:
            for question in self._index.of_tag.pop(tag, ()):
                self._entries.pop(question, None)
                dropped += 1
        return dropped

    def drop_matching(self, matches: Callable[[str], bool]) -> set[str]:
        """Forget every entry whose name fulfils ``matches``. Returns the names."""
        found = [question for question, entry in self._entries.items() if matches(entry.name)]
        names = {self._entries[question].name for question in found}
        for question in found:
            self.remove(question)
        return names

    def _put_out(self, question: Question, entry: LocalEntry) -> None:
        self._index.remove(entry.tag, question)
        self._evicted()


class Flights:
    """The reads under way, at most one for each question."""

    def __init__(self) -> None:
        self._by_question: dict[Question, Flight] = {}
        self._index: _Index[Flight] = _Index()

    def of(self, question: Question) -> Flight | None:
        """The flight that may be joined: one that began after the last write that it must see."""
        return self._by_question.get(question)

    def begin(self, flight: Flight) -> None:
        """Let others join."""
        self._by_question[flight.question] = flight
        self._index.add(flight.tag, flight)

    def end(self, flight: Flight) -> None:
        """Let nobody join any more. Safe to repeat."""
        self._index.remove(flight.tag, flight)
        if self._by_question.get(flight.question) is flight:
            del self._by_question[flight.question]

    def spoil(self, tags: Iterable[bytes]) -> None:
        """What reads with one of ``tags`` find is given to those who wait, kept by nobody, and joined by nobody."""
        for tag in tags:
            for flight in list(self._index.of_tag.get(tag, ())):
                self._spoil(flight)

    def spoil_matching(self, matches: Callable[[str], bool]) -> None:
        """The same for reads whose entry's name fulfils ``matches``."""
        for flight in [one for one in self._by_question.values() if matches(one.name)]:
            self._spoil(flight)

    def _spoil(self, flight: Flight) -> None:
        flight.spoilt = True
        self.end(flight)
