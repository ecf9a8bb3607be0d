"""The process is killed: whatever it was doing, nothing is lost or doubled, and the next run completes."""

import pytest

from ledger.errors import ConflictError
from tasks.archiving.move_month import finish_leftovers
from tasks.archiving.outcome import MoveResult
from tasks.archiving.to_cold import Step, archive_month
from tasks.archiving.to_warm import warm_month
from tests.tasks.archiving.ledger import COLD, WARM, Ledger

KILLED_AT_A_STEP = """
import os, signal, sys
from config import load_settings
from ledger.months import Month
from tasks.archiving.to_cold import archive_month

def die(step):
    if step == sys.argv[2]:
        os.kill(os.getpid(), signal.SIGKILL)

settings = load_settings()
archive_month(settings, settings.table("transactions"), Month.parse(sys.argv[1]), die)
"""
KILLED_BEFORE_TIDYING = """
import os, signal, sys
from config import load_settings
from ledger.months import Month
from tasks.archiving import to_warm

to_warm.tidy_month = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
settings = load_settings()
to_warm.warm_month(settings, settings.table("transactions"), Month.parse(sys.argv[1]))
"""
SIGKILLED = -9


@pytest.mark.sampled(1, heavy=3)
@pytest.mark.parametrize("step", Step)
def test_a_run_killed_after_any_step_is_healed_by_the_next(ledger: Ledger, step: Step) -> None:
    ledger.warm(COLD)
    before = ledger.content()
    killed = ledger.run(KILLED_AT_A_STEP, str(COLD), step)
    assert killed.returncode == SIGKILLED, killed.stderr

    assert ledger.content() == before
    already_cold = step in (Step.FLIPPED, Step.CLEANED)
    assert ledger.tier(COLD) == ("cold" if already_cold else "warm")

    outcomes = ledger.night()
    assert [outcome.result for outcome in outcomes] == ([] if already_cold else [MoveResult.MOVED])
    assert ledger.content() == before
    assert {tier for _, tier in ledger.whole()} == {"cold"}
    ledger.check_no_partition(COLD)
    ledger.check_archive()
    assert list(ledger.settings.spool.glob("*/*.parquet")) == []


@pytest.mark.heavy("a run killed after a step is healed, and its objects removed")
def test_a_run_killed_again_and_again_leaves_no_object_behind(ledger: Ledger) -> None:
    ledger.warm(COLD)
    before = ledger.content()
    for step in (Step.UPLOADED, Step.DESCRIBED, Step.VERIFIED):
        assert ledger.run(KILLED_AT_A_STEP, str(COLD), step).returncode == SIGKILLED
    assert len(ledger.objects()) == 6  # three files, and one tree, one lookup and one manifest
    archive_month(ledger.settings, ledger.table, COLD)
    assert ledger.catalogue(COLD)["attempt"] == 4
    assert ledger.content() == before
    ledger.check_archive()


@pytest.mark.heavy("test_a_run_killed_after_any_step_is_healed_by_the_next has a case of it")
def test_a_killed_run_does_not_keep_its_month(ledger: Ledger) -> None:
    """The month's lock ends with the connection, and that with the process."""
    ledger.warm(COLD)
    assert ledger.run(KILLED_AT_A_STEP, str(COLD), Step.SEALED).returncode == SIGKILLED
    assert archive_month(ledger.settings, ledger.table, COLD).rows > 0
    with pytest.raises(ConflictError, match="is cold, not warm"):
        archive_month(ledger.settings, ledger.table, COLD)


def test_a_month_killed_between_warm_and_tidy_is_tidied_by_the_next_run(ledger: Ledger) -> None:
    ledger.fill(WARM)
    before = ledger.content()
    assert ledger.run(KILLED_BEFORE_TIDYING, str(WARM)).returncode == SIGKILLED
    assert ledger.tier(WARM) == "warm"
    assert ledger.catalogue(WARM)["tidied_at"] is None
    assert ledger.content() == before
    indexes = "SELECT count(*) FROM pg_indexes WHERE tablename = %s"
    assert ledger.sql(indexes, ledger.table.partition(WARM)) == [(5,)]

    assert finish_leftovers(ledger.settings, ledger.table) == 1
    assert ledger.catalogue(WARM)["tidied_at"] is not None
    assert ledger.sql(indexes, ledger.table.partition(WARM)) == [(1 + len(ledger.table.warm_indexes),)]
    assert ledger.content() == before
    assert finish_leftovers(ledger.settings, ledger.table) == 0


def test_moving_a_warm_month_to_warm_again_changes_nothing(ledger: Ledger) -> None:
    ledger.warm(WARM)
    before = ledger.catalogue(WARM)
    assert not warm_month(ledger.settings, ledger.table, WARM)
    assert ledger.catalogue(WARM) | {"tidied_at": None} == before | {"tidied_at": None}
