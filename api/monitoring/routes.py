"""The operations of the monitoring, for the one list in `api.routing.routes`."""

from functools import partial

from api.abuse.addresses import Networks
from api.abuse.rate_limits import RatePolicy
from api.monitoring import handlers
from api.monitoring.alert_page import Acknowledged, AlertPage
from api.monitoring.cache_report import CacheClear, CacheCleared, CacheReport
from api.monitoring.database_report import DatabaseReport
from api.monitoring.health_report import HealthReport
from api.monitoring.partition_report import MOST_MONTHS, PartitionReport
from api.monitoring.performance import Performance
from api.monitoring.summary import Summary
from api.routing.operations import Operation, Parameter
from config import Settings
from ledger.scopes import Scope

PREFIX = "/api/v1/monitoring"
_ID = {"type": "integer", "minimum": 1, "maximum": handlers.MOST_ID}
_ALERT_ID = Parameter("id", "The number of the alert", _ID, place="path", required=True)
_read = partial(Operation, method="GET", scope=Scope.MONITORING_READ, policy=RatePolicy.OPERATIONS, tag="monitoring")
_operate = partial(Operation, method="POST", scope=Scope.OPERATIONS, policy=RatePolicy.OPERATIONS, tag="monitoring")


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
    return _read(
        name="metrics",
        path="/metrics",
        summary="Get all metrics in the Prometheus format",
        description="The text format of Prometheus, over all worker processes.",
        handler=handlers.metrics,
        open_to=Networks(settings.metrics_open_to),
        answers={200: str},
        media_type="text/plain",
    )


def _health() -> Operation:
    return _read(
        name="getHealth",
        path=f"{PREFIX}/health",
        summary="Get the health of every component",
        description="Runs the checks of `treasury health`. Each component says what to do. Callers share one run for "
        "5 seconds. The status is 200 for every state of health.",
        handler=handlers.health,
        answers={200: HealthReport},
    )


def _performance() -> Operation:
    return _read(
        name="getPerformance",
        path=f"{PREFIX}/performance",
        summary="Get latencies, throughput, errors and query times",
        description="Per route, since the start and over the last 5 minutes, for all worker processes together.",
        handler=handlers.performance,
        answers={200: Performance},
    )


def _alerts() -> tuple[Operation, ...]:
    limit = {"type": "integer", "minimum": 1, "maximum": handlers.MOST_ALERTS, "default": handlers.DEFAULT_ALERTS}
    name = {"type": "string", "minLength": 1, "maxLength": 64}
    return (
        _read(
            name="listAlerts",
            path=f"{PREFIX}/alerts",
            summary="List alerts and the rules that raise them",
            handler=handlers.alerts,
            answers={200: AlertPage},
            parameters=(
                Parameter("state", "Only alerts in this state", {"type": "string", "enum": list(handlers.STATES)}),
                Parameter(
                    "severity", "Only alerts of this severity", {"type": "string", "enum": list(handlers.SEVERITIES)}
                ),
                Parameter("rule", "Only alerts of this rule", name),
                Parameter("before", "`next_before` of the previous page", _ID),
                Parameter("limit", "Maximum number of alerts on the page", limit),
            ),
        ),
        _operate(
            name="acknowledgeAlert",
            path=f"{PREFIX}/alerts/{{id}}/acknowledge",
            summary="Acknowledge an alert",
            description="Stops the repeated notices. Only the first acknowledgement is recorded. The request has no "
            "body.",
            handler=handlers.acknowledge,
            answers={200: Acknowledged},
            parameters=(_ALERT_ID,),
            problems=frozenset({404, 409}),
        ),
    )


def _database() -> Operation:
    return _read(
        name="getDatabase",
        path=f"{PREFIX}/database",
        summary="Get slow queries, connections, locks, sizes and bloat of PostgreSQL",
        description="Slow queries come from pg_stat_statements where it is installed, otherwise from the API's own "
        "measurements. Query values are omitted. Callers share one answer for 2 seconds.",
        handler=handlers.database,
        answers={200: DatabaseReport},
    )


def _partitions(settings: Settings) -> Operation:
    limit = {"type": "integer", "minimum": 1, "maximum": MOST_MONTHS, "default": handlers.DEFAULT_MONTHS}
    month = {"type": "string", "pattern": "^(?:19[7-9][0-9]|20[0-9]{2}|21[0-9]{2})-(?:0[1-9]|1[0-2])$"}
    return _read(
        name="listPartitions",
        path=f"{PREFIX}/partitions",
        summary="List months with their rows, bytes, tier and scans",
        description="The newest come first. The row counts of archived months are exact; other counts are estimates "
        "of PostgreSQL.",
        handler=handlers.partitions,
        answers={200: PartitionReport},
        parameters=(
            Parameter("table", "Only months of this table", {"type": "string", "enum": list(settings.registry)}),
            Parameter("before", "`next_before` of the previous page, or any month", month),
            Parameter(
                "limit", "Maximum number of months on the page; the first page adds the months prepared ahead", limit
            ),
        ),
    )


def _cache() -> tuple[Operation, ...]:
    return (
        _read(
            name="getCache",
            path=f"{PREFIX}/cache",
            summary="Get hits, misses and evictions of each cache layer",
            handler=handlers.cache,
            answers={200: CacheReport},
        ),
        _operate(
            name="clearCache",
            path=f"{PREFIX}/cache/clear",
            summary="Clear cached answers",
            description="Removes the answers whose cache key matches a pattern, or all of them. Other keys in Redis "
            "are not removed.",
            handler=handlers.clear,
            request=CacheClear,
            example={"all": True},
            answers={200: CacheCleared},
            problems=frozenset({400, 413, 415}),
        ),
    )


def _summary() -> Operation:
    return _read(
        name="getSummary",
        path=f"{PREFIX}/summary",
        summary="Get the worst state and the key figures",
        handler=handlers.summary,
        answers={200: Summary},
    )
