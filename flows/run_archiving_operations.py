"""The night's work in one run: the partitions ahead, what is past its time, then every month that is due."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from prefect import flow

from config import load_settings
from flows.archive_months import archive_months
from flows.artifacts import publish_costs
from flows.console import explained, finished, name_run
from flows.futures import raise_together
from flows.parameters import AsOf, Moves, PlanOnly, Tables
from flows.roll_partitions import roll_partitions
from flows.schedule import HOOKS
from ledger.errors import TreasuryError
from tasks.archiving.calendar import utc_today
from tasks.archiving.outcome import MoveOutcome, outcome_counts
from tasks.health.months import NIGHT
from tasks.steps import (
    compute_costs_step,
    drop_expired_copies_step,
    purge_health_results_step,
    purge_idempotency_keys_step,
    purge_sessions_step,
    record_job_step,
)


@flow(name="run-archiving-operations", **HOOKS)
@explained("run-archiving-operations")
def run_archiving_operations(
    as_of: AsOf = None, tables: Tables = (), moves: Moves = "all", plan_only: PlanOnly = False
) -> list[MoveOutcome]:
    """Roll the partitions, delete keys, health results, sessions and copies of months past their time, then archive.

    The artifact `storage-costs` says what the stored months cost, and what the tiers save.

    What fails before the archiving does not stop it; the run fails after it. Safe to run again at any time.
    """
    night = f"night of {as_of or utc_today()}"
    name_run(night)
    problems = _problems_of(lambda: roll_partitions(as_of, tables, plan_only))
    if not plan_only:
        problems += _problems_of(lambda: purge_idempotency_keys_step(load_settings()))
        problems += _problems_of(lambda: purge_health_results_step(load_settings()))
        problems += _problems_of(lambda: purge_sessions_step(load_settings()))
        problems += _problems_of(lambda: drop_expired_copies_step(load_settings()))
    with _recorded(plan_only):
        outcomes = archive_months(as_of, tables, moves, plan_only)
        if not plan_only:
            problems += _problems_of(partial(_publish_costs, tables))
        raise_together(problems)
    return finished(outcomes, f"{night}: {outcome_counts(outcomes) or 'nothing to move'}")


def _publish_costs(tables: Tables) -> None:
    settings = load_settings()
    publish_costs(compute_costs_step(settings, settings.chosen_tables(tables)), settings.prices.currency)


@contextmanager
def _recorded(plan_only: bool) -> Iterator[None]:
    """Note how the night ended, for the health checks to see. PostgreSQL may be what is away: it ends as it ends."""
    try:
        yield
    except TreasuryError as error:
        if not plan_only:
            _problems_of(partial(record_job_step, load_settings(), NIGHT, str(error)))
        raise
    if not plan_only:
        record_job_step(load_settings(), NIGHT)


def _problems_of(step: Callable[[], object]) -> list[Exception]:
    """Run a step that must not stop the ones after it; what it failed with is kept for the end of the run."""
    try:
        step()
    except TreasuryError as error:
        return [error]
    return []
