"""`treasury import` and `treasury generate` as people run them."""

import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from config import Settings
from ledger.errors import ConfigError, DataError
from tests.cli.in_process import run_here

PROJECT = Path(__file__).resolve().parents[3]
LINES = "no,wallet,amount,text,at\n1,w1,5.00,,2024-05-17\n2,w1,none,,2024-05-17\n"

Command = Callable[..., subprocess.CompletedProcess[str]]
Files = tuple[str, str, str]  # the arguments after `import`: a file and its mapping


@pytest.fixture
def treasury(settings: Settings, tmp_path: Path) -> Command:
    """Run the command on this test's database, in an empty folder, with standard output that is no terminal."""
    environment = {**os.environ, "PYTHONPATH": str(PROJECT), "TREASURY_HOME": str(settings.home)}
    environment["TREASURY_DATABASE_URL"] = settings.database_dsn

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        argv = [sys.executable, "-m", "cli.main", *arguments]
        return subprocess.run(argv, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    return run


@pytest.fixture
def treasury_here(settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Command:
    """The same in this process: seconds of imports sooner."""
    return partial(run_here, capsys, tmp_path, settings.environment())


@pytest.fixture
def files(tmp_path: Path, mapping_text: str) -> Files:
    (tmp_path / "lines.csv").write_text(LINES)
    (tmp_path / "m.toml").write_text(mapping_text)
    return "lines.csv", "--mapping", "m.toml"


def test_import_prints_its_account_and_writes_the_rejects_beside_the_file(
    treasury: Command, files: Files, tmp_path: Path
) -> None:
    done = treasury("import", *files)
    assert (done.returncode, done.stdout) == (0, "read 2 = loaded 1 + rejected 1\n")
    assert "\x1b" not in done.stdout + done.stderr
    assert (tmp_path / "lines.csv.rejects.csv").read_text().splitlines()[1].startswith("3,must be a decimal string")
    assert treasury("import", *files).stdout == "read 2 = loaded 0 + rejected 2\n"


def test_a_dry_run_says_that_it_is_one(treasury_here: Command, files: Files) -> None:
    assert treasury_here("import", *files, "--dry-run").stdout == (
        "dry run, nothing is loaded: read 2 = loaded 1 + rejected 1\n"
    )


def test_errors_have_their_exit_codes_and_no_traceback(treasury_here: Command, files: Files, tmp_path: Path) -> None:
    missing = treasury_here("import", "nothing.csv", *files[1:])
    assert missing.returncode == ConfigError.exit_code
    assert missing.stderr == "error: nothing.csv: No such file or directory\n"
    (tmp_path / "lines.csv").write_bytes(b"\x1f\x8b\x08cut off")
    damaged = treasury_here("import", *files)
    assert damaged.returncode == DataError.exit_code
    assert "damaged, nothing was loaded" in damaged.stderr


def test_generate_shows_its_months_and_skips_them_the_next_time(treasury: Command) -> None:
    arguments = ("generate", "--months", "2", "--rows-per-month", "20", "--until", "2024-06-11")
    first, second = treasury(*arguments), treasury(*arguments)
    assert first.returncode == second.returncode == 0
    assert "2024-05" in first.stdout
    assert "has rows already" not in first.stdout
    assert second.stdout.count("has rows already") == 2


def test_generate_refuses_the_future(treasury: Command) -> None:
    done = treasury("generate", "--months", "1", "--rows-per-month", "1", "--until", "2150-01-01")
    assert done.returncode == ConfigError.exit_code
    assert "must not be in the future" in done.stderr
