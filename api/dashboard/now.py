"""The page *Now*: the state in one sentence, how the API performs, open alerts, and the newest run of each flow."""

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from statistics import fmean
from typing import Any, TypeVar

import msgspec.structs
from starlette.responses import Response

from api.abuse.rate_limits import RatePolicy
from api.dashboard import charts, formats
from api.dashboard.alert_rows import rows_of
from api.dashboard.charts import Chart, Series
from api.dashboard.error_pages import HOME
from api.dashboard.manual import address_of
from api.dashboard.page import Page, PageCall
from api.dashboard.queue_for_two import waiting_for
from api.dashboard.runs_desk import RUN_SIGNS
from api.monitoring.alert_page import AlertPage
from api.monitoring.handlers import MOST_ID
from api.monitoring.health_report import Component, ComponentState, HealthReport, troubles
from api.monitoring.history import Minute
from api.monitoring.monitor import Monitor
from api.reconciliation.work import in_thread
from api.routing import parsing
from ledger.alerts import Severity
from ledger.errors import TransientError
from ledger.scopes import Scope
from tasks.reconciliation.overview import UndecidedBreaks, count_undecided

T = TypeVar("T")
MOST_ALERTS = 20
MOST_NAMES = 3
MOST_POINTS = 60  # of a chart: as many as a table can have and still be read
_ACKNOWLEDGED = "acknowledged"
# The state of a health check as the sign beside it, and as the beginning of the sentence.
SIGNS: Mapping[ComponentState, str] = {
    ComponentState.HEALTHY: "good",
    ComponentState.WARNING: "warning",
    ComponentState.CRITICAL: "bad",
}


def pages() -> tuple[Page, ...]:
    """The pages of this module."""
    now = Page(
        HOME,
        "Now",
        show_now,
        "now.html",
        scope=Scope.MONITORING_READ,
        label="Now",
        policy=RatePolicy.OPERATIONS,
        notices={_ACKNOWLEDGED: "The alert is acknowledged: its notices are not repeated."},
        refreshes=True,
    )
    acknowledging = Page(
        f"{HOME}/alerts/{{id}}/acknowledge",
        "Acknowledge an alert",
        acknowledge,
        method="POST",
        scope=Scope.OPERATIONS,
        policy=RatePolicy.OPERATIONS,
        form_at=HOME,
    )
    return now, acknowledging


async def show_now(call: PageCall) -> Mapping[str, Any]:
    """Everything that the page shows. What PostgreSQL or Prefect does not say is missing, and the page says so."""
    monitor = call.services.monitor
    health, (figures, cache), runs = await asyncio.gather(
        monitor.recent_health(), monitor.figures(), call.services.runs.recent()
    )
    answers = _postgres_answers(health)
    alerts = await _or_none(_open_alerts(monitor)) if answers else None
    alerts = alerts and alerts.for_key(call.key.scopes)
    database = await _or_none(monitor.database_figures()) if answers else None
    breaks, waiting = await asyncio.gather(_undecided_breaks(call, answers), _waiting(call, answers))
    return {
        "health": health,
        "breaks": breaks,
        "waiting": waiting,
        "names_of": names_of,
        "signs": SIGNS,
        "state_now": state_of(health, alerts),
        "sentence": sentence(health, alerts),
        "troubles": troubles(health),
        "figures": figures,
        "charts": history_charts(monitor.minutes),
        "alerts": alerts,
        "runbook": address_of,
        "rows_of": partial(rows_of, key=call.key),
        "may_acknowledge": Scope.OPERATIONS in call.key.scopes,
        "cache": cache,
        "database": database,
        "runs": runs,
        "run_signs": RUN_SIGNS,
    }


async def _open_alerts(monitor: Monitor) -> AlertPage:
    """The newest open alerts, the critical ones before all others: no number of newer warnings hides one of those."""
    critical, newest = await asyncio.gather(
        monitor.alerts({"state": "open", "severity": Severity.CRITICAL}, MOST_ALERTS),
        monitor.alerts({"state": "open"}, MOST_ALERTS),
    )
    items = list({alert.id: alert for alert in (*critical.items, *newest.items)}.values())
    items.sort(key=lambda alert: alert.severity != Severity.CRITICAL)
    return msgspec.structs.replace(newest, items=items[:MOST_ALERTS])


async def _undecided_breaks(call: PageCall, answers: bool) -> UndecidedBreaks | None:
    """The breaks that wait for a decision, for a key that may read them."""
    if not answers or Scope.RECONCILIATION_READ not in call.key.scopes:
        return None
    return await _or_none(in_thread(call.services, count_undecided))


async def _waiting(call: PageCall, answers: bool) -> int:
    """How much waits for a second person, as far as the key may see it."""
    return len(await _or_none(waiting_for(call)) or ()) if answers else 0


async def acknowledge(call: PageCall) -> Response:
    """Acknowledge an alert, as the operation `acknowledgeAlert` does."""
    alert_id = parsing.integer("id", call.request.path_params["id"], 1, MOST_ID)
    await call.services.monitor.acknowledge(alert_id, f"{call.key.client_id} (key {call.key.key_id})")
    return call.redirect(HOME, _ACKNOWLEDGED)


def state_of(health: HealthReport, alerts: AlertPage | None) -> ComponentState:
    """The worst of the checks and of the open alerts."""
    severities = {alert.severity for alert in alerts.items} if alerts else set()
    if health.state is ComponentState.CRITICAL or Severity.CRITICAL in severities:
        return ComponentState.CRITICAL
    return ComponentState.WARNING if severities else health.state


def sentence(health: HealthReport, alerts: AlertPage | None) -> str:
    """The state in one sentence, with its worst reason: a check, or an alert that is worse than every check."""
    components = troubles(health)
    if alerts and alerts.items and (not components or state_of(health, alerts) is not health.state):
        return f"{_worst_of(alerts)}{_others(components, 'check is', 'checks are')}"
    if not components:
        return f"Everything works: all {len(health.components)} checks are healthy."
    begins = "Something does not work" if health.state is ComponentState.CRITICAL else "Something needs attention"
    others = _others(components[1:], "more check is", "more checks are")
    return f"{begins}: {_reason(components[0])}{others}"


def _worst_of(alerts: AlertPage) -> str:
    count = len(alerts.items)
    worst = next((alert for alert in alerts.items if alert.severity == Severity.CRITICAL), alerts.items[0])
    named = f"{worst.title} ({worst.subject})"
    more = "" if alerts.next_before is None else " or more"
    return f"An alert is open: {named}." if count == 1 else f"{count}{more} alerts are open, the worst: {named}."


def _others(components: Sequence[Component], singular: str, plural: str) -> str:
    return (
        f" {len(components)} {singular if len(components) == 1 else plural} not healthy: {names_of(components)}."
        if components
        else ""
    )


def names_of(components: Sequence[Component]) -> str:
    """The names of checks, for people; of many the worst ones."""
    named = [component.name.replace("_", " ") for component in components[:MOST_NAMES]]
    more = len(components) - len(named)
    return ", ".join(named) + (f" and {more} more" if more else "")


def _reason(component: Component) -> str:
    line = component.line.strip()
    return f"{component.name.replace('_', ' ')}, {line}{'' if line.endswith(('.', '…')) else '.'}"


def history_charts(minutes: Sequence[Minute]) -> list[Chart]:
    """Throughput, errors, latencies, and hits of the cache, over the minutes that were measured."""
    points = thinned(minutes)
    times = [point.at for point in points]
    latencies = [
        Series("p50", [point.p50_ms for point in points]),
        Series("p95", [point.p95_ms for point in points]),
        Series("p99", [point.p99_ms for point in points]),
    ]
    errors = [point.errors / point.requests if point.requests else 0.0 for point in points]
    line = partial(charts.line, times=times)
    return [
        line(
            "throughput",
            "Requests per second",
            series=[Series("requests per second", [point.per_second for point in points])],
            form=formats.number,
        ),
        line("latency", "Latency", series=latencies, form=formats.milliseconds, unit="worst minute of each point"),
        line(
            "errors",
            "Error rate",
            series=[Series("errors", errors)],
            form=formats.percent,
            unit="status 500 and up",
            least=0.01,
        ),
        line(
            "hits",
            "Cache hits",
            series=[Series("hits", [point.cache_hit_ratio for point in points])],
            form=formats.percent,
            unit="share of look-ups",
        ),
    ]


def thinned(minutes: Sequence[Minute], most: int = MOST_POINTS) -> list[Minute]:
    """At most ``most`` points: each joins as many minutes as it must. Rates are means; latencies are of the worst."""
    size = -(-len(minutes) // most)
    return [_joined(minutes[start : start + size]) for start in range(0, len(minutes), max(size, 1))]


def _joined(minutes: Sequence[Minute]) -> Minute:
    last = minutes[-1]
    if len(minutes) == 1:
        return last
    hits = [minute.cache_hit_ratio for minute in minutes if minute.cache_hit_ratio is not None]
    return replace(
        last,
        requests=sum(minute.requests for minute in minutes),
        per_second=round(fmean(minute.per_second for minute in minutes), 3),
        errors=sum(minute.errors for minute in minutes),
        p50_ms=_worst(minute.p50_ms for minute in minutes),
        p95_ms=_worst(minute.p95_ms for minute in minutes),
        p99_ms=_worst(minute.p99_ms for minute in minutes),
        cache_hit_ratio=fmean(hits) if hits else None,
        pool_in_use=max(minute.pool_in_use for minute in minutes),
        queued_rows=max(minute.queued_rows for minute in minutes),
    )


def _worst(values: Any) -> float | None:
    return max((value for value in values if value is not None), default=None)


def _postgres_answers(health: HealthReport) -> bool:
    """Return whether PostgreSQL answered a moment ago: nobody waits for one that is known to be away."""
    return all(
        component.state is not ComponentState.CRITICAL
        for component in health.components
        if component.name == "postgres"
    )


async def _or_none(work: Awaitable[T]) -> T | None:
    """What ``work`` gives; None when PostgreSQL has just stopped answering."""
    try:
        return await work
    except TransientError:
        return None
