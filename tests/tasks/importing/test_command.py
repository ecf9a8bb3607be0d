"""`treasury import` and `treasury generate` as people run them."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import psycopg
import pytest

from config import Settings
from ledger.errors import ConfigError, DataError
from sql import clock
from tests.cli.in_process import run_here

PROJECT = Path(__file__).resolve().parents[3]
LINES = "no,wallet,amount,text,at\n1,w1,5.00,,2024-05-17\n2,w1,none,,2024-05-17\n"

ACCOUNT = (
    "lines 3 = skipped 0 + header 1 + records 2 + footer 0\nread 2 = loaded {} + known {} + different 0 + rejected {}\n"
)
Command = Callable[..., subprocess.CompletedProcess[str]]
Files = tuple[str, str, str]  # the arguments after `import`: a file and its mapping


@pytest.fixture
def treasury(settings: Settings, tmp_path: Path) -> Command:
    """Run the command on this test's database, in an empty folder, with standard output that is not a terminal."""
    environment = {**os.environ, "PYTHONPATH": str(PROJECT), "TREASURY_HOME": str(settings.home)}
    environment["TREASURY_DATABASE_URL"] = settings.database_dsn

    def run(*arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
        argv = [sys.executable, "-m", "cli.main", *arguments]
        return subprocess.run(
            argv, cwd=tmp_path, env=environment, input=given, capture_output=True, text=True, check=False
        )

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
    assert (done.returncode, done.stdout) == (0, ACCOUNT.format(1, 0, 1))
    assert "\x1b" not in done.stdout + done.stderr
    assert (tmp_path / "lines.csv.rejects.csv").read_text().splitlines()[1].startswith("3,must be a decimal string")
    assert treasury("import", *files).stdout == ACCOUNT.format(0, 1, 1)


def test_a_dry_run_says_that_it_is_one(treasury_here: Command, files: Files) -> None:
    assert treasury_here("import", *files, "--dry-run").stdout.endswith(
        "lines 3 = skipped 0 + header 1 + records 2 + footer 0\n"
        "dry run, nothing is loaded: read 2 = loaded 1 + known 0 + different 0 + rejected 1\n"
    )


@pytest.mark.parametrize("off_s", [172_800.0, -3_600.0], ids=["two days ahead", "an hour behind"])
def test_an_import_under_a_wrong_clock_is_refused_and_loads_nothing(
    treasury_here: Command, files: Files, database: psycopg.Connection, monkeypatch: pytest.MonkeyPatch, off_s: float
) -> None:
    monkeypatch.setattr(clock, "wall_clock_s", lambda: time.time() + off_s)
    refused = treasury_here("import", *files)
    assert refused.returncode == ConfigError.exit_code
    assert refused.stderr.startswith("error: the clock of this machine is ")
    assert database.execute("SELECT to_regclass('public.transactions') IS NULL").fetchone() == (True,)
    assert database.execute("SELECT count(*) FROM imports").fetchone() == (0,)
    monkeypatch.undo()
    assert treasury_here("import", *files).stdout == ACCOUNT.format(1, 0, 1)


def test_errors_have_their_exit_codes_and_no_traceback(treasury_here: Command, files: Files, tmp_path: Path) -> None:
    missing = treasury_here("import", "nothing.csv", *files[1:])
    assert missing.returncode == ConfigError.exit_code
    assert missing.stderr == "error: nothing.csv: No such file or directory\n"
    (tmp_path / "lines.csv").write_bytes(b"\x1f\x8b\x08cut off")
    damaged = treasury_here("import", *files)
    assert damaged.returncode == DataError.exit_code
    assert "damaged, nothing was loaded" in damaged.stderr


def test_an_import_of_different_rows_or_of_none_ends_with_an_error(
    treasury_here: Command, files: Files, tmp_path: Path
) -> None:
    treasury_here("import", *files)
    (tmp_path / "lines.csv").write_text(LINES.replace("5.00", "6.00"))
    different = treasury_here("import", *files)
    assert different.returncode == DataError.exit_code
    assert different.stdout.endswith("read 2 = loaded 0 + known 0 + different 1 + rejected 1\n")
    assert "1 record was loaded before with other values, and not changed" in different.stderr
    (tmp_path / "lines.csv").write_text(LINES.replace("5.00", "none"))
    nothing = treasury_here("import", *files)
    assert nothing.returncode == DataError.exit_code
    assert "none of 2 records could be loaded" in nothing.stderr


def test_a_warning_is_printed_and_the_rows_are_loaded(treasury_here: Command, files: Files, tmp_path: Path) -> None:
    (tmp_path / "lines.csv").write_text(LINES.replace("none", "-5.00"))
    mapping = (tmp_path / "m.toml").read_text()
    (tmp_path / "m.toml").write_text(mapping.replace('"amount" }', '"amount", sign = "absolute" }'))
    done = treasury_here("import", *files)
    assert (done.returncode, done.stdout) == (0, ACCOUNT.format(2, 0, 0))
    (warning,) = [line for line in done.stderr.splitlines() if line.startswith("warning: ")]
    assert warning == (
        'warning: amount: sign = "absolute" makes 1 amount below zero and 1 other alike, and nothing in the row '
        'distinguishes them; map type from { sign_of = "amount" }'
    )


@pytest.mark.heavy("a pipe is read as a file is")
def test_a_pipe_is_imported(treasury: Command, files: Files, tmp_path: Path) -> None:
    done = treasury("import", "-", *files[1:], given=LINES)
    assert (done.returncode, done.stdout) == (0, ACCOUNT.format(1, 0, 1))
    assert (tmp_path / "standard-input.rejects.csv").exists()


def test_a_standard_input_that_is_closed_is_named(treasury_here: Command, files: Files) -> None:
    done = treasury_here("import", "-", *files[1:], is_input_closed=True)
    assert done.returncode == ConfigError.exit_code
    assert done.stderr == "error: FILE: - reads standard input, which is closed\n"


def test_a_dry_run_shows_the_first_rows_and_the_sums_by_month(
    treasury_here: Command, files: Files, tmp_path: Path
) -> None:
    (tmp_path / "lines.csv").write_text(LINES + "3,w1,7.25,,2024-05-18\n4,w1,1.00,,2024-06-01\n")
    shown = treasury_here("import", *files, "--dry-run").stdout
    cells = [line.replace("│", " ").split() for line in shown.splitlines()]
    assert shown.count("A row as it would be stored") == 3
    for name, values in {
        "wallet_id": ["w1", "w1", "w1"],
        "amount": ["5.00", "7.25", "1.00"],
        "currency": ["ZAR", "ZAR", "ZAR"],
        "type": ["payment", "payment", "payment"],
        "reference": ["1", "3", "4"],
    }.items():
        assert [row[1] for row in cells if row[:1] == [name]] == values
    times = [" ".join(row[1:]) for row in cells if row[:1] == ["created_at"]]
    assert times == [f"{day} 00:00:00+00:00" for day in ("2024-05-17", "2024-05-18", "2024-06-01")]
    rows = [row for row in cells if row[1:2] == ["ZAR"] and len(row) == 4]
    assert rows == [["2024-05", "ZAR", "2", "12.25"], ["2024-06", "ZAR", "1", "1.00"]]
    assert shown.endswith("read 4 = loaded 3 + known 0 + different 0 + rejected 1\n")


def test_a_mapping_is_proposed_that_can_be_used_once_its_blanks_are_filled(
    treasury_here: Command, tmp_path: Path
) -> None:
    (tmp_path / "bank.csv").write_bytes(
        "Kontó;12\n\nid;Datum;Betrag;Text\n7;03.02.2026;-1.250,50;Miete\n8;14.02.2026;+50,00;Café\n".encode("cp1252")
    )
    proposed = treasury_here("import", "--suggest", "bank.csv").stdout
    for line in (
        'delimiter = ";"',
        'encoding = "cp1252"',
        "skip_lines = 2",
        'key = ["id"]',
        'amount = { column = "Betrag", decimal = ",", thousands = ".", sign = "absolute" }',
        'created_at = { column = "Datum", format = "%-d.%-m.%Y", timezone = "UTC" }',
    ):
        assert line in proposed
    (tmp_path / "bank.toml").write_text(
        proposed.replace('currency = { constant = "CHANGE" }', 'currency = { constant = "EUR" }').replace(
            "CHANGE", "bank"
        )
    )
    assert treasury_here("import", "bank.csv", "--mapping", "bank.toml").returncode == 0


def test_a_mapping_must_be_named_and_a_file_without_columns_has_no_proposal(
    treasury_here: Command, files: Files, tmp_path: Path
) -> None:
    assert "--mapping is missing" in treasury_here("import", files[0]).stderr
    (tmp_path / "text.txt").write_text("no columns\nhere\n")
    assert "no columns were found" in treasury_here("import", "--suggest", "text.txt").stderr


@pytest.mark.heavy("months that are made again are left alone in one process, too")
def test_generate_shows_its_months_and_skips_them_the_next_time(treasury: Command) -> None:
    arguments = ("generate", "--months", "2", "--rows-per-month", "20", "--until", "2024-06-11")
    first, second = treasury(*arguments), treasury(*arguments)
    assert first.returncode == second.returncode == 0
    assert "2024-05" in first.stdout
    assert "has rows already" not in first.stdout
    assert second.stdout.count("has rows already") == 2


@pytest.mark.heavy("tests/tasks/synthetic tests the rule")
def test_generate_refuses_the_future(treasury: Command) -> None:
    done = treasury("generate", "--months", "1", "--rows-per-month", "1", "--until", "2150-01-01")
    assert done.returncode == ConfigError.exit_code
    assert "must not be in the future" in done.stderr
