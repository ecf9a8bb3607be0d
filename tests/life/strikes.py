"""A run that is struck at one place: by its death, by the loss of its connection, or by a server that goes away."""

import re
from collections.abc import Callable, Sequence

from pydantic import SecretStr

from tests.life.places import Channel, Moment, Place, Watch
from tests.life.relays import After, PostgresRelay, StoreRelay, cut
from tests.life.runs import Doable, Run
from tests.life.scenes import Scene

NOWHERE = "http://127.0.0.1:9"
_CHANGES = re.compile("INSERT|UPDATE|DELETE|COMMIT|DROP|CREATE|ALTER|WITH waiting")
_READS = re.compile("GET |HEAD ")


def telling(places: Sequence[Place]) -> list[Place]:
    """The places before and behind which PostgreSQL or the store differ, each once; of reading one a request."""
    return [place for place in dict.fromkeys(places) if _is_telling(place)]


def _is_telling(place: Place) -> bool:
    if place.channel is Channel.POSTGRES:
        return bool(_CHANGES.match(place.what))
    if place.channel is Channel.STORE and _READS.match(place.what):
        return place.moment is Moment.AFTER
    return True


class Struck:
    """A run through relays that is struck at one place, or at none."""

    def __init__(
        self, scene: Scene, at: Place | None = None, after: After = cut, *, lasting: bool = False, **changes: object
    ) -> None:
        self._scene, self._at, self._changes = scene, at, changes
        settings = scene.settings
        self._postgres = PostgresRelay(settings.database_dsn, after, lasting=lasting)
        self._store = StoreRelay(settings.s3_endpoint_url or NOWHERE, after, lasting=lasting)
        self.places: list[Place] = []
        self.error = ""

    def run(self, *works: Doable, strike: Callable[[Run], object] = Run.kill) -> int | None:
        """Do ``works`` in processes of their own; returns how the first of them ended."""
        started: list[Run] = []
        watch = Watch(self._at, lambda: strike(started[0]))
        self._postgres.watch = self._store.watch = watch
        addresses = {"database_url": SecretStr(self._postgres.url), "s3_endpoint_url": self._store.url}
        settings = self._scene.settings.model_copy(update=addresses | self._changes)
        with self._postgres.running(), self._store.running():
            started.append(Run(settings, works, self._at))
            code, own, self.error = started[0].end()
        self.places = [*own, *watch.places]
        return code
