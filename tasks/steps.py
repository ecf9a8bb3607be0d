"""The steps as Prefect tasks: thin wrappers that give each one a name, retries and a place in the UI. All are here.

Prefect orders and shows. What is done, and whether it was already done, is decided in PostgreSQL by the functions that
are wrapped here. So no result is cached and a retry is always safe.
"""

import asyncio
from collections.abc import Sequence
from datetime import date, datetime
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State, TaskRun
from prefect.runtime import task_run
from prefect.tasks import Task, exponential_backoff

from config import Settings
from ledger.errors import TransientError
from ledger.months import Month
from ledger.retention import DeletionPlan
from ledger.tables import TieredTable
from sql.deletion_requests import DeletionRequest
from sql.restored import Request
from tasks.admin.housekeeping import purge_health_results, purge_idempotency_keys, purge_sessions, record_job
from tasks.alerting.notices import Sent, send_notices
from tasks.archiving.move_month import finish_leftovers, move_month
from tasks.archiving.outcome import MoveAction, MoveOutcome
from tasks.archiving.plan import PlannedMove, plan_table
from tasks.archiving.rollover import RolloverReport, roll_table
from tasks.health import CheckResult, run_checks
from tasks.health.record import Recorded, record
from tasks.reconciliation.runs.request import RunRequest
from tasks.reconciliation.runs.run import RunResult, reconcile_day
from tasks.restoring.back_to_warm import ReturnedMonth, return_month
from tasks.restoring.restore import RestoredPart, drop_copies, restore_month
from tasks.retention.approvals import request_by_schedule
from tasks.retention.costs import TableCost, table_costs
from tasks.retention.deletion import DeletionOutcome, delete_months
from tasks.retention.deletion_plan import plan_deletion
from tasks.retention.locks import LockComparison, check_locks
from tasks.statements.absences import declare_by_settings
from tasks.statements.intake import Intake, take_in
from tasks.statements.lateness import report_late
from tasks.totals.keeping import TotalsOutcome, keep_daily_totals
from tasks.transparency.publish import Published, publish_log
from tasks.vending.purchase import SettleReport, settle_vends
from tasks.vending.supplier_tests import TrialCheck, check_suppliers
from tasks.verifying.drill import Drill, drill, drill_again
from tasks.verifying.reverification import Night, reverify
from tasks.watch import WatchReport, watch_transactions

_RETRIES = 2
_BACKOFF_S = 2


def is_transient(_: Task[..., Any], __: TaskRun, state: State[Any]) -> bool:
    """Return whether a failed step may be tried again: only what the error tree calls transient."""
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
    """`tasks.archiving.rollover.roll_table`."""
    return roll_table(settings, table, as_of, plan_only)


@task(name="plan table", task_run_name="plan {table.name}", **OPTIONS)
def plan_table_step(
    settings: Settings, table: TieredTable, as_of: date, today: date, allowed: frozenset[MoveAction]
) -> list[PlannedMove]:
    """`tasks.archiving.plan.plan_table`."""
    return plan_table(settings, table, as_of, today, allowed)


@task(name="move month", task_run_name="{move.table} {move.month}", **OPTIONS)
def move_month_step(settings: Settings, move: PlannedMove) -> list[MoveOutcome]:
    """`tasks.archiving.move_month`; a transient failure is raised while tries remain, then returned as an outcome."""
    outcomes = move_month(settings, move)
    if outcomes[-1].transient and task_run.run_count <= _RETRIES:
        raise TransientError(outcomes[-1].reason)
    return outcomes


@task(name="finish leftovers", task_run_name="leftovers of {table.name}", **OPTIONS)
def finish_leftovers_step(settings: Settings, table: TieredTable) -> int:
    """`tasks.archiving.move_month.finish_leftovers`."""
    return finish_leftovers(settings, table)


@task(name="purge idempotency keys", **OPTIONS)
def purge_idempotency_keys_step(settings: Settings) -> int:
    """`tasks.admin.housekeeping.purge_idempotency_keys`."""
    return purge_idempotency_keys(settings)


@task(name="purge health results", **OPTIONS)
def purge_health_results_step(settings: Settings) -> int:
    """`tasks.admin.housekeeping.purge_health_results`."""
    return purge_health_results(settings)


@task(name="purge sessions of the dashboard", **OPTIONS)
def purge_sessions_step(settings: Settings) -> int:
    """`tasks.admin.housekeeping.purge_sessions`."""
    return purge_sessions(settings)


@task(name="record job", task_run_name="record {job}", **OPTIONS)
def record_job_step(settings: Settings, job: str, error: str | None = None) -> None:
    """`tasks.admin.housekeeping.record_job`."""
    record_job(settings, job, error)


@task(name="test suppliers", **OPTIONS)
def check_suppliers_step(settings: Settings, names: Sequence[str]) -> list[TrialCheck]:
    """`tasks.vending.supplier_tests.check_suppliers`."""
    return asyncio.run(check_suppliers(settings, names))


@task(name="settle vends", **OPTIONS)
def settle_vends_step(settings: Settings) -> SettleReport:
    """`tasks.vending.purchase.settle_vends`."""
    return asyncio.run(settle_vends(settings))


@task(name="take in statements", task_run_name="take in {supplier} {day}", **OPTIONS)
def take_in_step(settings: Settings, supplier: str, day: date, url: str | None, replace: bool) -> list[Intake]:
    """`tasks.statements.intake.take_in`; a day without a file is declared where the settings say that it has none."""
    intakes = take_in(settings, supplier, day, url=url, actor="take-in-statements", replace=replace)
    if not intakes and url is None:
        declare_by_settings(settings, supplier, day)
    return intakes


@task(name="report late statements", **OPTIONS)
def report_late_step(settings: Settings) -> list[tuple[str, date]]:
    """`tasks.statements.lateness.report_late`."""
    return report_late(settings)


@task(name="reconcile day", task_run_name="{request.supplier} {request.day}", **OPTIONS)
def reconcile_day_step(settings: Settings, request: RunRequest) -> RunResult:
    """`tasks.reconciliation.runs.run.reconcile_day`."""
    return reconcile_day(settings, request)


@task(name="plan deletion", **OPTIONS)
def plan_deletion_step(settings: Settings, tables: Sequence[TieredTable], as_of: date | None) -> DeletionPlan:
    """`tasks.retention.deletion_plan.plan_deletion`."""
    return plan_deletion(settings, tables, as_of)


@task(name="request deletion", **OPTIONS)
def request_deletion_step(
    settings: Settings, tables: Sequence[TieredTable], as_of: date | None
) -> DeletionRequest | None:
    """`tasks.retention.approvals.request_by_schedule`."""
    return request_by_schedule(settings, tables, as_of)


@task(name="delete months", **OPTIONS)
def delete_months_step(settings: Settings, request_id: int | None = None) -> list[DeletionOutcome]:
    """`tasks.retention.deletion.delete_months`."""
    return delete_months(settings, request_id)


@task(name="restore month", task_run_name="restore {table.name} {month}", **OPTIONS)
def restore_month_step(settings: Settings, table: TieredTable, month: Month, who: Request) -> list[RestoredPart]:
    """`tasks.restoring.restore.restore_month`."""
    return restore_month(settings, table, month, who)


@task(name="return month", task_run_name="return {table.name} {month}", **OPTIONS)
def return_month_step(settings: Settings, table: TieredTable, month: Month, who: Request) -> ReturnedMonth:
    """`tasks.restoring.back_to_warm.return_month`."""
    return return_month(settings, table, month, who)


@task(name="drop expired copies", **OPTIONS)
def drop_expired_copies_step(settings: Settings) -> int:
    """`tasks.restoring.restore.drop_copies`, of those whose time is over; returns how many."""
    return len(drop_copies(settings, only_expired=True))


@task(name="compute costs", **OPTIONS)
def compute_costs_step(settings: Settings, tables: Sequence[TieredTable]) -> list[TableCost]:
    """`tasks.retention.costs.table_costs`."""
    return table_costs(settings, tables)


@task(name="publish log", **OPTIONS)
def publish_log_step(settings: Settings) -> Published | None:
    """`tasks.transparency.publish.publish_log`."""
    return publish_log(settings)


@task(name="verify archive", **OPTIONS)
def verify_archive_step(settings: Settings) -> Night:
    """`tasks.verifying.reverification.reverify`."""
    return reverify(settings)


@task(name="check locks", **OPTIONS)
def check_locks_step(settings: Settings) -> LockComparison:
    """`tasks.retention.locks.check_locks`."""
    return check_locks(settings)


@task(name="keep daily totals", **OPTIONS)
def keep_daily_totals_step(settings: Settings) -> list[TotalsOutcome]:
    """`tasks.totals.keeping.keep_daily_totals`."""
    return keep_daily_totals(settings)


@task(name="drill doubted parts", **OPTIONS)
def drill_again_step(settings: Settings) -> None:
    """`tasks.verifying.drill.drill_again`."""
    drill_again(settings)


@task(name="drill archive", **OPTIONS)
def drill_archive_step(settings: Settings) -> Drill | None:
    """`tasks.verifying.drill.drill`."""
    return drill(settings)


@task(name="watch transactions", **OPTIONS)
def watch_transactions_step(settings: Settings) -> WatchReport:
    """`tasks.watch.watch_transactions`."""
    return watch_transactions(settings)


@task(name="send notices", **OPTIONS)
def send_notices_step(settings: Settings) -> Sent:
    """`tasks.alerting.notices.send_notices`."""
    return send_notices(settings)


# A run of the checks has a time limit of its own and is repeated every five minutes: no step of it is retried.
@task(name="run health checks", cache_policy=NO_CACHE, persist_result=False)
def run_checks_step(settings: Settings, at: datetime) -> list[CheckResult]:
    """`tasks.health.run_checks`."""
    return run_checks(settings, now=at)


@task(name="record health", cache_policy=NO_CACHE, persist_result=False)
def record_health_step(settings: Settings, results: list[CheckResult], at: datetime, within_s: float) -> Recorded:
    """`tasks.health.record.record`."""
    return record(settings, results, at, within_s)
