"""Runs are killed at every request that they make, and in the middle of it: the next night completes what was begun.

A run that nobody kills finds the places; each case then kills a run of its own at one of them, in a scene that begins
the same each time. The order of the cases is by chance and always the same, so that every sample has some of each kind.
"""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from config import Settings
from tests.databases import Databases
from tests.life.places import Channel, Moment, Place
from tests.life.relays import After, cut, hang, refuse
from tests.life.runs import KILLED, Run, Work
from tests.life.scenes import Beginning, Scene, begin, staged
from tests.life.strikes import Struck, telling
from tests.tasks.archiving.ledger import COLD

FIRST, SECOND, THIRD = COLD, COLD.plus(1), COLD.plus(2)
NEXT_MONTH = Work((SECOND,))
EVERY = 150  # of the next month's places; there are more, and none is taken twice
VERY_FIRST = 30
IN_PARTS = 12
IN_FOLDER = 40
TOGETHER = 12
AGAIN = 12
LOST = 24
AWAY = 12
PATIENCE_S = 0.4  # for the store's answer, where it never comes


class Stage:
    """The beginning of a scene, and the places of the run that is killed in it."""

    def __init__(self, beginning: Beginning, folder: Path, *works: Work) -> None:
        self.beginning, self.works, self._folder = beginning, works, folder
        with staged(beginning, folder / "unharmed") as scene:
            run = Struck(scene)
            assert run.run(*works) == 0, run.error
            assert run.error == ""
            scene.wait_for_the_dead()
            scene.complete()
            scene.check_completed()
        self.places = telling(run.places)

    def chosen(self, count: int) -> list[Place]:
        """So many of the places, by chance and always the same."""
        chance = random.Random("kills")  # noqa: S311  # the same places in every run
        assert len(set(self.places)) == len(self.places) >= count
        return chance.sample(self.places, count)


@pytest.fixture(scope="module")
def base(databases: Databases, server_settings: Settings, prepared: str) -> tuple[Settings, str, str]:
    """The server's settings, a prepared database, and the URL of a part of the bucket."""
    name = databases.take(prepared)
    return server_settings, name, f"{server_settings.archive_url}/{name}"


@pytest.fixture(scope="module")
def next_month(base: tuple[Settings, str, str], tmp_path_factory: pytest.TempPathFactory) -> Stage:
    """A month is cold and published; the next one is archived behind an attempt that was interrupted."""
    folder = tmp_path_factory.mktemp("next")
    return Stage(begin(*base, folder, FIRST, SECOND, is_first=False), folder, NEXT_MONTH)


@pytest.mark.sampled(8)
@pytest.mark.parametrize("number", range(EVERY))
def test_a_run_killed_anywhere_is_completed_by_the_next(next_month: Stage, tmp_path: Path, number: int) -> None:
    place = next_month.chosen(EVERY)[number]
    with staged(next_month.beginning, tmp_path) as scene:
        kill_and_complete(scene, place, *next_month.works)


def kill_and_complete(scene: Scene, place: Place, *works: Work) -> None:
    """Kill a run at ``place``; nothing is lost or doubled then, nor after the next night, which completes it."""
    run = Struck(scene, place)
    code = run.run(*works)
    assert code in KILLED, f"{place}: the run ended with {code} {run.error}"
    scene.wait_for_the_dead()
    scene.check_rows()
    scene.complete()
    scene.check_completed()
