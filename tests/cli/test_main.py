"""The command line itself: quick to answer, one line for an error, its exit code from the error's class."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from cli import terminal
from cli.commands import COMMANDS
from config import Settings
from config.suppliers import Suppliers
from ledger.errors import ConfigError, ConflictError, DataError, TransientError, TreasuryError
from ledger.scopes import ALLOWS, Scope
from tests.cli.in_process import run_here

HEAVY = ("prefect", "pyarrow", "duckdb", "s3fs", "psycopg", "sqlalchemy", "alembic", "fastapi")


def treasury(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    program = [sys.executable, "-m", "cli.main", *arguments]
    return subprocess.run(program, capture_output=True, text=True, check=False, env=environment, timeout=60)


def test_help_lists_every_command() -> None:
    answer = treasury("--help")
    assert answer.returncode == 0
    listed = re.findall(r"^  ([a-z-]+)  ", answer.stdout, re.MULTILINE)
    assert [name for name in listed if not name.startswith("-")] == [*COMMANDS]


def test_help_imports_nothing_heavy() -> None:
    """The seconds differ between machines; what is imported does not."""
    program = (
        "import sys, cli.main; sys.argv = ['treasury', '--help']\ntry:\n    cli.main.main()\nfinally:\n"
        f"    print([name for name in {HEAVY!r} if name in sys.modules], file=sys.stderr)"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert answer.stderr.strip() == "[]"


@pytest.mark.parametrize("kind", [TreasuryError, TransientError, DataError, ConfigError, ConflictError])
def test_an_error_is_one_line_and_its_own_exit_code(
    kind: type[TreasuryError], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended, terminal.reported():
        raise kind("month [2026-13] is wrong")
    assert ended.value.code == kind.exit_code
    assert capsys.readouterr().err == "error: month [2026-13] is wrong\n"


def test_a_wrong_setting_is_named_without_a_traceback(tmp_path: Path) -> None:
    answer = treasury("status", TREASURY_HOME=str(tmp_path), TREASURY_LOCK_TIMEOUT_MS="9000")
    assert answer.returncode == ConfigError.exit_code
    assert answer.stderr.startswith("error: TREASURY_LOCK_TIMEOUT_MS")
    assert "Traceback" not in answer.stderr


def test_a_reader_that_leaves_early_is_no_error(tmp_path: Path) -> None:
    command = f"{sys.executable} -m cli.main status | true; exit ${{PIPESTATUS[0]}}"
    answer = subprocess.run(
        ["/bin/bash", "-c", command],
        capture_output=True,
        text=True,
        check=False,
        env={"TREASURY_HOME": str(tmp_path)},
    )
    assert answer.stderr == ""
    assert answer.returncode in (0, 1)  # 0 when the table was in the pipe before the reader left


def test_status_says_that_nothing_runs_and_down_agrees(tmp_path: Path) -> None:
    assert treasury("status", TREASURY_HOME=str(tmp_path)).stdout.count("not running") == 7
    assert treasury("down", TREASURY_HOME=str(tmp_path)).stdout == "nothing was running\n"


@pytest.mark.sampled(1)
@pytest.mark.parametrize("command", [("--help",), ("status",)])
def test_a_full_disk_under_the_output_is_one_line_and_no_traceback(tmp_path: Path, command: tuple[str, ...]) -> None:
    program = [sys.executable, "-m", "cli.main", *command]
    with Path("/dev/full").open("w") as full:
        answer = subprocess.run(
            program, stdout=full, stderr=subprocess.PIPE, text=True, check=False, env={"TREASURY_HOME": str(tmp_path)}
        )
    assert answer.stderr == "error: cannot write: No space left on device\n"
    assert answer.returncode == TransientError.exit_code


@pytest.mark.sampled(1)
@pytest.mark.parametrize(
    "command", [("up",), ("generate", "--months", "1", "--rows-per-month", "1"), ("suppliers", "test")]
)
def test_a_home_that_cannot_be_made_is_named(tmp_path: Path, command: tuple[str, ...]) -> None:
    (tmp_path / "file").touch()
    answer = treasury(*command, TREASURY_HOME=str(tmp_path / "file" / "home"), PATH="/usr/bin:/bin")
    assert answer.returncode == ConfigError.exit_code
    assert answer.stderr.splitlines()[-1].startswith("error: TREASURY_HOME: ")
    assert "Traceback" not in answer.stderr


DATABASE = "postgresql://nobody@127.0.0.1:1/none"


@pytest.mark.parametrize(
    ("command", "environment"),
    [
        (("tiers",), {}),
        (("sql", "SELECT 1"), {}),
        (("run", "archive_months"), {}),
        (("key", "list"), {}),
        (("health",), {}),
        (("status",), {}),
        (("limits", "show"), {}),
        (("limits", "show"), {"TREASURY_DATABASE_URL": DATABASE}),
        (("statements", "list"), {}),
        (("recon", "runs"), {}),
        (("verify",), {}),
        (("watch", "run"), {}),
        (("suppliers", "settle"), {}),
    ],
)
def test_without_a_home_a_command_refuses_and_makes_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: tuple[str, ...], environment: dict[str, str]
) -> None:
    answer = run_here(capsys, tmp_path, environment, *command)
    assert answer.returncode == ConfigError.exit_code
    assert answer.stderr.startswith(f"error: no treasury home at {tmp_path / '.treasury'}: run `treasury up`")
    assert answer.stdout == ""
    assert list(tmp_path.iterdir()) == []


def test_a_home_without_a_database_is_none_to_read_and_the_demos_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "demo" / "postgres" / "18").mkdir(parents=True)
    (tmp_path / "demo" / "postgres" / "18" / "PG_VERSION").write_text("18\n")
    answer = run_here(capsys, tmp_path, {"TREASURY_HOME": str(tmp_path)}, "tiers")
    assert answer.returncode == ConfigError.exit_code
    assert answer.stderr.startswith(f"error: the treasury home at {tmp_path} has no database: ")
    assert answer.stderr.endswith(f"; the demo's home is {tmp_path / 'demo'}\n")
    assert [path.name for path in tmp_path.iterdir()] == ["demo"]


@pytest.mark.parametrize("left", ["postgres", "postgres/18", "postgres/18.draft"])
def test_a_home_whose_database_is_not_mounted_or_half_made_is_none_to_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], left: str
) -> None:
    (tmp_path / left).mkdir(parents=True)
    answer = run_here(capsys, tmp_path, {"TREASURY_HOME": str(tmp_path)}, "verify")
    assert answer.returncode == ConfigError.exit_code
    assert answer.stderr.startswith(f"error: the treasury home at {tmp_path} has no database: ")
    assert list((tmp_path / left).iterdir()) == []


@pytest.mark.parametrize("command", ["verify", "up", "generate --months 1 --rows-per-month 1"])
def test_a_used_home_whose_database_is_gone_is_named_and_gets_no_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    (tmp_path / "keys").mkdir(mode=0o700)
    (tmp_path / "keys" / "treasury-api").write_text("0")
    answer = run_here(capsys, tmp_path, {"TREASURY_HOME": str(tmp_path)}, *command.split())
    assert answer.returncode == ConfigError.exit_code
    assert (
        f"error: the treasury home at {tmp_path} was used, and {tmp_path / 'postgres'} does not hold" in answer.stderr
    )
    assert not any((tmp_path / "postgres").glob("*/PG_VERSION"))


def test_down_without_a_home_has_nothing_to_stop(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answer = run_here(capsys, tmp_path, {}, "down")
    assert (answer.returncode, answer.stderr) == (0, f"no treasury home at {tmp_path / '.treasury'}\n")


def test_with_the_urls_of_real_servers_no_home_is_needed(
    tmp_path: Path, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    real = settings.environment()
    home = tmp_path / "none"
    for command in (("setup",), ("tiers",), ("verify",), ("sql", "SELECT count(*) FROM transactions")):
        answer = run_here(capsys, tmp_path, real | {"TREASURY_HOME": str(home)}, *command)
        assert answer.returncode == 0, answer.stderr


def test_the_help_of_key_create_lists_every_scope_with_what_it_allows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = run_here(capsys, tmp_path, {"COLUMNS": "120"}, "key", "create", "--help").stdout
    assert set(ALLOWS) == set(Scope)
    for scope, allowed in ALLOWS.items():
        assert re.search(rf"^ +{scope} +{re.escape(allowed)}$", shown, re.MULTILINE), scope


@pytest.mark.parametrize("command", [("recon", "run"), ("statements", "take-in"), ("suppliers", "test")])
def test_help_names_the_suppliers_that_there_are_and_where_others_come_from(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: tuple[str, ...]
) -> None:
    shown = " ".join(run_here(capsys, tmp_path, {"COLUMNS": "200"}, *command, "--help").stdout.split())
    assert f"{', '.join(Suppliers().names)}, or one of TREASURY_SUPPLIERS__MODULES" in shown
