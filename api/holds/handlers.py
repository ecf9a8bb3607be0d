"""The handlers of the operations on legal holds. Their work is in `tasks.retention.holds`."""

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
from starlette.responses import Response

from api.holds import answers, work
from api.routing.messages import message
from api.routing.operations import Call
from api.routing.problems import INVALID, NOT_FOUND, HttpError
from ledger.errors import ConfigError, NotFoundError
from ledger.holds import HoldScope, hold_number
from ledger.months import Month
from tasks.retention import holds as legal

T = TypeVar("T")

_NEVER_KEPT = {"Cache-Control": "no-store"}


async def list_holds(call: Call) -> Response:
    """Answer with every hold."""
    records = await _work(call, legal.holds)
    return _json(answers.HoldList(items=[answers.hold(record) for record in records]))


async def get_hold(call: Call) -> Response:
    """Answer with one hold and the decisions about its release."""
    number = _number(call)
    shown = await work.known(_work(call, legal.show_hold, number))
    return _json(answers.hold(shown.record, shown.decisions))


async def place_hold(call: Call) -> Response:
    """Place a hold in the name of the key's client."""
    body = message(await call.body(), answers.NewHold)
    terms = (_scope(call, body), body.matter, body.reason, call.key.client_id, body.review_on)
    try:
        placed = await _work(call, legal.place_hold, *terms, account=work.account_of(call.key))
    except NotFoundError as error:  # months or rows that are in no tier
        raise HttpError(INVALID, str(error)) from error
    return _json(answers.hold(placed), 201)


def _scope(call: Call, body: answers.NewHold) -> HoldScope:
    """Return what the hold keeps. Raises a 422 problem for months and tables that are none."""
    try:
        months = Month.parse(body.first_month), Month.parse(body.last_month or body.first_month)
        table = None if body.table is None else call.services.settings.table(body.table).name
        return HoldScope(*months, table, body.subject, body.value)
    except ConfigError as error:
        raise HttpError(INVALID, str(error)) from error


async def release_hold(call: Call) -> Response:
    """Propose, confirm or reject the release of a hold in the name of the key's client."""
    body = message(await call.body(), answers.HoldRelease)
    return _json(answers.hold(await work.decide_release(call.services, call.key, _number(call), body)))


def _number(call: Call) -> int:
    try:
        return hold_number(call.request.path_params["id"])
    except ConfigError:
        raise HttpError(NOT_FOUND) from None


async def _work(call: Call, ask: Callable[..., T], *arguments: Any, **named: Any) -> T:
    return await work.in_thread(call.services, ask, *arguments, **named)


def _json(body: msgspec.Struct, status: int = 200) -> Response:
    return Response(msgspec.json.encode(body), status, headers=_NEVER_KEPT, media_type="application/json")
