"""The check of the schedules: every way in which work stops being done is seen, with and without Prefect."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from config import Settings
from config.health import HealthSettings
from servers import prefect
from servers.lease import lease
from servers.prefect import PrefectServer
from sql.connection import Connection
from tasks.admin.schedules import counts, expected, note_expected, note_outcome
from tasks.health import CHECKS, CheckResult, HealthState, run_checks
from tasks.prefect.access import PrefectAccess
from tasks.prefect.deployments import POOL, PROJECT, deployments

CHECK = [one for one in CHECKS if one.name == "schedules"]
DAILY, MINUTELY = "roll-partitions", "watch-transactions"
NOON = datetime(2026, 3, 10, 12, tzinfo=UTC)


def judge(settings: Settings, now: datetime = NOON) -> CheckResult:
    [found] = run_checks(settings, CHECK, now=now)
    return found


def only(settings: Settings, *names: str, **more: Any) -> Settings:
    """The settings with these schedules alone, of all that `prefect.yaml` has."""
    off = {one["name"] for one in deployments(PROJECT, settings.suppliers)} - set(names)
    return settings.model_copy(update={"health": HealthSettings(schedules_off=tuple(off)), **more})


def succeeded(connection: Connection, settings: Settings, at: datetime) -> None:
    """Every schedule's last success, at an instant."""
    note_expected(settings)
    connection.execute("UPDATE job_outcomes SET succeeded_at = %s, known_since = %s", (at, at))


# --- by PostgreSQL alone: Prefect is away


@pytest.mark.sampled(4)
@pytest.mark.parametrize(
    ("name", "age", "state"),
    [
        (MINUTELY, timedelta(minutes=14), HealthState.HEALTHY),
        (MINUTELY, timedelta(minutes=17), HealthState.WARNING),
        (MINUTELY, timedelta(minutes=62), HealthState.CRITICAL),
        ("settle-vends", timedelta(minutes=14), HealthState.HEALTHY),
        ("settle-vends", timedelta(minutes=66), HealthState.CRITICAL),
        (DAILY, timedelta(hours=11), HealthState.HEALTHY),  # since 01:00, after the run of 00:15
        (DAILY, timedelta(hours=12), HealthState.WARNING),  # since midnight: due at 00:15, two hours of grace are over
        (DAILY, timedelta(hours=35, minutes=30), HealthState.WARNING),
        (DAILY, timedelta(hours=36), HealthState.CRITICAL),
        ("reconcile-peach", timedelta(hours=7), HealthState.HEALTHY),  # at 06:40 in Johannesburg
        ("reconcile-peach", timedelta(hours=8), HealthState.WARNING),
    ],
)
def test_a_success_that_is_older_than_the_interval_and_its_grace_is_told(
    settings: Settings, connection: Connection, name: str, age: timedelta, state: HealthState
) -> None:
    chosen = only(settings, name)
    succeeded(connection, chosen, NOON - age)
    found = judge(chosen)
    assert found.state is state
    assert (name in found.line) is (state is not HealthState.HEALTHY)


def test_what_never_ended_well_is_judged_since_it_is_known(settings: Settings, connection: Connection) -> None:
    chosen = only(settings, MINUTELY)
    connection.execute("UPDATE job_outcomes SET known_since = now()")  # the template may be as old as the test run
    assert judge(chosen, datetime.now(UTC)).state is HealthState.HEALTHY
    assert judge(chosen, datetime.now(UTC) + timedelta(hours=3)).state is HealthState.CRITICAL
    connection.execute("UPDATE job_outcomes SET known_since = now() - interval '1 day'")
    note_expected(chosen)  # one that is deployed now is not late since yesterday
    assert judge(chosen, datetime.now(UTC)).state is HealthState.HEALTHY


def test_a_failure_is_no_success_and_is_quoted_until_there_is_one(settings: Settings, connection: Connection) -> None:
    chosen = only(settings, MINUTELY)
    succeeded(connection, chosen, datetime.now(UTC) - timedelta(hours=2))
    note_outcome(chosen, MINUTELY, "Failed: password=hunter2 is wrong")
    found = judge(chosen, datetime.now(UTC))
    assert (found.state, found.value) == (HealthState.CRITICAL, Decimal(1))
    assert f"1 of 1 do not run as scheduled: {MINUTELY}." in found.line
    assert "last success 2 h ago" in found.line
    assert "Failed" in found.line
    assert "hunter2" not in found.line
    note_outcome(chosen, MINUTELY)
    assert judge(chosen, datetime.now(UTC)).state is HealthState.HEALTHY


def test_a_run_for_another_purpose_does_not_count(settings: Settings) -> None:
    assert counts(settings, "run-archiving-operations", {})
    assert not counts(settings, "run-archiving-operations", {"plan_only": True})
    assert counts(settings, "reconcile-flash", {"supplier": "flash"})
    assert not counts(settings, "reconcile-flash", {"supplier": "flash", "day": "2026-01-01"})
    assert not counts(settings, "archive-months", {})  # it has no schedule


def test_every_name_is_told_however_many_there_are(settings: Settings, connection: Connection) -> None:
    succeeded(connection, settings, NOON - timedelta(days=40))  # one is monthly
    found = judge(settings)
    assert found.value == len(expected(settings))
    assert [one.deployment for one in expected(settings) if one.deployment not in found.line] == []


# --- with Prefect: how each of them came about


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrefectAccess]:
    """A Prefect server of these tests alone."""
    home = tmp_path_factory.mktemp("prefect")
    with lease(home, PrefectServer(home)) as endpoint:
        access = PrefectAccess(endpoint.url, prefect.login(home))
        prefect.make_pool(home, access)
        yield access


class Deployed:
    """The every-minute deployment in Prefect, and what happens to it."""

    def __init__(self, settings: Settings, connection: Connection, access: PrefectAccess) -> None:
        self.access = access
        self.settings = only(settings, MINUTELY, prefect_api_url=access.api_url, prefect_api_auth_string=access.login)
        flow = access.ask("/flows/", {"name": MINUTELY})
        schedule = {
            "schedule": {"cron": "0 0 1 1 *", "timezone": "UTC"},
            "active": True,
        }  # no further run gets in between
        wanted = {"name": MINUTELY, "flow_id": flow["id"], "work_pool_name": POOL, "schedules": [schedule]}
        self.id = access.ask("/deployments/", wanted | {"paused": False})["id"]
        succeeded(connection, self.settings, datetime.now(UTC))

    def run(self, *states: dict[str, Any]) -> None:
        run = self.access.ask(f"/deployments/{self.id}/create_flow_run", {})
        for state in states:
            self.access.ask(f"/flow_runs/{run['id']}/set_state", {"state": state, "force": True})

    def judge(self, later: timedelta = timedelta()) -> CheckResult:
        return judge(self.settings, datetime.now(UTC) + later)

    def forget(self) -> None:
        self.access.ask(f"/deployments/{self.id}", method="DELETE")


@pytest.fixture
def deployed(settings: Settings, connection: Connection, server: PrefectAccess) -> Iterator[Deployed]:
    """The deployment as `treasury up` makes it, after a success just now."""
    made = Deployed(settings, connection, server)
    yield made
    made.forget()


@pytest.mark.slow
def test_all_is_well_while_the_last_success_is_new(deployed: Deployed) -> None:
    assert deployed.judge().state is HealthState.HEALTHY


@pytest.mark.slow
@pytest.mark.parametrize(
    ("states", "told"),
    [
        ([{"type": "CANCELLED", "message": "Deployment concurrency limit reached."}], "limit reached"),
        ([{"type": "FAILED", "message": "it broke"}], "Failed: it broke"),
        ([{"type": "CRASHED", "message": "its process is gone"}], "Crashed: its process is gone"),
        ([{"type": "PENDING"}], "Pending"),
        ([{"type": "PENDING"}, {"type": "RUNNING"}], "Running"),
        ([{"type": "SCHEDULED", "name": "Late"}], "Late"),
        ([{"type": "SCHEDULED", "name": "AwaitingConcurrencySlot"}], "AwaitingConcurrencySlot"),
    ],
    ids=["cancelled", "failed", "crashed", "stuck in submission", "stuck", "late", "waiting"],
)
def test_what_became_of_the_runs_is_the_evidence(deployed: Deployed, states: list[dict[str, Any]], told: str) -> None:
    for _ in range(3):
        deployed.run(*states)
    found = deployed.judge(timedelta(hours=2))
    assert found.state is HealthState.CRITICAL
    assert MINUTELY in found.line
    assert "3 times" in found.line
    assert told in found.line


@pytest.mark.slow
@pytest.mark.parametrize("how", ["paused", "schedule off", "schedule gone", "deleted"])
def test_a_schedule_that_can_make_no_run_is_told_at_once(deployed: Deployed, how: str) -> None:
    path = f"/deployments/{deployed.id}"
    [schedule] = deployed.access.ask(path)["schedules"]
    if how == "paused":
        deployed.access.ask(path, {"paused": True}, "PATCH")
    elif how == "schedule off":
        deployed.access.ask(f"{path}/schedules/{schedule['id']}", {"active": False}, "PATCH")
    elif how == "schedule gone":
        deployed.access.ask(f"{path}/schedules/{schedule['id']}", method="DELETE")
    else:
        deployed.forget()
    told = {"paused": "is paused", "deleted": "no such deployment"}.get(how, "its schedule is off")
    found = deployed.judge()
    assert (found.state, told in found.line, MINUTELY in found.line) == (HealthState.WARNING, True, True)
    late = deployed.judge(timedelta(hours=2))
    assert (late.state, told in late.line) == (HealthState.CRITICAL, True)
