"""The handler of daily totals."""

from collections.abc import Mapping
from datetime import date

import msgspec
from msgspec.structs import astuple
from starlette.responses import Response

from api.routing import parsing
from api.routing.operations import Call
from api.routing.problems import UNAVAILABLE, HttpError
from api.totals.answers import DailyTotal, DailyTotals
from ledger.errors import MissingRowsError
from ledger.scopes import Scope
from ledger.tables import BUILT_IN, VAS_TRANSACTIONS
from ledger.totals import Question, TotalsGroup, Zone
from tasks.totals.answer import TotalsAnswer

TABLES = tuple(table.name for table in BUILT_IN)
DEFAULT_TABLE, DEFAULT_GROUPS = TABLES[0], TotalsGroup.DAY.value
MOST_TOTALS = 10_000
_NEVER_KEPT = {"Cache-Control": "no-store"}


async def get_totals(call: Call) -> Response:
    """Answer with the totals of a table's rows, of the key's client unless the key reads those of all."""
    query = call.query
    name = parsing.choice("table", query.get("table", DEFAULT_TABLE), TABLES)
    if name == VAS_TRANSACTIONS.name:
        call.key.require(Scope.VAS_READ)
    zone = Zone(parsing.choice("zone", query.get("zone", Zone.UTC), tuple(Zone)))
    question = Question(_day("from", query), _day("to", query), zone, _groups(query), call.key.sees_client)
    table = call.services.settings.table(name)
    try:
        answer = await call.services.totals.answer(table, question, MOST_TOTALS)
    except MissingRowsError:
        raise HttpError(UNAVAILABLE, "Rows of this range cannot be read at the moment.") from None
    if answer.different:
        raise HttpError(UNAVAILABLE, "Rows of this range are stored twice, with different values.")
    items = [DailyTotal(*(*astuple(total)[:-1], total.amounts(table))) for total in answer.totals]
    return _json(DailyTotals(table=name, zone=zone, items=items, deleted_months=_deleted(answer)))


def _deleted(answer: TotalsAnswer) -> list[str]:
    return sorted({str(month) for month in answer.deleted})


def _day(name: str, query: Mapping[str, str]) -> date:
    return parsing.day(name, parsing.required(name, query))


def _groups(query: Mapping[str, str]) -> frozenset[TotalsGroup]:
    names = query.get("group_by", DEFAULT_GROUPS).split(",")
    return frozenset(TotalsGroup(parsing.choice("group_by", name, tuple(TotalsGroup))) for name in names)


def _json(body: msgspec.Struct) -> Response:
    return Response(msgspec.json.encode(body), headers=_NEVER_KEPT, media_type="application/json")
