"""`treasury health`: the state of each component, and what to do about a problem."""

import json
import time
from datetime import UTC, datetime
from typing import Annotated

import typer

from cli import terminal
from config import Settings, load_settings
from ledger.counts import counted
from servers.lending import reachable, require_home
from tasks.admin.processes import reports
from tasks.alerting.runbooks import runbook
from tasks.health import CheckResult, run_checks, worst
from tasks.health.record import RULE_PREFIX, RUN_S, Recorded
from tasks.health.record import record as record_results


def health(
    as_json: Annotated[bool, typer.Option("--json", help="Write one JSON object, for programs")] = False,
    record: Annotated[bool, typer.Option("--record", help="Store the results, raise alerts, send notices")] = False,
) -> None:
    """Check all components now. Starts no server.

    Exits with 0 if all are healthy, with 1 after a warning, with 2 if one is critical.
    """
    begun_s = time.monotonic()
    configured, at = load_settings(), datetime.now(UTC)
    require_home(configured, "postgres")
    settings = reachable(configured)
    with terminal.working("checking"):
        results = run_checks(settings, now=at)
    if as_json:
        answer = {
            "checked_at": at.isoformat(),
            "state": worst(results),
            "checks": [result.as_json() for result in results],
        }
        typer.echo(json.dumps(answer, indent=1))
    else:
        _show(settings, results, is_down=configured.database_url is None and reports(configured.home) is None)
    if record:
        _report(record_results(settings, results, at, RUN_S - (time.monotonic() - begun_s)))
    raise typer.Exit(worst(results).rank)


def _show(settings: Settings, results: list[CheckResult], *, is_down: bool) -> None:
    """Print the results. ``is_down``: the servers of this home are stopped, and most findings have that one cause."""
    rows = [
        (result.name, str(result.state), result.line, result.to_do if not result.caused_by else "")
        for result in results
    ]
    terminal.table("Health", ("check", "state", "finding", "action"), rows)
    wrong = [result.name for result in results if result.to_do and not result.caused_by]
    if wrong and is_down:
        terminal.next_step("start the servers with `treasury up`")
    elif wrong:
        terminal.next_step(f"follow {', '.join(runbook(settings, f'{RULE_PREFIX}{name}') for name in wrong)}")


def _report(recorded: Recorded) -> None:
    notices = f"{counted(recorded.sent.delivered, 'notice')} sent, {recorded.sent.failed} failed"
    terminal.note(f"{counted(recorded.opened, 'alert')} opened, {recorded.resolved} resolved, {notices}")
    for error in (recorded.not_stored and f"not stored: {recorded.not_stored}", *recorded.sent.errors):
        if error:
            terminal.note(error)
