"""Two at the same time: one gets the month, the other is told so, and nothing is done twice."""

import json
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest

from ledger.errors import ConflictError
from ledger.months import months_between
from sql.connection import connect
from tasks.archiving.month_lock import month_lock
from tasks.archiving.move_month import move_month
from tasks.archiving.outcome import MoveAction, MoveResult
from tasks.archiving.plan import plan_table
from tasks.archiving.to_cold import Step, archive_month
from tasks.archiving.to_warm import warm_month
from tests.tasks.archiving.ledger import COLD, TODAY, WARM, Ledger

MOVED_TO_COLD = (MoveAction.TO_COLD, MoveResult.MOVED)
A_NIGHT = """
import json, sys
from datetime import date
from config import load_settings
from tasks.archiving.move_month import finish_leftovers, move_month
from tasks.archiving.plan import plan_table

settings = load_settings()
table = settings.table("transactions")
today = date.fromisoformat(sys.argv[1])
moves = plan_table(settings, table, today, today)
print("planned", flush=True)
sys.stdin.readline()
outcomes = [outcome for move in moves for outcome in move_month(settings, move)]
finish_leftovers(settings, table)
print(json.dumps([[str(outcome.month), outcome.action, outcome.result, outcome.reason] for outcome in outcomes]))
"""


def test_a_month_in_hand_is_refused_to_everybody_else_at_every_step(ledger: Ledger) -> None:
    ledger.warm(COLD)
    before = ledger.content()
    (move,) = plan_table(ledger.settings, ledger.table, TODAY, TODAY)
    refused = []

    def try_too(step: Step) -> None:
        (outcome,) = move_month(ledger.settings, move)
        refused.append((step, outcome.result))
        with pytest.raises(ConflictError):
            archive_month(ledger.settings, ledger.table, COLD)

    archive_month(ledger.settings, ledger.table, COLD, try_too)
    assert refused == [(step, MoveResult.BUSY) for step in Step]
    assert ledger.catalogue(COLD)["attempt"] == 1
    assert ledger.catalogue(COLD)["last_error"] is None
    assert ledger.content() == before
    ledger.check_archive()


def test_a_month_is_free_before_the_session_that_held_it_has_ended(ledger: Ledger) -> None:
    dsn = ledger.settings.database_dsn
    with connect(dsn, "first") as first, connect(dsn, "second") as second:
        refused = pytest.raises(ConflictError, match="by another run")
        with month_lock(first, ledger.table, COLD), refused, month_lock(second, ledger.table, COLD):
            pass
        with month_lock(second, ledger.table, COLD):
            assert not first.closed


def test_two_threads_on_one_month_move_it_once(ledger: Ledger) -> None:
    ledger.warm(COLD)
    before = ledger.content()
    (move,) = plan_table(ledger.settings, ledger.table, TODAY, TODAY)
    with ThreadPoolExecutor(2) as pool:
        results = [
            outcome.result
            for outcomes in pool.map(move_month, [ledger.settings] * 2, [move] * 2)
            for outcome in outcomes
        ]
    assert sorted(results) == [MoveResult.BUSY, MoveResult.MOVED]
    assert ledger.content() == before
    ledger.check_archive()


@pytest.mark.heavy("two threads on one month move it once")
def test_two_whole_nights_at_once_move_every_month_once(ledger: Ledger) -> None:
    cold = list(months_between(COLD, COLD.plus(2)))
    for month in (*cold, WARM):
        ledger.fill(month)
    cold_names = [str(month) for month in cold]
    before = ledger.content()
    nights = [ledger.start(A_NIGHT, TODAY.isoformat()) for _ in range(2)]
    for night in nights:
        assert night.stdout is not None
        assert night.stdout.readline() == "planned\n"
    outcomes = _go(nights)
    assert sorted(month for month, action, result, _ in outcomes if (action, result) == MOVED_TO_COLD) == cold_names
    warmed = [
        month for month, action, result, _ in outcomes if (action, result) == (MoveAction.TO_WARM, MoveResult.MOVED)
    ]
    assert sorted(warmed) == sorted([*cold_names, str(WARM)])
    assert {result for _, _, result, _ in outcomes} <= {MoveResult.MOVED, MoveResult.ALREADY, MoveResult.BUSY}
    assert ledger.content() == before
    assert {tier for _, tier in ledger.whole()} == {"cold", "warm"}
    ledger.check_archive()


def _go(nights: "list[subprocess.Popen[str]]") -> list[list[str]]:
    with ThreadPoolExecutor(2) as pool:
        ended = list(pool.map(lambda night: night.communicate("go\n", timeout=120), nights))
    assert [night.returncode for night in nights] == [0, 0], ended
    return [outcome for out, _ in ended for outcome in json.loads(out)]


def test_of_two_runs_that_plan_the_same_month_the_second_says_that_it_was_moved_already(ledger: Ledger) -> None:
    ledger.fill(WARM)
    (first,) = plan_table(ledger.settings, ledger.table, TODAY, TODAY)
    (second,) = plan_table(ledger.settings, ledger.table, TODAY, TODAY)
    assert first == second

    assert [outcome.result for outcome in move_month(ledger.settings, first)] == [MoveResult.MOVED]
    (late,) = move_month(ledger.settings, second)
    assert (late.result, late.reason) == (MoveResult.ALREADY, "by another run")
    (again,) = move_month(ledger.settings, first)  # as Prefect tries a step again
    assert (again.result, again.reason) == (MoveResult.MOVED, "")


def test_a_month_that_another_run_made_warm_still_goes_on_to_cold(ledger: Ledger) -> None:
    ledger.fill(COLD)
    (move,) = plan_table(ledger.settings, ledger.table, TODAY, TODAY)
    assert warm_month(ledger.settings, ledger.table, COLD)
    outcomes = move_month(ledger.settings, move)
    assert [outcome.result for outcome in outcomes] == [MoveResult.ALREADY, MoveResult.MOVED]
    assert ledger.tier(COLD) == "cold"
