"""`treasury health`: is everything well, what is not, and what to do about it."""

import json
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from cli import terminal
from config import load_settings

if TYPE_CHECKING:
    from tasks.health import Result
    from tasks.health.record import Recorded


def register(app: typer.Typer) -> None:
    """Add the command to the application."""
    app.command()(health)


def health(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object, for programs")] = False,
    record: Annotated[bool, typer.Option("--record", help="Also store, raise alerts and send notices")] = False,
) -> None:
    """Check every component now. Starts nothing. Exit code: 0 healthy, 1 a warning, 2 something critical."""
    from servers.stack import demand_home, reachable  # noqa: PLC0415  # the command line must answer --help at once
    from tasks.health import run_checks, worst  # noqa: PLC0415
    from tasks.health.record import RUN_S  # noqa: PLC0415
    from tasks.health.record import record as keep  # noqa: PLC0415

    begun_s = time.monotonic()
    given, at = load_settings(), datetime.now(UTC)
    demand_home(given, "postgres")
    settings = reachable(given)
    results = run_checks(settings, now=at)
    if as_json:
        answer = {"checked_at": at.isoformat(), "state": worst(results), "checks": [one.as_json() for one in results]}
        typer.echo(json.dumps(answer, indent=1))
    else:
        _show(results)
    if record:
        _tell(keep(settings, results, at, RUN_S - (time.monotonic() - begun_s)))
    raise typer.Exit(worst(results).rank)


def _show(results: list["Result"]) -> None:
    rows = [(one.name, str(one.state), one.line, one.to_do if not one.caused_by else "") for one in results]
    terminal.table("Health", ("check", "state", "what is", "what to do"), rows)


def _tell(recorded: "Recorded") -> None:
    told = f"{recorded.sent.told} told, {recorded.sent.failed} not taken"
    terminal.note(f"{recorded.opened} alerts opened, {recorded.resolved} resolved, {told}")
    for error in (recorded.not_stored and f"not stored: {recorded.not_stored}", *recorded.sent.errors):
        if error:
            terminal.note(error)
