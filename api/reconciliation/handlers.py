"""The handlers of the reconciliation operations. `tasks.reconciliation.casework.breaks` queries PostgreSQL in a thread:
only a few people work here, so no pool is needed.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime
from enum import StrEnum
from functools import partial
from typing import Any, TypeVar

import anyio
import anyio.to_thread
import msgspec
from pydantic import SecretStr
from starlette.responses import Response

from api.reconciliation import answers
from api.routing import parsing
from api.routing.operations import Call
from api.routing.problems import NOT_FOUND, HttpError
from ledger.business_days import DAY_RULE, MOST_DAYS, day_of, parse_day
from ledger.errors import FieldError
from ledger.statements import BreakClass
from sql.connection import limited
from tasks.reconciliation.casework import breaks
from tasks.reconciliation.casework.breaks import BreakFilter, BreakRecord, Resolution, RunRecord
from tasks.reconciliation.closing import periods
from tasks.reconciliation.vocabulary import BreakState, Decision

T = TypeVar("T")
Choice = TypeVar("Choice", bound=StrEnum)

DEFAULT_LIMIT, MOST = 100, breaks.PAGE_LIMIT
MOST_ID = 999_999_999
ALL = "all"
_AT_ONCE = anyio.CapacityLimiter(4)
_NEVER_KEPT = {"Cache-Control": "no-store"}


async def runs(call: Call) -> Response:
    """A page of runs."""
    query = call.query
    limit = _limit(query)
    found = await _ask(
        breaks.list_runs,
        call,
        _supplier(call),
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
        supplier=_supplier(call),
        break_class=_chosen("class", query, BreakClass),
        first=_day("from", query),
        last=_day("to", query),
        escalated=_flag("escalated", query),
        **_states(query),
    )
    found = await _ask(breaks.list_breaks, call, wanted, after=_number("after", query), limit=limit)
    today = day_of(datetime.now(UTC))
    more = found[-1].break_id if len(found) == limit else None
    records = await _ask(breaks.history, call, *(one.break_id for one in found)) if found else []
    return _json(answers.BreakPage(items=[_break(one, records, today) for one in found], next_after=more))


async def get_break(call: Call) -> Response:
    """One break, with everything that was done about it."""
    break_id = _id(call)
    found = await _ask(breaks.get_break, call, break_id)
    if found is None:
        raise HttpError(NOT_FOUND)
    records = await _ask(breaks.history, call, break_id)
    return _json(_break(found, records, day_of(datetime.now(UTC))))


async def resolve(call: Call) -> Response:
    """Decide about a break in the name of the key's client."""
    given = await _body(call, answers.Resolve)
    decision = _choice("decision", given.get("decision"), Decision)
    reason, break_id = _reason(given), _id(call)
    if await _ask(breaks.get_break, call, break_id) is None:
        raise HttpError(NOT_FOUND)
    who = call.key.client_id
    done = await _ask(breaks.resolve, call, break_id, who, decision, reason, account=_account(call))
    values = {name: getattr(done, name) for name in answers.Resolved.__struct_fields__}
    return _json(msgspec.convert(values, answers.Resolved))


async def list_periods(call: Call) -> Response:
    """Closed and proposed periods."""
    supplier, limit = _supplier(call), _limit(call.query)
    found = await _ask(periods.list_periods, call, supplier, limit=limit)
    fields = answers.Period.__struct_fields__
    items = [msgspec.convert({name: getattr(one, name) for name in fields}, answers.Period) for one in found]
    return _json(answers.Periods(items=items))


async def close_period(call: Call) -> Response:
    """Propose to close days in the name of the key's client, close what another has proposed, or take it back."""
    given = await _body(call, answers.ClosePeriod)
    supplier = _known_supplier(call, given.get("supplier"))
    first, last = (_given_day(name, given.get(name)) for name in ("first_day", "last_day"))
    if not 0 <= (last - first).days < MOST_DAYS:
        raise FieldError("last_day", f"must be the first day or later, and make no more than {MOST_DAYS} days")
    decision = _choice("decision", given.get("decision", answers.PeriodDecision.CLOSE), answers.PeriodDecision)
    carry = given.get("carry", False)
    if not isinstance(carry, bool):
        raise FieldError("carry", "must be true or false")
    arguments = (supplier, first, last, call.key.client_id, _reason(given))
    if decision is answers.PeriodDecision.REJECT:
        done = await _ask(periods.reject_closing, call, *arguments, account=_account(call))
    else:
        done = await _ask(periods.close_period, call, *arguments, account=_account(call), carry=carry)
    state, waiting = done.state, done.waiting
    return _json(answers.ClosingState(supplier=supplier, first_day=first, last_day=last, state=state, waiting=waiting))


async def _body(call: Call, shape: type[msgspec.Struct]) -> dict[str, Any]:
    """The JSON object of a request, with no other fields than those of ``shape``."""
    given = parsing.decode_object(await call.body())
    for name in given:
        if name not in shape.__struct_fields__:
            raise FieldError(name, f"is not one of {', '.join(shape.__struct_fields__)}")
    return given


def _reason(given: Mapping[str, Any]) -> str:
    reason = given.get("reason")
    if not isinstance(reason, str):
        raise FieldError("reason", "is required")
    return reason


def _account(call: Call) -> str:
    """What the caller works under and cannot choose: its key."""
    return f"key {call.key.key_id}"


async def _ask(work: Callable[..., T], call: Call, *arguments: Any, **named: Any) -> T:
    settings = call.services.settings
    dsn = limited(settings.database_dsn, settings.api_statement_timeout_ms)  # a run may hold the chain for longer
    asked = partial(work, settings.model_copy(update={"database_url": SecretStr(dsn)}), *arguments, **named)
    return await anyio.to_thread.run_sync(asked, limiter=_AT_ONCE)


def _run(found: RunRecord) -> answers.Run:
    values = {name: getattr(found, name) for name in answers.Run.__struct_fields__}
    return msgspec.convert(values | {"digest": found.digest.hex()}, answers.Run)


def _break(found: BreakRecord, records: Sequence[Resolution], today: date) -> answers.Break:
    fields = answers.Resolution.__struct_fields__
    values = {name: getattr(found, name, None) for name in answers.Break.__struct_fields__}
    values |= {
        "break_class": found.class_,
        "age_days": found.age_days(today),
        "difference": str(found.difference),
        "variance": str(found.variance),
        "resolutions": [
            {name: getattr(one, name) for name in fields} for one in records if one.break_id == found.break_id
        ],
    }
    return msgspec.convert(values, answers.Break)


def _id(call: Call) -> int:
    return parsing.integer("id", call.request.path_params["id"], 1, MOST_ID)


def _limit(query: Mapping[str, str]) -> int:
    return parsing.integer("limit", query.get("limit", str(DEFAULT_LIMIT)), 1, MOST)


def _number(name: str, query: Mapping[str, str]) -> int | None:
    return parsing.integer(name, query[name], 1, MOST_ID) if name in query else None


def _day(name: str, query: Mapping[str, str]) -> date | None:
    return _given_day(name, query[name]) if name in query else None


def _given_day(name: str, value: Any) -> date:
    try:
        return parse_day(value)
    except ValueError:
        raise FieldError(name, DAY_RULE) from None


def _flag(name: str, query: Mapping[str, str]) -> bool | None:
    value = query.get(name)
    if value not in (None, "true", "false"):
        raise FieldError(name, "must be true or false")
    return None if value is None else value == "true"


def _states(query: Mapping[str, str]) -> dict[str, Any]:
    if "state" not in query:
        return {}
    return {"states": None if query["state"] == ALL else (_choice("state", query["state"], BreakState),)}


def _supplier(call: Call) -> str | None:
    """The supplier that is asked for. Raises FieldError for one that there is not."""
    wanted = call.query.get("supplier")
    return None if wanted is None else _known_supplier(call, wanted)


def _known_supplier(call: Call, wanted: Any) -> str:
    known = call.services.settings.suppliers.names
    if wanted not in known:
        raise FieldError("supplier", f"must be one of {', '.join(known)}")
    return str(wanted)


def _chosen(name: str, query: Mapping[str, str], choices: type[Choice]) -> Choice | None:
    return _choice(name, query[name], choices) if name in query else None


def _choice(name: str, value: Any, choices: type[Choice]) -> Choice:
    if not isinstance(value, str) or value not in set(choices):
        raise FieldError(name, f"must be one of {', '.join(choices)}")
    return choices(value)


def _json(body: msgspec.Struct) -> Response:
    return Response(msgspec.json.encode(body), headers=_NEVER_KEPT, media_type="application/json")
