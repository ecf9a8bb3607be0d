"""What each reconciliation address does with a request. PostgreSQL is asked by `tasks.reconciliation.breaks`, in a
thread: a few people work here, so what they ask needs no pool.
"""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from enum import StrEnum
from functools import partial
from typing import Any, TypeVar

import anyio
import anyio.to_thread
import msgspec
from starlette.responses import Response

from api import parsing
from api.operations import Call
from api.problems import NOT_FOUND, HttpError
from api.reconciliation import answers
from ledger.errors import FieldError
from ledger.transactions import Supplier
from tasks.reconciliation import breaks
from tasks.reconciliation.breaks import BreakFilter, BreakRecord, RunRecord
from tasks.reconciliation.classes import BreakClass, BreakState, Decision
from tasks.reconciliation.days import day_of

T = TypeVar("T")
Choice = TypeVar("Choice", bound=StrEnum)

DEFAULT_LIMIT, MOST = 100, breaks.PAGE_LIMIT
MOST_ID = 999_999_999
ALL = "all"
_AT_ONCE = anyio.CapacityLimiter(4)
_DAY = re.compile(r"\d{4}-\d\d-\d\d\Z", re.ASCII)
_NEVER_KEPT = {"Cache-Control": "no-store"}


async def runs(call: Call) -> Response:
    """A page of runs."""
    query = call.query
    limit = _limit(query)
    found = await _ask(
        breaks.list_runs,
        call,
        _chosen("supplier", query, Supplier),
        _day("from", query),
        _day("to", query),
        before=_number("before", query),
        limit=limit,
    )
    more = found[-1].run_id if len(found) == limit else None
    return _json(answers.RunPage(items=[_run(one) for one in found], next_before=more))


async def run(call: Call) -> Response:
    """One run."""
    found = await _ask(breaks.get_run, call, _id(call))
    if found is None:
        raise HttpError(NOT_FOUND)
    return _json(_run(found))


async def list_breaks(call: Call) -> Response:
    """A page of breaks; those that wait, unless told otherwise."""
    query = call.query
    limit = _limit(query)
    wanted = BreakFilter(
        supplier=_chosen("supplier", query, Supplier),
        break_class=_chosen("class", query, BreakClass),
        first=_day("from", query),
        last=_day("to", query),
        escalated=_flag("escalated", query),
        **_states(query),
    )
    found = await _ask(breaks.list_breaks, call, wanted, after=_number("after", query), limit=limit)
    today = day_of(datetime.now(UTC))
    more = found[-1].break_id if len(found) == limit else None
    return _json(answers.BreakPage(items=[_break(one, today) for one in found], next_after=more))


async def resolve(call: Call) -> Response:
    """Decide about a break in the name of the key's client."""
    given = parsing.decode_object(await call.body())
    for name in given:
        if name not in ("decision", "reason"):
            raise FieldError(name, "is not a field of a resolution")
    decision = _choice("decision", given.get("decision"), Decision)
    reason = given.get("reason")
    if not isinstance(reason, str):
        raise FieldError("reason", "is required")
    break_id = _id(call)
    if not await _ask(breaks.history, call, break_id) and not await _exists(call, break_id):
        raise HttpError(NOT_FOUND)
    done = await _ask(breaks.resolve, call, break_id, call.key.client_id, decision, reason)
    return _json(answers.Resolved(break_id=done.break_id, state=done.state, resolution_id=done.resolution_id))


async def _exists(call: Call, break_id: int) -> bool:
    everything = BreakFilter(states=None)
    found = await _ask(breaks.list_breaks, call, everything, after=break_id - 1, limit=1)
    return bool(found) and found[0].break_id == break_id


async def _ask(work: Callable[..., T], call: Call, *arguments: Any, **named: Any) -> T:
    return await anyio.to_thread.run_sync(partial(work, call.services.settings, *arguments, **named), limiter=_AT_ONCE)


def _run(found: RunRecord) -> answers.Run:
    values = {name: getattr(found, name) for name in answers.Run.__struct_fields__}
    return msgspec.convert(values | {"digest": found.digest.hex()}, answers.Run)


def _break(found: BreakRecord, today: date) -> answers.Break:
    values = {name: getattr(found, name, None) for name in answers.Break.__struct_fields__}
    values |= {
        "break_class": found.class_,
        "age_days": found.age_days(today),
        "difference": str(found.difference),
        "variance": str(found.variance),
    }
    return msgspec.convert(values, answers.Break)


def _id(call: Call) -> int:
    return parsing.integer("id", call.request.path_params["id"], 1, MOST_ID)


def _limit(query: Mapping[str, str]) -> int:
    return parsing.integer("limit", query.get("limit", str(DEFAULT_LIMIT)), 1, MOST)


def _number(name: str, query: Mapping[str, str]) -> int | None:
    return parsing.integer(name, query[name], 1, MOST_ID) if name in query else None


def _day(name: str, query: Mapping[str, str]) -> date | None:
    if name not in query:
        return None
    rule = "must be a day like 2026-01-31"
    if not _DAY.match(query[name]):  # ISO 8601 has other spellings, which would be taken too
        raise FieldError(name, rule)
    try:
        return date.fromisoformat(query[name])
    except ValueError:
        raise FieldError(name, rule) from None


def _flag(name: str, query: Mapping[str, str]) -> bool | None:
    value = query.get(name)
    if value not in (None, "true", "false"):
        raise FieldError(name, "must be true or false")
    return None if value is None else value == "true"


def _states(query: Mapping[str, str]) -> dict[str, Any]:
    if "state" not in query:
        return {}
    return {"states": None if query["state"] == ALL else (_choice("state", query["state"], BreakState),)}


def _chosen(name: str, query: Mapping[str, str], choices: type[Choice]) -> Choice | None:
    return _choice(name, query[name], choices) if name in query else None


def _choice(name: str, value: Any, choices: type[Choice]) -> Choice:
    if not isinstance(value, str) or value not in set(choices):
        raise FieldError(name, f"must be one of {', '.join(choices)}")
    return choices(value)


def _json(body: msgspec.Struct) -> Response:
    return Response(msgspec.json.encode(body), headers=_NEVER_KEPT, media_type="application/json")
