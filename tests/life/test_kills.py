"""Runs are killed at every request that they make, and in the middle of it: the next night completes what was begun.

A run that nobody kills finds the places; each case then kills a run of its own at one of them, in a scene that begins
the same each time. The order of the cases is by chance and always the same, so that every sample has some of each kind.
"""

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from config import Settings
from tests.databases import Databases
from tests.life.places import Channel, Moment, Place
from tests.life.relays import After, hang, refuse
from tests.life.runs import KILLED, Work
from tests.life.scenes import Beginning, begin, staged
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
        self.beginning, self.works = beginning, works
        with staged(beginning, folder / "unharmed") as scene:
            run = Struck(scene)
            assert run.run(*works) == 0, run.error
            assert run.error == ""
            scene.wait_for_the_dead()
            scene.complete()
            scene.check_completed()
        self.places = telling(run.places)


Base = Callable[[], tuple[Settings, str, str]]


@pytest.fixture(scope="module")
def base(databases: Databases, server_settings: Settings, prepared: str) -> Base:
    """Makes the server's settings, a prepared database, and the URL of a part of the bucket, for one stage."""

    def make() -> tuple[Settings, str, str]:
        name = databases.take(prepared)
        return server_settings, name, f"{server_settings.archive_url}/{name}"

    return make


@pytest.fixture(scope="module")
def next_month(base: Base, tmp_path_factory: pytest.TempPathFactory) -> Stage:
    """A month is cold and published; the next one is archived behind an attempt that was interrupted."""
    folder = tmp_path_factory.mktemp("next")
    return Stage(begin(*base(), folder, FIRST, SECOND, is_first=False), folder, NEXT_MONTH)


@pytest.fixture(scope="module")
def very_first(base: Base, tmp_path_factory: pytest.TempPathFactory) -> Stage:
    """Nothing was ever archived: the installation, its log and its keys are made by the run that is killed."""
    folder = tmp_path_factory.mktemp("first")
    return Stage(begin(*base(), folder, FIRST, is_first=True), folder, Work((FIRST,)))


@pytest.fixture(scope="module")
def in_parts(base: Base, tmp_path_factory: pytest.TempPathFactory) -> Stage:
    """The file of the month is uploaded in several parts."""
    folder = tmp_path_factory.mktemp("parts")
    return Stage(begin(*base(), folder, FIRST, SECOND, is_first=False), folder, Work((SECOND,), in_parts=True))


@pytest.fixture(scope="module")
def in_folder(base: Base, tmp_path_factory: pytest.TempPathFactory) -> Stage:
    """The archive is a folder."""
    server, database, _ = base()
    folder = tmp_path_factory.mktemp("folder")
    url = f"file://{folder / 'archive'}"
    return Stage(begin(server, database, url, folder, FIRST, SECOND, is_first=False), folder, NEXT_MONTH)


@pytest.fixture(scope="module")
def together(base: Base, tmp_path_factory: pytest.TempPathFactory) -> Stage:
    """Two processes of one group, each with a month of its own."""
    folder = tmp_path_factory.mktemp("together")
    beginning = begin(*base(), folder, FIRST, SECOND, THIRD, is_first=False)
    return Stage(beginning, folder, NEXT_MONTH, Work((THIRD,)))


@pytest.mark.sampled(1, rest="slow")
@pytest.mark.parametrize("number", range(EVERY))
def test_a_run_killed_anywhere_is_completed_by_the_next(next_month: Stage, tmp_path: Path, number: int) -> None:
    kill_and_complete(next_month, chosen(next_month.places, EVERY)[number], tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("number", range(VERY_FIRST))
def test_the_first_run_of_an_installation_killed_anywhere_is_completed(
    very_first: Stage, tmp_path: Path, number: int
) -> None:
    kill_and_complete(very_first, chosen(very_first.places, VERY_FIRST)[number], tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("number", range(IN_PARTS))
def test_a_run_killed_in_an_upload_of_several_parts_leaves_none(in_parts: Stage, tmp_path: Path, number: int) -> None:
    places = [place for place in in_parts.places if place.channel is Channel.STORE and "upload" in place.what]
    assert any("partNumber=2" in place.what for place in places)
    kill_and_complete(in_parts, chosen(places, IN_PARTS)[number], tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("number", range(IN_FOLDER))
def test_a_run_killed_at_any_change_of_a_folder_is_completed(in_folder: Stage, tmp_path: Path, number: int) -> None:
    places = [place for place in in_folder.places if place.channel is Channel.FOLDER]
    kill_and_complete(in_folder, chosen(places, IN_FOLDER)[number], tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("number", range(TOGETHER))
def test_a_group_of_runs_killed_anywhere_is_completed(together: Stage, tmp_path: Path, number: int) -> None:
    places = [place for place in together.places if is_reached_by_any(place, together.places)]
    kill_and_complete(together, chosen(places, TOGETHER)[number], tmp_path)


def is_reached_by_any(place: Place, places: list[Place]) -> bool:
    """Whether several processes together surely come to a place, in whatever order they take their turns."""
    same = [one.number for one in places if (one.channel, one.who) == (place.channel, place.who)]
    return place.channel is not Channel.STEP and place.moment is not Moment.HALF and place.number < 0.8 * max(same)


@pytest.mark.slow
@pytest.mark.parametrize("number", range(AGAIN))
def test_runs_killed_again_and_again_are_completed(next_month: Stage, tmp_path: Path, number: int) -> None:
    chance = random.Random(f"again {number}")  # noqa: S311  # the same places in every run
    with staged(next_month.beginning, tmp_path) as scene:
        for place in chance.sample(next_month.places, 4):
            Struck(scene, place).run(*next_month.works)
            scene.wait_for_the_dead()
            scene.check_rows()
        scene.complete()
        scene.check_completed()


@pytest.mark.slow
@pytest.mark.parametrize("number", range(LOST))
def test_a_run_that_loses_its_connection_is_completed(next_month: Stage, tmp_path: Path, number: int) -> None:
    """The run lives on: what it does about a COMMIT whose answer it never had must not undo what was done."""
    places = [place for place in next_month.places if place.channel in (Channel.POSTGRES, Channel.STORE)]
    place = chosen(places, LOST)[number]
    with staged(next_month.beginning, tmp_path) as scene:
        run = Struck(scene, place)
        assert run.run(*next_month.works, strike=lambda _: None) == 0
        assert run.error.startswith("TransientError") or (not run.error and place.channel is Channel.STORE), place
        scene.wait_for_the_dead()
        scene.check_rows()
        scene.complete()
        scene.check_completed()


@pytest.mark.slow
@pytest.mark.parametrize("after", [hang, refuse])
@pytest.mark.parametrize("number", range(AWAY))
def test_a_run_whose_store_goes_away_is_completed(next_month: Stage, tmp_path: Path, number: int, after: After) -> None:
    place = chosen([place for place in next_month.places if place.channel is Channel.STORE], AWAY)[number]
    with staged(next_month.beginning, tmp_path) as scene:
        run = Struck(scene, place, after, lasting=True, store_timeout_s=PATIENCE_S)
        assert run.run(*next_month.works, strike=lambda _: None) == 0
        assert run.error.startswith("TransientError: object store:"), (place, run.error)
        scene.wait_for_the_dead()
        scene.check_rows()
        scene.complete()
        scene.check_completed()


def chosen(places: list[Place], count: int) -> list[Place]:
    """So many of ``places``, all different, by chance and always the same."""
    assert len(set(places)) == len(places) >= count
    return random.Random("kills").sample(places, count)  # noqa: S311  # the same places in every run


def kill_and_complete(stage: Stage, place: Place, folder: Path) -> None:
    """Kill a run at ``place``: nothing is lost or doubled then, nor after the next night, which completes it."""
    with staged(stage.beginning, folder) as scene:
        run = Struck(scene, place)
        code = run.run(*stage.works)
        assert code in KILLED, f"{place}: the run ended with {code} {run.error}"
        scene.wait_for_the_dead()
        scene.check_rows()
        scene.complete()
        scene.check_completed()
