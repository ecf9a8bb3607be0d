"""`treasury storage-check`: what the object store really does."""

import json
from typing import Annotated

import typer

from cli import terminal
from cli.session import session
from ledger.errors import VerificationError
from tasks.storage_check.check import check_storage
from tasks.storage_check.findings import StorageReport


def storage_check(
    as_json: Annotated[bool, typer.Option("--json", help="Write one JSON object, for programs")] = False,
) -> None:
    """Try what the object store does: keep, replace, delete, lock, list, check, restore.

    It works on canaries of its own below `_treasury/canary/`, and removes them. Fails where a promise that the settings
    rely on does not hold.
    """
    with session("s3") as settings, terminal.working("trying what the store does"):
        report = check_storage(settings)
    if as_json:
        typer.echo(json.dumps(report.as_json(), indent=1, ensure_ascii=False))
    else:
        _show(report)
    if report.wrong:
        named = "; ".join(f"{finding.promise}: {finding.verdict} ({finding.found})" for finding in report.wrong)
        raise VerificationError(f"{len(report.wrong)} promises that the settings rely on do not hold: {named}")


def _show(report: StorageReport) -> None:
    rows = [
        (key.promise, str(key.verdict) + (" !" if key.is_wrong else ""), key.found, key.follows)
        for key in report.findings
    ]
    terminal.table(f"What {report.location} does", ("promise", "verdict", "found", "what follows"), rows)
    if report.removed:
        terminal.note(f"{report.removed} canaries of earlier runs were removed")
    for key in report.left:
        until = f"until {key.until:%Y-%m-%d %H:%M:%S} UTC" if key.until else "without an end"
        terminal.note(f"{key.key}, version {key.version}: locked {until}; a later run removes it")
