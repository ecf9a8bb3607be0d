"""The ledger lives through thousands of random actions and never differs from its model."""

import os
from collections import Counter
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import ClassVar
from uuid import uuid4

import hypothesis
import pytest
from hypothesis import HealthCheck, Phase
from hypothesis.stateful import run_state_machine_as_test

from config import Settings
from tests.databases import Databases
from tests.examples import THOROUGH
from tests.life.whole_life import WholeLife
from tests.life.world import World

LIVES = 8  # each with examples of its own, for several workers
STEPS_OF_AN_EXAMPLE = 50
EXAMPLES = 10  # of one run of the machine; the first of them is the simplest, and does nothing
SHORT_EXAMPLES, STEPS_OF_A_SHORT_ONE = 6, 16  # each leaves out other rules, so many short ones have more of them
RARE = {"restore_what_knows_of_no_archive"}  # a backup of the very first steps; test_installation.py has it, too
IS_THOROUGH = THOROUGH in os.environ
STEPS = 2_500 if IS_THOROUGH else 60  # of a life: 20,000 in all of them together


@pytest.mark.timeout(7200)
@pytest.mark.sampled(1, rest="slow")
@pytest.mark.parametrize("number", range(LIVES))
def test_a_ledger_lives_through_anything_in_any_order(
    number: int,
    databases: Databases,
    server_settings: Settings,
    prepared: str,
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    class OneLife(WholeLife):
        done: ClassVar[Counter[str]] = Counter()

        @staticmethod
        def make_world() -> World:
            folder = tmp_path / uuid4().hex[:8]
            folder.mkdir()
            return World(server_settings, databases, prepared, folder)

    settings = hypothesis.settings(
        max_examples=EXAMPLES if IS_THOROUGH else SHORT_EXAMPLES,
        stateful_step_count=STEPS_OF_AN_EXAMPLE if IS_THOROUGH else STEPS_OF_A_SHORT_ONE,
        database=None,
        phases=(Phase.generate, Phase.shrink) if IS_THOROUGH else (Phase.generate,),  # to shrink takes minutes
        suppress_health_check=list(HealthCheck),
        print_blob=True,
    )
    for chance in count(number * 1_000):
        run_state_machine_as_test(hypothesis.seed(chance)(OneLife), settings=settings)
        if OneLife.steps >= STEPS and (not IS_THOROUGH or not _left_out(OneLife) or OneLife.steps >= 2 * STEPS):
            break  # a rule that chance has left out has a second life to occur in
    record_property("steps", OneLife.steps)
    record_property("rules", dict(OneLife.done.most_common()))
    if IS_THOROUGH:
        assert _left_out(OneLife) == set()


def _left_out(life: type[WholeLife]) -> set[str]:
    """The rules that have not occurred, but for those that seldom can."""
    return {rule.function.__name__ for rule in life.setup_state().rules} - RARE - set(life.done)
