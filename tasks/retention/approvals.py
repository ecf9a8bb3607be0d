"""Requests to delete what a plan names, and the people who approve, refuse or revoke them.

An approval is of the plan's hash. It is compared with the plan as it is now, so nobody approves what has changed.
"""

from collections.abc import Sequence
from datetime import date, datetime

from config import Settings
from ledger.errors import RefusalError
from ledger.people import REASON_CHARACTERS, SYSTEM, Person, check_text
from ledger.retention import DeletionPlan, DoomedMonth, plan_hash
from ledger.tables import TieredTable
from sql.clock import read_now
from sql.connection import Connection, connect
from sql.deletion_requests import (
    DeletionRequest,
    RequestState,
    add_decision,
    add_request,
    get_request,
    list_requests,
    lock_requests,
)
from tasks.retention.deletion_plan import read_plan

OPEN = (RequestState.WAITING, RequestState.GRACE, RequestState.DUE)
_SHOWN = 3


def request_deletion(
    settings: Settings,
    tables: Sequence[TieredTable],
    actor: str,
    reason: str,
    *,
    account: str | None = None,
    as_of: date | None = None,
) -> DeletionRequest:
    """Ask for the deletion of everything that is past its policy and not in an open request.

    Raises RefusalError, naming what is in the way, where nothing is.
    """
    Person(actor, account or actor).check()
    check_text("reason", reason, REASON_CHARACTERS)
    with connect(settings.database_dsn, "deletion request") as connection, connection.transaction():
        lock_requests(connection)
        plan, months = _new_months(connection, tables, as_of)
        if not months:
            raise RefusalError(_nothing(connection, plan))
        return _add(connection, settings, plan, months, Person(actor, account or actor), reason)


def request_by_schedule(
    settings: Settings, tables: Sequence[TieredTable], as_of: date | None = None
) -> DeletionRequest | None:
    """`request_deletion` by the flow itself, in the name of the system; None where nothing is due."""
    with connect(settings.database_dsn, "deletion request") as connection, connection.transaction():
        lock_requests(connection)
        plan, months = _new_months(connection, tables, as_of)
        if not months:
            return None
        return _add(connection, settings, plan, months, Person(SYSTEM, SYSTEM), "past the policy of its table")


def _add(
    connection: Connection,
    settings: Settings,
    plan: DeletionPlan,
    months: tuple[DoomedMonth, ...],
    who: Person,
    reason: str,
) -> DeletionRequest:
    rules = settings.retention
    request = DeletionRequest(
        request_id=0,
        as_of=plan.as_of,
        months=months,
        plan_sha256=plan_hash(months),
        approvals=rules.approvals,
        grace_days=rules.grace_days,
        actor=who.name,
        account=who.account,
        reason=reason,
        requested_at=read_now(connection),
    )
    return add_request(connection, request)


def _new_months(
    connection: Connection, tables: Sequence[TieredTable], as_of: date | None
) -> tuple[DeletionPlan, tuple[DoomedMonth, ...]]:
    plan = read_plan(connection, tables, as_of)
    taken = {(month.table, month.month) for request in open_requests(connection) for month in request.months}
    return plan, tuple(month for month in plan.months if (month.table, month.month) not in taken)


def _nothing(connection: Connection, plan: DeletionPlan) -> str:
    waiting = [f"request {request.request_id} asks for it already" for request in open_requests(connection)]
    kept = [f"{month.table} {month.month}: {month.reason}" for month in plan.kept]
    why = "; ".join([*waiting, *kept][:_SHOWN])
    return f"nothing new is past its policy on {plan.as_of}{f' ({why})' if why else ''}: there is nothing to request"


def open_requests(connection: Connection) -> list[DeletionRequest]:
    """The requests that wait, are in their grace period or are due, the newest first."""
    now = read_now(connection)
    return [request for request in list_requests(connection) if request.state(now) in OPEN]


def due_requests(settings: Settings) -> list[int]:
    """The numbers of the requests that may be carried out now, the oldest first."""
    with connect(settings.database_dsn, "deletion approval") as connection:
        now = read_now(connection)
        due = [request.request_id for request in list_requests(connection) if request.state(now) is RequestState.DUE]
    return due[::-1]


def waiting_request(settings: Settings) -> DeletionRequest | None:
    """The oldest request that waits for approvals; None where none does."""
    with connect(settings.database_dsn, "deletion approval") as connection:
        now = read_now(connection)
        waiting = [request for request in list_requests(connection) if request.state(now) is RequestState.WAITING]
    return waiting[-1] if waiting else None


def approve(settings: Settings, number: int, actor: str, reason: str, *, account: str | None = None) -> DeletionRequest:
    """Approve a request. Raises NotFoundError for an unknown one. Raises RefusalError for one that does not wait, for
    the same person a second time, and for a plan that changed since the request.
    """
    who = _person(actor, account, reason)
    with connect(settings.database_dsn, "deletion approval") as connection, connection.transaction():
        lock_requests(connection)
        request = get_request(connection, number)
        _require_state(request, read_now(connection), (RequestState.WAITING,), "approved")
        for former in request.approved_by:
            if who.is_same_as(former.actor, former.account):
                raise RefusalError(
                    f"request {number}: {former.actor} has approved it under {former.account}; somebody else must"
                )
        require_unchanged(connection, settings, request)
        add_decision(connection, number, "approved", who.name, who.account, reason)
        return get_request(connection, number)


def refuse(settings: Settings, number: int, actor: str, reason: str, *, account: str | None = None) -> DeletionRequest:
    """Refuse a request that waits. Raises as `approve`."""
    who = _person(actor, account, reason)
    with connect(settings.database_dsn, "deletion approval") as connection, connection.transaction():
        lock_requests(connection)
        request = get_request(connection, number)
        _require_state(request, read_now(connection), (RequestState.WAITING,), "refused")
        add_decision(connection, number, "refused", who.name, who.account, reason)
        return get_request(connection, number)


def revoke(settings: Settings, number: int, actor: str, reason: str, *, account: str | None = None) -> DeletionRequest:
    """Take back a request, approved or not. Months whose deletion has begun stay deleted. Raises as `approve`."""
    who = _person(actor, account, reason)
    with connect(settings.database_dsn, "deletion approval") as connection, connection.transaction():
        lock_requests(connection)
        request = get_request(connection, number)
        _require_state(request, read_now(connection), OPEN, "revoked")
        add_decision(connection, number, "revoked", who.name, who.account, reason)
        return get_request(connection, number)


def require_unchanged(connection: Connection, settings: Settings, request: DeletionRequest) -> None:
    """Raise RefusalError naming the first month that is not planned as the request has it any more. Months whose
    deletion has begun are not looked at.
    """
    require_plan(request)
    begun = {(table, month) for table, month, *_ in request.done}
    for month in request.months:
        if (month.table, str(month.month)) not in begun:
            require_month_unchanged(connection, settings, request, month)


def require_plan(request: DeletionRequest) -> None:
    """Raise RefusalError unless a request has the plan of its SHA-256, which people approve: rows can be changed."""
    if plan_hash(request.months) != request.plan_sha256:
        raise RefusalError(
            f"request {request.request_id}: the plan in deletion_requests is not the one of its SHA-256: somebody "
            f"changed the row. Revoke the request (`treasury delete revoke {request.request_id}`) and make another one"
        )


def require_rules(settings: Settings, request: DeletionRequest) -> None:
    """Raise RefusalError where a request was made under rules that asked for less than those of today."""
    rules = settings.retention
    for name, had, wanted in (
        ("approvals", request.approvals, rules.approvals),
        ("grace_days", request.grace_days, rules.grace_days),
    ):
        if had < wanted:
            raise RefusalError(
                f"request {request.request_id} was made with {name} {had}, and the settings ask for {wanted}: revoke "
                f"it (`treasury delete revoke {request.request_id}`) and make another one"
            )


def require_month_unchanged(
    connection: Connection, settings: Settings, request: DeletionRequest, wanted: DoomedMonth
) -> None:
    """Raise RefusalError where a month is not planned as the request has it any more, with the reason."""
    plan = read_plan(connection, [settings.table(wanted.table)], request.as_of)
    doomed = next((month for month in plan.months if month.month == wanted.month), None)
    if doomed == wanted:
        return
    kept = next((month.reason for month in plan.kept if month.month == wanted.month), "")
    raise RefusalError(
        f"request {request.request_id}: the plan changed since it was made: {wanted}: "
        f"{kept or _changed(wanted, doomed)}. "
        f"Revoke the request (`treasury delete revoke {request.request_id}`) and make another one"
    )


def _changed(wanted: DoomedMonth, doomed: DoomedMonth | None) -> str:
    if doomed is None:
        return "it is not past its policy, or is deleted"
    names = ("due_on", "retention_months", "parts", "keeps")
    differing = [name for name in names if getattr(wanted, name) != getattr(doomed, name)]
    words = {"keeps": "the holds on its rows", "parts": "its parts", "due_on": "its due date"}
    return ", ".join(words.get(name, name) for name in differing) + " changed"


def _person(actor: str, account: str | None, reason: str) -> Person:
    who = Person(actor, account or actor)
    who.check()
    check_text("reason", reason, REASON_CHARACTERS)
    return who


def _require_state(request: DeletionRequest, now: datetime, allowed: Sequence[RequestState], action: str) -> None:
    state = request.state(now)
    if state in allowed:
        return
    shown = {RequestState.GRACE: "approved, and in its grace period", RequestState.DUE: "approved, and due"}
    raise RefusalError(f"request {request.request_id} is {shown.get(state, state)}: it cannot be {action}")
