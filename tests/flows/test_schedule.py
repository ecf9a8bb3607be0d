"""What a scheduled flow does beside its work: it stands in for runs that wait, and notes how it ended."""

import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from prefect.client.orchestration import get_client
from prefect.flow_engine import run_flow
from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings
from prefect.states import Pending

from config import Settings
from flows.roll_partitions import roll_partitions
from flows.watch_transactions import watch_transactions
from servers import prefect
from servers.lease import lease
from servers.prefect import PrefectServer, Worker
from sql.connection import connect
from tasks.prefect.access import PrefectAccess
from tasks.prefect.deployments import POOL
from tests.tasks.archiving.ledger import PROJECT, Ledger

pytestmark = pytest.mark.slow

MISSED = 40


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home of the server and of the worker."""
    return tmp_path_factory.mktemp("prefect")


@pytest.fixture(scope="module")
def server(home: Path) -> Iterator[PrefectAccess]:
    """A Prefect server of these tests alone; this process is a client of it."""
    with lease(home, PrefectServer(home)) as endpoint:
        access = PrefectAccess(endpoint.url, prefect.login(home))
        prefect.make_pool(home, access)
        yield access


@pytest.fixture
def client_of(server: PrefectAccess, ledger: Ledger) -> Iterator[Settings]:
    """The settings of a ledger, in a process that runs flows for ``server``."""
    assert server.login is not None
    changes = {PREFECT_API_URL: server.api_url, PREFECT_API_AUTH_STRING: server.login.get_secret_value()}
    with temporary_settings(changes):
        yield ledger.settings


def deploy(server: PrefectAccess, name: str) -> str:
    """A deployment as `prefect.yaml` has it, due every minute. A worker can run it, too."""
    function = name.replace("-", "_")
    step = {"prefect.deployments.steps.set_working_directory": {"directory": str(PROJECT)}}
    code = {"entrypoint": f"flows/{function}.py:{function}", "pull_steps": [step]}
    flow = server.ask("/flows/", {"name": name})
    schedule = {"schedule": {"cron": "* * * * *", "timezone": "UTC"}, "active": True}
    wanted = {"name": name, "flow_id": flow["id"], "work_pool_name": POOL, "schedules": [schedule]}
    options = {"concurrency_limit": 1, "concurrency_options": {"collision_strategy": "ENQUEUE"}}
    return str(server.ask("/deployments/", wanted | options | code)["id"])


def miss(server: PrefectAccess, deployment: str) -> list[str]:
    """Let Prefect's scheduler have made runs for the last minutes, as before an outage; their ids."""
    end = datetime.now(UTC)
    times = {"start_time": (end - timedelta(minutes=MISSED)).isoformat(), "end_time": end.isoformat()}
    server.ask(f"/deployments/{deployment}/schedule", times | {"min_runs": 1, "max_runs": MISSED})
    due = {"deployment_id": {"any_": [deployment]}, "expected_start_time": {"before_": end.isoformat()}}
    return [run["id"] for run in server.every("/flow_runs/filter", {"flow_runs": due, "sort": "ID_DESC"})]


def begin(flow: Any, run: str) -> Any:
    """Run it here, as a worker's child process does; its state."""
    with get_client(sync_client=True) as client:
        client.set_flow_run_state(UUID(run), Pending())
        return run_flow(flow, flow_run=client.read_flow_run(UUID(run)), return_type="state")


def state(server: PrefectAccess, run: str) -> str:
    return str(server.ask(f"/flow_runs/{run}")["state"]["name"])


def outcome(settings: Settings, job: str) -> tuple[Any, ...] | None:
    with connect(settings.database_dsn, "tests") as connection:
        return connection.execute(
            "SELECT succeeded_at IS NOT NULL, failed_at IS NOT NULL, error FROM job_outcomes WHERE job = %s", (job,)
        ).fetchone()


def test_after_an_outage_one_run_does_the_work_of_all_that_were_missed(
    server: PrefectAccess, client_of: Settings
) -> None:
    deployment = deploy(server, "watch-transactions")
    missed = miss(server, deployment)
    assert len(missed) >= MISSED - 1
    asked = str(server.ask(f"/deployments/{deployment}/create_flow_run", {})["id"])
    first, *others = missed
    assert begin(watch_transactions, first).is_completed()
    assert {state(server, run) for run in others} == {"Skipped"}
    assert state(server, asked) in {"Scheduled", "Late"}  # somebody wants it
    ahead = {"deployment_id": {"any_": [deployment]}, "expected_start_time": {"after_": datetime.now(UTC).isoformat()}}
    later = {run["state"]["name"] for run in server.every("/flow_runs/filter", {"flow_runs": ahead, "sort": "ID_DESC"})}
    assert "Skipped" not in later
    assert outcome(client_of, "schedule watch-transactions") == (True, False, None)


def test_after_an_outage_a_worker_does_the_work_of_several_deployments_once_each(
    home: Path, server: PrefectAccess, client_of: Settings
) -> None:
    for other in server.every("/deployments/filter", {"sort": "NAME_ASC"}):  # those of other tests
        server.ask(f"/deployments/{other['id']}", method="DELETE")
    names = ("publish-log", "keep-daily-totals", "drill-archive")
    missed = {name: miss(server, deploy(server, name)) for name in names}
    waiting = {"Scheduled", "Late", "AwaitingConcurrencySlot", "Pending", "Running"}
    with lease(home, Worker(home, server, client_of.environment(), PROJECT)):
        deadline_s = time.monotonic() + 300
        while unfinished := {name for name in names if waiting & {state(server, run) for run in missed[name]}}:
            assert time.monotonic() < deadline_s, unfinished
            time.sleep(1)
    for name in names:
        ends = Counter(state(server, run) for run in missed[name])
        assert ends["Completed"] <= 1  # none where the run of a new minute began first
        assert ends["Completed"] + ends["Skipped"] == len(missed[name]) >= MISSED - 1
        assert outcome(client_of, f"schedule {name}") == (True, False, None)


def test_a_second_run_waits_for_the_first_and_is_not_turned_away(server: PrefectAccess) -> None:
    deployment = deploy(server, "settle-vends")
    first, second = (str(server.ask(f"/deployments/{deployment}/create_flow_run", {})["id"]) for _ in range(2))
    for run in (first, second):
        server.ask(f"/flow_runs/{run}/set_state", {"state": {"type": "PENDING"}})
    assert [state(server, run) for run in (first, second)] == ["Pending", "AwaitingConcurrencySlot"]
    server.ask(f"/flow_runs/{first}/set_state", {"state": {"type": "CRASHED"}})


def test_a_run_that_fails_is_noted_with_its_reason_and_is_no_success(
    server: PrefectAccess, client_of: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    deployment = deploy(server, "roll-partitions")
    run = str(server.ask(f"/deployments/{deployment}/create_flow_run", {})["id"])
    monkeypatch.setenv("TREASURY_TABLES", '{"ghosts": {"money_columns": ["value"]}}')
    assert begin(roll_partitions, run).is_failed()
    assert server.ask(f"/flow_runs/{run}")["name"].startswith("roll partitions")
    found = outcome(client_of, "schedule roll-partitions")
    assert found is not None
    assert found[:2] == (False, True)
    assert "ghosts" in found[2]


def test_a_watch_that_finds_another_run_in_progress_is_no_success(server: PrefectAccess, client_of: Settings) -> None:
    """One that was stopped in a terminal keeps the lock for as long as nobody looks."""
    deployment = deploy(server, "watch-transactions")
    run = str(server.ask(f"/deployments/{deployment}/create_flow_run", {})["id"])
    with connect(client_of.database_dsn, "tests") as stopped:
        stopped.execute("SELECT pg_advisory_lock(7303016)")
        assert begin(watch_transactions, run).is_failed()
    found = outcome(client_of, "schedule watch-transactions")
    assert found is not None
    assert found[:2] == (False, True)
    assert "another run of the watch is in progress" in found[2]


def test_a_run_for_another_purpose_takes_over_nothing_and_is_no_success(
    server: PrefectAccess, client_of: Settings
) -> None:
    deployment = deploy(server, "roll-partitions")
    missed = miss(server, deployment)
    wanted = {"parameters": {"plan_only": True}}
    run = str(server.ask(f"/deployments/{deployment}/create_flow_run", wanted)["id"])
    assert begin(roll_partitions, run).is_completed()
    assert "Skipped" not in {state(server, one) for one in missed}
    assert outcome(client_of, "schedule roll-partitions") is None
    # A form that is sent as the UI shows it has every default: that is what the schedule asks for.
    shown: dict[str, Any] = {"parameters": {"as_of": None, "tables": [], "plan_only": False}}
    run = str(server.ask(f"/deployments/{deployment}/create_flow_run", shown)["id"])
    assert begin(roll_partitions, run).is_completed()
    assert not {"Scheduled", "Late"} & {state(server, one) for one in missed}
    assert outcome(client_of, "schedule roll-partitions") == (True, False, None)
