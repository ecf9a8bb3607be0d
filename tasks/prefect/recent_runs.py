"""The newest flow runs of a Prefect server, for a page: asked once, with little patience."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.error import HTTPError
from urllib.parse import quote, urlsplit

from config import Settings
from ledger.errors import ConfigError, TransientError
from tasks.prefect.access import PrefectAccess

TIMEOUT_S = 3.0
_STATES = ("COMPLETED", "FAILED", "CRASHED", "CANCELLED", "CANCELLING", "RUNNING", "PENDING", "PAUSED")
_REFUSALS = (401, 403)


@dataclass(frozen=True, slots=True)
class RecentRun:
    """A flow run that has begun. ``flow`` is the flow's name, "" for one that Prefect no longer has; times are UTC.

    ``state_type`` is Prefect's, such as `COMPLETED`; ``state`` its name for people. ``url`` is its page in the UI.
    """

    name: str
    flow: str
    state: str
    state_type: str
    started_at: datetime | None
    took_s: float
    url: str


def recent_runs(settings: Settings, most: int, timeout_s: float = TIMEOUT_S) -> list[RecentRun]:
    """The newest ``most`` runs, newest first. Raises TransientError when Prefect does not answer in time, ConfigError
    when it is not known or refuses the login.
    """
    access = PrefectAccess.of(settings)
    wanted = {
        "sort": "START_TIME_DESC",
        "limit": most,
        "flow_runs": {"state": {"type": {"any_": list(_STATES)}}, "start_time": {"is_null_": False}},
    }
    try:
        runs = access.once("/flow_runs/filter", wanted, timeout_s=timeout_s)
        ids = sorted({str(run["flow_id"]) for run in runs})
        flows = access.once("/flows/filter", {"flows": {"id": {"any_": ids}}}, timeout_s=timeout_s) if ids else []
        names = {str(flow["id"]): str(flow["name"]) for flow in flows}
        return [_run(run, names, ui_url(settings)) for run in runs]
    except HTTPError as error:
        if error.code in _REFUSALS:
            raise ConfigError("Prefect refuses the login: set TREASURY_PREFECT_API_AUTH_STRING to its own") from None
        raise TransientError(f"Prefect answered {error.code}") from None
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise TransientError(f"Prefect gave no good answer: {type(error).__name__}") from None


def ui_url(settings: Settings) -> str:
    """The address of the Prefect UI for people, without a slash at the end, user or password. Raises ConfigError."""
    if settings.prefect_ui_url is not None:
        return settings.prefect_ui_url.rstrip("/")
    parts = urlsplit(PrefectAccess.of(settings).api_url)
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path.rstrip('/').removesuffix('/api')}"


def _run(run: Mapping[str, Any], flows: Mapping[str, str], url: str) -> RecentRun:
    started: Sequence[str] = [run[name] for name in ("start_time", "expected_start_time") if run.get(name)]
    return RecentRun(
        name=str(run["name"]),
        flow=flows.get(str(run["flow_id"]), ""),
        state=str(run.get("state_name") or ""),
        state_type=str(run.get("state_type") or ""),
        started_at=datetime.fromisoformat(started[0]) if started else None,
        took_s=float(run.get("total_run_time") or run.get("estimated_run_time") or 0.0),
        url=f"{url}/runs/flow-run/{quote(str(run['id']), safe='')}",
    )
