"""The operations of the monitoring, for the one list in `api.routes`."""

from api.addresses import Networks
from api.monitoring import answers, handlers
from api.monitoring.partition_report import MOST_MONTHS
from api.operations import Operation, Parameter
from api.rate_limits import Policy
from config import Settings
from ledger.scopes import Scope

PREFIX = "/api/v1/monitoring"
_TAG = "monitoring"
_ID = {"type": "integer", "minimum": 1, "maximum": handlers.MOST_ID}
_ALERT_ID = Parameter("id", "The alert's number", _ID, place="path", required=True)


def operations(settings: Settings) -> tuple[Operation, ...]:
    """Every operation of the monitoring."""
    return (
        _metrics(settings),
        _health(),
        _performance(),
        *_alerts(),
        _database(),
        _partitions(settings),
        *_cache(),
        _summary(),
    )


def _metrics(settings: Settings) -> Operation:
    return Operation(
        name="metrics",
        method="GET",
        path="/metrics",
        summary="All numbers, for Prometheus",
        description="Prometheus's text format, over all worker processes.",
        handler=handlers.metrics,
        scope=Scope.MONITORING_READ,
        open_to=Networks(settings.metrics_open_to),
        policy=Policy.OPERATIONS,
        tag=_TAG,
        answers={200: str},
        media_type="text/plain",
    )


def _health() -> Operation:
    return Operation(
        name="getHealth",
        method="GET",
        path=f"{PREFIX}/health",
        summary="Every component, and what to do",
        description="The checks of `treasury health`. Callers share one run for 5 seconds. 200 whatever the state is.",
        handler=handlers.health,
        scope=Scope.MONITORING_READ,
        policy=Policy.OPERATIONS,
        tag=_TAG,
        answers={200: answers.HealthReport},
    )


def _performance() -> Operation:
    return Operation(
        name="getPerformance",
        method="GET",
        path=f"{PREFIX}/performance",
        summary="Percentiles, throughput, errors, query times",
        description="Per route, since the start and over the last 5 minutes, over all worker processes.",
        handler=handlers.performance,
        scope=Scope.MONITORING_READ,
        policy=Policy.OPERATIONS,
        tag=_TAG,
        answers={200: answers.Performance},
    )


def _alerts() -> tuple[Operation, ...]:
    limit = {"type": "integer", "minimum": 1, "maximum": handlers.MOST_ALERTS, "default": handlers.DEFAULT_ALERTS}
    name = {"type": "string", "minLength": 1, "maxLength": 64}
    return (
        Operation(
            name="listAlerts",
            method="GET",
            path=f"{PREFIX}/alerts",
            summary="Alerts, newest first, and the rules that raise them",
            handler=handlers.alerts,
            scope=Scope.MONITORING_READ,
            policy=Policy.OPERATIONS,
            tag=_TAG,
            answers={200: answers.AlertPage},
            parameters=(
                Parameter("state", "Alerts in this state", {"type": "string", "enum": list(handlers.STATES)}),
                Parameter("severity", "Alerts that are so bad", {"type": "string", "enum": list(handlers.SEVERITIES)}),
                Parameter("rule", "Alerts of this rule", name),
                Parameter("before", "`next_before` of the page before", _ID),
                Parameter("limit", "Most alerts of the page", limit),
            ),
        ),
        Operation(
            name="acknowledgeAlert",
            method="POST",
            path=f"{PREFIX}/alerts/{{id}}/acknowledge",
            summary="Say that somebody is at an alert",
            description="Its notices are not repeated any more. The first one counts; it takes no body.",
            handler=handlers.acknowledge,
            scope=Scope.OPERATIONS,
            policy=Policy.OPERATIONS,
            tag=_TAG,
            answers={200: answers.Acknowledged},
            parameters=(_ALERT_ID,),
            problems=frozenset({404, 409}),
        ),
    )


def _database() -> Operation:
    return Operation(
        name="getDatabase",
        method="GET",
        path=f"{PREFIX}/database",
        summary="PostgreSQL: slow queries, connections, locks, sizes, bloat",
        description="Slow queries come from pg_stat_statements where it is installed, else from the API's own clock. "
        "Their values are left out. Callers share one answer for 2 seconds.",
        handler=handlers.database,
        scope=Scope.MONITORING_READ,
        policy=Policy.OPERATIONS,
        tag=_TAG,
        answers={200: answers.DatabaseReport},
    )


def _partitions(settings: Settings) -> Operation:
    limit = {"type": "integer", "minimum": 1, "maximum": MOST_MONTHS, "default": handlers.DEFAULT_MONTHS}
    month = {"type": "string", "pattern": "^(?:19[7-9][0-9]|20[0-9]{2}|21[0-9]{2})-(?:0[1-9]|1[0-2])$"}
    return Operation(
        name="listPartitions",
        method="GET",
        path=f"{PREFIX}/partitions",
        summary="Months: rows, bytes, tier, and how queries fall on them",
        description="Rows of archived months are exact, others the server's estimate.",
        handler=handlers.partitions,
        scope=Scope.MONITORING_READ,
        policy=Policy.OPERATIONS,
        tag=_TAG,
        answers={200: answers.PartitionReport},
        parameters=(
            Parameter("table", "Months of this table", {"type": "string", "enum": list(settings.registry)}),
            Parameter("before", "`next_before` of the page before, or any month", month),
            Parameter("limit", "Most months of the page; the first one has those to come, too", limit),
        ),
    )


def _cache() -> tuple[Operation, ...]:
    return (
        Operation(
            name="getCache",
            method="GET",
            path=f"{PREFIX}/cache",
            summary="Hits, misses and evictions of each layer",
            handler=handlers.cache,
            scope=Scope.MONITORING_READ,
            policy=Policy.OPERATIONS,
            tag=_TAG,
            answers={200: answers.CacheReport},
        ),
        Operation(
            name="clearCache",
            method="POST",
            path=f"{PREFIX}/cache/clear",
            summary="Forget cached answers",
            description="Those whose key fits a pattern, or all. Only this API's own keys are touched.",
            handler=handlers.clear,
            scope=Scope.OPERATIONS,
            policy=Policy.OPERATIONS,
            tag=_TAG,
            request=answers.CacheClear,
            answers={200: answers.CacheCleared},
            problems=frozenset({400, 413, 415}),
        ),
    )


def _summary() -> Operation:
    return Operation(
        name="getSummary",
        method="GET",
        path=f"{PREFIX}/summary",
        summary="The worst state and the key figures",
        handler=handlers.summary,
        scope=Scope.MONITORING_READ,
        policy=Policy.OPERATIONS,
        tag=_TAG,
        answers={200: answers.Summary},
    )
