"""`treasury delete`: what is past its policy, who approves its deletion, and what is deleted."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from cli import terminal
from cli.days import DAY
from cli.json_output import AsJson, record, write_json
from cli.people import Actor, Reason, account_of_process
from cli.session import session
from config import Settings
from ledger.counts import counted
from ledger.errors import TreasuryError, combined
from ledger.retention import DeletionPlan, DoomedMonth
from sql.connection import connect
from sql.deletion_requests import DeletionRequest, RequestState, get_request, list_requests
from tasks.retention import approvals
from tasks.retention.deletion import DeletionOutcome, DeletionResult, delete_months, failures
from tasks.retention.deletion_plan import plan_deletion

AsOf = Annotated[datetime | None, typer.Option(**DAY, help="UTC day to apply the policy at  [default: today]")]
Tables = Annotated[list[str] | None, typer.Option("--table", help="Only this table; repeat for several")]
Request = Annotated[int, typer.Argument(help="Number of the request")]


_WORDS = {
    RequestState.WAITING: "waiting",
    RequestState.GRACE: "approved, in its grace period",
    RequestState.DUE: "approved, to be carried out by `treasury delete run`",
}


def plan(as_of: AsOf = None, table: Tables = None, as_json: AsJson = False) -> None:
    """Show which months are past their policy, and which of them stay and why. Changes nothing."""
    with session() as settings, terminal.working("planning"):
        planned = plan_deletion(settings, settings.chosen_tables(table), as_of.date() if as_of else None)
    if as_json:
        write_json(_plan_as_json(planned))
    else:
        show_plan(planned)


def request(
    reason: Reason, actor: Actor = None, as_of: AsOf = None, table: Tables = None, as_json: AsJson = False
) -> None:
    """Request the deletion of every month that is past its policy.

    Examples:
      treasury delete request --reason "past their retention"
    """
    account = account_of_process()
    with session() as settings, terminal.working("planning"):
        day = as_of.date() if as_of else None
        made = approvals.request_deletion(
            settings, settings.chosen_tables(table), actor or account, reason, account=account, as_of=day
        )
    if as_json:
        write_json(_request_as_json(made))
        return
    show_request(made)
    typer.echo(f"request {made.request_id} waits for {made.approvals} approvals: `treasury delete approve`")
    _say_next(made)


def approve(number: Request, reason: Reason, actor: Actor = None, as_json: AsJson = False) -> None:
    """Approve the deletion that a request asks for.

    Examples:
      treasury delete approve 3 --reason "looked at the plan"
    """
    account = account_of_process()
    with session() as settings:
        approved = approvals.approve(settings, number, actor or account, reason, account=account)
    if as_json:
        write_json(_request_as_json(approved))
        return
    _say(approved)
    _say_next(approved)


def refuse(number: Request, reason: Reason, actor: Actor = None, as_json: AsJson = False) -> None:
    """Refuse the deletion that a request asks for.

    Examples:
      treasury delete refuse 3 --reason "the audit of 2024 is not over"
    """
    account = account_of_process()
    with session() as settings:
        refused = approvals.refuse(settings, number, actor or account, reason, account=account)
    _show_decided(refused, as_json=as_json)


def revoke(number: Request, reason: Reason, actor: Actor = None, as_json: AsJson = False) -> None:
    """Take back a request, also an approved one, before its months are deleted.

    Examples:
      treasury delete revoke 3 --reason "a court asked for the rows"
    """
    account = account_of_process()
    with session() as settings:
        revoked = approvals.revoke(settings, number, actor or account, reason, account=account)
    _show_decided(revoked, as_json=as_json)


def _show_decided(request: DeletionRequest, *, as_json: bool) -> None:
    if as_json:
        write_json(_request_as_json(request))
    else:
        _say(request)


def run(
    number: Annotated[int | None, typer.Argument(help="Only this request  [default: all that are due]")] = None,
    as_json: AsJson = False,
) -> None:
    """Delete the months of approved requests whose grace period is over.

    Completes the deletions that have begun first. A month that fails stops no other.

    Examples:
      treasury delete run
      treasury delete run 3
    """
    with session("s3") as settings, terminal.working("deleting"):
        outcomes = delete_months(settings, number)
    _show_done(outcomes, as_json=as_json)
    problems: list[TreasuryError] = failures(outcomes)
    if problems:
        raise combined(problems)


def list_(
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Maximum number of entries")] = 50,
    as_json: AsJson = False,
) -> None:
    """List the requests to delete months, newest first."""
    with session() as settings, connect(settings.database_dsn, "deletions") as connection:
        requests = list_requests(connection, limit=limit)
    if as_json:
        write_json(list(map(_request_as_json, requests)))
        return
    columns = ("request", "months", "rows", "state", "approved by", "due (UTC)", "requested by", "reason")
    terminal.table("Requests to delete", columns, [_request_cells(request) for request in requests])


def show(number: Request, as_json: AsJson = False) -> None:
    """Show a request: its months, and who decided what.

    Examples:
      treasury delete show 3
    """
    with session() as settings, connect(settings.database_dsn, "deletions") as connection:
        request = get_request(connection, number)
    if as_json:
        write_json(_request_as_json(request))
        return
    show_request(request)
    decisions = [
        (f"{decision.decided_at:%Y-%m-%d %H:%M}", decision.action, decision.actor, decision.account, decision.reason)
        for decision in request.decisions
    ]
    terminal.table("Decisions", ("time (UTC)", "action", "person", "account", "reason"), decisions)
    _say(request)
    _say_next(request)


def show_plan(plan: DeletionPlan) -> None:
    """Print a plan for people."""
    if plan.months:
        _show_months(f"Past their policy on {plan.as_of}", plan.months)
    else:
        typer.echo(f"nothing is to be deleted on {plan.as_of}")
    kept = [(month.table, str(month.month), month.reason) for month in plan.kept]
    if kept:
        terminal.table("Kept", ("table", "month", "why"), kept)
    if plan.months:
        typer.echo(f"SHA-256 of what is to be deleted: {plan.sha256.hex()}")
        terminal.next_step("request it with `treasury delete request --reason TEXT`")


def _show_months(title: str, months: Sequence[DoomedMonth]) -> None:
    columns = ("table", "month", "rows", "due", "parts", "rows kept by")
    rows = [
        (
            month.table,
            str(month.month),
            str(month.rows),
            str(month.due_on),
            str(len(month.parts)),
            ", ".join(month.keeps),
        )
        for month in months
    ]
    terminal.table(title, columns, rows)


def show_request(request: DeletionRequest) -> None:
    """Print the months of a request for people."""
    _show_months(f"Request {request.request_id}, as of {request.as_of}", request.months)


def show_run(
    settings: Settings, outcomes: Sequence[DeletionOutcome], parameters: Mapping[str, Any], *, as_json: bool
) -> None:
    """Print what a run of the flow has deleted, or planned with ``plan_only``."""
    if not parameters.get("plan_only"):
        _show_done(outcomes, as_json=as_json)
        return
    planned = plan_deletion(settings, settings.chosen_tables(parameters.get("tables")), parameters.get("as_of"))
    if as_json:
        write_json(_plan_as_json(planned))
    else:
        show_plan(planned)


def _show_done(outcomes: Sequence[DeletionOutcome], *, as_json: bool) -> None:
    """Print what was deleted, and for people how it is checked."""
    if as_json:
        write_json([record(outcome, "transient") for outcome in outcomes])
        return
    show_outcomes(outcomes)
    certificates = [outcome.certificate for outcome in outcomes if outcome.result is DeletionResult.DELETED]
    if certificates:
        terminal.next_step(f"check what is gone with `treasury certificate verify {certificates[0]}`")


def show_outcomes(outcomes: Sequence[DeletionOutcome]) -> None:
    """Print what was deleted for people."""
    columns = ("table", "month", "result", "rows", "certificate", "reason")
    rows = [
        (
            outcome.table,
            str(outcome.month),
            str(outcome.result),
            str(outcome.rows or ""),
            outcome.certificate,
            outcome.reason,
        )
        for outcome in outcomes
    ]
    terminal.table("Deletions", columns, rows)
    deleted = sum(outcome.result is DeletionResult.DELETED for outcome in outcomes)
    typer.echo(f"{counted(deleted, 'month')} deleted" if outcomes else "nothing is due")


def _say(request: DeletionRequest) -> None:
    state = request.state(datetime.now(UTC))
    more = f", {len(request.approved_by)} of {request.approvals} approvals"
    due = f"; due at {request.due_at:%Y-%m-%d %H:%M} UTC" if request.due_at and state in ("grace", "due") else ""
    typer.echo(f"request {request.request_id}: {_WORDS.get(state, state)}{more}{due}")


def _say_next(request: DeletionRequest) -> None:
    """What brings the request on, in one line."""
    state, number = request.state(datetime.now(UTC)), request.request_id
    if state is RequestState.WAITING:
        missing = request.approvals - len(request.approved_by)
        who = "another person" if missing == 1 else f"{missing} people"
        terminal.next_step(f"let {who} run `treasury delete approve {number} --reason TEXT`")
    elif state is RequestState.GRACE:
        due = f"{request.due_at:%Y-%m-%d %H:%M} UTC"
        terminal.next_step(f"run `treasury delete run {number}` from {due} on, or leave it to the nightly flow")
    elif state is RequestState.DUE:
        terminal.next_step(f"run `treasury delete run {number}`")


def _plan_as_json(planned: DeletionPlan) -> dict[str, Any]:
    months = list(map(_month_as_json, planned.months))
    return {"as_of": planned.as_of, "sha256": planned.sha256, "months": months, "kept": planned.kept}


def _month_as_json(month: DoomedMonth) -> dict[str, Any]:
    return month.to_record() | {"rows": month.rows}


def _request_as_json(request: DeletionRequest) -> dict[str, Any]:
    """A request with its state now, its decisions, and the deletions under it."""
    names = ("table", "month", "state", "certificate")
    return record(
        request,
        state=request.state(datetime.now(UTC)),
        due_at=request.due_at,
        approved_by=[decision.actor for decision in request.approved_by],
        months=list(map(_month_as_json, request.months)),
        decisions=request.decisions,
        done=[dict(zip(names, values, strict=True)) for values in request.done],
    )


def _request_cells(request: DeletionRequest) -> tuple[str, ...]:
    months = ", ".join(map(str, request.months[:3])) + (
        f" and {len(request.months) - 3} more" if len(request.months) > 3 else ""
    )
    rows = sum(month.rows for month in request.months)
    people = ", ".join(decision.actor for decision in request.approved_by)
    due = f"{request.due_at:%Y-%m-%d %H:%M}" if request.due_at else ""
    return (
        str(request.request_id),
        months,
        str(rows),
        request.state(datetime.now(UTC)),
        people,
        due,
        request.actor,
        request.reason,
    )
