"""Keeping a run of the checks: results stored, alerts raised and resolved, notices sent; also without PostgreSQL."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from config import Settings
from ledger.alerts import Alert, Severity
from ledger.errors import TransientError, TreasuryError
from sql.connection import Connection, connect
from sql.queries import load as load_queries
from sql.storing import check_counted
from tasks.alerting.delivery import load, targeted
from tasks.alerting.notices import Sent, send_notices
from tasks.alerting.store import raise_alert, resolve_alert
from tasks.deadline import run_each
from tasks.health import outage
from tasks.health.checks import POSTGRES
from tasks.health.result import CheckResult, HealthState

_QUERIES = load_queries("health")
RUN_S = 12.0  # a run that is recorded, from the begin of its checks to the end of its notices; 15 s with its start
_STORE_DEADLINE_S = 5.0
_LEAST_S = 1.0  # whatever was used up before, notices are sent
SUBJECT = "system"
RULE_PREFIX = "health_"
_SEVERITIES = {HealthState.WARNING: Severity.WARNING, HealthState.CRITICAL: Severity.CRITICAL}


@dataclass(frozen=True, slots=True)
class Recorded:
    """The result of a recorded run: how many alerts were opened and resolved, and what was sent. It has why the run
    could not be stored, empty when it was.
    """

    opened: int
    resolved: int
    sent: Sent
    not_stored: str = ""


def record(settings: Settings, results: Sequence[CheckResult], at: datetime, left_s: float = RUN_S) -> Recorded:
    """Store ``results`` of the run at ``at``, raise and resolve alerts, send the notices that are due.

    While PostgreSQL does not answer, notices are sent all the same, from a file in the home. The alerts are stored by
    the first run after it is back. Safe to run again for the same run. Raises nothing of this project's own errors: why
    something was not done is in the answer.

    ``left_s`` is what the checks left of `RUN_S`. Storing may use half of it, at most 5 s. A target that has not taken
    its notices at its end gets them again from the next run.
    """
    ends_s = time.monotonic() + left_s
    stored = _tried(settings, results, at, min(_STORE_DEADLINE_S, max(_LEAST_S, left_s / 2)))
    if targeted(settings):
        load()
    left_s = max(_LEAST_S, ends_s - time.monotonic())
    sending = settings.model_copy(update={"notice_timeout_s": min(settings.notice_timeout_s, left_s)})
    if isinstance(stored, Exception):
        return Recorded(0, 0, outage.notify(sending, alerts_of(results), at), str(stored))
    opened, resolved = stored
    try:
        sent = send_notices(sending, at)
    except TreasuryError as error:
        sent = Sent(failed=1, errors=(str(error),))
    return Recorded(opened, resolved, sent)


def _tried(
    settings: Settings, results: Sequence[CheckResult], at: datetime, deadline_s: float
) -> tuple[int, int] | Exception:
    """Store the results, or return why that failed. Not tried when the run has just found PostgreSQL away."""
    away = [
        result
        for result in results
        if result.name == POSTGRES and result.state is HealthState.CRITICAL and result.value is None
    ]
    if away:
        return TransientError(away[0].line)
    name = f"storing {settings.home}"
    return run_each({name: lambda: _store(settings, results, at)}, deadline_s)[name][0]


def alerts_of(results: Sequence[CheckResult]) -> list[Alert]:
    """An alert for every result that is not healthy and for which no other result is the reason."""
    return [_alert(result) for result in results if result.state is not HealthState.HEALTHY and not result.caused_by]


def _alert(result: CheckResult) -> Alert:
    evidence = {"value": result.value, "threshold": result.threshold, "unit": result.unit, "took_ms": result.took_ms}
    severity = _SEVERITIES[result.state]
    return Alert(f"{RULE_PREFIX}{result.name}", SUBJECT, severity, result.line, result.to_do, evidence)


def _store(settings: Settings, results: Sequence[CheckResult], at: datetime) -> tuple[int, int]:
    with connect(settings.database_dsn, "health") as connection:
        outage.catch_up(connection, settings)
        with connection.transaction():
            check_counted(connection.execute(_QUERIES["store_results"], _columns(results, at)), "health_results")
            raised = [raise_alert(connection, alert, at=at) for alert in alerts_of(results)]
            resolved = sum(_resolve(connection, result, at) for result in results)
    return sum(alert is not None and alert.opened for alert in raised), resolved


def _resolve(connection: Connection, result: CheckResult, at: datetime) -> bool:
    if result.state is not HealthState.HEALTHY:
        return False
    return resolve_alert(connection, f"{RULE_PREFIX}{result.name}", SUBJECT, at=at)


def _columns(results: Sequence[CheckResult], at: datetime) -> dict[str, object]:
    return {
        "checked_at": at,
        "names": [result.name for result in results],
        "states": [str(result.state) for result in results],
        "values": [result.value for result in results],
        "thresholds": [result.threshold for result in results],
        "lines": [result.line for result in results],
        "took_ms": [result.took_ms for result in results],
    }
