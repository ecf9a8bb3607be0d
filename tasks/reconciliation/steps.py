"""Reconciliation's steps as Prefect tasks; what they wrap decides what is done."""

from prefect import task

from config import Settings
from tasks.reconciliation.request import RunRequest
from tasks.reconciliation.run import RunResult, reconcile_day
from tasks.steps import OPTIONS


@task(name="reconcile day", task_run_name="{request.supplier} {request.day}", **OPTIONS)
def reconcile_day_step(settings: Settings, request: RunRequest) -> RunResult:
    """`tasks.reconciliation.run.reconcile_day`."""
    return reconcile_day(settings, request)
