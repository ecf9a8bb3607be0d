"""`treasury up` as a whole, in a process of its own, with a small project in the place of the real one."""

import contextlib
import json
import signal
import socket
import subprocess
import sys
import textwrap
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from config import load_settings
from ledger.errors import ConflictError
from servers import lease, prefect, stack
from sql.connection import connect
from tasks.admin.processes import reports
from tasks.prefect.access import PrefectAccess, client_environment
from tests.servers.test_lease import until
from tests.servers.test_supervision import kill_server

pytestmark = pytest.mark.slow

API = """
    import sys
    import uvicorn
    from fastapi import FastAPI
    from config import load_settings

    app = FastAPI()
    app.get("/archive")(lambda: load_settings().archive_location)
    uvicorn.run(app, port=int(sys.argv[2]))
"""
FLOW = """
    import subprocess
    from prefect import flow

    @flow
    def stray(seconds: int) -> None:
        subprocess.Popen(["sleep", str(seconds)], start_new_session=True).wait()
"""
DEPLOYMENTS = """
    name: small
    pull:
      - prefect.deployments.steps.set_working_directory:
          directory: "{{ $TREASURY_PROJECT }}"
    deployments:
      - name: stray
        entrypoint: stray.py:stray
        work_pool: {name: treasury}
"""
PROGRAM = """
    import sys
    from pathlib import Path
    from cli.main import main
    from servers import stack
    stack.PROJECT = Path(sys.argv.pop(1))
    main()
"""
SLEEP_S = "7654321"


def small_project(folder: Path, name: str, flow: str, deployments: str) -> None:
    """Make a project of an API with one route, one file of flows and their deployments."""
    (folder / "api").mkdir()
    (folder / "api" / "__init__.py").touch()
    (folder / "api" / "serve.py").write_text(textwrap.dedent(API))
    (folder / name).write_text(textwrap.dedent(flow))
    (folder / "prefect.yaml").write_text(textwrap.dedent(deployments))


def on_free_ports(home: Path) -> dict[str, str]:
    """Variables of a home on free ports."""
    free = dict.fromkeys(("postgres", "redis", "s3", "prefect", "api", "suppliers"), 0)
    return {"TREASURY_HOME": str(home), "TREASURY_PORTS": json.dumps(free), "PATH": "/usr/bin:/bin"}


def start(project: Path, environment: dict[str, str]) -> "subprocess.Popen[str]":
    """`treasury up` with ``project`` in the place of this one, once it says that everything is up."""
    argv = [sys.executable, "-c", textwrap.dedent(PROGRAM), str(project), "up"]
    process = subprocess.Popen(argv, env=environment, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    printed = ""
    while "passwords and keys" not in printed:
        line = process.stdout.readline()
        assert line, f"up ended: {printed}"
        printed += line
    return process


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with an API of one route and one deployment."""
    small_project(tmp_path, "stray.py", FLOW, DEPLOYMENTS)
    return tmp_path


@pytest.fixture
def environment(home: Path) -> dict[str, str]:
    """Variables of the home."""
    return on_free_ports(home)


@pytest.fixture
def upped(project: Path, environment: dict[str, str], home: Path) -> Iterator["subprocess.Popen[str]"]:
    """A running `treasury up`."""
    with start(project, environment) as process:
        yield process
        process.kill()
        until_nothing_runs(home)


def urls(home: Path) -> dict[str, str]:
    return {endpoint.name: endpoint.url for endpoint in stack.endpoints(home)}


def held(home: Path) -> list[str]:
    return [name for name in stack.NAMES if lease.is_held(home / "run" / f"{name}.alive")]


def until_nothing_runs(home: Path) -> None:
    deadline = time.monotonic() + 60
    while held(home):
        assert time.monotonic() < deadline, held(home)
        time.sleep(0.05)


def sleepers() -> list[str]:
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # a process of somebody else that has just ended
            found.append(file.read_bytes())
    return [command.decode() for command in found if SLEEP_S.encode() in command and command.startswith(b"sleep")]


def start_a_flow_run_with_a_stray_process(home: Path, environment: dict[str, str]) -> None:
    access = PrefectAccess(urls(home)["prefect"], prefect.login(home))
    command = [sys.executable, "-m", "prefect", "deployment", "run", "stray/stray", "-p", f"seconds={SLEEP_S}"]
    subprocess.run(command, env=environment | client_environment(home, access), check=True, capture_output=True)
    deadline = time.monotonic() + 60
    while not sleepers():
        assert time.monotonic() < deadline, "the flow run did not start"
        time.sleep(0.1)


def test_up_killed_with_9_leaves_no_process_not_even_one_of_a_flow_run(
    upped: "subprocess.Popen[str]", home: Path, environment: dict[str, str]
) -> None:
    assert sorted(urls(home)) == sorted(stack.NAMES)
    with urllib.request.urlopen(f"{urls(home)['api']}/archive", timeout=5) as answer:
        assert json.load(answer) == "s3://treasury-archive"
    start_a_flow_run_with_a_stray_process(home, environment)
    upped.kill()
    until_nothing_runs(home)
    assert sleepers() == []


def test_a_worker_that_is_killed_is_started_again_while_api_and_postgresql_keep_running(
    upped: "subprocess.Popen[str]", home: Path
) -> None:
    others = {name: (home / "run" / f"{name}.alive").read_text() for name in stack.NAMES if name != "worker"}
    api, answers = urls(home)["api"], []
    kill_server(home, "worker")
    deadline = time.monotonic() + 300
    while "worker" not in urls(home):
        assert time.monotonic() < deadline, "the worker was not started again"
        with urllib.request.urlopen(f"{api}/archive", timeout=60) as answer:
            answers.append(answer.status)
        time.sleep(0.2)
    assert set(answers) == {200}
    assert {name: (home / "run" / f"{name}.alive").read_text() for name in others} == others
    assert upped.poll() is None
    found = reports(home)
    assert found is not None
    assert [len(one.ends) for name, one in found.items() if name == "worker"] == [1]
    with connect(urls(home)["postgres"], "tests") as connection:
        until(lambda: connection.execute("SELECT FROM alerts WHERE rule = 'process-ended'").rowcount == 1, 60)


def test_a_second_up_is_refused_and_down_stops_the_first(
    upped: "subprocess.Popen[str]", project: Path, home: Path, environment: dict[str, str]
) -> None:
    again = [sys.executable, "-c", textwrap.dedent(PROGRAM), str(project), "up"]
    refused = subprocess.run(again, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert refused.returncode == ConflictError.exit_code
    assert "already up" in refused.stderr

    assert sorted(stack.down(load_settings(home=home))) == sorted(stack.NAMES)
    assert upped.wait(10) == 0
    assert held(home) == []


def test_ctrl_c_stops_everything(upped: "subprocess.Popen[str]", home: Path) -> None:
    api = int(urls(home)["api"].rpartition(":")[2])
    upped.send_signal(signal.SIGINT)
    assert upped.wait(60) == 0
    assert held(home) == []
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", api), 1)
