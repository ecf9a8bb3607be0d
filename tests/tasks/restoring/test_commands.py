"""The command and the flow that bring archived months back."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tasks.archiving.to_cold import archive_month
from tests.cli.in_process import run_here
from tests.tasks.archiving.ledger import COLD, ROWS, Ledger


def test_the_command_brings_a_month_back_and_says_until_when(
    archived: Ledger, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    environment = archived.settings.environment()
    until = datetime.now(UTC).date() + timedelta(days=7)
    why = ("--reason", "a correction that the auditors ask for")
    run = run_here(capsys, tmp_path, environment, "restore", "months", str(COLD), "--to", "warm", *why)
    assert run.returncode == 0
    assert run.stderr == f"next: work on transactions {COLD}; `treasury tiers --table transactions` shows until when\n"
    said = f"{ROWS} rows, back in warm, compared with the archive; in work until {until}, then archived again"
    assert run.stdout == f"transactions_2024_03: {said}\n"
    run = run_here(capsys, tmp_path, environment, "tiers")
    assert f"went back to warm, in work until {until}" in " ".join(run.stdout.replace("│", " ").split())
    run = run_here(capsys, tmp_path, environment, "restore", "months", str(COLD), "--to", "warm", *why, "--days", "9")
    assert "is in warm already; in work until" in run.stdout
    run = run_here(capsys, tmp_path, environment, "restore", "months", str(COLD), *why)
    assert (run.returncode, run.stdout) == (65, "")
    assert f"{COLD} is warm: its rows are in PostgreSQL already" in run.stderr
    run = run_here(capsys, tmp_path, environment, "restore", "months", str(COLD), "--to", "cold", *why)
    assert run.returncode != 0
    archive_month(archived.settings, archived.table, COLD)
    run = run_here(capsys, tmp_path, environment, "restore", "months", str(COLD), "--to", "warm", "--reason", " ")
    assert run.returncode == 65
    assert "reason" in run.stderr
