"""A publisher that is killed at any step: the next one makes exactly what is missing, and never a second history."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from config import Settings
from ledger.errors import TransientError
from ledger.transparency.notes import split_note
from ledger.transparency.replay import index_of, replay_entries
from ledger.transparency.tiles import Tree, new_tiles
from tasks.transparency.publish import publish_log
from tests.tasks.transparency.installation import Installation
from tests.tasks.transparency.test_publish import archived

PROJECT = Path(__file__).resolve().parents[3]
KILLED_AT_A_STEP = """
import os, signal, sys
from config import load_settings
from tasks.transparency.publish import publish_log

def die(step):
    if step == sys.argv[1]:
        os.kill(os.getpid(), signal.SIGKILL)

publish_log(load_settings(), die)
"""
SIGKILLED = -signal.SIGKILL
FIRST_SIZE = 300
SECOND_SIZE = 303


class Killed(BaseException):
    """The end of a process, as far as one test process can have it: nothing of this project catches it."""


def _steps(installation: Installation) -> list[str]:
    steps: list[str] = []
    publish_log(installation.settings, steps.append)
    return steps


def _second(installation: Installation) -> None:
    """What the publication under test has to publish: it fills a bundle, begins another, and changes two indexes."""
    for event in (archived("2024-05"), archived("2024-05", 1, "vas_transactions"), archived("2024-06")):
        installation.record(body=event)


def _first(installation: Installation) -> None:
    """Published before: nearly a full bundle."""
    installation.record(*(f"hold-{number}" for number in range(FIRST_SIZE - 2 - 50)))
    publish_log(installation.settings)
    installation.record(*(f"hold-{number}" for number in range(50)))
    publish_log(installation.settings)


def _check(installation: Installation, sizes: tuple[int, ...]) -> None:
    """The archive holds what the entries in PostgreSQL come to after publications at ``sizes``, byte by byte."""
    entries = installation.planned
    tree, state = Tree(entries), replay_entries(entries)
    expected: dict[str, bytes] = {}
    for old, new in zip((0, *sizes), sizes, strict=False):
        expected |= {f"log/{tile.path}": tree.content(tile) for tile in new_tiles(old, new)}
    objects = installation.objects()
    notes = {key: split_note(objects.pop(key))[0] for key in list(objects) if "tile" not in key}
    assert objects == expected
    indexes = {f"log/index/{table}": index_of(state, table, tree.root(tree.size)).to_text() for table in state.tables}
    assert notes.pop("log/checkpoint") == installation.log().checkpoint.text
    assert notes == indexes
    row = installation.row
    assert row.planned_size == row.published_size == row.indexed_size == len(entries) == sizes[-1]
    assert row.checkpoint == installation.log().note


def test_a_publisher_killed_at_every_step_is_completed_by_the_next(settings: Settings, tmp_path: Path) -> None:
    """One step a round, each on the archive that the round before left; the last round is killed nowhere."""
    settings = settings.model_copy(update={"archive_url": f"file://{tmp_path / 'archive'}"})
    with Installation.begun(settings) as installation:
        _first(installation)
        sizes: tuple[int, ...] = (250, 300)
        steps = 0
        while True:
            _second(installation)
            planned = sizes[-1] + 3
            seen: list[str] = []

            def die(step: str, seen: list[str] = seen, at: int = steps) -> None:
                seen.append(step)
                if len(seen) == at + 1:
                    raise Killed(step)

            try:
                publish_log(settings, die)
            except Killed:
                before = installation.objects()
                publish_log(settings)
                after = installation.objects()
                assert all(after[key] == before[key] for key in before if "tile" in key)
                sizes = (*sizes, planned)
                _check(installation, sizes)
                steps += 1
                continue
            sizes = (*sizes, planned)
            _check(installation, sizes)
            break
    assert steps >= 12
    assert {"planned", "recorded", "indexed", "putting checkpoint", "put checkpoint"} <= set(seen)


@pytest.mark.sampled(2, heavy=2)
@pytest.mark.parametrize("step", ["begun", "made keys", "planned", "putting checkpoint", "put checkpoint", "recorded"])
def test_the_first_publication_is_completed_after_a_kill(installation: Installation, step: str) -> None:
    installation.record(body=archived("2024-03"))
    environment = dict(os.environ) | installation.settings.environment()
    command = [sys.executable, "-c", KILLED_AT_A_STEP, step]
    done = subprocess.run(
        command, env=environment, cwd=PROJECT, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == SIGKILLED, done.stderr
    published = publish_log(installation.settings)
    assert published is not None
    assert published.size == 3
    _check(installation, (3,))


def test_a_kill_between_checkpoint_and_record_leaves_the_checkpoint_as_it_is(installation: Installation) -> None:
    """The next run takes the signed checkpoint that is there: it does not sign the same size again."""
    installation.record("one")

    def die(step: str) -> None:
        if step == "put checkpoint":
            raise Killed

    with pytest.raises(Killed):
        publish_log(installation.settings, die)
    signed = installation.objects()["log/checkpoint"]
    publish_log(installation.settings)
    assert installation.objects()["log/checkpoint"] == signed
    assert installation.row.checkpoint == signed


@pytest.mark.sampled(2)
@pytest.mark.parametrize("lost", ["planned", "put checkpoint", "recorded", "indexed"])
def test_a_session_that_postgresql_ends_in_the_middle_is_completed_by_the_next(
    installation: Installation, lost: str
) -> None:
    installation.record(body=archived("2024-03"))

    def cut(step: str) -> None:
        if step == lost:
            installation.sql(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE application_name = 'treasury log' AND datname = current_database()"
            )

    with pytest.raises(TransientError):
        publish_log(installation.settings, cut)
    publish_log(installation.settings)
    _check(installation, (3,))
