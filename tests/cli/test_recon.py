"""`treasury recon` and `treasury verify`, as a user types them."""

import json
from decimal import Decimal
from pathlib import Path

import pytest

from cli.recon import _movement
from config import Settings
from ledger.errors import ConfigError, ConflictError, VerificationError
from tests.cli.conftest import Treasury
from tests.reconciliation.books import DAY, Books

WIDE = {"COLUMNS": "220"}


@pytest.mark.slow
def test_a_day_is_reconciled_worked_and_closed_by_commands(
    settings: Settings, treasury: Treasury, tmp_path: Path
) -> None:
    books = Books(settings, tmp_path)
    for _ in range(150):
        books.both()
    books.line(amount=Decimal("40.00"))
    statement, reports = str(books.statement()), tmp_path / "reports"
    options = ("--statement", statement, "--float", "16000.00,0.00,1410.00", "--output", str(reports))
    done = treasury("recon", "run", "flash", str(DAY), *options)
    assert done.returncode == 0, done.stderr
    assert "## flash 2026-02-03: passed" in done.stdout
    assert "1 breaks wait at flash, the oldest since 2026-02-03. Run 1." in done.stdout
    told = json.loads((reports / "report.json").read_text())
    assert told["figures"]["float"]["consumed"] == "14590.00"  # the statement's 15040.00 less 450.00 + 3.00 commission
    assert "missing_here" in treasury("recon", "breaks", **WIDE).stdout
    assert "passed" in treasury("recon", "runs", "--supplier", "flash", **WIDE).stdout
    why = ("--decision", "theirs_is_right", "--reason", "row added", "--actor", "thandi")
    assert treasury("recon", "resolve", "1", *why).stdout == "break 1 is resolved\n"
    shown = treasury("recon", "show", "1", **WIDE).stdout
    assert "row added" in shown
    assert "40.00" in shown
    again = treasury("recon", "resolve", "1", *why)
    assert (again.returncode, again.stderr) == (ConflictError.exit_code, "error: break 1 is resolved already\n")
    closed = treasury("recon", "close-period", "flash", str(DAY), str(DAY), "--reason", "month end")
    assert closed.stdout == "flash 2026-02-03 to 2026-02-03 is closed; 0 breaks carried on\n"
    proved = treasury("verify")
    assert proved.stdout.startswith("reconciliation: 3 events, whole; head ")
    books.sql("ALTER TABLE recon_resolutions DISABLE TRIGGER USER")
    books.sql("UPDATE recon_resolutions SET actor = 'sipho'")
    assert treasury("verify").returncode == VerificationError.exit_code


def test_what_cannot_be_meant_is_told(treasury: Treasury) -> None:
    for arguments, said in (
        (("recon", "run", "flash", str(DAY), "--float", "1.00"), "--float: must be OPENING,DEPOSITS,CLOSING"),
        (("verify", "--noted", "zz"), "--noted: must be a hash in hex"),
    ):
        answer = treasury(*arguments)
        assert answer.returncode == ConfigError.exit_code
        assert answer.stderr.startswith(f"error: {said}"), answer.stderr


@pytest.mark.parametrize(
    ("told", "basis", "currency"),
    [
        ("5.00,1.00,4.00", "net", "ZAR"),
        ("5.00,1.00,4.00,gross", "gross", "ZAR"),
        ("5.00,1.00,4.00,net,USD", "net", "USD"),
    ],
)
def test_a_float_says_what_it_is_kept_in(told: str, basis: str, currency: str) -> None:
    found = _movement(told)
    assert found is not None
    assert (found.consumed, found.basis, found.currency) == (Decimal("2.00"), basis, currency)


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ("1.00,0.00", "must be OPENING,DEPOSITS,CLOSING"),
        ("1.00,0.00,1.00,some", "BASIS must be net or gross"),
        ("1.00,0.00,1.00,net,rand", "CURRENCY must be three capital letters"),
    ],
)
def test_a_float_that_cannot_be_meant_is_told(told: str, said: str) -> None:
    with pytest.raises(ConfigError, match=f"--float: {said}"):
        _movement(told)
