"""Holds, deletion, copies, returns and the removal of seals are killed at every request: nothing is half-done, and the
next run completes it. No row goes without an approval, and none stays behind a certificate.
"""

from collections.abc import Callable
from pathlib import Path

import pytest

from config import Settings
from tests.databases import Databases
from tests.life.ends import Copying, Deletion, End, EndScene, Holding, Releasing, Returning, Unsealing, begin_end
from tests.life.places import Place
from tests.life.runs import KILLED
from tests.life.scenes import Beginning, staged
from tests.life.strikes import Struck, telling
from tests.life.test_kills import chosen

KILLS: dict[End, int] = {
    Deletion(): 120,
    Holding(): 24,
    Releasing(): 24,
    Copying(): 40,
    Returning(): 60,
    Unsealing(): 12,
}
DIFFERENT = 200  # places at least, of all kinds together
CASES = [(end, number) for end, count in KILLS.items() for number in range(count)]
Places = Callable[[End], list[Place]]


@pytest.fixture(scope="module")
def beginning(
    databases: Databases, server_settings: Settings, prepared: str, tmp_path_factory: pytest.TempPathFactory
) -> Beginning:
    name = databases.take(prepared)
    url = f"{server_settings.archive_url}/{name}"
    return begin_end(server_settings, name, url, tmp_path_factory.mktemp("ends"))


@pytest.fixture(scope="module")
def places(beginning: Beginning, tmp_path_factory: pytest.TempPathFactory) -> Places:
    """Finds the places of a run that nobody kills, once for each kind."""
    found: dict[End, list[Place]] = {}

    def of(end: End) -> list[Place]:
        if end not in found:
            with staged(beginning, tmp_path_factory.mktemp("unharmed"), EndScene.of(end)) as scene:
                run = Struck(scene)
                assert run.run(end) == 0, run.error
                assert run.error == ""
                scene.wait_for_the_dead()
                scene.complete()
                scene.check_completed()
                found[end] = telling(run.places)
        return found[end]

    return of


def struck(end: End, places: Places) -> list[Place]:
    """The places at which an end is killed: each once, as far as there are so many."""
    among = places(end)
    return chosen(among, min(len(among), KILLS[end]))


@pytest.mark.slow
def test_no_less_than_two_hundred_different_places_are_struck(
    places: Places, record_property: Callable[[str, object], None]
) -> None:
    """Each is a request of its own, or a moment of its own in it."""
    counts = {type(end).__name__: len(set(struck(end, places))) for end in KILLS}
    record_property("places", counts)
    assert sum(counts.values()) >= DIFFERENT


@pytest.mark.sampled(1, rest="slow")
@pytest.mark.parametrize(("end", "number"), CASES, ids=lambda one: one if isinstance(one, int) else type(one).__name__)
def test_what_is_killed_anywhere_is_completed(
    beginning: Beginning, places: Places, tmp_path: Path, end: End, number: int
) -> None:
    killed = struck(end, places)
    place = killed[number % len(killed)]
    with staged(beginning, tmp_path, EndScene.of(end)) as scene:
        run = Struck(scene, place)
        code = run.run(end)
        assert code in KILLED, f"{place}: the run ended with {code} {run.error}"
        scene.wait_for_the_dead()
        scene.check_rows()
        scene.complete()
        scene.check_completed()
