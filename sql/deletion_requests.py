"""Requests to delete months: the plan of each, the decisions about it, and when it is due."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Any

from psycopg.types.json import Jsonb

from ledger.errors import NotFoundError
from ledger.people import folded_names
from ledger.retention import DoomedMonth
from sql.clock import read_now
from sql.connection import Connection, fetch_one
from sql.queries import load
from sql.storing import check_stored

_QUERIES = load("deletion_requests")


class RequestState(StrEnum):
    """Where a request is. ``grace``: approved, and not due yet."""

    WAITING = "waiting"
    GRACE = "grace"
    DUE = "due"
    DONE = "done"
    REFUSED = "refused"
    REVOKED = "revoked"


@dataclass(frozen=True, slots=True)
class DeletionDecision:
    """What one person decided about a request: ``approved``, ``refused`` or ``revoked``."""

    action: str
    actor: str
    account: str
    reason: str
    decided_at: datetime

    def is_by_same(self, other: "DeletionDecision") -> bool:
        """Whether both decisions may be one person's: any name of one is any name of the other's."""
        return bool(folded_names(self.actor, self.account) & folded_names(other.actor, other.account))

    def to_record(self) -> dict[str, str]:
        """The decision as JSON values."""
        at = self.decided_at.isoformat()
        return {"actor": self.actor, "account": self.account, "reason": self.reason, "at": at}


def counted_approvals(decisions: Sequence[DeletionDecision]) -> tuple[DeletionDecision, ...]:
    """The approvals that count: see `DeletionRequest.approved_by`."""
    approvals: list[DeletionDecision] = []
    for decision in decisions:
        if decision.action == "approved" and not any(decision.is_by_same(other) for other in approvals):
            approvals.append(decision)
    return tuple(approvals)


def end_of_grace(
    approvals: int, grace_days: int, requested_at: datetime, decisions: Sequence[DeletionDecision]
) -> datetime | None:
    """When the grace period of a request ends: see `DeletionRequest.due_at`."""
    counted = counted_approvals(decisions)[:approvals]
    if len(counted) < approvals:
        return None
    begins = max(requested_at, *(decision.decided_at for decision in counted))
    return begins + timedelta(days=grace_days)


@dataclass(frozen=True, slots=True)
class DeletionRequest:
    """A plan that somebody asked to be carried out, with all that was decided about it.

    ``done`` are table, month, state and certificate of the deletions under it. Times are UTC.
    """

    request_id: int
    as_of: date
    months: tuple[DoomedMonth, ...]
    plan_sha256: bytes
    approvals: int
    grace_days: int
    actor: str
    account: str
    reason: str
    requested_at: datetime
    decisions: tuple[DeletionDecision, ...] = ()
    done: tuple[tuple[str, str, str, str], ...] = ()

    @property
    def approved_by(self) -> tuple[DeletionDecision, ...]:
        """The approvals that count, in their order: the first one of each person, whatever wrote the others."""
        return counted_approvals(self.decisions)

    @property
    def due_at(self) -> datetime | None:
        """When the grace period ends; None before the last approval. It begins with the latest time up to that one:
        a clock may have been wrong for a while.
        """
        return end_of_grace(self.approvals, self.grace_days, self.requested_at, self.decisions)

    def state(self, now: datetime) -> RequestState:
        """Where the request is at an aware instant."""
        last = self.decisions[-1].action if self.decisions else ""
        finished = {(table, month) for table, month, state, _ in self.done if state == "done"}
        if all((month.table, str(month.month)) in finished for month in self.months):
            return RequestState.DONE
        if last in ("refused", "revoked"):
            return RequestState(last)
        if self.due_at is None:
            return RequestState.WAITING
        return RequestState.DUE if now >= self.due_at else RequestState.GRACE


def lock_requests(connection: Connection) -> None:
    """Until the end of the caller's transaction nobody else requests or decides."""
    connection.execute(_QUERIES["lock_requests"])


def add_request(connection: Connection, request: DeletionRequest) -> DeletionRequest:
    """Record a request under the next number and at PostgreSQL's time; returns it. Under `lock_requests`."""
    number, now = fetch_one(connection, _QUERIES["next_request"])
    values = {
        "request_id": number,
        "as_of": request.as_of,
        "plan": Jsonb([month.to_record() for month in request.months]),
        "plan_sha256": request.plan_sha256,
        "approvals": request.approvals,
        "grace_days": request.grace_days,
        "actor": request.actor,
        "account": request.account,
        "reason": request.reason,
        "requested_at": now,
    }
    check_stored(connection.execute(_QUERIES["add_request"], values), 1, "deletion_requests")
    return get_request(connection, number)


def get_request(connection: Connection, number: int) -> DeletionRequest:
    """The request with a number. Raises NotFoundError."""
    requests = list_requests(connection, number)
    if not requests:
        raise NotFoundError(f"deletion request {number} does not exist: `treasury delete list` shows those that do")
    return requests[0]


def list_requests(connection: Connection, number: int | None = None, limit: int | None = None) -> list[DeletionRequest]:
    """The requests, the newest first, or the one with a number. ``limit`` is for lists that people read: what decides
    needs every request that is open, however old.
    """
    rows = connection.execute(_QUERIES["requests"], {"request_id": number, "limit": limit}).fetchall()
    return [_request(row) for row in rows]


def _request(row: Any) -> DeletionRequest:
    number, as_of, plan, sha256, approvals, grace_days, actor, account, reason, requested_at, decisions, done = row
    return DeletionRequest(
        request_id=number,
        as_of=as_of,
        months=tuple(map(DoomedMonth.from_record, plan)),
        plan_sha256=bytes(sha256),
        approvals=approvals,
        grace_days=grace_days,
        actor=actor,
        account=account,
        reason=reason,
        requested_at=requested_at,
        decisions=read_decisions(decisions),
        done=tuple((table, month, state, certificate) for table, month, state, certificate in done),
    )


def read_decisions(records: Sequence[Sequence[str]]) -> tuple[DeletionDecision, ...]:
    """The decisions about a request, from the arrays that the queries make of them."""
    return tuple(
        DeletionDecision(action, actor, account, reason, datetime.fromisoformat(at))
        for action, actor, account, reason, at in records
    )


def add_decision(connection: Connection, number: int, action: str, actor: str, account: str, reason: str) -> None:
    """Record a decision about a request, at PostgreSQL's time. Under `lock_requests`."""
    people = {"actor": actor, "account": account, "reason": reason}
    values = {"request_id": number, "action": action, "decided_at": read_now(connection)} | people
    check_stored(connection.execute(_QUERIES["add_decision"], values), 1, "deletion_decisions")
