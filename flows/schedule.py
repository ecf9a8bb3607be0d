"""The duties of every flow with a schedule beside its work: it takes over the runs that wait, and notes how it ended.

Each deployment runs once at a time and further runs wait. The work is always "all that there is until now". A run that
begins does that of every scheduled run that was due before, so those are skipped. After an outage, or behind a long
run, one run is left to do. Runs that somebody asked for are never skipped.
"""

from datetime import UTC, datetime
from typing import Any

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import FlowRunFilter
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.context import FlowRunContext
from prefect.states import Cancelled
from prefect.utilities.callables import get_parameter_defaults

from config import load_settings
from tasks.admin.schedules import SKIPPED, counts, note_outcome

_MESSAGE = "A run that began later does its work, too."
_MOST = 200  # Prefect schedules at most 100 runs ahead; the rest is skipped by the next run


def take_over(flow: Any, flow_run: FlowRun, _state: State[Any]) -> None:
    """Skip the scheduled runs of the same deployment that are due and still wait. Called when a run begins."""
    with get_client(sync_client=True) as client:
        if _scheduled_deployment(client, flow, flow_run) is None:
            return
        for run in _waiting(client, flow_run):
            client.set_flow_run_state(run.id, Cancelled(name=SKIPPED, message=_MESSAGE))


def note_success(flow: Any, flow_run: FlowRun, _state: State[Any] | None) -> None:
    """Note that the schedule's work was done. Called when a run has completed."""
    with get_client(sync_client=True) as client:
        deployment = _scheduled_deployment(client, flow, flow_run)
    if deployment is not None:
        note_outcome(load_settings(), deployment)


def note_so_far() -> None:
    """Note that the schedule's work is done as far as it needs no person: the rest of the run waits for one."""
    context = FlowRunContext.get()
    if context is not None and context.flow_run is not None:
        note_success(context.flow, context.flow_run, None)


def note_failure(flow: Any, flow_run: FlowRun, state: State[Any]) -> None:
    """Note that, and why, the schedule's work was not done. Called when a run has failed, crashed or was cancelled."""
    with get_client(sync_client=True) as client:
        deployment = _scheduled_deployment(client, flow, flow_run)
    if deployment is not None:
        note_outcome(load_settings(), deployment, f"{state.name}: {state.message}")


def _scheduled_deployment(client: SyncPrefectClient, flow: Any, flow_run: FlowRun) -> str | None:
    """The name of the deployment whose schedule the run counts for; None for one that was called or asked for
    something else. A form that was sent as it was shown gives every default: that asks for nothing else.
    """
    if flow_run.deployment_id is None:
        return None
    name = client.read_deployment(flow_run.deployment_id).name
    defaults = get_parameter_defaults(flow.fn)
    differing = {
        key: value for key, value in flow_run.parameters.items() if not _is_same(value, defaults.get(key, ...))
    }
    return name if counts(load_settings(), name, differing) else None


def _is_same(value: Any, default: Any) -> bool:
    return bool(value == (list(default) if isinstance(default, tuple) else default))


def _waiting(client: SyncPrefectClient, flow_run: FlowRun) -> list[FlowRun]:
    due = {
        "deployment_id": {"any_": [flow_run.deployment_id]},
        "state": {"type": {"any_": [StateType.SCHEDULED]}},
        "expected_start_time": {"before_": datetime.now(UTC)},
    }
    runs = client.read_flow_runs(flow_run_filter=FlowRunFilter.model_validate(due), limit=_MOST)
    return [run for run in runs if run.auto_scheduled and run.id != flow_run.id]


HOOKS: dict[str, Any] = {
    "on_running": [take_over],
    "on_completion": [note_success],
    "on_failure": [note_failure],
    "on_crashed": [note_failure],
    "on_cancellation": [note_failure],
}
