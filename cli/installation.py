"""`treasury installation`: which database the archive belongs to, and what to do with a copy."""

import sys
from typing import Annotated
from uuid import UUID

import typer

from cli import terminal
from cli.session import session
from tasks.archiving.installation import (
    InstallationReport,
    continue_installation,
    report_installation,
    separate_installation,
)

Yes = Annotated[bool, typer.Option("--yes", help="Do not ask for the installation's id")]


def show() -> None:
    """Show how this database relates to its archive.

    Also lists the events of the installation. Changes nothing.
    """
    with session("s3") as settings:
        report = report_installation(settings)
    terminal.table("Installation", ("", ""), _rows(report))
    if report.events:
        rows = [
            (f"{at:%Y-%m-%d %H:%M:%S}", event, str(number), str(incarnation), str(detail.get("location") or ""))
            for at, number, incarnation, event, detail in report.events
        ]
        terminal.table("Events (UTC)", ("when", "event", "installation", "incarnation", "archive"), rows)


def _rows(report: InstallationReport) -> list[tuple[str, str]]:
    own, marker = report.standing.installation, report.standing.marker
    nothing = "none yet: the first write to the archive makes it"
    return [
        ("installation", str(own.installation_id) if own else nothing),
        ("incarnation", str(own.incarnation) if own else ""),
        ("database", str(report.standing.identity)),
        ("archive", report.location),
        ("marker", f"{marker.installation}, incarnation {marker.incarnation}" if marker else "none"),
        ("last written", f"{marker.written_at:%Y-%m-%d %H:%M:%S} UTC" if marker else ""),
        ("state", str(report.standing.state)),
        ("what is", report.standing.why),
        ("objects kept", f"{report.kept} that another database may need"),
    ]


def continue_(yes: Yes = False) -> None:
    """Let this database replace the former one.

    Use it after a restore, an upgrade or a move.
    """
    with session("s3") as settings:
        typer.echo(continue_installation(settings, lambda statement, number: yes or _is_repeated(statement, number)))


def separate(yes: Yes = False) -> None:
    """Make this copy an installation of its own.

    Its archive must be another prefix, to which the objects were copied.
    """
    with session("s3") as settings:
        typer.echo(separate_installation(settings, lambda statement, number: yes or _is_repeated(statement, number)))


def _is_repeated(statement: str, number: UUID) -> bool:
    """Ask for the id again, on a terminal or in a pipe."""
    terminal.note(statement)
    terminal.note(f"To confirm, type the id {number}:")
    return sys.stdin.readline().strip() == str(number)
