"""`treasury statements`: take in supplier statements, and list them."""

import getpass
from datetime import UTC, date, datetime
from typing import Annotated

import typer

from cli import terminal
from cli.days import DAY
from cli.json_output import AsJson, record, write_json
from cli.names import OneSupplier, SupplierName
from cli.people import account_of_process
from cli.session import session, simulators, with_running_simulators
from config import Settings
from ledger.errors import DataError
from tasks.statements import intake as statements
from tasks.statements import lateness
from tasks.statements.absences import AbsenceState, declare_absence
from tasks.statements.intake import Intake
from tasks.statements.sources import day_in_name, other_names

OneDay = Annotated[datetime | None, typer.Option(**DAY, help="Only this Africa/Johannesburg day")]


def take_in(
    supplier: SupplierName,
    day: OneDay = None,
    url: Annotated[
        str | None,
        typer.Option(help="Path, s3://... or sftp://... of a file or a folder  [default: by setting]"),
    ] = None,
    replace: Annotated[bool, typer.Option(help="Replace the statement of a day with a different one")] = False,
    retry: Annotated[bool, typer.Option(help="Read quarantined files again")] = False,
    actor: Annotated[str | None, typer.Option(help="Person to record  [default: the running account]")] = None,
    as_json: AsJson = False,
) -> None:
    """Take in the statement files of a supplier. Safe to run again: known files are skipped.

    A file that breaks a rule is quarantined as a whole. Exits with 65 if a file was quarantined, with 75 if no
    statement has arrived yet, with 66 if it is late.

    Examples:
      treasury statements take-in flash --day 2026-11-25
      treasury statements take-in peach --url s3://statements/peach --retry
    """
    who = actor or getpass.getuser()
    with session("s3", *simulators()) as prepared:
        settings = with_running_simulators(
            prepared
        )  # the simulators that `treasury up` has started, if they were not set
        with terminal.working("taking in statements"):
            files = statements.take_in(
                settings, supplier, day.date() if day else None, url=url, actor=who, replace=replace, retry=retry
            )
        _note_other_names(settings, supplier, url, files)
        if not files:
            lateness.require_statement(settings, supplier, day.date() if day else None, url, datetime.now(UTC))
            if as_json:
                write_json([])
            else:
                typer.echo(f"{supplier}: the statement was taken in before; there is no new file")
            return
        rows = [
            (file.name, file.result, _day(settings, supplier, file.day, file.name), _text(file.line_count), file.why)
            for file in files
        ]
    if as_json:
        write_json([record(file, "error", why=file.why) for file in files])
    else:
        terminal.table(f"Statements of {supplier}", ("file", "result", "day", "lines", "reason"), rows)
        _say_next(supplier, files)
    if any(file.result is statements.IntakeResult.QUARANTINED for file in files):
        raise DataError("a statement is in quarantine")


def _say_next(supplier: str, files: list[Intake]) -> None:
    """How the days that have a statement since now are reconciled."""
    days = sorted({file.day for file in files if file.result is statements.IntakeResult.TAKEN and file.day is not None})
    if days:
        more = "" if len(days) == 1 else f" --last-day {days[-1]}"
        terminal.next_step(f"reconcile with `treasury recon run {supplier} {days[0]}{more}`")


def _note_other_names(settings: Settings, supplier: str, url: str | None, files: list[Intake]) -> None:
    """Name what lies in the folder under another name: without files, the error does."""
    there = other_names(settings, supplier, None, url) if files else None
    if there is not None and there.names:
        terminal.note(f"not every file was read: {lateness.named(there)}")


def none(
    supplier: SupplierName,
    day: Annotated[datetime, typer.Argument(**DAY, help="Africa/Johannesburg day, which is over")],
    reason: Annotated[str, typer.Option(help="Reason, such as what the supplier said")],
    actor: Annotated[str | None, typer.Option(help="Person to record  [default: the running account]")] = None,
    reject: Annotated[bool, typer.Option(help="Withdraw the proposal instead")] = False,
    as_json: AsJson = False,
) -> None:
    """Declare that a supplier sends no statement for a day.

    The first call proposes. The same call by a second person confirms: the day then has a statement without lines, and
    can be reconciled and closed.

    Examples:
      treasury statements none flash 2026-11-25 --reason "Flash was closed"
    """
    account = account_of_process()
    with session("s3") as settings:
        state = declare_absence(
            settings, supplier, day.date(), actor or account, reason, account=account, reject=reject
        )
    if as_json:
        write_json({"supplier": supplier, "day": day.date(), "state": state})
        return
    texts = {
        AbsenceState.PROPOSED: "is proposed to have no statement (a second person must confirm)",
        AbsenceState.CONFIRMED: "has no statement; `treasury recon run` reconciles the day",
        AbsenceState.REJECTED: "is no longer proposed to have no statement",
    }
    typer.echo(f"{supplier} {day.date()} {texts[state]}")
    if state is AbsenceState.PROPOSED:
        same = f"`treasury statements none {supplier} {day.date()} --reason TEXT`"
        terminal.next_step(f"let a second person run {same}")


def list_(
    supplier: OneSupplier = None,
    day: OneDay = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Maximum number of statements")] = 50,
    as_json: AsJson = False,
) -> None:
    """List the supplier statements, newest first. Notes below name the days whose statement is late."""
    with session() as settings:
        records = statements.list_statements(settings, supplier, day.date() if day else None, limit)
        late = lateness.late_statements(settings, datetime.now(UTC))
        rows = [
            (
                statement.supplier,
                _day(settings, statement.supplier, statement.day, statement.name),
                statement.name,
                statement.state,
                _text(statement.line_count),
                statement.sha256.hex()[:8],
                statement.error or "",
            )
            for statement in records
        ]
    if as_json:
        write_json([record(statement, "object_key") for statement in records])
    else:
        terminal.table("Statements", ("supplier", "day", "file", "state", "lines", "sha256", "reason"), rows)
    for name, missing in late:
        terminal.note(f"late: {name} {missing}")


def _day(settings: Settings, supplier: str, day: date | None, name: str) -> str:
    """The day of a file. A quarantined file has none: then the day in its name, marked as such."""
    if day is not None:
        return str(day)
    named = day_in_name(settings, supplier, name)
    return "-" if named is None else f"{named} by its name"


def _text(count: int | None) -> str:
    return "-" if count is None else str(count)
