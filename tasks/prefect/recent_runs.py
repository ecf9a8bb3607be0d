"""The newest run of each of the project's flows, for pages: Prefect is asked once, with little patience."""

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from itertools import groupby
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote, urlsplit

from config import Settings
from ledger.errors import ConfigError, TransientError
from tasks.prefect.access import PrefectAccess
from tasks.prefect.deployments import PROJECT, deployments

TIMEOUT_S = 3.0
_AT_ONCE = 4
_COMPLETED = "COMPLETED"
_STATES = (_COMPLETED, "FAILED", "CRASHED", "CANCELLED", "CANCELLING", "RUNNING", "PENDING", "PAUSED")
_BAD = ("CRASHED", "FAILED")
_REFUSALS = (401, 403)


@dataclass(frozen=True, slots=True)
class RecentRun:
    """The newest run of a flow that has begun. Times are UTC.

    ``flow`` is the flow's name, or that of its deployment where it has several. ``name`` says what the run did.
    ``state_type`` is Prefect's, such as `COMPLETED`; ``state`` its name for people. ``url`` is its page in the UI.
    ``succeeded_at`` is when the flow's last run that completed began; None where Prefect has none.
    """

    name: str
    flow: str
    state: str
    state_type: str
    started_at: datetime | None
    took_s: float
    url: str
    succeeded_at: datetime | None

    @property
    def is_bad(self) -> bool:
        """Whether it crashed or failed."""
        return self.state_type in _BAD


def newest_runs(settings: Settings, timeout_s: float = TIMEOUT_S, whole_s: float = TIMEOUT_S) -> list[RecentRun]:
    """The newest run of each flow that has run: those that crashed or failed first, then the newest first.

    A flow with several deployments, such as `reconcile-supplier`, has one for each of them. Raises TransientError when
    Prefect does not answer a request in ``timeout_s`` or all of them in ``whole_s`` seconds. Raises ConfigError when it
    is not known or refuses the login.
    """
    access, url, until_s = PrefectAccess.of(settings), ui_url(settings), time.monotonic() + whole_s
    try:
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            answers = list(
                pool.map(partial(_newest, access, url, timeout_s, until_s), *zip(*_flows(settings), strict=True))
            )
    except HTTPError as error:
        if error.code in _REFUSALS:
            raise ConfigError("Prefect refuses the login: set TREASURY_PREFECT_API_AUTH_STRING to its own") from None
        raise TransientError(f"Prefect answered {error.code}") from None
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise TransientError(f"Prefect gave no good answer: {type(error).__name__}") from None
    runs = sorted((run for run in answers if run is not None), key=lambda run: str(run.started_at), reverse=True)
    return sorted(runs, key=lambda run: not run.is_bad)


def _flows(settings: Settings) -> list[tuple[str, Mapping[str, Any]]]:
    """Each flow of the project with the filter of its runs; by deployment where it has several."""

    def of(deployment: Mapping[str, Any]) -> str:
        return str(deployment["entrypoint"]).rpartition(":")[2].replace("_", "-")

    flows = list[tuple[str, Mapping[str, Any]]]()
    for flow, grouped in groupby(sorted(deployments(PROJECT, settings.suppliers), key=of), key=of):
        names = [str(deployment["name"]) for deployment in grouped]
        if len(names) == 1:
            flows.append((flow, {"flows": {"name": {"any_": [flow]}}}))
        else:
            flows += [(name, {"deployments": {"name": {"any_": [name]}}}) for name in names]
    return flows


def _newest(
    access: PrefectAccess, url: str, timeout_s: float, until_s: float, flow: str, which: Mapping[str, Any]
) -> RecentRun | None:
    def ask(states: Sequence[str]) -> Mapping[str, Any] | None:
        left_s = until_s - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        begun = {"state": {"type": {"any_": list(states)}}, "start_time": {"is_null_": False}}
        wanted = {"sort": "START_TIME_DESC", "limit": 1, "flow_runs": begun, **which}
        runs = access.once("/flow_runs/filter", wanted, timeout_s=min(timeout_s, left_s))
        return runs[0] if runs else None

    run = ask(_STATES)
    if run is None:
        return None
    succeeded = run if run.get("state_type") == _COMPLETED else ask((_COMPLETED,))
    return _run(run, flow, url, None if succeeded is None else _started(succeeded))


def ui_url(settings: Settings) -> str:
    """The address of the Prefect UI for people, without a slash at the end, user or password. Raises ConfigError."""
    if settings.prefect_ui_url is not None:
        return settings.prefect_ui_url.rstrip("/")
    parts = urlsplit(PrefectAccess.of(settings).api_url)
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path.rstrip('/').removesuffix('/api')}"


def _run(run: Mapping[str, Any], flow: str, url: str, succeeded_at: datetime | None) -> RecentRun:
    return RecentRun(
        name=str(run["name"]),
        flow=flow,
        state=str(run.get("state_name") or ""),
        state_type=str(run.get("state_type") or ""),
        started_at=_started(run),
        took_s=float(run.get("total_run_time") or run.get("estimated_run_time") or 0.0),
        url=f"{url}/runs/flow-run/{quote(str(run['id']), safe='')}",
        succeeded_at=succeeded_at,
    )


def _started(run: Mapping[str, Any]) -> datetime | None:
    started: Sequence[str] = [run[name] for name in ("start_time", "expected_start_time") if run.get(name)]
    return datetime.fromisoformat(started[0]) if started else None
