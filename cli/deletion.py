"""`treasury delete` and `treasury certificate`: what is past its policy, who approves its deletion, what is gone."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from cli import terminal
from cli.days import DAY
from cli.session import session
from config import Settings
from ledger.errors import TreasuryError, combined
from ledger.months import Month
from ledger.retention import DeletionPlan, DoomedMonth
from ledger.tables import TieredTable
from sql.connection import connect
from sql.deletions import Deletion, DeletionRequest, RequestState, get_request, list_deletions, list_requests
from tasks.reconciliation.audit.people import account_of_process
from tasks.retention import approvals
from tasks.retention.certificate_checks import find, verify_certificate
from tasks.retention.deletion import DeletionOutcome, DeletionResult, delete_months, failures
from tasks.retention.deletion_plan import plan_deletion

AsOf = Annotated[datetime | None, typer.Option(**DAY, help="UTC day to apply the policy at  [default: today]")]
Tables = Annotated[list[str] | None, typer.Option("--table", help="Only this table; repeat for several")]
Request = Annotated[int, typer.Argument(help="Number of the request")]
Number = Annotated[str, typer.Argument(help="Number of the certificate, such as DEL-9018d232-7")]
Reason = Annotated[str, typer.Option(help="Reason to record")]
Actor = Annotated[
    str | None,
    typer.Option(help="Person who decides  [default: the account that runs the command, which is always recorded]"),
]


_WORDS = {
    RequestState.WAITING: "waiting",
    RequestState.GRACE: "approved, in its grace period",
    RequestState.DUE: "approved, to be carried out by `treasury delete run`",
}


def plan(as_of: AsOf = None, table: Tables = None) -> None:
    """Show which months are past their policy, and which of them stay and why. Changes nothing."""
    with session() as settings:
        show_plan(plan_deletion(settings, _tables(settings, table), as_of.date() if as_of else None))


def request(reason: Reason, actor: Actor = None, as_of: AsOf = None, table: Tables = None) -> None:
    """Request the deletion of every month that is past its policy."""
    account = account_of_process()
    with session() as settings:
        day = as_of.date() if as_of else None
        made = approvals.request_deletion(
            settings, _tables(settings, table), actor or account, reason, account=account, as_of=day
        )
    show_request(made)
    typer.echo(f"request {made.request_id} waits for {made.approvals} approvals: `treasury delete approve`")


def approve(number: Request, reason: Reason, actor: Actor = None) -> None:
    """Approve the deletion that a request asks for."""
    account = account_of_process()
    with session() as settings:
        _say(approvals.approve(settings, number, actor or account, reason, account=account))


def refuse(number: Request, reason: Reason, actor: Actor = None) -> None:
    """Refuse the deletion that a request asks for."""
    account = account_of_process()
    with session() as settings:
        _say(approvals.refuse(settings, number, actor or account, reason, account=account))


def revoke(number: Request, reason: Reason, actor: Actor = None) -> None:
    """Take back a request, also an approved one, before its months are deleted."""
    account = account_of_process()
    with session() as settings:
        _say(approvals.revoke(settings, number, actor or account, reason, account=account))


def run(
    number: Annotated[int | None, typer.Argument(help="Only this request  [default: all that are due]")] = None,
) -> None:
    """Delete the months of approved requests whose grace period is over.

    Completes the deletions that have begun first. A month that fails stops no other.
    """
    with session("s3") as settings:
        outcomes = delete_months(settings, number)
    show_outcomes(outcomes)
    problems: list[TreasuryError] = failures(outcomes)
    if problems:
        raise combined(problems)


def list_(limit: Annotated[int, typer.Option(min=1, max=1000, help="Maximum number of entries")] = 50) -> None:
    """List the requests to delete months, newest first."""
    with session() as settings, connect(settings.database_dsn, "deletions") as connection:
        requests = list_requests(connection, limit=limit)
    columns = ("request", "months", "rows", "state", "approved by", "due (UTC)", "requested by", "reason")
    terminal.table("Requests to delete", columns, [_request_cells(one) for one in requests])


def show(number: Request) -> None:
    """Show a request: its months, and who decided what."""
    with session() as settings, connect(settings.database_dsn, "deletions") as connection:
        found = get_request(connection, number)
    show_request(found)
    decisions = [
        (f"{one.decided_at:%Y-%m-%d %H:%M}", one.action, one.actor, one.account, one.reason) for one in found.decisions
    ]
    terminal.table("Decisions", ("time (UTC)", "action", "person", "account", "reason"), decisions)
    _say(found)


def list_certificates(
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Maximum number of entries")] = 100,
) -> None:
    """List the certificates of deletion, newest first."""
    with session() as settings, connect(settings.database_dsn, "deletions") as connection:
        deletions = list_deletions(connection, limit)
    columns = ("certificate", "table", "month", "state", "began (UTC)", "ended (UTC)", "note")
    terminal.table("Certificates of deletion", columns, [_certificate_cells(one) for one in deletions])


def show_certificate(
    number: Number,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="File for the page in HTML")] = None,
) -> None:
    """Print a certificate of deletion as JSON, or write its page."""
    with session("s3") as settings:
        content, page = find(settings, number)
    if output is None:
        typer.echo(json.dumps(json.loads(content), indent=1, ensure_ascii=False))
        return
    output.write_bytes(page)
    typer.echo(f"{output}: the page of {number}; print it, or save it as PDF, with a browser")


def verify(number: Number) -> None:
    """Verify a certificate: its objects in the archive, its event in the log, and that nothing is there again."""
    with session("s3") as settings:
        said = verify_certificate(settings, number)
    for line in said:
        typer.echo(line)


def _tables(settings: Settings, names: list[str] | None) -> list[TieredTable]:
    return [settings.table(name) for name in names or settings.registry]


def show_plan(plan: DeletionPlan) -> None:
    """Print a plan for people."""
    _show_months(f"Past their policy on {plan.as_of}", plan.months)
    kept = [(one.table, str(one.month), one.reason) for one in plan.kept]
    if kept:
        terminal.table("Kept", ("table", "month", "why"), kept)
    typer.echo(f"SHA-256 of what is to be deleted: {plan.sha256.hex()}")


def _show_months(title: str, months: Sequence[DoomedMonth]) -> None:
    columns = ("table", "month", "rows", "due", "parts", "rows kept by")
    rows = [
        (one.table, str(one.month), str(one.rows), str(one.due_on), str(len(one.parts)), ", ".join(one.keeps))
        for one in months
    ]
    terminal.table(title, columns, rows)


def show_request(request: DeletionRequest) -> None:
    """Print the months of a request for people."""
    _show_months(f"Request {request.request_id}, as of {request.as_of}", request.months)


def show_outcomes(outcomes: Sequence[DeletionOutcome]) -> None:
    """Print what was deleted for people."""
    columns = ("table", "month", "result", "rows", "certificate", "reason")
    rows = [
        (one.table, str(one.month), str(one.result), str(one.rows or ""), one.certificate, one.reason)
        for one in outcomes
    ]
    terminal.table("Deletions", columns, rows)
    deleted = sum(one.result is DeletionResult.DELETED for one in outcomes)
    typer.echo(f"{deleted} months deleted" if outcomes else "nothing is due")


def _say(request: DeletionRequest) -> None:
    state = request.state(datetime.now(UTC))
    more = f", {len(request.approved_by)} of {request.approvals} approvals"
    due = f"; due at {request.due_at:%Y-%m-%d %H:%M} UTC" if request.due_at and state in ("grace", "due") else ""
    typer.echo(f"request {request.request_id}: {_WORDS.get(state, state)}{more}{due}")


def _request_cells(one: DeletionRequest) -> tuple[str, ...]:
    months = ", ".join(map(str, one.months[:3])) + (f" and {len(one.months) - 3} more" if len(one.months) > 3 else "")
    rows = sum(month.rows for month in one.months)
    people = ", ".join(decision.actor for decision in one.approved_by)
    due = f"{one.due_at:%Y-%m-%d %H:%M}" if one.due_at else ""
    return (str(one.request_id), months, str(rows), one.state(datetime.now(UTC)), people, due, one.actor, one.reason)


def _certificate_cells(one: Deletion) -> tuple[str, ...]:
    ended = f"{one.finished_at:%Y-%m-%d %H:%M}" if one.finished_at else ""
    state = "certified" if one.state == "done" else "under way"
    began = f"{one.begun_at:%Y-%m-%d %H:%M}"
    return (one.certificate, one.table_name, str(Month.of(one.month)), state, began, ended, one.last_error or "")
