"""Every command with every server missing, silent or wrong: one line that names the trouble, and never a traceback."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from enum import Enum
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from typer.main import get_command

from cli.lazy import LazyCommand
from cli.main import app
from config import Settings
from ledger.errors import TransientError
from tasks.prefect import access
from tests.cli.broken_servers import KINDS, broken_port, slow_port
from tests.cli.in_process import run_here
from tests.tasks.archiving.ledger import PROJECT

pytestmark = pytest.mark.timeout(600)

# docs/operations.md has the same table. `treasury health` has 1 and 2 of its own.
EXIT_CODES = {0, 65, 66, 69, 75, 78}
SECRET = "hunter2hunter2"  # of no server
VALUES = {
    "supplier": "flash",
    "name": "witness.example/w1",
    "client_id": "acme",
    "key_id": "0123456789ab",
    "session_id": "1",
    "address": "192.0.2.1",
    "decision": "write_off",
    "reason": "checked",
    "query": "SELECT 1",
    "question": "SELECT 1",
    "flow": "archive_months",
    "day": "2026-02-03",
    "first": "2026-02-03",
    "last": "2026-02-03",
    "months": "1",
    "first_month": "2025-01",
    "table": "transactions",
    "month": "2025-01",
    "rows_per_month": "1",
    "row_id": "01937b8e-0000-7000-8000-000000000000",
    "wallet": "wallet-1",
    "span": "2025-01",
    "matter": "CASE 2026/17",
    "review": "2099-12-31",
    "number": "1",
}


def commands() -> Iterator[tuple[str, ...]]:
    """The path of every command, from the tree that the command line is made of; each job of `run` is one."""

    def walk(group: Any, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
        for name, entry in group.commands.items():
            if isinstance(entry, LazyCommand):
                yield from ((*path, name, *choice) for choice in _choices(entry.load()))
            else:
                yield from walk(entry, (*path, name))

    yield from walk(get_command(app), ())


def _choices(command: Any) -> list[tuple[str, ...]]:
    """The values of the first argument where they are a closed list; else nothing once."""
    kinds = [_kind(one) for one in command.params if one.required]
    return [(str(one.value),) for one in kinds[0]] if kinds and issubclass(kinds[0], Enum) else [()]


def _kind(parameter: Any) -> type:
    kind = parameter.type_descriptor.annotation
    return kind if isinstance(kind, type) else str


def typed_words(path: tuple[str, ...], folder: Path) -> list[str]:
    """The command with a value for everything that it must be given."""
    entry: Any = get_command(app)
    given = list(path)
    while not isinstance(entry, LazyCommand):
        entry = entry.commands[given.pop(0)]
    words = list(path)
    wanted = [one for one in entry.load().params if one.required or one.name == "query"]  # of `sql`, which has a shell
    for parameter in wanted[len(given) :]:
        if _kind(parameter) is bool:
            words.append(parameter.opts[0])
        elif parameter.param_type_name == "argument":
            words.append(_value(parameter, folder))
        else:
            words += [parameter.opts[0], _value(parameter, folder)]
    return words


def _value(parameter: Any, folder: Path) -> str:
    if parameter.name in VALUES:
        return VALUES[parameter.name]
    if _kind(parameter) is int:
        return "1"
    if issubclass(_kind(parameter), Path):
        file = folder / str(parameter.name)
        file.write_text("id\n1\n")
        return str(file)
    raise AssertionError(f"this test needs a value for the parameter {parameter.name} in VALUES")


def _case(path: tuple[str, ...]) -> Any:
    """A command as a case. Of the jobs, a process each, and what waits for simulators, one is quick enough."""
    is_heavy = (path[0] == "run" and path[1] != "archive_months") or path == ("suppliers", "test")
    marks = [pytest.mark.heavy("another job starts the same process")] if is_heavy else []
    return pytest.param(path, id=" ".join(path), marks=marks)


EVERY = [_case(path) for path in commands()]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits three minutes for a Prefect server that will not come."""
    monkeypatch.setattr(access, "PATIENCE_S", 1.0)
    monkeypatch.setattr(access, "ATTEMPT_S", 1.0)


def check(path: tuple[str, ...], ended: Any) -> None:
    """What holds for every end of a command."""
    told = ended.stdout + ended.stderr
    assert "Traceback" not in told
    assert SECRET not in told
    assert ended.returncode in EXIT_CODES | ({1, 2} if path == ("health",) else set()), told
    if ended.returncode in (0, 1, 2):
        return
    errors = [line for line in ended.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, told
    if ended.returncode == TransientError.exit_code:  # the other codes are about what was typed, or a setting
        assert re.search(r"PostgreSQL|Redis|object store|Prefect|TREASURY_", errors[0]), errors


@pytest.mark.sampled(2)
@pytest.mark.parametrize("kind", [KINDS[0], *(pytest.param(kind, marks=pytest.mark.slow) for kind in KINDS[1:])])
@pytest.mark.parametrize("path", EVERY)
def test_every_server_is_broken(
    path: tuple[str, ...], kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "home").mkdir()
    with ExitStack() as stack:
        ports = {name: stack.enter_context(broken_port(kind)) for name in ("postgres", "redis", "s3", "prefect")}
        ended = run(capsys, tmp_path, pointed_at(ports, tmp_path / "home"), path)
    check(path, ended)


@pytest.mark.sampled(3)
@pytest.mark.parametrize("kind", [KINDS[0], *(pytest.param(kind, marks=pytest.mark.slow) for kind in KINDS[1:])])
@pytest.mark.parametrize("path", EVERY)
def test_every_server_but_postgresql_is_broken(
    path: tuple[str, ...], kind: str, settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "home").mkdir(exist_ok=True)
    with ExitStack() as stack:
        ports = {name: stack.enter_context(broken_port(kind)) for name in ("postgres", "redis", "s3", "prefect")}
        environment = pointed_at(ports, tmp_path / "home") | {"TREASURY_DATABASE_URL": settings.database_dsn}
        ended = run(capsys, tmp_path, environment, path)
    check(path, ended)


SLOW_S = 2.0  # more than a probe waits, less than a check of `treasury health`
_STARTS = {("up",), ("demo",), ("down",), ("witness", "serve")}  # of what they start the tests of servers/ know
_ASKING = [
    pytest.param(path, marks=[] if path == ("sql",) else [pytest.mark.slow], id=" ".join(path))
    for path in commands()
    if path not in _STARTS
]


@pytest.mark.parametrize("path", _ASKING)
def test_servers_that_are_right_and_slow_change_no_end(
    path: tuple[str, ...], settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """PostgreSQL and the object store begin to answer each connection after two seconds."""
    (tmp_path / "home").mkdir(exist_ok=True)
    with ExitStack() as stack:
        ports = {name: stack.enter_context(broken_port("missing")) for name in ("postgres", "redis", "s3", "prefect")}
        environment = pointed_at(ports, tmp_path / "home") | _servers(settings)
        del environment["TREASURY_STORE_TIMEOUT_S"]
        quick = run(capsys, tmp_path, environment, path)
        for name in ("TREASURY_DATABASE_URL", "TREASURY_S3_ENDPOINT_URL"):
            port = urlsplit(environment[name]).port
            assert port is not None
            slow = stack.enter_context(slow_port(port, SLOW_S))
            environment[name] = environment[name].replace(f":{port}", f":{slow}")
        ended = run(capsys, tmp_path, environment, path)
    check(path, quick)
    check(path, ended)
    transient = TransientError.exit_code
    assert (ended.returncode == transient) is (quick.returncode == transient), ended.stderr


def _servers(settings: Settings) -> dict[str, str]:
    """Variables of the run's PostgreSQL and object store."""
    names = {"TREASURY_DATABASE_URL", "TREASURY_S3_ENDPOINT_URL", "TREASURY_ARCHIVE_URL", "AWS_ACCESS_KEY_ID"}
    return {name: value for name, value in settings.environment().items() if name in {*names, "AWS_SECRET_ACCESS_KEY"}}


def run(capsys: pytest.CaptureFixture[str], folder: Path, environment: dict[str, str], path: tuple[str, ...]) -> Any:
    """The command in this process; one that makes its process a client of Prefect in a process of its own."""
    words = typed_words(path, folder)
    if path[0] != "run":
        return run_here(capsys, folder, environment, *words)
    program = (
        "from tasks.prefect import access; access.PATIENCE_S = access.ATTEMPT_S = 1.0\n"
        "from cli.start import main; main()"
    )
    return subprocess.run(
        [sys.executable, "-c", program, *words],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(PROJECT)} | environment,
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )


def pointed_at(ports: dict[str, int], home: Path) -> dict[str, str]:
    """Variables by which each server is at its port, with little patience."""
    return {
        "TREASURY_HOME": str(home),
        "TREASURY_DATABASE_URL": f"postgresql://u:{SECRET}@127.0.0.1:{ports['postgres']}/d?connect_timeout=2",
        "TREASURY_REDIS_URL": f"redis://:{SECRET}@127.0.0.1:{ports['redis']}/0",
        "TREASURY_ARCHIVE_URL": "s3://bucket/prefix",
        "TREASURY_S3_ENDPOINT_URL": f"http://127.0.0.1:{ports['s3']}",
        "AWS_ACCESS_KEY_ID": "someone",
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "TREASURY_PREFECT_API_URL": f"http://127.0.0.1:{ports['prefect']}/api",
        "TREASURY_STORE_TIMEOUT_S": "1",
        "TREASURY_PORTS__SUPPLIERS": "0",
        "TREASURY_PORTS__API": "0",
    }
