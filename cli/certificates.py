"""`treasury certificate`: what was deleted, and the proof of it."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from cli import terminal
from cli.json_output import AsJson, write_json
from cli.session import session
from ledger.errors import ConfigError
from ledger.months import Month
from sql.connection import connect
from sql.deletions import Deletion, list_deletions
from tasks.retention.certificate_checks import find, verify_certificate

Number = Annotated[str, typer.Argument(help="Number of the certificate, such as DEL-9018d232-7")]


def list_(
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Maximum number of entries")] = 100,
    as_json: AsJson = False,
) -> None:
    """List the certificates of deletion, newest first."""
    with session() as settings, connect(settings.database_dsn, "deletions") as connection:
        deletions = list_deletions(connection, limit)
    if as_json:
        write_json(list(map(_as_json, deletions)))
        return
    columns = ("certificate", "table", "month", "state", "began (UTC)", "ended (UTC)", "note")
    terminal.table("Certificates of deletion", columns, [_cells(deletion) for deletion in deletions])


def show(
    number: Number,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="File for the page in HTML")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print it as JSON, as without --output")] = False,
) -> None:
    """Print a certificate of deletion as JSON, or write its page.

    Examples:
      treasury certificate show DEL-9018d232-7
      treasury certificate show DEL-9018d232-7 --output certificate.html
    """
    if as_json and output is not None:
        raise ConfigError("give --json or --output, and not both")
    with session("s3") as settings:
        content, page = find(settings, number)
    if output is None:
        write_json(json.loads(content))
        return
    output.write_bytes(page)
    typer.echo(f"{output}: the page of {number}; print it, or save it as PDF, with a browser")


def verify(number: Number, as_json: AsJson = False) -> None:
    """Verify a certificate: its objects in the archive, its event in the log, and that nothing is there again.

    Examples:
      treasury certificate verify DEL-9018d232-7
    """
    with session("s3") as settings, terminal.working("verifying"):
        said = verify_certificate(settings, number)
    if as_json:
        write_json({"certificate": number, "verified": said})
        return
    for line in said:
        typer.echo(terminal.visible(line))


def _as_json(deletion: Deletion) -> dict[str, Any]:
    return {
        "certificate": deletion.certificate,
        "request_id": deletion.request_id,
        "table": deletion.table_name,
        "month": Month.of(deletion.month),
        "state": _state(deletion),
        "begun_at": deletion.begun_at,
        "finished_at": deletion.finished_at,
        "last_error": deletion.last_error,
    }


def _state(deletion: Deletion) -> str:
    return "certified" if deletion.state == "done" else "under way"


def _cells(deletion: Deletion) -> tuple[str, ...]:
    ended = f"{deletion.finished_at:%Y-%m-%d %H:%M}" if deletion.finished_at else ""
    state = _state(deletion)
    began = f"{deletion.begun_at:%Y-%m-%d %H:%M}"
    return (
        deletion.certificate,
        deletion.table_name,
        str(Month.of(deletion.month)),
        state,
        began,
        ended,
        deletion.last_error or "",
    )
