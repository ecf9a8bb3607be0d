"""Places of a run: the moments at which it may be struck, and the watch that counts them and strikes at one of them."""

import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum


class Channel(StrEnum):
    """What a run speaks to, or says itself."""

    STEP = "step"
    POSTGRES = "postgres"
    STORE = "store"
    FOLDER = "folder"


class Moment(StrEnum):
    """When in a request: nothing of it has arrived, a part of its bytes has, or it was carried out unanswered."""

    BEFORE = "before"
    HALF = "half"
    AFTER = "after"


@dataclass(frozen=True, slots=True)
class Place:
    """The ``number``-th request of ``who`` on a channel, from 0, and the moment in it. ``what`` is for people."""

    channel: Channel
    who: str
    number: int
    moment: Moment
    what: str = field(compare=False, default="")

    def __str__(self) -> str:
        return f"{self.moment} {self.channel} {self.number} of {self.who or 'the run'}: {self.what}"


class Watch:
    """Counts the requests of a run, remembers every place that it passed, and strikes once, at ``at``.

    Thread-safe. A place is the same in each run: requests are counted for each connection's name by itself.
    """

    def __init__(self, at: Place | None = None, strike: Callable[[], object] = lambda: None) -> None:
        self._at, self._strike = at, strike
        self._lock = threading.Lock()
        self._counts: Counter[tuple[Channel, str]] = Counter()
        self.places: list[Place] = []
        self.struck = threading.Event()

    def number(self, channel: Channel, who: str) -> int:
        """The number of the request that begins now."""
        with self._lock:
            number = self._counts[channel, who]
            self._counts[channel, who] += 1
        return number

    def passes(self, place: Place) -> bool:
        """Pass a place; True, after the strike, where it is the one."""
        with self._lock:
            self.places.append(place)
        if place != self._at or self.struck.is_set():
            return False
        self.struck.set()
        self._strike()
        return True

    def is_due(self, place: Place) -> bool:
        """Whether the strike belongs to ``place``, which the run has not passed yet."""
        return place == self._at and not self.struck.is_set()
