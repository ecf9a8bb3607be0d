"""The steps as Prefect tasks: thin wrappers that give each a name, retries and a place in the UI.

Prefect orders and shows. What is done, and whether it was already done, is decided in PostgreSQL by the functions that
are wrapped here; so no result is cached and a retry is always safe.
"""

import asyncio
from collections.abc import Sequence
from datetime import date
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.runtime import task_run
from prefect.tasks import Task, exponential_backoff

from config import Settings
from ledger.errors import TransientError
from ledger.tables import TieredTable
from tasks.housekeeping import purge_health_results, purge_idempotency_keys, record_job
from tasks.nightly import finish_leftovers, move_month
from tasks.outcome import Action, Outcome
from tasks.plan import PlannedMove, plan_table
from tasks.rollover import RolloverReport, roll_table
from tasks.supplier_tests import Check, check_suppliers
from tasks.vending import SettleReport, settle_vends

_RETRIES = 2
_BACKOFF_S = 2


def is_transient(_: Task[..., Any], __: TaskRun, state: State[Any]) -> bool:
    """Whether a failed step may be tried again: only what the error tree calls transient."""
    return isinstance(state.result(raise_on_failure=False), TransientError)


OPTIONS: dict[str, Any] = {
    "cache_policy": NO_CACHE,
    "persist_result": False,
    "retries": _RETRIES,
    "retry_delay_seconds": exponential_backoff(backoff_factor=_BACKOFF_S),
    "retry_jitter_factor": 0.5,
    "retry_condition_fn": is_transient,
}


@task(name="roll table", task_run_name="roll {table.name}", **OPTIONS)
def roll_table_step(settings: Settings, table: TieredTable, as_of: date, plan_only: bool) -> RolloverReport:
    """`tasks.rollover.roll_table`."""
    return roll_table(settings, table, as_of, plan_only)


@task(name="plan table", task_run_name="plan {table.name}", **OPTIONS)
def plan_table_step(
    settings: Settings, table: TieredTable, as_of: date, today: date, allowed: frozenset[Action]
) -> list[PlannedMove]:
    """`tasks.plan.plan_table`."""
    return plan_table(settings, table, as_of, today, allowed)


@task(name="move month", task_run_name="{move.table} {move.month}", **OPTIONS)
def move_month_step(settings: Settings, move: PlannedMove) -> list[Outcome]:
    """`tasks.nightly.move_month`; a transient failure is raised while tries remain, then returned as an outcome."""
    outcomes = move_month(settings, move)
    if outcomes[-1].transient and task_run.run_count <= _RETRIES:
        raise TransientError(outcomes[-1].reason)
    return outcomes


@task(name="finish leftovers", task_run_name="leftovers of {table.name}", **OPTIONS)
def finish_leftovers_step(settings: Settings, table: TieredTable) -> int:
    """`tasks.nightly.finish_leftovers`."""
    return finish_leftovers(settings, table)


@task(name="purge idempotency keys", **OPTIONS)
def purge_idempotency_keys_step(settings: Settings) -> int:
    """`tasks.housekeeping.purge_idempotency_keys`."""
    return purge_idempotency_keys(settings)


@task(name="purge health results", **OPTIONS)
def purge_health_results_step(settings: Settings) -> int:
    """`tasks.housekeeping.purge_health_results`."""
    return purge_health_results(settings)


@task(name="record job", task_run_name="record {job}", **OPTIONS)
def record_job_step(settings: Settings, job: str, error: str | None = None) -> None:
    """`tasks.housekeeping.record_job`."""
    record_job(settings, job, error)


@task(name="test suppliers", **OPTIONS)
def check_suppliers_step(settings: Settings, names: Sequence[str]) -> list[Check]:
    """`tasks.supplier_tests.check_suppliers`."""
    return asyncio.run(check_suppliers(settings, names))


@task(name="settle vends", **OPTIONS)
def settle_vends_step(settings: Settings) -> SettleReport:
    """`tasks.vending.settle_vends`."""
    return asyncio.run(settle_vends(settings))
