"""The alerts answer: the store of `tasks.alerting.store`, asked on the API's own connections."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from msgspec import Struct
from msgspec.structs import replace
from psycopg.rows import TupleRow

from api.connections.database import AsyncConnection, Database
from api.routing.problems import CONFLICT, NOT_FOUND, HttpError
from config import Settings
from ledger.alerts import AlertRule
from ledger.scopes import Scope
from sql.queries import load
from tasks.alerting.runbooks import runbook

_QUERIES = load("alerts")
_RULE = 1  # the column of the query `list`
_NEVER_MET = (0, 0, 0, None, None, 0)
_WATCH = "transaction-"  # its rules are about users and wallets
NOT_SHOWN = "not shown without read:all"
_ANY = {"state": None, "rule": None, "severity": None, "before": None}


class AlertItem(Struct, kw_only=True):
    """An alert. ``evidence`` is the masked evidence of its latest occurrence. Alerts of the transaction watch are about
    users and wallets: a key without `read:all` gets them without ``subject`` and ``evidence``.
    """

    id: int
    rule: str
    subject: str
    severity: str
    title: str
    what_to_do: str
    runbook: str
    evidence: dict[str, Any]
    first_seen: datetime
    last_seen: datetime
    count: int
    state: str
    resolved_at: datetime | None
    acknowledged: bool
    acknowledged_at: datetime | None
    acknowledged_by: str | None
    notified_at: datetime | None
    closed_by: str | None
    close_reason: str | None

    def without_people(self) -> "AlertItem":
        """The alert as a key without `read:all` gets it."""
        return replace(self, subject=NOT_SHOWN, evidence={}) if self.rule.startswith(_WATCH) else self


class CountedRule(Struct, kw_only=True):
    """A rule with its highest severity, its threshold from the settings, and counts of its alerts."""

    rule: str
    description: str
    severity: str | None
    threshold: str
    open: int
    acknowledged: int
    alerts: int
    occurrences: int
    first_seen: datetime | None
    last_seen: datetime | None


class AlertPage(Struct, kw_only=True):
    """Alerts, newest first, and every rule. ``next_before`` gets the next page; it is null on the last page."""

    items: list[AlertItem]
    rules: list[CountedRule]
    next_before: int | None

    def for_key(self, scopes: Collection[str]) -> "AlertPage":
        """The page as a key with these scopes gets it."""
        if Scope.READ_ALL in scopes:
            return self
        return replace(self, items=[item.without_people() for item in self.items])


class Acknowledged(Struct, kw_only=True):
    """The acknowledgement. ``changed`` is false if the alert had been acknowledged before."""

    id: int
    changed: bool


async def alert_page(
    database: Database, settings: Settings, known: Sequence[AlertRule], wanted: Mapping[str, Any], limit: int
) -> AlertPage:
    """The newest ``limit`` alerts that fit ``wanted`` (state, rule, severity, before), and every rule."""
    rows = await _read(database, "list", {**_ANY, **wanted, "limit": limit + 1})
    counted = await _read(database, "count_by_rule", {})
    items = [_item(row, runbook(settings, row[_RULE])) for row in rows[:limit]]
    return AlertPage(
        items=items,
        rules=_rules(known, counted),
        next_before=items[-1].id if len(rows) > limit else None,
    )


async def acknowledge(database: Database, alert_id: int, who: str) -> Acknowledged:
    """Acknowledge an open alert in the name of ``who``; only the first acknowledgement counts. Safe to repeat.

    Raises a 404 problem for an alert that is unknown, 409 for one that is over.
    """
    if await _read(database, "acknowledge", {"alert_id": alert_id, "who": who}):
        return Acknowledged(id=alert_id, changed=True)
    newest = await _read(database, "list", {**_ANY, "before": alert_id + 1, "limit": 1})
    if not newest or newest[0][0] != alert_id:
        raise HttpError(NOT_FOUND)
    if not _item(newest[0], "").acknowledged:
        raise HttpError(CONFLICT, "The alert is already resolved and cannot be acknowledged.")
    return Acknowledged(id=alert_id, changed=False)


async def _read(database: Database, query: str, parameters: Mapping[str, Any]) -> list[TupleRow]:
    async def work(connection: AsyncConnection) -> list[TupleRow]:
        return await (await connection.execute(_QUERIES[query], parameters)).fetchall()

    return await database.run(work, "alerts")


def _item(row: TupleRow, place: str) -> AlertItem:
    # notice_error is for the log of the sending process: it may name an address.
    alert_id, rule, subject, severity, title, what_to_do, evidence, first_seen, last_seen, count, state, *others = row
    resolved_at, acknowledged_at, acknowledged_by, notified_at, _, closed_by, close_reason = others
    return AlertItem(
        id=alert_id,
        rule=rule,
        subject=subject,
        severity=severity,
        title=title,
        what_to_do=what_to_do,
        runbook=place,
        evidence=evidence,
        first_seen=first_seen,
        last_seen=last_seen,
        count=count,
        state=state,
        resolved_at=resolved_at,
        acknowledged=acknowledged_at is not None,
        acknowledged_at=acknowledged_at,
        acknowledged_by=acknowledged_by,
        notified_at=notified_at,
        closed_by=closed_by,
        close_reason=close_reason,
    )


def _rules(known: Sequence[AlertRule], counted: Sequence[TupleRow]) -> list[CountedRule]:
    """The rules of the settings in their order, then those that were met and that no list names."""
    counts = {row[0]: row[1:] for row in counted}
    listed = [
        _rule(rule.name, counts.pop(rule.name, _NEVER_MET), rule.description, rule.severity.value, rule.threshold)
        for rule in known
    ]
    return listed + [_rule(name, met) for name, met in counts.items()]


def _rule(
    name: str, counts: Sequence[Any], description: str = "", severity: str | None = None, threshold: str = ""
) -> CountedRule:
    is_open, acknowledged, alerts, first_seen, last_seen, occurrences = counts
    return CountedRule(
        rule=name,
        description=description,
        severity=severity,
        threshold=threshold,
        open=is_open,
        acknowledged=acknowledged,
        alerts=alerts,
        occurrences=occurrences,
        first_seen=first_seen,
        last_seen=last_seen,
    )
