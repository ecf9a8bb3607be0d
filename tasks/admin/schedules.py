"""The schedules that must run by themselves, and their last success: noted by the flows, judged by the health checks.

`prefect.yaml` says which deployments have a schedule. Prefect may have lost one, paused it or turned its runs away. So
their outcomes are kept in PostgreSQL (`job_outcomes`), where they are seen without Prefect, too.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from cronsim import CronSim

from config import Settings
from ledger.masking import cut, mask_text
from sql.connection import connect
from sql.queries import load
from sql.storing import not_stored
from tasks.admin.housekeeping import record_job
from tasks.prefect.deployments import PROJECT, deployments

ALL = "schedules"  # the row that says since when outcomes are noted at all
SKIPPED = "Skipped"  # the state of a scheduled run whose work a later one did
_QUERIES = load("health")
_NAME_LIMIT = 64  # as the column's
_ERROR_LIMIT = 500


@dataclass(frozen=True, slots=True)
class Schedule:
    """A deployment that runs by itself: its ``cron`` in ``timezone``, and the parameters that it runs with."""

    deployment: str
    cron: str
    timezone: str
    parameters: Mapping[str, Any]

    @property
    def job(self) -> str:
        """Its name among the outcomes."""
        return cut(f"schedule {self.deployment}", _NAME_LIMIT)

    def due_after(self, instant: datetime) -> tuple[datetime, timedelta]:
        """Return when its first run after ``instant`` (aware) is due, and how long after it the next one is."""
        times = CronSim(self.cron, instant.astimezone(ZoneInfo(self.timezone)))
        first = next(times)
        return first, next(times) - first


def expected(settings: Settings) -> list[Schedule]:
    """Every schedule that must keep running: not of suppliers that are off, nor those in ``health.schedules_off``."""
    wanted = [
        deployment for deployment in deployments(PROJECT, settings.suppliers) if not _is_off(settings, deployment)
    ]
    return [
        Schedule(deployment["name"], schedule["cron"], schedule.get("timezone", "UTC"), deployment["parameters"])
        for deployment in wanted
        for schedule in deployment.get("schedules") or ()
    ]


def _is_off(settings: Settings, deployment: Mapping[str, Any]) -> bool:
    supplier = deployment["parameters"].get("supplier")
    unused = supplier is not None and supplier not in settings.suppliers.connections
    return unused or deployment["name"] in settings.health.schedules_off


def note_expected(settings: Settings) -> None:
    """Begin to judge the schedules that are new, from now on. Safe to run again. Raises TransientError."""
    with connect(settings.database_dsn, "schedules") as connection:
        jobs = {schedule.job for schedule in expected(settings)}
        connection.execute(_QUERIES["note_schedules"], {"jobs": list(jobs)})
        noted = len(connection.execute(_QUERIES["schedule_outcomes"], {"jobs": list(jobs)}).fetchall())
        if noted != len(jobs):
            raise not_stored(len(jobs), noted, "job_outcomes")


def note_outcome(settings: Settings, deployment: str, error: str | None = None) -> None:
    """Note that a run of ``deployment`` that counts for its schedule ended now, well or with ``error``."""
    masked = None if error is None else cut(mask_text(error), _ERROR_LIMIT)
    for schedule in expected(settings):
        if schedule.deployment == deployment:
            record_job(settings, schedule.job, masked)


def counts(settings: Settings, deployment: str, parameters: Mapping[str, Any]) -> bool:
    """Return whether a run with ``parameters`` does what a scheduled one does. One that was asked for another day, or
    for a plan only, says nothing of the schedule.
    """
    return any(
        schedule.deployment == deployment and dict(schedule.parameters) == dict(parameters)
        for schedule in expected(settings)
    )
