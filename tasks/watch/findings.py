"""The alerts of new findings: an alert each, and one for all that are too many."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from ledger.alerts import Alert
from sql.connection import Connection
from sql.storing import not_stored
from tasks.alerting.store import raise_alert
from tasks.watch.rules import WatchRule

Finding = tuple[str, str, datetime, dict[str, Any]]  # subject, window_key, at, evidence


def raise_findings(
    connection: Connection, rule: WatchRule, table: str, upper: datetime, rows: Iterable[Any], limit: int
) -> tuple[int, int]:
    """Raise alerts for the new findings of ``rule`` in a slice that ends at ``upper``; returns how many of both.

    The first ``limit`` get an alert each, the rest shares one: each of them is in `watch_findings` all the same.
    Commits with the caller's transaction. Raises NotStoredError when PostgreSQL did not store one.
    """
    finding_rows = list(rows)
    dropped = sum(not is_stored for *_, is_stored in finding_rows)
    if dropped:
        raise not_stored(len(finding_rows), len(finding_rows) - dropped, "watch_findings")
    findings: list[Finding] = sorted(
        (row[:-1] for row in finding_rows), key=lambda finding: (finding[2], finding[0], finding[1])
    )
    for subject, window_key, at, evidence in findings[:limit]:
        alert = _alert(rule, subject, {"table": table, "window": window_key, **evidence})
        raise_alert(connection, alert, at=at, event_id=event_of(table, window_key))
    rest = findings[limit:]
    if rest:
        evidence = {"table": table, "findings": len(rest), "subjects": sorted({finding[0] for finding in rest})[:20]}
        alert = _alert(rule, many_subjects(table), evidence)
        raise_alert(connection, alert, at=rest[-1][2], event_id=f"{table} {upper.isoformat()}")
    return len(findings), len(findings) - len(rest) + bool(rest)


def event_of(table: str, window_key: str) -> str:
    """The event that a finding is for its alert."""
    return f"{table} {window_key}"


def many_subjects(table: str) -> str:
    """The subject of the alert that too many findings share."""
    return f"many subjects of {table}"


def _alert(rule: WatchRule, subject: str, evidence: dict[str, Any]) -> Alert:
    return Alert(rule.name, subject, rule.severity, rule.title, rule.what_to_do, evidence)
