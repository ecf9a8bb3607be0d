"""What people see of a run in the lists of the Prefect UI: its name, its one line, and where a failure leads to."""

import logging
from asyncio import CancelledError
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
from ledger.masking import cut, mask_text
from tasks.alerting.runbooks import runbook

P = ParamSpec("P")
T = TypeVar("T")
_NAME_LIMIT = 120
_PATIENCE = {"timeout": 5.0}
_LOG = logging.getLogger("treasury.flows")
_MARK = "; runbook: "


class UnforeseenError(Exception):
    """What no code here foresaw, with the section of the runbook; it is made from the error itself, its cause."""


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
    """Name the run by its ``job`` when it begins, and let its error name the section of the runbook for ``job``.

    A flow that knows more gives the run a better name. A time-out ends as TimeoutError. What is none of this
    project's errors ends as UnforeseenError with its masked text, because not every error can take a longer one.
    """

    def decorate(function: Callable[P, T]) -> Callable[P, T]:
        @wraps(function)
        def run(*args: P.args, **kwargs: P.kwargs) -> T:
            name_run(job.replace("-", " "))
            try:
                return function(*args, **kwargs)
            except TreasuryError as error:
                if _MARK not in str(error):  # a flow that it calls has named its own
                    error.args = (_explanation(str(error), job), *error.args[1:])
                raise
            except CancelledError as error:  # what Prefect ends a flow with when its time is over
                raise TimeoutError(_explanation("not done within its time", job)) from error
            except Exception as error:
                if _MARK in str(error):
                    raise
                kind = TimeoutError if isinstance(error, TimeoutError) else UnforeseenError
                raise kind(_explanation(mask_text(f"{type(error).__name__}: {error}"), job)) from error

        return run

    return decorate


def _explanation(text: str, job: str) -> str:
    return f"{text}{_MARK}{runbook(load_settings(), job)}"
