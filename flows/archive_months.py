"""Archiving: every month that is due goes from hot to warm and from warm to cold, each as a task of its own."""

from datetime import date
from typing import Any, cast
from uuid import UUID

from prefect import flow, get_run_logger
from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.futures import PrefectFuture, as_completed
from prefect.task_runners import ThreadPoolTaskRunner

from config import Settings, load_settings
from flows.artifacts import publish_outcomes, publish_plan
from flows.console import explained, finished, name_run
from flows.futures import raise_together, result_or_error
from flows.parameters import AsOf, Moves, PlanOnly, Tables, allowed_moves
from ledger.counts import counted
from ledger.errors import DataError, TransientError, TreasuryError
from tasks.admin.setup import check_clock
from tasks.archiving.calendar import AsOfError, utc_today
from tasks.archiving.outcome import MoveAction, MoveOutcome, MoveResult, outcome_counts
from tasks.archiving.plan import PlannedMove
from tasks.steps import finish_leftovers_step, move_month_step, plan_table_step

_WORKERS: Any = ThreadPoolTaskRunner(max_workers=load_settings().archive_workers)  # its types do not fit @flow's


@flow(name="archive-months", task_runner=_WORKERS)
@explained("archive-months")
def archive_months(
    as_of: AsOf = None, tables: Tables = (), moves: Moves = "all", plan_only: PlanOnly = False
) -> list[MoveOutcome]:
    """Move every month that is due; with ``plan_only`` only show what would move and what is held back.

    All tables are planned before anything moves, so a wrong ``as_of`` or name changes nothing. A table or a month that
    fails stops no other; the run fails at the end if one did. Safe to run again at any time, also after a kill.
    """
    settings = load_settings()
    logger = get_run_logger()
    check_clock(settings)
    day, chosen, allowed = as_of or utc_today(), settings.chosen_tables(tables), allowed_moves(moves)
    planned = [plan_table_step.submit(settings, table, day, utc_today(), allowed) for table in chosen]
    plans: list[list[PlannedMove] | Exception] = [*map(result_or_error, planned)]
    problems: list[Exception] = [plan for plan in plans if isinstance(plan, Exception)]
    raise_together([problem for problem in problems if isinstance(problem, AsOfError)])
    due = [move for plan in plans if not isinstance(plan, Exception) for move in plan]
    logger.info(publish_plan(due, day))
    task = _task(due, day)
    if plan_only:
        raise_together(problems)
        return finished([_planned(move) for move in due], f"plan: {task}")
    name_run(task)
    outcomes = _move_all(settings, due, day)
    leftovers = [finish_leftovers_step.submit(settings, table) for table in chosen]
    logger.info(publish_outcomes(outcomes, day))
    problems += [_error(outcome) for outcome in outcomes if outcome.result is MoveResult.FAILED]
    problems += [result for result in map(result_or_error, leftovers) if isinstance(result, Exception)]
    raise_together(problems)
    return finished(outcomes, f"{task}: {outcome_counts(outcomes)}" if outcomes else task)


def _task(due: list[PlannedMove], as_of: date) -> str:
    """Say in a line what will be moved: `archive 2025-08 -> cold, 2 tables`."""
    moving = [move for move in due if move.made]
    if not moving:
        held = f", {len(due)} held back" if due else ""
        return f"archive: nothing to move as of {as_of}{held}"
    months = sorted({move.month for move in moving})
    span = str(months[0]) if len(months) == 1 else f"{months[0]} to {months[-1]}"
    made = {action for move in moving for action in move.made}
    tiers = ", ".join(action.rpartition(" ")[2] for action in MoveAction if action in made)
    tables = {move.table for move in moving}
    return f"archive {span} -> {tiers}, {counted(len(tables), 'table')}"


def _error(outcome: MoveOutcome) -> TreasuryError:
    kind = TransientError if outcome.transient else DataError
    return kind(f"{outcome.table} {outcome.month}: {outcome.reason}")


def _planned(move: PlannedMove) -> MoveOutcome:
    result = MoveResult.HELD_BACK if move.held_at else MoveResult.PLANNED
    action = move.held_at or move.actions[-1]
    return MoveOutcome(move.table, move.month, action, result, move.rows, move.postgres_bytes, reason=move.held_back)


def _move_all(settings: Settings, moves: list[PlannedMove], as_of: date) -> list[MoveOutcome]:
    """Run every month as a task and keep the progress artifact up to date; oldest months first."""
    artifact = create_progress_artifact(progress=0.0, key="archive-progress", description=f"Months moved as of {as_of}")
    progress = cast("UUID", artifact)  # in a flow that is not async
    futures = {move_month_step.submit(settings, move): move for move in moves}
    outcomes: list[MoveOutcome] = []
    for done, future in enumerate(as_completed(list(futures)), start=1):
        outcomes += _outcomes(future, futures[future])
        update_progress_artifact(artifact_id=progress, progress=100.0 * done / len(futures))
    return sorted(outcomes, key=lambda outcome: (outcome.table, outcome.month, outcome.action))


def _outcomes(future: PrefectFuture[list[MoveOutcome]], move: PlannedMove) -> list[MoveOutcome]:
    result = result_or_error(future)
    if isinstance(result, Exception):
        return [MoveOutcome(move.table, move.month, move.actions[0], MoveResult.FAILED, move.rows, reason=repr(result))]
    return result
