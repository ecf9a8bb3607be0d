"""suppliers test, suppliers settle: ask the suppliers everything, and find out what became of open purchases."""

from typing import TYPE_CHECKING, Annotated

import typer

from cli import terminal
from cli.names import KNOWN
from cli.session import servers, session
from ledger.errors import DataError

if TYPE_CHECKING:
    from tasks.supplier_tests import Check

Names = Annotated[list[str] | None, typer.Argument(help=f"{KNOWN}; without: every one that is enabled")]

suppliers = typer.Typer(help="The suppliers: test their APIs, settle open purchases.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.add_typer(suppliers, name="suppliers")


@suppliers.command()
def test(names: Names = None) -> None:  # noqa: PT028  # a command, no test of pytest's
    """Ask each supplier everything that its client can ask, buying for small amounts. Never in production.

    Runs against the simulators, and against the sandbox of a supplier that is configured for it. What it buys stands in
    the simulators' statements of the day and not in the ledger: reconciled, it is missing_here.
    """
    import asyncio  # noqa: PLC0415  # the command line must answer --help at once

    from tasks.supplier_tests import Result, check_suppliers  # noqa: PLC0415

    with servers("suppliers", may_make_home=True) as settings:
        checks = asyncio.run(check_suppliers(settings, names or ()))
    show_checks(checks)
    failed = sum(1 for check in checks if check.result is Result.FAILED)
    if failed:
        raise DataError(f"{failed} of {len(checks)} checks failed")


@suppliers.command()
def settle() -> None:
    """Ask the suppliers what became of purchases that are open for too long. Never buys a second time."""
    import asyncio  # noqa: PLC0415

    from tasks.vending import settle_vends  # noqa: PLC0415

    with session("suppliers") as settings:
        report = asyncio.run(settle_vends(settings))
    typer.echo(f"{report.completed} completed, {report.failed} failed, {report.open} still open")
    if report.still_open:
        rows = [(str(row_id), supplier, why) for row_id, supplier, why in report.still_open]
        terminal.table("Still open", ("row", "supplier", "why"), rows)


def show_checks(checks: "list[Check]") -> None:
    """Print every check with how long it took."""
    rows = [(one.supplier, one.name, one.result.value, str(one.latency_ms), one.detail) for one in checks]
    terminal.table("Supplier tests", ("supplier", "check", "result", "ms", "detail"), rows)
