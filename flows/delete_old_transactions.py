"""Deletion: months that are past their policy are requested, approved by people, and deleted after a grace period.

The state of everything is in PostgreSQL. A run that is killed while it waits loses nothing. What people decided until
then is recorded, `treasury delete approve` decides as well, and the next run goes on.
"""

import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import copy_context
from typing import Literal
from uuid import UUID

from prefect import flow, get_run_logger
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.client.orchestration import get_client
from prefect.flow_runs import pause_flow_run
from prefect.input import RunInput
from prefect.runtime import flow_run
from pydantic import Field

from config import Settings, load_settings
from flows.console import explained, finished, name_run
from flows.futures import raise_together
from flows.parameters import AsOf, PlanOnly, Tables, WaitHours
from flows.schedule import HOOKS, note_so_far
from ledger.counts import counted
from ledger.errors import ConfigError, TreasuryError
from ledger.retention import DeletionPlan
from sql.deletion_requests import DeletionRequest
from tasks.admin.setup import check_clock
from tasks.retention.approvals import approve, due_requests, refuse, waiting_request
from tasks.retention.deletion import DeletionOutcome, failures
from tasks.steps import delete_months_step, plan_deletion_step, request_deletion_step

_HOUR_S = 3600
_POLL_S = 5
_MARGIN_S = 600  # the waiting is ended by the run itself: one that Prefect ends has failed
_LATER = "later"


class Approval(RunInput):
    """A person's decision about a request, as a form in the Prefect UI."""

    approver: str = Field(description="Your name: it is recorded, and printed on the certificates")
    decision: Literal["approve", "refuse", "later"] = Field("approve", description="`later` decides nothing")
    reason: str = Field(description="Why: it is recorded, and printed on the certificates")


@flow(name="delete-old-transactions", **HOOKS)
@explained("delete-old-transactions")
def delete_old_transactions(
    as_of: AsOf = None, tables: Tables = (), plan_only: PlanOnly = False, wait_hours: WaitHours = None
) -> list[DeletionOutcome]:
    """Complete what has begun, delete what is approved and past its grace period, and ask for what is newly due.

    Where a request waits for approvals, the run waits with it, paused: *Resume* in the Prefect UI shows the form.
    A month that fails stops no other; the run fails at its end if one did. Safe to run again at any time.
    """
    settings = load_settings()
    check_clock(settings)
    chosen = settings.chosen_tables(tables)
    plan = plan_deletion_step(settings, chosen, as_of)
    planned = _publish_plan(plan)
    get_run_logger().info(planned)
    if plan_only:
        return finished([], f"plan: {planned}")
    tried = set(due_requests(settings))
    outcomes = delete_months_step(settings)
    request_deletion_step(settings, chosen, as_of)
    hours = settings.retention.approval_wait_hours if wait_hours is None else wait_hours
    if settings.retention.prefect_approvals and waiting_request(settings) is not None:
        note_so_far()
        _wait(settings, hours * _HOUR_S)
        name_run("delete old transactions")
    for number in due_requests(settings):  # without a grace period, what was approved meanwhile
        outcomes += [] if number in tried else delete_months_step(settings, number)
    get_run_logger().info(_publish_outcomes(outcomes))
    raise_together(failures(outcomes))
    return finished(outcomes, f"delete: {_done(outcomes, waiting_request(settings))}")


def _done(outcomes: Sequence[DeletionOutcome], waiting: DeletionRequest | None) -> str:
    """Say in a line what was deleted, and which request waits."""
    counts = Counter(str(outcome.result) for outcome in outcomes)
    lines = [f"{count} {result}" for result, count in sorted(counts.items())]
    if waiting is not None:
        lines.append(f"request {waiting.request_id} waits for approval")
    return ", ".join(lines) or "nothing to do"


def _wait(settings: Settings, wait_s: float) -> None:
    """Pause until nothing waits for approval, or the time is over."""
    ends_at, said = time.monotonic() + wait_s, ""
    while (left_s := ends_at - time.monotonic()) > 0 and (request := waiting_request(settings)) is not None:
        name_run(f"delete: request {request.request_id} waits for approval, {counted(len(request.months), 'month')}")
        with _ended_in_time(settings, request, left_s):
            form = pause_flow_run(
                wait_for_input=Approval.with_initial_data(description=f"{said}{_described(request)}"),
                timeout=int(left_s) + _MARGIN_S,
                poll_interval=_POLL_S,
            )
        if form.decision != _LATER:
            said = _decide(settings, request, form)
        elif waiting_request(settings) == request:
            return


def _decide(settings: Settings, request: DeletionRequest, form: Approval) -> str:
    """Record the decision; returns why it does not count, for the next form."""
    decide = approve if form.decision == "approve" else refuse
    # Everybody in the UI has one login, so only the name distinguishes people (docs/deletion.md).
    account = f"prefect: {form.approver.strip()}"
    try:
        decide(settings, request.request_id, form.approver, form.reason, account=account)
    except TreasuryError as error:
        get_run_logger().warning("%s", error)
        return f"**Not recorded:** {error}\n\n"
    get_run_logger().info("request %d: %s by %s", request.request_id, form.decision, form.approver)
    return ""


@contextmanager
def _ended_in_time(settings: Settings, request: DeletionRequest, wait_s: float) -> Iterator[None]:
    """End the pause in the block when its time is over, or when the request was decided elsewhere."""
    run_id, done, ends_at = flow_run.get_id(), threading.Event(), time.monotonic() + wait_s
    if run_id is None:
        raise ConfigError("delete-old-transactions: only a flow run can wait for approvals")

    def watch() -> None:
        while not done.wait(_POLL_S):
            if time.monotonic() < ends_at and _is_as_before(settings, request):
                continue
            with get_client(sync_client=True) as client:
                client.resume_flow_run(UUID(run_id), run_input={"approver": "", "decision": _LATER, "reason": ""})

    # Prefect finds its server by the context, which a thread does not have by itself.
    watcher = threading.Thread(target=copy_context().run, args=(watch,), name="approval", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()


def _is_as_before(settings: Settings, request: DeletionRequest) -> bool:
    try:
        return waiting_request(settings) == request
    except TreasuryError:
        return True  # PostgreSQL is away: the pause goes on, and ends with its time


def _described(request: DeletionRequest) -> str:
    """A request as Markdown for the form."""
    missing = request.approvals - len(request.approved_by)
    rows = sum(month.rows for month in request.months)
    approved = ", ".join(decision.actor for decision in request.approved_by) or "nobody yet"
    lines = [
        f"## Delete {counted(len(request.months), 'month')}, {counted(rows, 'row')}",
        f"Request {request.request_id} by {request.actor}: {request.reason}.",
        f"Approved by {approved}; {missing} more must approve. Grace period: {counted(request.grace_days, 'day')}.",
        "",
        "| table | month | rows | due since | rows kept by |",
        "|---|---|---|---|---|",
        *(
            f"| {month.table} | {month.month} | {month.rows} | {month.due_on} | {', '.join(month.keeps)} |"
            for month in request.months
        ),
        "",
        f"SHA-256 of the plan: `{request.plan_sha256.hex()}`",
    ]
    return "\n".join(lines)


def _publish_plan(plan: DeletionPlan) -> str:
    rows = [
        {
            "table": month.table,
            "month": str(month.month),
            "rows": month.rows,
            "due since": str(month.due_on),
            "kept because": f"rows of {', '.join(month.keeps)}" if month.keeps else "",
        }
        for month in plan.months
    ]
    rows += [
        {"table": month.table, "month": str(month.month), "rows": 0, "due since": "", "kept because": month.reason}
        for month in plan.kept
    ]
    create_table_artifact(key="deletion-plan", table=rows, description=f"Past their policy on {plan.as_of}")
    past = counted(len(plan.months), "month is past its", "months are past their")
    return f"{past} policy on {plan.as_of}, {len(plan.kept)} kept"


def _publish_outcomes(outcomes: Sequence[DeletionOutcome]) -> str:
    lines = [
        f"- {outcome.table} {outcome.month}: {outcome.result} {outcome.certificate} {outcome.reason}".rstrip()
        for outcome in outcomes
    ] or ["- nothing was due"]
    text = "\n".join(["## Deletions", "", *lines])
    create_markdown_artifact(key="deletions", markdown=text)
    return text
