"""`treasury statements`: take in suppliers' statements, and see what came."""

import getpass
from datetime import UTC, date, datetime
from typing import Annotated

import typer

from cli import terminal
from cli.days import DAY
from cli.names import OneSupplier, SupplierName
from cli.session import session
from config import Settings
from ledger.errors import DataError

statements = typer.Typer(help="Suppliers' statements: what came in, and what was refused.", no_args_is_help=True)
OneDay = Annotated[datetime | None, typer.Option(**DAY, help="Only this Africa/Johannesburg day")]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.add_typer(statements, name="statements")


@statements.command("take-in")
def take_in(
    supplier: SupplierName,
    day: OneDay = None,
    url: Annotated[str | None, typer.Option(help="File or folder: a path, s3://... or sftp://...")] = None,
    replace: Annotated[bool, typer.Option(help="Take another content of a day that has a statement")] = False,
    retry: Annotated[bool, typer.Option(help="Read again what was refused before")] = False,
    actor: Annotated[str | None, typer.Option(help="Who; by default the account that runs the command")] = None,
) -> None:
    """Take in what is there. A file that came before is not taken again; one that breaks a rule is refused whole.

    Ends with 65 when a file was refused, 75 when there is none yet, 66 when there is none and it is late.
    """
    from tasks import statements as work  # noqa: PLC0415

    who = actor or getpass.getuser()
    with session("s3") as settings:
        found = work.take_in(
            settings, supplier, day.date() if day else None, url=url, actor=who, replace=replace, retry=retry
        )
        if not found:
            work.demand_statement(settings, supplier, day.date() if day else None, url, datetime.now(UTC))
            typer.echo(f"{supplier} has its statement from before, and there is no other")
            return
        rows = [
            (one.name, one.result, _day(settings, supplier, one.day, one.name), _text(one.line_count), one.why)
            for one in found
        ]
    terminal.table(f"Statements of {supplier}", ("file", "result", "day", "lines", "why"), rows)
    if any(one.result is work.Result.QUARANTINED for one in found):
        raise DataError("a statement is in quarantine")


@statements.command("list")
def list_(
    supplier: OneSupplier = None,
    day: OneDay = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Most to show")] = 50,
) -> None:
    """List what came in and what was refused, the newest first; then the days that still wait for theirs."""
    from tasks.statements import late_statements, list_statements  # noqa: PLC0415

    with session() as settings:
        found = list_statements(settings, supplier, day.date() if day else None, limit)
        late = late_statements(settings, datetime.now(UTC))
        rows = [
            (
                one.supplier,
                _day(settings, one.supplier, one.day, one.name),
                one.name,
                one.state,
                _text(one.line_count),
                one.sha256.hex()[:8],
                one.error or "",
            )
            for one in found
        ]
    terminal.table("Statements", ("supplier", "day", "file", "state", "lines", "sha256", "why"), rows)
    for name, missing in late:
        terminal.note(f"late: {name} {missing}")


def _day(settings: Settings, supplier: str, day: date | None, name: str) -> str:
    """The day of a file. One that was refused has none: then what its name says, marked so."""
    from tasks.statement_sources import day_in_name  # noqa: PLC0415

    if day is not None:
        return str(day)
    told = day_in_name(settings, supplier, name)
    return "-" if told is None else f"{told} by its name"


def _text(count: int | None) -> str:
    return "-" if count is None else str(count)
