"""The handlers of the monitoring operations."""

import msgspec
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.responses import Response

from api.monitoring.cache_report import CacheClear, clear_cache
from api.monitoring.partition_report import MOST_MONTHS
from api.routing import parsing
from api.routing.messages import message
from api.routing.operations import Call
from ledger.errors import FieldError

DEFAULT_ALERTS, MOST_ALERTS = 50, 500
DEFAULT_MONTHS = 24
STATES = ("open", "resolved")
SEVERITIES = ("warning", "critical")
MOST_ID = 999_999_999
_LONGEST_RULE = 64
_LONGEST_PATTERN = 200
_NEVER_KEPT = {"Cache-Control": "no-store"}


async def metrics(call: Call) -> Response:
    """Answer with all metrics of all processes."""
    return Response(await call.services.monitor.exposition(), headers=_NEVER_KEPT, media_type=CONTENT_TYPE_LATEST)


async def health(call: Call) -> Response:
    """Every component. The status is 200 whatever the state is: the question was answered."""
    return _json(await call.services.monitor.health())


async def performance(call: Call) -> Response:
    """Report how the API performs."""
    return _json(await call.services.monitor.performance())


async def alerts(call: Call) -> Response:
    """A page of alerts, and the rules."""
    query = call.query
    wanted: dict[str, object] = {
        "state": parsing.choice("state", query["state"], STATES) if "state" in query else None,
        "severity": parsing.choice("severity", query["severity"], SEVERITIES) if "severity" in query else None,
        "rule": _short("rule", query["rule"], _LONGEST_RULE) if "rule" in query else None,
        "before": parsing.integer("before", query["before"], 1, MOST_ID) if "before" in query else None,
    }
    limit = parsing.integer("limit", query.get("limit", str(DEFAULT_ALERTS)), 1, MOST_ALERTS)
    page = await call.services.monitor.alerts(wanted, limit)
    return _json(page.for_key(call.key.scopes))


async def acknowledge(call: Call) -> Response:
    """Acknowledge an alert in the name of the key's client."""
    alert_id = parsing.integer("id", call.request.path_params["id"], 1, MOST_ID)
    who = f"{call.key.client_id} (key {call.key.key_id})"
    return _json(await call.services.monitor.acknowledge(alert_id, who))


async def database(call: Call) -> Response:
    """Answer with the state of PostgreSQL."""
    return _json(await call.services.monitor.database())


async def partitions(call: Call) -> Response:
    """Months of every tier."""
    query, registry = call.query, call.services.settings.registry
    tables = [parsing.choice("table", query["table"], tuple(registry))] if "table" in query else []
    before = parsing.month("before", query["before"]) if "before" in query else None
    limit = parsing.integer("limit", query.get("limit", str(DEFAULT_MONTHS)), 1, MOST_MONTHS)
    return _json(await call.services.monitor.partitions(tables, before, limit))


async def cache(call: Call) -> Response:
    """The layers of the cache."""
    return _json(await call.services.monitor.cache_report())


async def clear(call: Call) -> Response:
    """Clear cached answers."""
    pattern = _pattern(message(await call.body(), CacheClear))
    return _json(await clear_cache(call.services.monitor.cache, pattern))


async def summary(call: Call) -> Response:
    """Answer with the summary."""
    return _json(await call.services.monitor.summary())


def _pattern(body: CacheClear) -> str | None:
    """The pattern of a clear, None for all. Raises FieldError unless the body has exactly one of the two."""
    if body.all is False:
        raise FieldError("all", "must be true or absent")
    if (body.pattern is None) == (body.all is None):
        raise FieldError("pattern", "is required unless all is true")
    return None if body.pattern is None else _short("pattern", body.pattern, _LONGEST_PATTERN)


def _short(field: str, value: str, longest: int) -> str:
    if not (1 <= len(value) <= longest and value.isprintable()):
        raise FieldError(field, f"must have 1 to {longest} printable characters")
    return value


def _json(answer: msgspec.Struct) -> Response:
    return Response(msgspec.json.encode(answer), headers=_NEVER_KEPT, media_type="application/json")
