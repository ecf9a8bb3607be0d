"""Every command with every server missing, silent or wrong: one line that names the trouble, and never a traceback."""

import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click
import pytest
from typer.main import get_command

from cli.lazy import LazyCommand
from cli.main import app
from config import Settings
from servers import prefect_client
from tests.cli.broken_servers import KINDS, broken_port
from tests.cli.in_process import run_here

pytestmark = pytest.mark.timeout(600)

# docs/operations.md has the same table. `treasury health` has 1 and 2 of its own.
EXIT_CODES = {0, 65, 66, 69, 75, 78}
SECRET = "hunter2hunter2"  # of no server
VALUES = {
    "supplier": "flash",
    "client_id": "acme",
    "key_id": "0123456789ab",
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
    "rows_per_month": "1",
}


def commands() -> Iterator[tuple[str, ...]]:
    """The path of every command, from the tree that the command line is made of."""

    def walk(group: Any, path: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
        for name, entry in group.commands.items():
            if isinstance(entry, LazyCommand):
                yield (*path, name)
            else:
                yield from walk(entry, (*path, name))

    yield from walk(get_command(app), ())


def typed_words(path: tuple[str, ...], folder: Path) -> list[str]:
    """The command with a value for everything that it must be given."""
    entry: Any = get_command(app)
    for name in path:
        entry = entry.commands[name]
    words = list(path)
    for parameter in entry.load().params:
        if not parameter.required:
            continue
        value = _value(parameter, folder)
        words += [value] if parameter.param_type_name == "argument" else [parameter.opts[0], value]
    return words


def _value(parameter: Any, folder: Path) -> str:
    if parameter.name in VALUES:
        return VALUES[parameter.name]
    if isinstance(parameter.type, click.types.IntParamType | click.types.IntRange):
        return "1"
    if isinstance(parameter.type, click.Path) or parameter.name in ("file", "mapping"):
        file = folder / str(parameter.name)
        file.write_text("id\n1\n")
        return str(file)
    if parameter.type.name == "boolean":
        return ""
    raise AssertionError(f"this test needs a value for the parameter {parameter.name} in VALUES")


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits three minutes for a Prefect server that will not come."""
    monkeypatch.setattr(prefect_client, "PATIENCE_S", 1.0)
    monkeypatch.setattr(prefect_client, "ATTEMPT_S", 1.0)


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
    assert re.search(r"PostgreSQL|Redis|object store|Prefect|TREASURY_|home|simulator|supplier", told), errors


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("path", list(commands()), ids=" ".join)
def test_every_server_is_broken(
    path: tuple[str, ...], kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "home").mkdir()
    with ExitStack() as stack:
        ports = {name: stack.enter_context(broken_port(kind)) for name in ("postgres", "redis", "s3", "prefect")}
        ended = run_here(capsys, tmp_path, pointed_at(ports, tmp_path / "home"), *typed_words(path, tmp_path))
    check(path, ended)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("path", list(commands()), ids=" ".join)
def test_every_server_but_postgresql_is_broken(
    path: tuple[str, ...], kind: str, settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "home").mkdir(exist_ok=True)
    with ExitStack() as stack:
        ports = {name: stack.enter_context(broken_port(kind)) for name in ("postgres", "redis", "s3", "prefect")}
        environment = pointed_at(ports, tmp_path / "home") | {"TREASURY_DATABASE_URL": settings.database_dsn}
        ended = run_here(capsys, tmp_path, environment, *typed_words(path, tmp_path))
    check(path, ended)


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
