"""`treasury statements`: take in suppliers' statements, and see what came."""

import getpass
from datetime import UTC, datetime
from typing import Annotated

import typer

from cli import terminal
from cli.session import session
from ledger.errors import DataError

_DAY = ["%Y-%m-%d"]
statements = typer.Typer(help="Suppliers' statements: what came in, and what was refused.", no_args_is_help=True)
OneDay = Annotated[datetime | None, typer.Option(formats=_DAY, help="Only this Africa/Johannesburg day")]


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.add_typer(statements, name="statements")


@statements.command("take-in")
def take_in(
    supplier: Annotated[str, typer.Argument(help="flash, mobilemart or peach")],
    day: OneDay = None,
    url: Annotated[str | None, typer.Option(help="File or folder: a path, s3://... or sftp://...")] = None,
    replace: Annotated[bool, typer.Option(help="Take another content of a day that has a statement")] = False,
    retry: Annotated[bool, typer.Option(help="Read again what was refused before")] = False,
    actor: Annotated[str | None, typer.Option(help="Who; by default the account that runs the command")] = None,
) -> None:
    """Take in what is there. A file that came before is not taken again; one that breaks a rule is refused whole."""
    from tasks import statements as work  # noqa: PLC0415

    who = actor or getpass.getuser()
    with session("s3") as settings:
        found = work.take_in(
            settings, supplier, day.date() if day else None, url=url, actor=who, replace=replace, retry=retry
        )
    rows = [(one.name, one.result, str(one.day or ""), _text(one.line_count), one.why) for one in found]
    terminal.table(f"Statements of {supplier}", ("file", "", "day", "lines", "why"), rows)
    if any(one.result is work.Result.QUARANTINED for one in found):
        raise DataError("a statement is in quarantine")


@statements.command("list")
def list_(
    supplier: Annotated[str | None, typer.Option(help="Only this supplier")] = None,
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
            str(one.day or ""),
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


def _text(count: int | None) -> str:
    return "" if count is None else str(count)
