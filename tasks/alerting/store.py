"""The alert store: opened once, counted while it lasts, resolved when it is over, acknowledged by a person.

Each operation is one statement of `sql/queries/alerts.sql`; the API runs the same ones on its own connections, with
`raise_parameters`. Sending is the business of `tasks.alerting.notices`.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import psycopg
from psycopg.rows import TupleRow

from ledger.alerts import Alert, Severity, fingerprint
from ledger.card_finder import mask_card_numbers
from ledger.errors import ConfigError
from ledger.identifiers import truncate_ms
from ledger.masking import cut, mask_text
from sql.connection import Connection, fetch_one
from sql.queries import load
from sql.storing import not_stored

__all__ = [
    "Alert",
    "AlertRecord",
    "Raised",
    "RuleCount",
    "Severity",
    "acknowledge",
    "close_alert",
    "count_by_rule",
    "forget_events",
    "forget_subjects",
    "list_alerts",
    "open_alerts",
    "raise_alert",
    "raise_alerts",
    "raise_parameters",
    "resolve_alert",
]

PAGE_LIMIT = 1000
_WHO_LIMIT = 128
_REASON_LIMIT = 1000
_EVENT_LIMIT = 200
_QUERIES = load("alerts")


@dataclass(frozen=True, slots=True)
class Raised:
    """The effect of an occurrence: its alert, how often that was seen by now, and whether this one opened it."""

    alert_id: int
    count: int
    opened: bool


@dataclass(frozen=True, slots=True)
class AlertRecord:
    """An alert as it is kept. Times are UTC; ``evidence`` is that of the latest occurrence, masked."""

    alert_id: int
    rule: str
    subject: str
    severity: Severity
    title: str
    what_to_do: str
    evidence: dict[str, Any]
    first_seen: datetime
    last_seen: datetime
    count: int
    state: str
    resolved_at: datetime | None
    acknowledged_at: datetime | None
    acknowledged_by: str | None
    notified_at: datetime | None
    notice_error: str | None
    closed_by: str | None
    close_reason: str | None


@dataclass(frozen=True, slots=True)
class RuleCount:
    """A rule's alerts: how many are open, how many were acknowledged, how many there were, and their occurrences."""

    rule: str
    open: int
    acknowledged: int
    alerts: int
    first_seen: datetime
    last_seen: datetime
    occurrences: int


def raise_alert(
    connection: Connection, alert: Alert, *, at: datetime | None = None, event_id: str | None = None
) -> Raised | None:
    """Open ``alert``, or count it once more when one of its rule and subject is open.

    ``at`` is the aware instant that it was seen (default: now). ``event_id`` names what was seen (a transaction's id, a
    file's name and line); without it ``at`` does. The latest 100 events of an alert are known. Raising one of them
    again counts nothing, so a caller that is killed and started again is safe. Returns None when the event belongs to
    an alert that was resolved since. Commits with the caller's transaction, or at once. Raises NotStoredError when
    PostgreSQL did not store it.
    """
    parameters = raise_parameters(alert, at=at, event_id=event_id)
    row = connection.execute(_QUERIES["raise"], parameters).fetchone()
    if row is None and not fetch_one(connection, _QUERIES["was_counted"], parameters)[0]:
        raise not_stored(1, 0, "alerts")
    return None if row is None else Raised(*row)


async def raise_alerts(connection: psycopg.AsyncConnection[TupleRow], alerts: Sequence[Mapping[str, Any]]) -> None:
    """Do as `raise_alert` for all of ``alerts``, the answers of `raise_parameters`, together or not at all."""
    async with connection.transaction(), connection.pipeline():
        raised = [(await connection.execute(_QUERIES["raise"], alert), alert) for alert in alerts]
        for cursor, alert in raised:
            if await cursor.fetchone() is None:
                known = await (await connection.execute(_QUERIES["was_counted"], alert)).fetchone()
                if known is None or not known[0]:
                    raise not_stored(1, 0, "alerts")


def raise_parameters(alert: Alert, *, at: datetime | None = None, event_id: str | None = None) -> dict[str, Any]:
    """The parameters of the query `raise`, masked and cut; for callers with a connection of another kind."""
    moment = _stored(at)
    values = alert.stored()
    event = cut(mask_card_numbers(event_id), _EVENT_LIMIT) if event_id else moment.isoformat(timespec="milliseconds")
    return {**values, "evidence": json.dumps(values["evidence"], ensure_ascii=False), "event_id": event, "at": moment}


def resolve_alert(connection: Connection, rule: str, subject: str, *, at: datetime | None = None) -> bool:
    """Close the open alert of ``rule`` and ``subject``; False when there is none, or it was seen later than ``at``.

    Safe to run again.
    """
    parameters = {"fingerprint": fingerprint(rule, subject), "at": _stored(at)}
    return connection.execute(_QUERIES["resolve"], parameters).fetchone() is not None


def acknowledge(connection: Connection, alert_id: int, who: str) -> bool:
    """Note that ``who`` works on an open alert: its notice is not repeated any more. False when it is not open, unknown
    or was acknowledged before. Safe to run again; the first one counts.
    """
    if not who.strip():
        raise ConfigError("who: must say who acknowledges the alert")
    parameters = {"alert_id": alert_id, "who": cut(mask_card_numbers(who), _WHO_LIMIT)}
    return connection.execute(_QUERIES["acknowledge"], parameters).fetchone() is not None


def close_alert(connection: Connection, alert_id: int, who: str, reason: str) -> bool:
    """Resolve an open alert in the name of ``who``, for ``reason``. False when it is not open or unknown.

    Meant for what has no moment at which it is over. Where the cause lasts, its next occurrence opens a new alert.
    """
    for name, text in (("who", who), ("reason", reason)):
        if not text.strip():
            raise ConfigError(f"{name}: must not be empty")
    parameters = {
        "alert_id": alert_id,
        "who": cut(mask_card_numbers(who), _WHO_LIMIT),
        "reason": cut(mask_text(reason), _REASON_LIMIT),
        "at": _stored(None),
    }
    return connection.execute(_QUERIES["close"], parameters).fetchone() is not None


def forget_events(connection: Connection, events: Sequence[tuple[Alert, str]]) -> None:
    """Take events out of the alerts that counted them, as if these rows had never been seen; safe to run again.

    Each is given as it was raised: its ``event_id``, and an alert whose evidence may be a part of what it was. An alert
    of which no event is known any more is deleted.
    """
    raised = [raise_parameters(alert, event_id=event_id) for alert, event_id in events]
    parameters = {
        "fingerprints": [alert["fingerprint"] for alert in raised],
        "events": [alert["event_id"] for alert in raised],
        "evidence": [alert["evidence"] for alert in raised],
    }
    connection.execute(_QUERIES["forget_events"], parameters)
    connection.execute(_QUERIES["forget_alerts"], parameters)


def forget_subjects(connection: Connection, subject: str, lower: datetime, upper: datetime) -> None:
    """Take the names out of the alerts of a ``subject`` that stands for many, last seen in ``[lower, upper)``."""
    connection.execute(_QUERIES["forget_subjects"], {"subject": subject, "lower": lower, "upper": upper})


def list_alerts(
    connection: Connection,
    *,
    state: str | None = None,
    rule: str | None = None,
    severity: Severity | None = None,
    before: int | None = None,
    limit: int = 100,
) -> list[AlertRecord]:
    """Alerts, newest first; what is None does not filter. ``before`` is the alert_id that a page goes on after."""
    if not 1 <= limit <= PAGE_LIMIT:
        raise ConfigError(f"limit: must be 1 to {PAGE_LIMIT}")
    parameters = {"state": state, "rule": rule, "severity": severity, "before": before, "limit": limit}
    rows = connection.execute(_QUERIES["list"], parameters).fetchall()
    return [AlertRecord(*(*row[:3], Severity(row[3]), *row[4:])) for row in rows]


def open_alerts(connection: Connection, rule: str | None = None) -> list[AlertRecord]:
    """Every open alert, or those of one rule: the critical ones before the warnings, each newest first."""
    records = page = list_alerts(connection, state="open", rule=rule, limit=PAGE_LIMIT)
    while page:
        page = list_alerts(connection, state="open", rule=rule, before=page[-1].alert_id, limit=PAGE_LIMIT)
        records = records + page
    return sorted(records, key=lambda alert: alert.severity != Severity.CRITICAL)


def count_by_rule(connection: Connection) -> dict[str, RuleCount]:
    """Per rule that was ever met: how many alerts, since when, until when."""
    return {row[0]: RuleCount(*row) for row in connection.execute(_QUERIES["count_by_rule"]).fetchall()}


def _stored(at: datetime | None) -> datetime:
    """``at`` as the store keeps it. PostgreSQL rounds, and rounded up a notice is not due yet at its own instant."""
    if at is not None and at.tzinfo is None:
        raise ValueError("at: an instant must have an offset")
    return truncate_ms(at or datetime.now(UTC))
