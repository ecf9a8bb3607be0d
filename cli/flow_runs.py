"""Flow runs: in this process, or on the worker of a deployment.

Import this module after `cli.archive.enter_prefect` only: Prefect reads its settings from the environment when it is
imported.
"""

import time
from collections.abc import Callable
from typing import Any

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey
from prefect.client.schemas.objects import FlowRun
from prefect.client.schemas.sorting import ArtifactSort
from prefect.deployments import run_deployment
from prefect.logging.handlers import APILogWorker

from flows.archive_months import archive_months
from flows.console import UnforeseenError
from flows.delete_old_transactions import delete_old_transactions
from flows.roll_partitions import roll_partitions
from flows.run_archiving_operations import run_archiving_operations
from ledger.errors import DataError
from tasks.archiving.rollover import RolloverReport
from tasks.retention.deletion import DeletionOutcome

_POLL_S = 1.0
_PROGRESS_KEY = "archive-progress"


def roll(parameters: dict[str, Any]) -> list[RolloverReport]:
    """Run `roll_partitions` in this process. Returns its reports; raises what the flow raises."""
    reports: list[RolloverReport] = _logged(lambda: roll_partitions(**parameters))
    return reports


def archive(parameters: dict[str, Any], *, nightly: bool) -> list[Any]:
    """Run `archive_months`, or the nightly flow, in this process. Returns its outcomes; raises what the flow raises."""
    flow = run_archiving_operations if nightly else archive_months
    outcomes: list[Any] = _logged(lambda: flow(**parameters))
    return outcomes


def delete(parameters: dict[str, Any]) -> list[DeletionOutcome]:
    """Run `delete_old_transactions` in this process, without waiting for approvals; as `archive`."""
    chosen = {"wait_hours": 0} | parameters
    outcomes: list[DeletionOutcome] = _logged(lambda: delete_old_transactions(**chosen))
    return outcomes


def _logged(run: Callable[[], Any]) -> Any:
    try:
        return run()
    except UnforeseenError as error:  # a command says by itself what it does not foresee (`cli.unforeseen`)
        raise error.__cause__ or error from None
    finally:
        APILogWorker.drain_all()  # the server may stop right after this


def start(deployment: str) -> FlowRun:
    """Start a run of ``deployment`` as the Prefect UI does."""
    flow_run: Any = run_deployment(deployment, timeout=0)
    started: FlowRun = flow_run
    return started


def follow(flow_run: FlowRun, timeout_s: float, show_percent: Callable[[float], None]) -> None:
    """Wait until the worker has finished ``flow_run``. Raises DataError if it fails or takes longer."""
    deadline_s = time.monotonic() + timeout_s
    with get_client(sync_client=True) as client:
        while not (state := client.read_flow_run(flow_run.id).state) or not state.is_final():
            if time.monotonic() > deadline_s:
                raise DataError(f"flow run {flow_run.name} did not finish within {timeout_s:.0f} s")
            show_percent(_percent_done(client))
            time.sleep(_POLL_S)
    if not state.is_completed():
        raise DataError(f"flow run {flow_run.name} ended as {state.name}: {state.message}")
    show_percent(100.0)


def _percent_done(client: SyncPrefectClient) -> float:
    newest = client.read_artifacts(
        artifact_filter=ArtifactFilter(key=ArtifactFilterKey(any_=[_PROGRESS_KEY])),
        sort=ArtifactSort.CREATED_DESC,
        limit=1,
    )
    data: Any = newest[0].data if newest else 0.0
    return float(data)
