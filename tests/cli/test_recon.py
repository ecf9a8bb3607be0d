"""`treasury recon`, as a user types them."""

import json
import re
from collections.abc import Callable
from datetime import date, timedelta
from decimal import Decimal
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from cli import terminal
from cli.main import app
from cli.people import account_of_process
from cli.reports import print_report
from config import Settings
from ledger.errors import ConfigError, ConflictError, DataError, NotFoundError, VerificationError
from sql.connection import connect
from sql.preparation import prepare_table
from storage.store import ObjectStore, describe_file
from tasks.reconciliation.casework.breaks import resolve
from tasks.reconciliation.closing.periods import close_period
from tasks.reconciliation.engine.tieout import FloatMovement
from tasks.reconciliation.vocabulary import Decision
from tests.cli.conftest import Treasury
from tests.tasks.reconciliation.books import DAY, Books

WIDE = {"COLUMNS": "220"}
DECIDED = ("--decision", "write_off", "--reason", "small")
Typed = Callable[..., str]


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
    assert "1 break waits at flash, the oldest since 2026-02-03. Run 1." in done.stdout
    told = json.loads((reports / "report.json").read_text())
    assert told["figures"]["float"]["consumed"] == "14590.00"  # the statement's 15040.00 less 450.00 + 3.00 commission
    listed = treasury("recon", "breaks", **WIDE).stdout
    assert "missing_here" in listed
    assert "40.00 ZAR" in listed
    assert "passed" in treasury("recon", "runs", "--supplier", "flash", **WIDE).stdout
    why = ("--decision", "theirs_is_right", "--reason", "row added", "--actor", "thandi")
    assert treasury("recon", "resolve", "1", *why).stdout == "break 1 is resolved\n"
    shown = treasury("recon", "show", "1", **WIDE).stdout
    assert "row added" in shown
    assert "40.00 ZAR at issue" in shown
    again = treasury("recon", "resolve", "1", *why)
    assert (again.returncode, again.stderr) == (ConflictError.exit_code, "error: break 1 is resolved already\n")
    closing = ("recon", "close-period", "flash", str(DAY), str(DAY), "--reason", "month end")
    said = "flash 2026-02-03 to 2026-02-03 is proposed for closing; 0 breaks wait (a second person confirms)\n"
    assert treasury(*closing, "--actor", "thandi").stdout == said
    assert treasury(*closing, "--actor", "sipho").returncode == ConflictError.exit_code  # the same account
    proved = treasury("recon", "verify")
    assert proved.stdout.startswith("reconciliation: 3 events, complete; head ")
    assert "archive: 8 statements and reports as recorded\n" in proved.stdout
    books.sql("ALTER TABLE recon_resolutions DISABLE TRIGGER USER")
    books.sql("UPDATE recon_resolutions SET actor = 'sipho'")
    assert treasury("recon", "verify").returncode == VerificationError.exit_code


@pytest.fixture
def typed(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Typed:
    """Run commands in this process, with this test's database and archive; what they raise is raised."""
    for name, value in settings.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(terminal.console, "_width", 250)
    return lambda *arguments: CliRunner().invoke(app, ["recon", *arguments], catch_exceptions=False).output


@pytest.fixture
def books(settings: Settings, tmp_path: Path) -> Books:
    """Empty books."""
    with connect(settings.database_dsn, "tests") as connection:
        prepare_table(connection, settings, settings.table("vas_transactions"))
    return Books(settings, tmp_path)


@pytest.mark.heavy("statements over a range stop at no day, either")
def test_a_range_is_its_days_and_a_bad_one_stops_no_other(books: Books, typed: Typed) -> None:
    for day in (DAY, DAY + timedelta(days=2)):
        taken_in(books, day)
    days = ("run", "flash", str(DAY), "--last-day", str(DAY + timedelta(days=2)))
    with pytest.raises(DataError, match="flash 2026-02-04: no statement has been taken in"):
        typed(*days, "--dry-run")
    assert books.sql("SELECT * FROM recon_runs") == []
    with pytest.raises(DataError, match="flash 2026-02-04: no statement has been taken in"):
        typed(*days)
    assert [str(run["day"]) for run in books.sql("SELECT day FROM recon_runs ORDER BY day")] == [
        *("2026-02-03", "2026-02-05")
    ]
    with pytest.raises(ConfigError, match="--statement and --float belong to one day"):
        typed(*days, "--float", "1.00,0.00,1.00")
    shown = typed("run", "flash", str(DAY), "--dry-run")
    assert shown.endswith(
        "Dry run: nothing was stored, its breaks neither. From former runs 0 breaks wait at flash.\n\n"
    )


def test_breaks_are_filtered_shown_proposed_rejected_and_confirmed_by_another_account(
    books: Books, typed: Typed
) -> None:
    books.own(amount=Decimal("30.00"))
    books.line(amount=Decimal("1500.00"))
    books.run()
    shown = {
        ("--class", "missing_there"): (False, True),
        ("--class", "amount"): (False, False),
        ("--escalated",): (True, False),
        ("--state", "resolved"): (False, False),
        ("--first", "2026-02-04"): (False, False),
        ("--after", "1", "--limit", "1", "--supplier", "flash"): (False, True),
    }
    for options, there in shown.items():
        table = typed("breaks", *options)
        assert ("1500.00 ZAR" in table, " 30.00 ZAR" in table) == there, options
    assert typed("breaks").endswith("next: look at both sides of one with `treasury recon show 1`\n")
    with pytest.raises(ConfigError, match="--class: must be one of missing_here"):
        typed("breaks", "--class", "odd")
    assert "next: decide with `treasury recon resolve 1 --decision DECISION --reason TEXT`" in typed("show", "1")

    decide = ("resolve", "1", "--decision", "theirs_is_right", "--reason", "row added", "--actor")
    assert typed(*decide, "thandi") == (
        "break 1 is proposed (a second person must confirm)\n"
        "next: let a second person run `treasury recon resolve 1 --decision theirs_is_right --reason TEXT`\n"
    )
    with pytest.raises(ConflictError, match=r"thandi has proposed it under .*; somebody else must confirm"):
        typed(*decide, "sipho")  # the same account of the operating system
    reject = ("resolve", "1", "--decision", "reject", "--reason", "not so", "--actor", "sipho")
    assert typed(*reject) == "break 1 is open\n"
    typed(*decide, "thandi")
    assert typed("show", "1").endswith(
        "next: let a second person confirm with `treasury recon resolve 1 --decision theirs_is_right --reason TEXT`\n"
    )
    resolve(books.settings, 1, "sipho", Decision.THEIRS_IS_RIGHT, "seen", account="finance2")
    records = typed("show", "1")
    assert "next:" not in records
    assert all(word in records for word in ("proposed", "rejected", "resolved", account_of_process(), "finance2"))


@pytest.mark.heavy("the functions are tested in tests/tasks/reconciliation")
def test_rows_under_way_are_ended_by_a_command(books: Books, typed: Typed) -> None:
    rows = [books.own(status="processing", amount=Decimal(amount)) for amount in (30, 2000)]
    books.sql("UPDATE vas_transactions_partitioned SET supplier_reference = id::text")
    books.run()
    why = ("--reason", "asked Flash", "--actor", "thandi")
    assert (
        typed("settle", "1", "--completed", *why) == f"internal row {rows[0]['id']} is completed; break 1 is resolved\n"
    )
    assert typed("settle", "2", "--failed", *why) == (
        "break 2 is proposed (a second person must confirm); its internal row is unchanged\n"
        "next: let a second person run `treasury recon settle 2 --failed --reason TEXT`\n"
    )
    assert "Missing option '--completed'" in typed("settle", "2", *why)
    statuses = [row["status"] for row in books.sql("SELECT status FROM vas_transactions ORDER BY created_at")]
    assert statuses == ["completed", "processing"]


def test_a_run_is_shown_and_replayed_and_its_chain_proved(books: Books, typed: Typed) -> None:
    books.both()
    result = books.run()
    shown = typed("show-run", "1")
    assert result.summary.digest[:16] in shown
    assert f"Statement reconciliation/flash/{DAY}/statements/" in shown
    assert "- 100.0 % matched: 1 of 1 lines, 1 of 1 own rows\n" in shown
    for command in (("show-run", "9"), ("show", "9"), ("replay", "9"), ("resolve", "9", *DECIDED)):
        with pytest.raises(NotFoundError, match=r"(run|break) 9 does not exist"):
            typed(*command)
    assert NotFoundError.exit_code == 66
    assert typed("replay", "1") == f"run 1: same result, digest {result.summary.digest}\n"
    books.own()
    with pytest.raises(VerificationError, match="run 1: the replay has digest"):
        typed("replay", "1")
    verify = ["recon", "verify", "--chain-only", "--noted"]
    noted = books.sql("SELECT encode(hash, 'hex') AS hash FROM recon_events")[0]["hash"]
    books.run(books.statement())
    proved = CliRunner().invoke(app, [*verify, noted], catch_exceptions=False).output
    assert proved.startswith("reconciliation: 2 events, complete; head ")
    with pytest.raises(VerificationError, match="the event that was noted down is not in the chain"):
        CliRunner().invoke(app, [*verify, "00" * 32], catch_exceptions=False)


@pytest.mark.heavy("the functions are tested in tests/tasks/reconciliation")
def test_days_are_proposed_rejected_and_closed_with_what_waits_carried_on(books: Books, typed: Typed) -> None:
    books.line(amount=Decimal("40.00"))
    books.run()
    close = ("close-period", "flash", str(DAY), str(DAY), "--reason", "month end")
    with pytest.raises(ConflictError, match="1 break still waits, such as 1"):
        typed(*close)
    assert "is proposed for closing; 1 break waits" in typed(*close, "--carry")
    assert "is no longer proposed for closing" in typed(*close, "--reject")
    typed(*close, "--carry", "--actor", "thandi")
    with pytest.raises(ConflictError, match="somebody else must close it"):
        typed(*close, "--carry", "--actor", "sipho")
    assert "proposed" in typed("periods")
    close_period(books.settings, "flash", DAY, DAY, "sipho", "seen", account="finance2", carry=True)
    assert "closed" in typed("periods", "--supplier", "flash")
    assert books.the_break()["period_day"] == DAY + timedelta(days=1)


def test_a_critical_day_is_told_in_full_and_ends_with_the_code_of_bad_data(
    books: Books, typed: Typed, capsys: pytest.CaptureFixture[str]
) -> None:
    books.line(amount=Decimal("4000.00"))
    statement = ("--statement", str(books.statement()))
    with pytest.raises(DataError, match="flash 2026-02-03: the verdict is critical"):
        typed("run", "flash", str(DAY), *statement)
    assert [run["verdict"] for run in books.sql("SELECT verdict FROM recon_runs")] == ["critical"]
    assert "current" in typed("runs")


def test_a_break_shows_its_times_with_their_offset(books: Books, typed: Typed) -> None:
    books.line(amount=Decimal("40.00"))
    books.run()
    shown = typed("show", "1")
    assert "at_ms" not in shown
    assert re.search(rf"time +│ {DAY} \d\d:\d\d:\d\d\.\d{{3}}\+02:00", shown), shown


@pytest.mark.parametrize("command", [("run", "nosuch", str(DAY)), ("runs", "--supplier", "nosuch")])
def test_an_unknown_supplier_is_told_before_anything_else(typed: Typed, command: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match="supplier: 'nosuch' is not known; known: flash, mobilemart, peach"):
        typed(*command)


def test_a_report_is_drawn_on_a_terminal_and_plain_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    for is_terminal in (True, False):
        screen = StringIO()
        monkeypatch.setattr(terminal, "console", Console(file=screen, force_terminal=is_terminal, width=100))
        print_report("## flash 2026-02-03: passed\n\n| currency |\n|---|\n| ZAR |")
        assert ("|---|" in screen.getvalue()) is not is_terminal
        assert ("## flash" in screen.getvalue()) is not is_terminal


def taken_in(books: Books, day: date) -> None:
    """A statement of the day in the archive and in the catalogue."""
    source, key = books.statement(day), f"statements/flash/{day}/{day}.parquet"
    store = ObjectStore(books.settings)
    store.put(source, key)
    books.sql(
        "INSERT INTO statement_files (supplier, day, name, sha256, size_bytes, state, line_count, sums, object_key,"
        " object_sha256, actor) VALUES ('flash', %s, 'x', sha256(%s::text::bytea), 1, 'taken', 0, '[]', %s, %s, 'x')",
        day,
        str(day),
        key,
        describe_file(source).sha256,
    )


def test_what_cannot_be_meant_is_told(treasury_here: Treasury) -> None:
    for arguments, said in (
        (("recon", "run", "flash", str(DAY), "--float", "1.00"), "--float: must be OPENING,DEPOSITS,CLOSING"),
        (("recon", "verify", "--noted", "zz"), "--noted: must be a hash in hex"),
    ):
        answer = treasury_here(*arguments)
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
    found = FloatMovement.parse("--float", told)
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
        FloatMovement.parse("--float", told)
