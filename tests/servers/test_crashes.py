"""`treasury up` loses its whole tree with -9 while runs are submitted; after the next start everything runs again."""

import random
import secrets
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from servers import lease, prefect, stack
from tasks.prefect.access import PrefectAccess
from tests.servers import trees
from tests.servers.test_up import on_free_ports, small_project, start

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

NAMES = ("one", "two", "three")
ROUNDS = 4
LONGEST_S = 8.0
PATIENCE_S = 600
FLOW = """
    import time
    from prefect import flow

    @flow
    def short() -> None:
        time.sleep(1)
"""
DEPLOYMENT = """
      - name: {}
        entrypoint: short.py:short
        work_pool: {{name: treasury}}
        concurrency_limit: {{limit: 1, collision_strategy: ENQUEUE}}
"""
HEAD = """
    name: small
    pull:
      - prefect.deployments.steps.set_working_directory:
          directory: "{{ $TREASURY_PROJECT }}"
    deployments:
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with an API of one route and three deployments, each with one slot."""
    small_project(tmp_path, "short.py", FLOW, HEAD + "".join(map(DEPLOYMENT.format, NAMES)))
    return tmp_path


@pytest.fixture
def killed_at_the_end(home: Path) -> Iterator[None]:
    """Leave no process behind, however the test ends."""
    yield
    trees.kill(home)


def up(project: Path, home: Path) -> "subprocess.Popen[str]":
    """Start everything and wait until it is up."""
    return start(project, on_free_ports(home))


def access(home: Path) -> PrefectAccess:
    """The Prefect server of the home."""
    [endpoint] = stack.endpoints(home, ["prefect"])
    return PrefectAccess(endpoint.url, prefect.login(home))


def submit(server: PrefectAccess, name: str) -> str:
    """Ask for a run, as somebody does in the UI."""
    deployment = server.ask(f"/deployments/name/short/{name}")
    return str(server.ask(f"/deployments/{deployment['id']}/create_flow_run", {})["id"])


def ended(server: PrefectAccess, runs: list[str]) -> dict[str, Any]:
    """How each of ``runs`` ended, once they all have."""
    deadline_s = time.monotonic() + PATIENCE_S
    while True:
        found = server.ask("/flow_runs/filter", {"flow_runs": {"id": {"any_": runs}}})
        states = {run["id"]: run["state"]["type"] for run in found}
        if all(state in {"COMPLETED", "CRASHED", "FAILED", "CANCELLED"} for state in states.values()):
            return states
        assert time.monotonic() < deadline_s, states
        time.sleep(1)


@pytest.mark.usefixtures("killed_at_the_end")
def test_after_any_kill_of_the_whole_tree_every_deployment_runs_again(project: Path, home: Path) -> None:
    seed = secrets.randbits(32)
    chance, runs = random.Random(seed), list[str]()  # noqa: S311  # moments, not secrets
    print(f"seed {seed}")  # noqa: T201  # to have the same moments again
    for _ in range(ROUNDS):
        with up(project, home) as process:
            runs += [submit(access(home), name) for name in NAMES for _ in range(2)]
            time.sleep(chance.uniform(0, LONGEST_S))
            trees.kill(home)
            process.wait()
        lease.wait(lambda: not any(lease.is_held(home / "run" / f"{one}.alive") for one in stack.NAMES), 60, "the end")
    with up(project, home) as process:
        server = access(home)
        fresh = [submit(server, name) for name in NAMES]
        assert set(ended(server, fresh).values()) == {"COMPLETED"}
        assert set(ended(server, runs).values()) <= {"COMPLETED", "CRASHED"}  # none hangs, none was turned away
        limits = [server.ask(f"/deployments/name/short/{name}")["global_concurrency_limit"] for name in NAMES]
        assert [one["active_slots"] for one in limits] == [0, 0, 0]
        process.terminate()
