"""The check of everything that runs by itself: when did each schedule's work last end well?

It asks for successes, not for failures: a run that is cancelled, stuck, crashed, late or never made leaves no other
trace in PostgreSQL. What Prefect knows of it is evidence only; the check is made without Prefect, too.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import takewhile
from typing import Any

from ledger.errors import TreasuryError
from ledger.masking import cut, mask_text
from sql.queries import load
from tasks.admin.schedules import ALL, SKIPPED, Schedule, expected
from tasks.health.context import Context
from tasks.health.result import HealthState, Measure
from tasks.health.servers import ask_prefect, prefect_client
from tasks.prefect.deployments import POOL

_QUERIES = load("health")
_GRACE_PART = 12  # of an interval: two hours of a day
_RUNS = 50
_SHOWN_CHARACTERS = 110
_SILENT = ["Scheduled", SKIPPED]  # these say nothing: due just now, or done by another run


@dataclass(frozen=True, slots=True)
class _Outcome:
    """A schedule as PostgreSQL knows it. ``since``: its last success, or since when there could have been one."""

    since: datetime
    succeeded: bool
    error: str | None


@dataclass(frozen=True, slots=True)
class _Trouble:
    """A schedule that does not run as it should, and why."""

    schedule: Schedule
    state: HealthState
    why: str

    def __str__(self) -> str:
        return f"{self.schedule.deployment}: {cut(self.why, _SHOWN_CHARACTERS)}"


def schedules(context: Context) -> Measure:
    """Return how many schedules have no success in time, or are not set up to have one."""
    wanted = expected(context.settings)
    outcomes = _outcomes(context, wanted)
    seen = _Evidence.gather(context)
    judged = [_trouble(context, schedule, outcomes[schedule.job], seen) for schedule in wanted]
    troubles = sorted((schedule for schedule in judged if schedule), key=lambda schedule: -schedule.state.rank)
    if not troubles:
        return Measure(f"each of {len(wanted)} schedules ended well in time", 0, HealthState.HEALTHY)
    names = ", ".join(schedule.schedule.deployment for schedule in troubles)
    why = "; ".join(map(str, troubles))
    return Measure(
        f"{len(troubles)} of {len(wanted)} do not run as scheduled: {names}. {why}", len(troubles), troubles[0].state
    )


def _outcomes(context: Context, wanted: Sequence[Schedule]) -> dict[str, _Outcome]:
    with context.connect() as connection:
        rows = connection.execute(
            _QUERIES["schedule_outcomes"], {"jobs": [ALL, *(schedule.job for schedule in wanted)]}
        ).fetchall()
    noted = {
        job: _Outcome(succeeded or known, succeeded is not None, error) for job, succeeded, known, _, error in rows
    }
    return {schedule.job: noted.get(schedule.job, noted[ALL]) for schedule in wanted}


def _trouble(context: Context, schedule: Schedule, outcome: _Outcome, seen: "_Evidence") -> _Trouble | None:
    state, success = _lateness(context, schedule, outcome), _last_success(context, outcome)
    fault = seen.fault(schedule)
    if state is HealthState.HEALTHY:
        return _Trouble(schedule, HealthState.WARNING, fault) if fault else None
    evidence = fault or seen.runs(schedule) or (f"its last run: {outcome.error}" if outcome.error else seen.silence)
    return _Trouble(schedule, state, f"{success}; {evidence}" if evidence else success)


def _lateness(context: Context, schedule: Schedule, outcome: _Outcome) -> HealthState:
    due, interval = schedule.due_after(outcome.since)
    limits, over = context.settings.health, context.now - due
    if over >= max(timedelta(minutes=limits.schedule_critical_minutes), interval):
        return HealthState.CRITICAL
    late = over >= max(timedelta(minutes=limits.schedule_warning_minutes), interval / _GRACE_PART)
    return HealthState.WARNING if late else HealthState.HEALTHY


def _last_success(context: Context, outcome: _Outcome) -> str:
    minutes = (context.now - outcome.since).total_seconds() / 60
    age = f"{minutes:.0f} min" if minutes < 120 else f"{minutes / 60:.0f} h"
    return f"last success {age} ago" if outcome.succeeded else f"no success in {age}"


@dataclass(frozen=True)
class _Evidence:
    """The deployments as Prefect knows them, by name; ``silence`` is why it says nothing."""

    context: Context
    known: Mapping[str, Mapping[str, Any]]
    silence: str = ""

    @classmethod
    def gather(cls, context: Context) -> "_Evidence":
        """Ask once. A Prefect that does not answer is another check's finding."""
        try:
            with prefect_client(context.settings) as client:
                deployments = ask_prefect(client, "/deployments/filter", {"work_pools": {"name": {"any_": [POOL]}}})
        except TreasuryError as error:
            return cls(context, {}, mask_text(str(error)))
        return cls(context, {deployment["name"]: deployment for deployment in deployments})

    def fault(self, schedule: Schedule) -> str:
        """Return why no run will be made; empty where one will, or where Prefect does not answer."""
        if self.silence:
            return ""
        deployment = self.known.get(schedule.deployment)
        if deployment is None:
            return "there is no such deployment in Prefect"
        if deployment.get("paused"):
            return "the deployment is paused"
        active = [
            prefect_schedule for prefect_schedule in deployment.get("schedules") or () if prefect_schedule.get("active")
        ]
        return "" if active else "its schedule is off"

    def runs(self, schedule: Schedule) -> str:
        """Return how its newest runs ended, or what they wait for; how many in a row."""
        deployment = self.known.get(schedule.deployment)
        if deployment is None:
            return ""
        try:
            with prefect_client(self.context.settings) as client:
                flow_runs = ask_prefect(client, "/flow_runs/filter", self._due(deployment["id"]))
        except TreasuryError:
            return ""
        return _described(flow_runs)

    def _due(self, deployment_id: str) -> dict[str, Any]:
        runs = {
            "deployment_id": {"any_": [deployment_id]},
            "expected_start_time": {"before_": self.context.now.isoformat()},
            "state": {"name": {"not_any_": _SILENT}},
        }
        return {"flow_runs": runs, "sort": "EXPECTED_START_TIME_DESC", "limit": _RUNS}


def _described(runs: Sequence[Mapping[str, Any]]) -> str:
    states = [(run["state"]["name"], run["state"].get("message") or "") for run in runs if run.get("state")]
    if not states:
        return "no run was made"
    name, message = states[0]
    alike = len(list(takewhile(lambda schedule: schedule[0] == name, states)))
    ending = f"{alike} times {name}" if alike > 1 else name
    return mask_text(f"{ending}: {message}" if message else ending)
