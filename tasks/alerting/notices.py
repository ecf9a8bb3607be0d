"""Notices about alerts: on opening, again by schedule while nobody has acknowledged, and when it is over.

What is due is in the alert's row, so any number of senders may run: each notice is taken by one of them. A notice that
a target did not take is due again a minute later, for the next run.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from psycopg.rows import class_row

from config import Settings
from ledger.alerts import Severity
from ledger.identifiers import truncate_ms
from sql.connection import Connection, connect
from sql.queries import load
from tasks.alerting.delivery import Delivery, Notice, NoticeKind, deliver, targeted
from tasks.alerting.runbooks import runbook

_QUERIES = load("alerts")
_AT_ONCE = 40
_RETRY_AFTER = timedelta(minutes=1)
_CLAIM = timedelta(minutes=5)  # far longer than one delivery may take


@dataclass(frozen=True, slots=True)
class Sent:
    """The notices of a run: those that every target took, and those that some target did not take, with why."""

    delivered: int = 0
    failed: int = 0
    errors: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Due:
    """A notice in hand: its alert as the claim gives it."""

    alert_id: int
    rule: str
    subject: str
    severity: str
    title: str
    what_to_do: str
    first_seen: datetime
    last_seen: datetime
    count: int
    resolved_at: datetime | None
    notified_before: bool
    notice_taken_by: list[str]


def send_notices(settings: Settings, now: datetime | None = None) -> Sent:
    """Send the notices that are due at ``now`` (aware; default: this instant), at most 40; the rest waits.

    Safe to run again and from several processes at once. A sender that is killed before it has noted what it sent
    sends it again: at least once, after five minutes. Does nothing while no URL is set. Raises the project's errors
    when PostgreSQL does not answer, and none for a target that fails: that is recorded and tried again.
    """
    severities = targeted(settings)
    if not severities:
        return Sent()
    at = truncate_ms(now or datetime.now(UTC))
    until = at + _CLAIM
    due = _claim(settings, at, until, severities)
    deliveries = deliver(settings, [_notice(settings, notice) for notice in due])
    with connect(settings.database_dsn, "notices") as connection, connection.transaction():
        for notice, delivery in zip(due, deliveries, strict=True):
            times = {"at": at, "until": until, "next": _next(settings, notice, delivery, at)}
            _note(connection, notice.alert_id, delivery, times)
    return _sent(deliveries)


def repeat_after(settings: Settings, severity: Severity) -> timedelta:
    """After how long the notice of an open alert is repeated."""
    return timedelta(minutes=getattr(settings.alert_repeat_minutes, severity))


def note_as_notified(connection: Connection, alert_id: int, at: datetime, next_at: datetime | None) -> None:
    """Say that the notice of an alert was sent at ``at`` by other means, and when the next is due; None: never."""
    connection.execute(_QUERIES["notified_elsewhere"], {"alert_id": alert_id, "at": at, "next": next_at})


def _notice(settings: Settings, due: _Due) -> Notice:
    kind = NoticeKind.RESOLVED if due.resolved_at else NoticeKind.REPEATED if due.notified_before else NoticeKind.OPENED
    texts = (due.rule, due.subject, due.title, due.what_to_do)
    taken_by = frozenset(due.notice_taken_by)
    times, place = (due.first_seen, due.last_seen), runbook(settings, due.rule)
    return Notice(kind, Severity(due.severity), *texts, *times, due.count, taken_by, place)


def _claim(settings: Settings, at: datetime, until: datetime, severities: Sequence[Severity]) -> list[_Due]:
    parameters = {"at": at, "until": until, "severities": [str(severity) for severity in severities], "limit": _AT_ONCE}
    with (
        connect(settings.database_dsn, "notices") as connection,
        connection.cursor(row_factory=class_row(_Due)) as cursor,
    ):
        return cursor.execute(_QUERIES["claim_notices"], parameters).fetchall()


def _next(settings: Settings, due: _Due, delivery: Delivery, at: datetime) -> datetime | None:
    if delivery.error:
        return at + _RETRY_AFTER
    return None if due.resolved_at else at + repeat_after(settings, Severity(due.severity))


def _note(connection: Connection, alert_id: int, delivery: Delivery, times: dict[str, Any]) -> None:
    if delivery.error:
        parameters = {**times, "alert_id": alert_id, "error": delivery.error, "taken": sorted(delivery.taken_by)}
        connection.execute(_QUERIES["fail_notice"], parameters)
    else:
        connection.execute(_QUERIES["settle_notice"], {**times, "alert_id": alert_id})


def _sent(deliveries: Sequence[Delivery]) -> Sent:
    errors = [delivery.error for delivery in deliveries if delivery.error]
    return Sent(len(deliveries) - len(errors), len(errors), tuple(dict.fromkeys(errors)))
