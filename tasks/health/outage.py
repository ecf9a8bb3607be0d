"""Alerts while PostgreSQL cannot store them: kept in a small file of the home, sent from there, stored when it is back.

The file is `<home>/health/outage.json`, written whole and renamed into place; one process at a time works with it.
"""

import fcntl
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from config import Settings
from ledger.alerts import Alert, Severity
from sql.connection import Connection
from tasks.alerting.delivery import Delivery, Notice, NoticeKind, deliver
from tasks.alerting.notices import Sent, note_as_notified, repeat_after
from tasks.alerting.runbooks import runbook
from tasks.alerting.store import raise_alert, resolve_alert

_MOST = 100


class Unstored(BaseModel):
    """An alert that PostgreSQL does not have yet. Times are aware UTC."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rule: str
    subject: str
    severity: Severity
    title: str
    what_to_do: str
    first_seen: datetime
    last_seen: datetime
    count: int = 1
    resolved_at: datetime | None = None
    notified_at: datetime | None = None
    told: NoticeKind | None = None  # of the last notice; the name is in stored files
    taken_by: frozenset[str] = frozenset()

    @property
    def alert(self) -> Alert:
        """The alert as the store takes it."""
        evidence = {"stored late": "PostgreSQL did not answer", "seen": self.count}
        return Alert(self.rule, self.subject, self.severity, self.title, self.what_to_do, evidence)


def notify(settings: Settings, alerts: Sequence[Alert], now: datetime) -> Sent:
    """Remember ``alerts`` as what is wrong at ``now``, and send notices of what opened, is to be repeated, or is over.

    Each gets one notice, then others by the schedule of every alert; what a target did not take is tried again by the
    next call.
    """
    with _file(settings) as path:
        known = _merged(_read(path), alerts, now)
        due = [unstored for unstored in known.values() if _due(settings, unstored, now)]
        deliveries = deliver(settings, [_notice(settings, unstored) for unstored in due])
        for unstored, delivery in zip(due, deliveries, strict=True):
            known[_key(unstored.rule, unstored.subject)] = _notified(unstored, delivery, now)
        _write(path, known)
    errors = [delivery.error for delivery in deliveries if delivery.error]
    return Sent(len(deliveries) - len(errors), len(errors), tuple(dict.fromkeys(errors)))


def catch_up(connection: Connection, settings: Settings) -> int:
    """Store what was remembered, with the times it was seen at and sent; returns how many alerts.

    They are forgotten after the commit; stored a second time, the same alerts change nothing.
    """
    with _file(settings) as path:
        known = _read(path)
    with connection.transaction():
        for unstored in known.values():
            _store(connection, settings, unstored)
    if known:
        _forget(settings, known)
    return len(known)


def _forget(settings: Settings, stored: dict[str, Unstored]) -> None:
    """Drop what is stored by now, unless it was seen again meanwhile. The file is never held while PostgreSQL works."""
    with _file(settings) as path:
        rest = {key: item for key, item in _read(path).items() if stored.get(key) != item}
        if rest:
            _write(path, rest)
        else:
            path.unlink(missing_ok=True)


def _store(connection: Connection, settings: Settings, unstored: Unstored) -> None:
    event = f"outage {unstored.first_seen.isoformat()}"
    raised = raise_alert(connection, unstored.alert, at=unstored.first_seen, event_id=event)
    if raised is None:
        return
    if unstored.last_seen > unstored.first_seen:
        raise_alert(connection, unstored.alert, at=unstored.last_seen, event_id=f"{event} last")
    if unstored.notified_at is not None:
        note_as_notified(
            connection,
            raised.alert_id,
            unstored.notified_at,
            unstored.notified_at + repeat_after(settings, unstored.severity),
        )
    if unstored.resolved_at is not None:
        resolve_alert(connection, unstored.rule, unstored.subject, at=unstored.resolved_at)
    if unstored.told is NoticeKind.RESOLVED and unstored.notified_at is not None:
        note_as_notified(connection, raised.alert_id, unstored.notified_at, None)


def _merged(known: dict[str, Unstored], alerts: Sequence[Alert], now: datetime) -> dict[str, Unstored]:
    current = {_key(alert.rule, alert.subject): alert for alert in alerts[:_MOST]}
    merged = {key: _over(item, now) if key not in current else item for key, item in known.items()}
    return merged | {key: _seen(known.get(key), alert, now) for key, alert in current.items()}


def _seen(known: Unstored | None, alert: Alert, now: datetime) -> Unstored:
    values = alert.stored()
    texts = {name: values[name] for name in ("rule", "subject", "title", "what_to_do")}
    fresh = Unstored(severity=alert.severity, first_seen=now, last_seen=now, **texts)
    if known is None or known.resolved_at is not None:
        return fresh
    worse = known.severity is Severity.WARNING and alert.severity is Severity.CRITICAL
    changes: dict[str, Any] = {"first_seen": known.first_seen, "count": known.count + 1}
    if not worse:
        changes |= {"notified_at": known.notified_at, "told": known.told, "taken_by": known.taken_by}
    return fresh.model_copy(update=changes)


def _over(known: Unstored, now: datetime) -> Unstored:
    if known.resolved_at is not None:
        return known
    return known.model_copy(update={"resolved_at": now, "taken_by": frozenset()})


def _due(settings: Settings, unstored: Unstored, now: datetime) -> bool:
    if unstored.resolved_at is not None:
        return unstored.told is not NoticeKind.RESOLVED
    return unstored.notified_at is None or unstored.notified_at + repeat_after(settings, unstored.severity) <= now


def _notice(settings: Settings, unstored: Unstored) -> Notice:
    kind = (
        NoticeKind.RESOLVED
        if unstored.resolved_at
        else NoticeKind.REPEATED
        if unstored.notified_at
        else NoticeKind.OPENED
    )
    texts = (unstored.rule, unstored.subject, unstored.title, unstored.what_to_do)
    times, place = (unstored.first_seen, unstored.last_seen), runbook(settings, unstored.rule)
    return Notice(kind, unstored.severity, *texts, *times, unstored.count, unstored.taken_by, place)


def _notified(unstored: Unstored, delivery: Delivery, now: datetime) -> Unstored:
    if delivery.error:
        return unstored.model_copy(update={"taken_by": delivery.taken_by})
    kind = NoticeKind.RESOLVED if unstored.resolved_at else NoticeKind.OPENED
    return unstored.model_copy(update={"notified_at": now, "told": kind, "taken_by": frozenset()})


def _key(rule: str, subject: str) -> str:
    return f"{rule} {subject}"


@contextmanager
def _file(settings: Settings) -> Iterator[Path]:
    """The file, while no other process works with it."""
    folder = settings.home / "health"
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder / "outage.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield folder / "outage.json"
    finally:
        os.close(descriptor)


def _read(path: Path) -> dict[str, Unstored]:
    """Return what is remembered. A file that cannot be read is set aside: it must not stop any notice."""
    if not path.exists():
        return {}
    try:
        records = [Unstored.model_validate(record) for record in json.loads(path.read_text(encoding="utf-8"))]
    except (ValueError, ValidationError):
        path.replace(path.with_suffix(".unreadable"))
        return {}
    return {_key(record.rule, record.subject): record for record in records}


def _write(path: Path, known: dict[str, Unstored]) -> None:
    draft = path.with_suffix(".draft")
    draft.write_text(json.dumps([unstored.model_dump(mode="json") for unstored in known.values()]), encoding="utf-8")
    draft.replace(path)
