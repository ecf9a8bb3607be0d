"""`prefect.yaml` on a real Prefect server: what runs when, and what is refused before a worker starts."""

import time
import uuid
from typing import Any

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.schedules import CronSchedule
from prefect.exceptions import PrefectHTTPStatusError
from prefect.settings import PREFECT_API_URL, temporary_settings

from config import Settings
from config.suppliers import Suppliers
from servers import prefect
from tasks.health import CHECKS, HealthState, run_checks
from tasks.prefect.access import PrefectAccess
from tasks.prefect.deployments import deployments
from tests.tasks.archiving.ledger import PROJECT, TODAY

pytestmark = pytest.mark.slow

CONFLICT = 409


@pytest.fixture(scope="module")
def deployed(server_settings: Settings, prefect_url: str) -> dict[str, DeploymentResponse]:
    """Every deployment of the project, by name, where there is a fourth supplier from elsewhere."""
    access = PrefectAccess.of(server_settings.model_copy(update={"prefect_api_url": prefect_url}))
    prefect.make_pool(server_settings.home, access)
    suppliers = Suppliers.model_validate({"modules": ["examples.fourth_supplier"]})
    settings = server_settings.model_copy(update={"suppliers": suppliers})
    prefect.deploy(settings.home, access, settings.environment(), PROJECT, settings.suppliers)
    with temporary_settings({PREFECT_API_URL: prefect_url}), get_client(sync_client=True) as client:
        named = {one["name"]: one["entrypoint"].rpartition(":")[2] for one in deployments(PROJECT, suppliers)}
        return {
            name: client.read_deployment_by_name(f"{function.replace('_', '-')}/{name}")
            for name, function in named.items()
        }


def schedules(deployment: DeploymentResponse) -> list[CronSchedule]:
    """The times that it runs at, each of which is a line of cron."""
    found = [one.schedule for one in deployment.schedules if isinstance(one.schedule, CronSchedule)]
    assert len(found) == len(deployment.schedules)
    return found


def test_rollover_runs_every_day_and_the_night_s_work_every_night(deployed: dict[str, DeploymentResponse]) -> None:
    crons = {name: [one.cron for one in schedules(found)] for name, found in deployed.items()}
    business = {name for name in deployed if name.startswith(("take-in-", "reconcile-"))}
    assert {one.timezone for name in business for one in schedules(deployed[name])} == {"Africa/Johannesburg"}
    assert {name: cron for name, cron in crons.items() if name not in business} == {
        "roll-partitions": ["15 0 * * *"],
        "archive-months": [],
        "run-archiving-operations": ["30 1 * * *"],
        "check-health": ["*/5 * * * *"],
        "test-suppliers": [],
        "settle-vends": ["*/5 * * * *"],
        "publish-log": ["*/5 * * * *"],
        "restore-months": [],
        "delete-old-transactions": ["0 5 * * *"],
        "verify-archive": ["30 3 * * *"],
        "drill-archive": ["0 5 3 * *"],
        "keep-daily-totals": ["45 2 * * *"],
        "watch-transactions": ["* * * * *"],
    }
    assert {one.timezone for name in set(deployed) - business for one in schedules(deployed[name])} == {"UTC"}
    assert all(len(found.tags) == 2 for found in deployed.values())  # its area, and how often it runs


def test_schedules_become_runs_and_the_health_says_when_they_do_not(
    deployed: dict[str, DeploymentResponse], server_settings: Settings, prefect_url: str
) -> None:
    """By Prefect's own scheduler: versions of libraries that do not fit have kept it from making any."""
    check = [one for one in CHECKS if one.name == "prefect"]
    watched = server_settings.model_copy(update={"prefect_api_url": prefect_url})
    wanted = {name for name, found in deployed.items() if found.schedules}
    deadline_s = time.monotonic() + 120
    with temporary_settings({PREFECT_API_URL: prefect_url}), get_client(sync_client=True) as client:
        while True:
            runs = client.read_flow_runs(limit=200)
            ahead = {str(run.deployment_id) for run in runs if run.auto_scheduled}
            missing = {name for name in wanted if str(deployed[name].id) not in ahead}
            if not missing:
                break
            assert time.monotonic() < deadline_s, missing
            time.sleep(0.5)
        [found] = run_checks(watched, check)  # nobody takes the runs here: on a slow machine some are late by now
        assert "none has a run ahead" not in found.line
        while runs:
            for run in runs:
                client.delete_flow_run(run.id)
            runs = client.read_flow_runs(limit=200)
        [found] = run_checks(watched, check)
        assert found.state is HealthState.WARNING
        assert "none has a run ahead" in found.line


def test_one_run_of_each_at_a_time_and_a_second_waits(deployed: dict[str, DeploymentResponse]) -> None:
    waits_for_people = deployed["delete-old-transactions"]  # Prefect ends a paused run that had a slot
    assert waits_for_people.global_concurrency_limit is None
    for found in (one for one in deployed.values() if one is not waits_for_people):
        assert found.global_concurrency_limit is not None
        assert found.global_concurrency_limit.limit == 1
        assert found.concurrency_options is not None
        assert found.concurrency_options.collision_strategy == "ENQUEUE"


@pytest.mark.parametrize(
    "wrong",
    [
        {"as_of": "yesterday"},
        {"as_of": "2026-02-30"},
        {"as_of": "2026-13-01"},
        {"as_of": "1900-02-29"},
        {"tables": "transactions"},
        {"tables": ["ghosts"]},
        {"plan_only": "perhaps"},
        {"moves": "to_nowhere"},
    ],
)
def test_a_parameter_that_does_not_fit_is_refused_at_once(
    deployed: dict[str, DeploymentResponse], prefect_url: str, wrong: dict[str, Any]
) -> None:
    archiving = deployed["archive-months"]
    assert archiving.enforce_parameter_schema
    right = {"as_of": TODAY.isoformat(), "tables": ["transactions"], "plan_only": True}
    with temporary_settings({PREFECT_API_URL: prefect_url}), get_client(sync_client=True) as client:

        def start(parameters: dict[str, Any]) -> uuid.UUID:
            return client.create_flow_run_from_deployment(archiving.id, parameters=parameters).id

        client.delete_flow_run(start(right))
        with pytest.raises(PrefectHTTPStatusError) as raised:
            start(right | wrong)
    assert raised.value.response.status_code == CONFLICT


def _days_of(deployment: DeploymentResponse) -> list[str]:
    """The parameters that are days, by the schema that Prefect has."""
    fields = (deployment.parameter_openapi_schema or {}).get("properties", {}).items()
    return [name for name, field in fields if any(kind.get("format") == "date" for kind in field.get("anyOf", ()))]


@pytest.mark.parametrize("wrong", ["2026-02-30", "1900-02-29", "2026-2-3", "20260203", "2026-02-03\n", "0000-01-01"])
def test_a_wrong_day_of_any_deployment_starts_no_run(
    deployed: dict[str, DeploymentResponse], prefect_url: str, wrong: str
) -> None:
    with temporary_settings({PREFECT_API_URL: prefect_url}), get_client(sync_client=True) as client:
        tried = []
        for name, one in deployed.items():
            for field in _days_of(one):
                given = one.parameters | {field: wrong}
                with pytest.raises(PrefectHTTPStatusError) as raised:
                    client.create_flow_run_from_deployment(one.id, parameters=given)
                assert raised.value.response.status_code == CONFLICT, (name, field)
                assert field in raised.value.response.text
                tried.append((name, field))
    named = {(name, field) for name, field in tried if not name.startswith("reconcile-")}
    assert named == {
        ("roll-partitions", "as_of"),
        ("archive-months", "as_of"),
        ("run-archiving-operations", "as_of"),
        ("delete-old-transactions", "as_of"),
        ("take-in-statements", "day"),
    }
    assert {("reconcile-flash", "day"), ("reconcile-peach", "last_day")} <= set(tried)


@pytest.mark.usefixtures("deployed")
def test_a_supplier_from_elsewhere_is_reconciled_every_day_like_the_others(prefect_url: str) -> None:
    with temporary_settings({PREFECT_API_URL: prefect_url}), get_client(sync_client=True) as client:
        flash, further = (
            client.read_deployment_by_name(f"reconcile-supplier/reconcile-{name}") for name in ("flash", "voucherly")
        )
    assert further.parameters == {"supplier": "voucherly"}
    assert [one.cron for one in schedules(further)] == [one.cron for one in schedules(flash)] != []
    for one in (flash, further):
        assert one.parameter_openapi_schema is not None
        form = one.parameter_openapi_schema["properties"]["supplier"]
        assert form["enum"] == ["flash", "mobilemart", "peach", "voucherly"]
