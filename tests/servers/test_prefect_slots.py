"""What a crash leaves in Prefect, on a real server: runs whose process is gone are ended, and their slots are free."""

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from ledger.errors import ConfigError
from servers import lease, prefect
from servers.prefect import PrefectServer
from servers.prefect_slots import LEASES, recover
from tasks.prefect.access import PrefectAccess
from tasks.prefect.deployments import POOL

pytestmark = pytest.mark.slow

WORKER = "treasury"


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, PrefectAccess]]:
    """A home with a Prefect server and the pool, for the tests of this file."""
    home = tmp_path_factory.mktemp("home")
    with lease.lease(home, PrefectServer(home)) as endpoint:
        access = PrefectAccess(endpoint.url, prefect.login(home))
        prefect.make_pool(home, access)
        yield home, access


class Scheduler:
    """A deployment of its own with one slot, and runs of it as a worker submits them."""

    def __init__(self, home: Path, access: PrefectAccess, strategy: str, pool: str = POOL) -> None:
        self.folder = home / "prefect"
        self.access = access
        flow = access.ask("/flows/", {"name": f"flow-{uuid4().hex[:8]}"})
        wanted = {"name": flow["name"], "flow_id": flow["id"], "work_pool_name": pool, "concurrency_limit": 1}
        made = access.ask("/deployments/", wanted | {"concurrency_options": {"collision_strategy": strategy}})
        self.deployment = str(made["id"])

    def submit(self, *states: str) -> str:
        """A run that goes through PENDING and then ``states``; its id."""
        run = self.access.ask(f"/deployments/{self.deployment}/create_flow_run", {})
        for state in ("PENDING", *states):
            self.put(str(run["id"]), state)
        return str(run["id"])

    def put(self, run: str, state: str) -> None:
        """Propose a state as Prefect's own programs do: a lease is kept for those that renew it, by their version."""
        headers = self.access.headers() | {"User-Agent": f"prefect/{version('prefect')} (API 0.8.4)"}
        address = f"{self.access.api_url}/flow_runs/{run}/set_state"
        httpx.post(address, json={"state": {"type": state}}, headers=headers, timeout=60).raise_for_status()

    def state(self, run: str) -> str:
        return str(self.access.ask(f"/flow_runs/{run}")["state"]["name"])

    @property
    def limit(self) -> dict[str, Any]:
        return dict(self.access.ask(f"/deployments/{self.deployment}")["global_concurrency_limit"])

    def leases(self) -> list[Path]:
        return [file for file in (self.folder / LEASES).glob("*-*.json") if self.limit["id"] in file.read_text()]

    def recover(self, *, own: bool = True) -> Any:
        return recover(self.access, POOL, WORKER, self.folder if own else None)


@pytest.fixture
def scheduler(shared: tuple[Path, PrefectAccess]) -> Callable[..., Scheduler]:
    """Makes deployments."""
    return lambda strategy="ENQUEUE", **more: Scheduler(*shared, strategy, **more)


def process_of(run: str) -> "subprocess.Popen[bytes]":
    """A process that works at a run, as Prefect's worker starts it."""
    return subprocess.Popen(["/bin/sleep", "600"], env=os.environ | {"PREFECT__FLOW_RUN_ID": run})


@pytest.mark.parametrize("states", [(), ("RUNNING",), ("RUNNING", "CANCELLING")])
@pytest.mark.parametrize("strategy", ["ENQUEUE", "CANCEL_NEW"])
def test_a_run_whose_process_is_gone_is_ended_and_the_next_one_starts(
    scheduler: Callable[..., Scheduler], strategy: str, states: tuple[str, ...]
) -> None:
    one = scheduler(strategy)
    lost = one.submit(*states)
    waiting = one.submit()
    assert one.state(waiting) == ("AwaitingConcurrencySlot" if strategy == "ENQUEUE" else "Cancelled")
    done = one.recover()
    assert done.problems == []
    assert one.state(lost) == "Crashed"
    assert (one.limit["active_slots"], one.leases()) == (0, [])
    assert one.state(one.submit()) == "Pending"
    one.recover()


def test_a_run_that_a_process_works_at_keeps_its_slot(scheduler: Callable[..., Scheduler]) -> None:
    one = scheduler()
    run = one.submit("RUNNING")
    process = process_of(run)
    try:
        one.recover()
        assert one.state(run) == "Running"
        assert (one.limit["active_slots"], len(one.leases())) == (1, 1)
    finally:
        process.kill()
        process.wait()
    one.recover()
    assert (one.state(run), one.limit["active_slots"]) == ("Crashed", 0)


def test_a_slot_that_no_run_has_is_freed(scheduler: Callable[..., Scheduler]) -> None:
    """As of a server that lost its leases: the slot is taken and nothing says by whom."""
    one = scheduler()
    one.access.ask(f"/v2/concurrency_limits/{one.limit['id']}", {"active_slots": 1}, "PATCH")
    assert one.state(one.submit()) == "AwaitingConcurrencySlot"
    one.recover()
    assert one.limit["active_slots"] == 0
    assert one.state(one.submit()) == "Pending"
    one.recover()


def test_leases_that_no_run_has_are_dropped_and_take_no_slot_from_another(scheduler: Callable[..., Scheduler]) -> None:
    one = scheduler()
    run = one.submit()
    [lease_file] = one.leases()
    orphan = lease_file.with_name(f"{uuid4()}.json")
    orphan.write_text(lease_file.read_text().replace(lease_file.stem, orphan.stem))
    torn = lease_file.with_name(f"{uuid4()}.json")
    torn.write_text('{"id": ')
    foreign = lease_file.with_name(f"{uuid4()}.json")
    foreign.write_text(lease_file.read_text().replace(one.limit["id"], str(uuid4())))
    process = process_of(run)
    try:
        one.recover()
        assert one.leases() == [lease_file]
        assert (torn.exists(), foreign.exists()) == (False, True)
    finally:
        process.kill()
        process.wait()
        foreign.unlink()
    one.recover()


def test_runs_of_another_pool_and_runs_without_a_deployment_are_left_alone(
    scheduler: Callable[..., Scheduler], shared: tuple[Path, PrefectAccess]
) -> None:
    home, access = shared
    prefect._prefect(home, access, {}, home, "work-pool", "create", "theirs", "--type", "process", "--overwrite")
    theirs = scheduler(pool="theirs")
    run = theirs.submit("RUNNING")
    flow = access.ask("/flows/", {"name": "by-hand"})
    by_hand = access.ask("/flow_runs/", {"flow_id": flow["id"], "state": {"type": "RUNNING"}})["id"]
    theirs.recover()
    assert (theirs.state(run), theirs.limit["active_slots"]) == ("Running", 1)
    assert theirs.state(by_hand) == "Running"


def test_flows_that_a_lost_run_had_called_are_ended_with_it(scheduler: Callable[..., Scheduler]) -> None:
    one = scheduler()
    run = one.submit("RUNNING")
    flow = one.access.ask("/flows/", {"name": "called"})
    task = {"flow_run_id": run, "task_key": "called", "dynamic_key": "0", "state": {"type": "RUNNING"}}
    parent = one.access.ask("/task_runs/", task)["id"]
    called = {"flow_id": flow["id"], "parent_task_run_id": parent, "state": {"type": "RUNNING"}}
    child = one.access.ask("/flow_runs/", called)["id"]
    one.recover()
    assert [one.state(each) for each in (run, child)] == ["Crashed", "Crashed"]


@pytest.mark.parametrize("how", ["a server elsewhere", "another worker is online"])
def test_where_others_work_too_only_runs_that_our_worker_took_are_ended(
    scheduler: Callable[..., Scheduler], how: str
) -> None:
    ours, theirs = scheduler(), scheduler()
    lost, living = ours.submit("RUNNING"), theirs.submit("RUNNING")
    ours.access.ask(f"/flow_runs/{lost}/labels", {"prefect.worker.name": WORKER}, "PATCH")
    theirs.access.ask(f"/flow_runs/{living}/labels", {"prefect.worker.name": "somebody's"}, "PATCH")
    if how == "another worker is online":
        ours.access.ask(f"/work_pools/{POOL}/workers/heartbeat", {"name": "somebody's"})
    ours.recover(own=how == "another worker is online")
    assert (ours.state(lost), ours.limit["active_slots"]) == ("Crashed", 0)
    assert (theirs.state(living), theirs.limit["active_slots"]) == ("Running", 1)
    if how == "another worker is online":
        ours.access.ask(f"/work_pools/{POOL}/workers/somebody's", method="DELETE")
    theirs.recover()
    assert theirs.state(living) == "Crashed"


def test_a_wrong_login_is_named(shared: tuple[Path, PrefectAccess]) -> None:
    with pytest.raises(ConfigError, match=r"asks for a login.*TREASURY_PREFECT_API_AUTH_STRING"):
        recover(PrefectAccess(shared[1].api_url), POOL, WORKER, None)


def test_leases_outlive_a_server_that_is_killed(tmp_path: Path) -> None:
    """A run that goes on keeps its slot over it, and a lock whose pid another process has now holds up nothing."""
    server = PrefectServer(tmp_path)
    with lease.lease(tmp_path, server) as endpoint:
        access = PrefectAccess(endpoint.url, prefect.login(tmp_path))
        prefect.make_pool(tmp_path, access)
        run = Scheduler(tmp_path, access, "CANCEL_NEW")
        living, keeper = run.submit("RUNNING"), int((tmp_path / "run" / "prefect.alive").read_text())
        for pid in [*children(keeper), keeper]:
            os.kill(pid, signal.SIGKILL)
        lease.wait(lambda: not lease.is_held(tmp_path / "run" / "prefect.alive"), 60, "the end of the server")
        (tmp_path / "prefect" / LEASES / "expirations.lock").write_text(f"{os.getpid()}\n")
    process = process_of(living)
    try:
        with lease.lease(tmp_path, server) as endpoint:
            again = PrefectAccess(endpoint.url, prefect.login(tmp_path))
            run.access = again
            [file] = run.leases()
            again.ask(f"/v2/concurrency_limits/leases/{file.stem}/renew", {"lease_duration": 300})
            recover(again, POOL, WORKER, tmp_path / "prefect")
            assert run.state(living) == "Running"
            assert run.state(run.submit()) == "Cancelled"
            again.ask(f"/flow_runs/{living}/set_state", {"state": {"type": "COMPLETED"}})
            assert run.state(run.submit()) == "Pending"
    finally:
        process.kill()
        process.wait()


def children(pid: int) -> list[int]:
    """The processes below ``pid``, the deepest first."""
    found: list[int] = []
    for file in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in file.read_text().split():
            found += [*children(int(child)), int(child)]
    return found
