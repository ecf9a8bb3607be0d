"""The operations of reconciliation, for the one list in `api.routing.routes`."""

from collections.abc import Sequence
from functools import partial

from api.abuse.rate_limits import RatePolicy
from api.reconciliation import answers, handlers
from api.routing.operations import Operation, Parameter
from ledger.scopes import Scope
from ledger.statements import BreakClass
from tasks.reconciliation.vocabulary import BreakState

PREFIX = "/api/v1/reconciliation"
_ID = {"type": "integer", "minimum": 1, "maximum": handlers.MOST_ID}
_DAY = {"type": "string", "format": "date"}
_FROM = Parameter("from", "Only items of this day (Africa/Johannesburg) or later", _DAY)
_TO = Parameter("to", "Only items of this day or earlier", _DAY)
_REFERENCES = (
    "A break may have the row of any client. A key without `read:all` gets no references of rows; `left_out` names "
    "those."
)
_LIMIT = Parameter(
    "limit",
    "Maximum number of items on the page",
    {"type": "integer", "minimum": 1, "maximum": handlers.MOST, "default": handlers.DEFAULT_LIMIT},
)


_read = partial(
    Operation, method="GET", scope=Scope.RECONCILIATION_READ, policy=RatePolicy.OPERATIONS, tag="reconciliation"
)
_decide = partial(
    Operation, method="POST", scope=Scope.RECONCILIATION_RESOLVE, policy=RatePolicy.OPERATIONS, tag="reconciliation"
)


def operations(suppliers: Sequence[str]) -> tuple[Operation, ...]:
    """Every operation of reconciliation; ``suppliers`` are the names that there are."""
    supplier = Parameter("supplier", "Only items of this supplier", {"type": "string", "enum": list(suppliers)})
    return (
        _read(
            name="listReconciliationRuns",
            path=f"{PREFIX}/runs",
            summary="List reconciliation runs, newest first",
            handler=handlers.runs,
            answers={200: answers.RunPage},
            parameters=(
                supplier,
                _FROM,
                _TO,
                Parameter("before", "Only runs with a smaller number; `next_before` of the previous page", _ID),
                _LIMIT,
            ),
        ),
        _read(
            name="getReconciliationRun",
            path=f"{PREFIX}/runs/{{id}}",
            summary="Get a reconciliation run",
            handler=handlers.run,
            answers={200: answers.Run},
            parameters=(_number("run"),),
            problems=frozenset({404}),
        ),
        _read(
            name="listReconciliationBreaks",
            path=f"{PREFIX}/breaks",
            summary="List breaks",
            description="Without `state`, only breaks that await a decision are listed. `state=all` lists every break. "
            + _REFERENCES,
            handler=handlers.list_breaks,
            answers={200: answers.BreakPage},
            parameters=(
                supplier,
                Parameter("class", "Only breaks of this class", {"type": "string", "enum": list(BreakClass)}),
                Parameter(
                    "state", "Only breaks in this state", {"type": "string", "enum": [*BreakState, handlers.ALL]}
                ),
                Parameter(
                    "escalated", "Only breaks that are escalated, or only those that are not", {"type": "boolean"}
                ),
                _FROM,
                _TO,
                Parameter("after", "Only breaks with a larger number; `next_after` of the previous page", _ID),
                _LIMIT,
            ),
        ),
        _read(
            name="getReconciliationBreak",
            path=f"{PREFIX}/breaks/{{id}}",
            summary="Get a break and its history",
            description="The history shows what is proposed, by which client and why, so that another client can "
            "confirm it. " + _REFERENCES,
            handler=handlers.get_break,
            answers={200: answers.Break},
            parameters=(_number("break"),),
            problems=frozenset({404}),
        ),
        _decide(
            name="resolveReconciliationBreak",
            path=f"{PREFIX}/breaks/{{id}}/resolve",
            summary="Resolve a break",
            description="The decision is recorded for the client of the key. Above the four-eyes limit the first "
            "call only proposes. The same decision by a key of another client confirms the proposal, and `reject` "
            "withdraws it. `same_transaction` resolves all breaks of the suggested match together. "
            "`settle_completed` and `settle_failed` also end the internal row of the break while it is pending or "
            "processing. The four-eyes limit then applies to the whole amount of the row. `withdraw` takes back the "
            "decision that resolved the break, and always needs a key of another client to confirm.",
            handler=handlers.resolve,
            request=answers.Resolve,
            example={"decision": "write_off", "reason": "Rounding, agreed with the supplier"},
            answers={200: answers.Resolved},
            parameters=(_number("break"),),
            problems=frozenset({400, 404, 409, 413, 415}),
        ),
        _read(
            name="listReconciliationPeriods",
            path=f"{PREFIX}/periods",
            summary="List closed periods and periods proposed for closing",
            handler=handlers.list_periods,
            answers={200: answers.Periods},
            parameters=(supplier, _LIMIT),
        ),
        _decide(
            name="closeReconciliationPeriod",
            path=f"{PREFIX}/periods",
            summary="Propose or confirm the closing of a period",
            description="The decision is recorded for the client of the key. The first call proposes to close the "
            "days. The same request by a key of another client closes them permanently. `reject` withdraws the "
            "proposal.",
            handler=handlers.close_period,
            request=answers.ClosePeriod,
            example={
                "supplier": suppliers[0],
                "first_day": "2026-03-01",
                "last_day": "2026-03-31",
                "reason": "Month end",
            },
            answers={200: answers.ClosingState},
            problems=frozenset({400, 409, 413, 415}),
        ),
    )


def _number(noun: str) -> Parameter:
    return Parameter("id", f"The number of the {noun}", _ID, place="path", required=True)
