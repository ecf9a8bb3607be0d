"""`treasury suppliers`: test the suppliers' APIs, and ask for the outcome of open purchases."""

import asyncio
from typing import Annotated

import typer

from cli import terminal
from cli.json_output import AsJson, record, write_json
from cli.names import KNOWN
from cli.session import servers, session
from ledger.counts import counted
from ledger.errors import DataError
from tasks.vending.purchase import settle_vends
from tasks.vending.supplier_tests import TrialCheck, TrialResult, check_suppliers

Names = Annotated[list[str] | None, typer.Argument(help=f"{KNOWN}  [default: all enabled suppliers]")]


def test(names: Names = None, as_json: AsJson = False) -> None:  # noqa: PT028  # a command, no test of pytest's
    """Test the API of each supplier with small purchases. Do not run it in production.

    Uses the simulators, and the sandbox of each supplier that has one configured. The purchases appear in the
    simulators' statements of the day but not in the ledger, so reconciliation reports them as missing_here.

    Examples:
      treasury suppliers test flash peach
    """
    with servers("suppliers", may_make_home=True) as settings, terminal.working("buying from the suppliers"):
        checks = asyncio.run(check_suppliers(settings, names or ()))
    if as_json:
        write_json(checks)
    else:
        show_checks(checks)
    failed = sum(1 for check in checks if check.result is TrialResult.FAILED)
    if failed:
        raise DataError(f"{failed} of {counted(len(checks), 'check')} failed")


def settle(as_json: AsJson = False) -> None:
    """Ask the suppliers for the outcome of open purchases. Never buys a second time."""
    with session("suppliers") as settings, terminal.working("asking the suppliers"):
        report = asyncio.run(settle_vends(settings))
    if as_json:
        names = ("row", "supplier", "reason")
        write_json(record(report) | {"still_open": [dict(zip(names, row, strict=True)) for row in report.still_open]})
        return
    typer.echo(f"{report.completed} completed, {report.failed} failed, {report.open} still open")
    if report.still_open:
        rows = [(str(row_id), supplier, why) for row_id, supplier, why in report.still_open]
        terminal.table("Still open", ("row", "supplier", "reason"), rows)


def show_checks(checks: list[TrialCheck]) -> None:
    """Print each check with its duration."""
    rows = [(check.supplier, check.name, check.result.value, str(check.latency_ms), check.detail) for check in checks]
    terminal.table("Supplier tests", ("supplier", "check", "result", "ms", "detail"), rows)
