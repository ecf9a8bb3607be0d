"""`treasury installation`: which database the archive belongs to, and what to do with a copy."""

import sys
from contextlib import AbstractContextManager, nullcontext
from typing import Annotated, Any
from uuid import UUID

import typer

from cli import terminal
from cli.json_output import AsJson, write_json
from cli.session import session
from tasks.archiving.installation import (
    InstallationReport,
    continue_installation,
    report_installation,
    separate_installation,
)

_MARKER = {"installation", "incarnation", "written_at"}  # not its token, by which this database knows it
_EVENT = ("at", "installation", "incarnation", "event", "archive")
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask for the installation's id")]


def show(as_json: AsJson = False) -> None:
    """Show how this database relates to its archive.

    Also lists the events of the installation. Changes nothing.
    """
    with session("s3") as settings:
        report = report_installation(settings)
    if as_json:
        write_json(_as_json(report))
        return
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


def _as_json(report: InstallationReport) -> dict[str, Any]:
    """Return what is shown."""
    own, marker, identity = report.standing.installation, report.standing.marker, report.standing.identity
    return {
        "state": report.standing.state,
        "why": report.standing.why,
        "installation": None if own is None else own.installation_id,
        "incarnation": None if own is None else own.incarnation,
        "database": {"oid": identity.database_oid, "system_identifier": identity.system_identifier},
        "archive": report.location,
        "marker": None if marker is None else marker.model_dump(include=_MARKER),
        "objects_kept": report.kept,
        "events": [
            dict(zip(_EVENT, (*event, detail.get("location")), strict=True)) for *event, detail in report.events
        ],
    }


def continue_(yes: Yes = False) -> None:
    """Let this database replace the former one.

    Use it after a restore, an upgrade or a move.

    Examples:
      treasury installation continue
      treasury installation continue --yes
    """
    with session("s3") as settings, _working(yes, "taking over the archive"):
        done = continue_installation(settings, lambda statement, number: yes or _is_repeated(statement, number))
    typer.echo(done)


def separate(yes: Yes = False) -> None:
    """Make this copy an installation of its own.

    Its archive must be another prefix, to which the objects were copied.

    Examples:
      treasury installation separate
    """
    with session("s3") as settings, _working(yes, "taking over the archive"):
        done = separate_installation(settings, lambda statement, number: yes or _is_repeated(statement, number))
    typer.echo(done)


def _working(yes: bool, doing: str) -> AbstractContextManager[None]:
    """A sign of work where no question comes first: a person types the answer on the same terminal."""
    return terminal.working(doing) if yes else nullcontext()


def _is_repeated(statement: str, number: UUID) -> bool:
    """Ask for the id again, on a terminal or in a pipe. A standard input that is closed has no answer."""
    terminal.note(statement)
    terminal.note(f"To confirm, type the id {number}:")
    answer = sys.stdin.readline() if sys.stdin else ""
    return answer.strip() == str(number)
