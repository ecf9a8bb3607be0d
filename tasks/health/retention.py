"""The checks of the end of a month's life: holds whose review is overdue, and deletions that do not end."""

from collections.abc import Sequence
from datetime import datetime

from ledger.counts import counted
from sql.deletion_requests import DeletionRequest, RequestState, list_requests
from sql.deletions import Deletion, unfinished
from sql.holds import review_holds
from sql.old_months import DueMonths, due_months
from tasks.health.context import Context
from tasks.health.result import Measure

_HOUR_S = 3600


def holds(context: Context) -> Measure:
    """Value: days since the oldest review date that passed without a release, 0 without one."""
    with context.connect() as connection:
        review = review_holds(connection, context.now.date())
    line = f"{counted(review.open, 'legal hold is', 'legal holds are')} open"
    if review.oldest is None:
        return Measure(line, 0)
    days = (context.now.date() - review.oldest).days
    since = f"HOLD-{review.number} since {counted(days, 'day')}"
    return Measure(f"{line}; {review.overdue} past the review date, {since}", days)


def deletions(context: Context) -> Measure:
    """Value: hours since the oldest deletion began that has no certificate, or since the oldest request became due that
    is not carried out. It is 0 without one.
    """
    with context.connect() as connection:
        begun, requests = unfinished(connection), list_requests(connection)
        past_policy = due_months(connection, context.settings.registry.values(), context.now.date())
    waiting = [entry for entry in requests if entry.state(context.now) is RequestState.WAITING]
    in_grace = [entry for entry in requests if entry.state(context.now) is RequestState.GRACE]
    due = [entry for entry in requests if entry.state(context.now) is RequestState.DUE]
    since = [entry.begun_at for entry in begun] + [entry.due_at for entry in due if entry.due_at is not None]
    said = [
        _under_way(begun),
        f"last error: {begun[0].last_error}" if begun and begun[0].last_error else "",
        _named(due, "approved and due"),
        _named(in_grace, f"in the grace period until {in_grace[-1].due_at:%Y-%m-%d}" if in_grace else ""),
        _named(waiting, "waiting for approval"),
        _past_policy(past_policy),
    ]
    line = "; ".join(filter(None, said)) or "no deletion is waiting"
    return Measure(line, _hours(min(since, default=None), context.now))


def _under_way(begun: Sequence[Deletion]) -> str:
    if not begun:
        return ""
    return f"{counted(len(begun), 'deletion is', 'deletions are')} under way, the first {begun[0].certificate}"


def _named(requests: Sequence[DeletionRequest], state: str) -> str:
    if not requests:
        return ""
    return f"{counted(len(requests), 'request is', 'requests are')} {state}, the first is {requests[-1].request_id}"


def _past_policy(due: DueMonths) -> str:
    if due.oldest is None:
        return ""
    table, month = due.oldest
    months = counted(due.months, "month is past its policy", "months are past their policies")
    return f"{months} and in no open request, the oldest is {table} {month}"


def _hours(since: datetime | None, now: datetime) -> float:
    return 0 if since is None else max(0.0, (now - since).total_seconds() / _HOUR_S)
