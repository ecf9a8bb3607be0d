"""The handlers of the reconciliation operations. What people decide is in `api.reconciliation.work`."""

from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from typing import Any, TypeVar

import msgspec
from starlette.responses import Response

from api.reconciliation import answers, work
from api.reconciliation.references import sees_references
from api.routing import parsing
from api.routing.messages import message
from api.routing.operations import Call
from api.routing.problems import NOT_FOUND, HttpError
from ledger.business_days import day_of
from ledger.errors import FieldError
from ledger.statements import BreakClass
from tasks.reconciliation.casework import lists
from tasks.reconciliation.casework.lists import BreakFilter
from tasks.reconciliation.closing import periods
from tasks.reconciliation.vocabulary import BreakState

T = TypeVar("T")

DEFAULT_LIMIT, MOST = 100, lists.PAGE_LIMIT
MOST_ID = 999_999_999
ALL = "all"
_NEVER_KEPT = {"Cache-Control": "no-store"}


async def runs(call: Call) -> Response:
    """Answer with a page of runs."""
    query = call.query
    limit = _limit(query)
    records = await _query(
        lists.list_runs,
        call,
        _supplier(call),
        _day("from", query),
        _day("to", query),
        before=_number("before", query),
        limit=limit,
    )
    more = records[-1].run_id if len(records) == limit else None
    return _json(answers.RunPage(items=[answers.run(record) for record in records], next_before=more))


async def run(call: Call) -> Response:
    """Answer with one run."""
    record = await _query(lists.get_run, call, _id(call))
    if record is None:
        raise HttpError(NOT_FOUND)
    return _json(answers.run(record))


async def list_breaks(call: Call) -> Response:
    """Answer with a page of breaks; without a state, of those that await a decision."""
    query = call.query
    limit = _limit(query)
    wanted = BreakFilter(
        supplier=_supplier(call),
        break_class=parsing.member("class", query["class"], BreakClass) if "class" in query else None,
        first=_day("from", query),
        last=_day("to", query),
        escalated=_flag("escalated", query),
        **_states(query),
    )
    records = await _query(lists.list_breaks, call, wanted, after=_number("after", query), limit=limit)
    today = day_of(datetime.now(UTC))
    more = records[-1].break_id if len(records) == limit else None
    history = await _query(lists.history, call, *(record.break_id for record in records)) if records else []
    has_references = sees_references(call.key.scopes)
    items = [answers.break_(record, history, today, has_references=has_references) for record in records]
    return _json(answers.BreakPage(items=items, next_after=more))


async def get_break(call: Call) -> Response:
    """Answer with one break and its history."""
    break_id = _id(call)
    record = await _query(lists.get_break, call, break_id)
    if record is None:
        raise HttpError(NOT_FOUND)
    history = await _query(lists.history, call, break_id)
    today = day_of(datetime.now(UTC))
    return _json(answers.break_(record, history, today, has_references=sees_references(call.key.scopes)))


async def resolve(call: Call) -> Response:
    """Decide about a break in the name of the key's client."""
    body = message(await call.body(), answers.Resolve)
    done = await work.decide_break(call.services, call.key, _id(call), body.decision, body.reason)
    return _json(answers.resolved(done))


async def list_periods(call: Call) -> Response:
    """Answer with closed and proposed periods."""
    supplier, limit = _supplier(call), _limit(call.query)
    records = await _query(periods.list_periods, call, supplier, limit=limit)
    return _json(answers.Periods(items=[answers.period(record) for record in records]))


async def close_period(call: Call) -> Response:
    """Propose to close days in the name of the key's client; confirm or reject the proposal of another."""
    body = message(await call.body(), answers.ClosePeriod)
    days = (body.supplier, body.first_day, body.last_day)
    closing = await work.decide_period(call.services, call.key, days, body.decision, body.reason, carry=body.carry)
    return _json(
        answers.ClosingState(
            supplier=body.supplier,
            first_day=body.first_day,
            last_day=body.last_day,
            state=closing.state,
            waiting=closing.waiting,
        )
    )


async def _query(ask: Callable[..., T], call: Call, *arguments: Any, **named: Any) -> T:
    return await work.in_thread(call.services, ask, *arguments, **named)


def _id(call: Call) -> int:
    return parsing.integer("id", call.request.path_params["id"], 1, MOST_ID)


def _limit(query: Mapping[str, str]) -> int:
    return parsing.integer("limit", query.get("limit", str(DEFAULT_LIMIT)), 1, MOST)


def _number(name: str, query: Mapping[str, str]) -> int | None:
    return parsing.integer(name, query[name], 1, MOST_ID) if name in query else None


def _day(name: str, query: Mapping[str, str]) -> date | None:
    return parsing.day(name, query[name]) if name in query else None


def _flag(name: str, query: Mapping[str, str]) -> bool | None:
    value = query.get(name)
    if value not in (None, "true", "false"):
        raise FieldError(name, "must be true or false")
    return None if value is None else value == "true"


def _states(query: Mapping[str, str]) -> dict[str, Any]:
    if "state" not in query:
        return {}
    return {"states": None if query["state"] == ALL else (parsing.member("state", query["state"], BreakState),)}


def _supplier(call: Call) -> str | None:
    """The supplier of the query. Raises FieldError for an unknown one."""
    wanted = call.query.get("supplier")
    return None if wanted is None else _known_supplier(call, wanted)


def _known_supplier(call: Call, name: str) -> str:
    return parsing.choice("supplier", name, call.services.settings.suppliers.names)


def _json(body: msgspec.Struct) -> Response:
    return Response(msgspec.json.encode(body), headers=_NEVER_KEPT, media_type="application/json")
