"""What people see of a run in the lists of the Prefect UI: its name, its one line, and where a failure leads to."""

import logging
from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar, cast
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.runtime import flow_run
from prefect.settings import PREFECT_CLIENT_MAX_RETRIES, temporary_settings
from prefect.states import Completed

from config import load_settings
from ledger.errors import TreasuryError
from ledger.masking import cut
from tasks.alerting.runbooks import runbook

P = ParamSpec("P")
T = TypeVar("T")
_NAME_LIMIT = 120
_PATIENCE = {"timeout": 5.0}
_LOG = logging.getLogger("treasury.flows")
_MARK = "; runbook: "


def name_run(text: str) -> None:
    """Name the current run by what it does, for the lists of runs. Outside of a run nothing happens.

    A name is never worth the work: one that Prefect does not take at once is a line of the log.
    """
    run_id = flow_run.get_id()
    if not run_id:
        return
    try:
        with temporary_settings({PREFECT_CLIENT_MAX_RETRIES: 0}), get_client(_PATIENCE, sync_client=True) as client:
            client.update_flow_run(UUID(run_id), name=cut(text, _NAME_LIMIT))
    except Exception as error:  # noqa: BLE001  # of httpx, of Prefect, and of what may lie between
        _LOG.warning("the run keeps its name, %r was not taken: %s", text, type(error).__name__)


def finished(result: T, line: str) -> T:
    """End the run well: return what this returns. ``line`` becomes its name and the message of its state.

    Prefect takes the state in place of the result, and gives callers the result.
    """
    name_run(line)
    state: Any = Completed(message=line, data=result)
    return cast("T", state)


def explained(job: str) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Let the errors of a flow name the section of the runbook for ``job``. What else it raises stays as it is."""

    def decorate(function: Callable[P, T]) -> Callable[P, T]:
        @wraps(function)
        def run(*args: P.args, **kwargs: P.kwargs) -> T:
            try:
                return function(*args, **kwargs)
            except TreasuryError as error:
                if _MARK not in str(error):  # a flow that it calls has named its own
                    error.args = (f"{error}{_MARK}{runbook(load_settings(), job)}", *error.args[1:])
                raise

        return run

    return decorate
