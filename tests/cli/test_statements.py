"""`treasury statements`, as a user types it."""

from datetime import datetime, timedelta
from pathlib import Path

import pytest

from config import Settings
from config.settings import Ports
from ledger.business_days import JOHANNESBURG
from ledger.errors import ConfigError, ConflictError, DataError, NotFoundError, TransientError
from servers.lending import running
from tasks.statements.absences import declare_absence
from tests.cli.conftest import Typed
from tests.tasks.reconciliation.books import Books
from tests.tasks.statements.samples import DAY, FLASH, FLASH_NAME

NEXT = DAY + timedelta(days=1)


def test_statements_are_taken_in_and_listed(typed: Typed, tmp_path: Path) -> None:
    (tmp_path / FLASH_NAME).write_text(FLASH)
    folder = ("--url", str(tmp_path))
    code, out, _ = typed("statements", "take-in", "flash", *folder, "--day", str(DAY))
    assert (code, FLASH_NAME in out, "taken" in out) == (0, True, True)
    assert "known" in typed("statements", "take-in", "flash", *folder)[1]
    (tmp_path / FLASH_NAME).write_text(FLASH.replace("ORD-1001", "ORD-1002"))
    code, out, err = typed("statements", "take-in", "flash", *folder)
    assert (code, err.splitlines()[-1]) == (DataError.exit_code, "error: a statement is in quarantine")
    assert "--replace takes this one" in out
    code, out, _ = typed("statements", "take-in", "flash", *folder, "--replace", "--actor", "thandi")
    assert (code, "taken" in out) == (0, True)
    code, out, _ = typed("statements", "list", "--supplier", "flash", "--day", str(DAY))
    assert code == 0
    assert [word for word in ("taken", "superseded", "quarantined") if word in out] == ["taken", "superseded"]
    assert "quarantined" in typed("statements", "list")[1]
    assert out.count("│ flash") == 2
    assert typed("statements", "list", "--limit", "1")[1].count("│ flash") == 1


def test_a_day_without_a_file_says_where_it_was_looked_for_and_when_it_is_late(typed: Typed, tmp_path: Path) -> None:
    folder = ("--url", str(tmp_path))
    today = datetime.now(JOHANNESBURG).date()
    cases = (
        (today, TransientError.exit_code, f"it counts as late from {today + timedelta(days=2)} 00:00 in Johannesburg"),
        (DAY, NotFoundError.exit_code, "it counts as late since 2026-02-05 00:00 in Johannesburg"),
    )
    for day, code, late in cases:
        told = (code, "", f"error: flash {day}: no statement was found at {tmp_path}; {late}\n")
        assert typed("statements", "take-in", "flash", *folder, "--day", str(day)) == told
    told = (NotFoundError.exit_code, "", f"error: flash: no statement was found at {tmp_path}\n")
    assert typed("statements", "take-in", "flash", *folder) == told
    (tmp_path / FLASH_NAME).write_text(FLASH)
    typed("statements", "take-in", "flash", *folder)
    (tmp_path / FLASH_NAME).unlink()
    code, out, _ = typed("statements", "take-in", "flash", *folder, "--day", str(DAY))
    assert (code, out) == (0, "flash: the statement was taken in before; there is no new file\n")


def test_a_refused_file_has_the_day_of_its_name(typed: Typed, tmp_path: Path) -> None:
    (tmp_path / FLASH_NAME).write_text("nothing\n")
    for command in (("take-in", "flash", "--url", str(tmp_path)), ("list",)):
        assert f"│ {DAY} by its name │" in typed("statements", *command)[1]


def test_what_cannot_be_taken_in_is_told(typed: Typed) -> None:
    for arguments, said in (
        (("take-in", "blitz"), "error: supplier: 'blitz' is not known; known: flash, mobilemart, peach"),
        (("take-in", "flash"), "error: TREASURY_SUPPLIERS: flash.statement_url is not set"),
        (("take-in", "flash", "--url", "/nowhere"), "error: statements at /nowhere: there is no such folder"),
    ):
        code, _, err = typed("statements", *arguments)
        assert (code, said in err) == (ConfigError.exit_code, True), err


def test_days_that_wait_for_their_statement_are_listed(
    typed: Typed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "late:" not in typed("statements", "list")[2]  # nobody waits: no supplier has a folder
    monkeypatch.setenv("TREASURY_SUPPLIERS__FLASH__STATEMENT_URL", str(tmp_path))
    late = [line for line in typed("statements", "list")[2].splitlines() if line.startswith("late: ")]
    assert len(late) == 14
    assert {line.split()[1] for line in late} == {"flash"}


def test_in_a_range_a_day_that_fails_stops_no_other(typed: Typed, settings: Settings, tmp_path: Path) -> None:
    books = Books(settings, tmp_path)
    books.own(reference="ORD-1001", supplier_transaction_id="700000123")
    (tmp_path / f"recon_{NEXT:%Y%m%d}.csv").write_text(FLASH.replace("2026/02/03", f"{NEXT:%Y/%m/%d}"))
    typed("statements", "take-in", "flash", "--url", str(tmp_path))
    code, out, err = typed("recon", "run", "flash", str(DAY), "--last-day", str(NEXT), "--dry-run")
    assert code == DataError.exit_code
    assert f"## flash {NEXT}: " in out
    missing = f"flash {DAY}: no statement has been taken in for this day"
    assert err.startswith(f"{missing}; `treasury statements take-in flash` looks")
    assert "error: 1 of 2 days failed, the first: " in err


def test_statements_of_peach_come_from_the_simulators_that_run_in_this_home(typed: Typed, settings: Settings) -> None:
    yesterday = datetime.now(JOHANNESBURG).date() - timedelta(days=1)
    command = ("statements", "take-in", "peach", "--day", str(yesterday))
    code, _, err = typed(*command)
    assert code == ConfigError.exit_code
    assert "no simulator runs" in err
    with running(settings.model_copy(update={"ports": Ports(suppliers=0)}), "suppliers"):
        code, out, err = typed(*command)
    assert (code, f"transactions-recon-{yesterday}.json" in out) == (0, True), err


def test_files_of_other_names_are_named_beside_those_that_are_taken(typed: Typed, tmp_path: Path) -> None:
    (tmp_path / FLASH_NAME).write_text(FLASH)
    (tmp_path / "Recon_20260204.CSV").write_text(FLASH)
    code, out, err = typed("statements", "take-in", "flash", "--url", str(tmp_path))
    assert (code, "taken" in out) == (0, True)
    assert "not every file was read: its name must be like recon_" in err
    assert "'Recon_20260204.CSV'" in err


def test_a_day_without_a_statement_is_proposed_on_the_command_line(typed: Typed, settings: Settings) -> None:
    command = ("statements", "none", "flash", str(DAY), "--reason", "no sales")
    code, out, _ = typed(*command, "--actor", "thandi")
    assert (code, out) == (0, f"flash {DAY} is proposed to have no statement (a second person must confirm)\n")
    code, _, err = typed(*command, "--actor", "sipho")
    assert code == ConflictError.exit_code  # the same login
    assert "thandi has proposed it under" in err
    declare_absence(settings, "flash", DAY, "sipho", "no sales", account="another login")
    code, out, _ = typed("statements", "list", "--supplier", "flash")
    assert "no statement" in out
    code, _, err = typed(*command)
    assert (code, "the day has a statement" in err) == (ConflictError.exit_code, True)
