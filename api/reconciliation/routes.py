"""The operations of reconciliation, for the one list in `api.routes`."""

from collections.abc import Sequence

from api.operations import Operation, Parameter
from api.rate_limits import Policy
from api.reconciliation import answers, handlers
from ledger.scopes import Scope
from ledger.statements import BreakClass
from tasks.reconciliation.classes import BreakState

PREFIX = "/api/v1/reconciliation"
_TAG = "reconciliation"
_ID = {"type": "integer", "minimum": 1, "maximum": handlers.MOST_ID}
_DAY = {"type": "string", "format": "date"}
_FROM = Parameter("from", "Of this day (Africa/Johannesburg) or later", _DAY)
_TO = Parameter("to", "Of this day or earlier", _DAY)
_LIMIT = Parameter(
    "limit",
    "Most items of the page",
    {"type": "integer", "minimum": 1, "maximum": handlers.MOST, "default": handlers.DEFAULT_LIMIT},
)


def operations(suppliers: Sequence[str]) -> tuple[Operation, ...]:
    """Every operation of reconciliation; ``suppliers`` are the names that there are."""
    supplier = Parameter("supplier", "Of this supplier", {"type": "string", "enum": list(suppliers)})
    return (
        Operation(
            name="listReconciliationRuns",
            method="GET",
            path=f"{PREFIX}/runs",
            summary="Runs, newest first",
            handler=handlers.runs,
            scope=Scope.RECONCILIATION_READ,
            policy=Policy.OPERATIONS,
            tag=_TAG,
            answers={200: answers.RunPage},
            parameters=(supplier, _FROM, _TO, Parameter("before", "Runs before this number", _ID), _LIMIT),
        ),
        Operation(
            name="getReconciliationRun",
            method="GET",
            path=f"{PREFIX}/runs/{{id}}",
            summary="One run",
            handler=handlers.run,
            scope=Scope.RECONCILIATION_READ,
            policy=Policy.OPERATIONS,
            tag=_TAG,
            answers={200: answers.Run},
            parameters=(Parameter("id", "The run's number", _ID, place="path", required=True),),
            problems=frozenset({404}),
        ),
        Operation(
            name="listReconciliationBreaks",
            method="GET",
            path=f"{PREFIX}/breaks",
            summary="Breaks that wait for somebody",
            description="`state=all` lists the others, too.",
            handler=handlers.list_breaks,
            scope=Scope.RECONCILIATION_READ,
            policy=Policy.OPERATIONS,
            tag=_TAG,
            answers={200: answers.BreakPage},
            parameters=(
                supplier,
                Parameter("class", "Of this class", {"type": "string", "enum": list(BreakClass)}),
                Parameter("state", "In this state", {"type": "string", "enum": [*BreakState, handlers.ALL]}),
                Parameter("escalated", "Escalated or not", {"type": "boolean"}),
                _FROM,
                _TO,
                Parameter("after", "Breaks after this number", _ID),
                _LIMIT,
            ),
        ),
        Operation(
            name="getReconciliationBreak",
            method="GET",
            path=f"{PREFIX}/breaks/{{id}}",
            summary="One break, with what was done about it",
            description="Who is to confirm a proposal sees here what is proposed, by whom and why.",
            handler=handlers.get_break,
            scope=Scope.RECONCILIATION_READ,
            policy=Policy.OPERATIONS,
            tag=_TAG,
            answers={200: answers.Break},
            parameters=(Parameter("id", "The break's number", _ID, place="path", required=True),),
            problems=frozenset({404}),
        ),
        Operation(
            name="resolveReconciliationBreak",
            method="POST",
            path=f"{PREFIX}/breaks/{{id}}/resolve",
            summary="Decide about a break",
            description="In the name of the key's client. Above the limit of four eyes the first call proposes, and "
            "the same decision by a key of another client confirms it; `reject` takes it back. `same_transaction` "
            "decides all breaks of the match that is suggested at once. `settle_completed` and `settle_failed` end the "
            "break's row of ours, as long as it is under way; what counts for four eyes is then its whole amount, too.",
            handler=handlers.resolve,
            scope=Scope.RECONCILIATION_RESOLVE,
            policy=Policy.OPERATIONS,
            tag=_TAG,
            request=answers.Resolve,
            answers={200: answers.Resolved},
            parameters=(Parameter("id", "The break's number", _ID, place="path", required=True),),
            problems=frozenset({400, 404, 409, 413, 415}),
        ),
        Operation(
            name="listReconciliationPeriods",
            method="GET",
            path=f"{PREFIX}/periods",
            summary="Closed periods, and those proposed for closing",
            handler=handlers.list_periods,
            scope=Scope.RECONCILIATION_READ,
            policy=Policy.OPERATIONS,
            tag=_TAG,
            answers={200: answers.Periods},
            parameters=(supplier, _LIMIT),
        ),
        Operation(
            name="closeReconciliationPeriod",
            method="POST",
            path=f"{PREFIX}/periods",
            summary="Close days, with four eyes",
            description="In the name of the key's client. The first call proposes; the same by a key of another client "
            "closes the days for good. `reject` takes the proposal back.",
            handler=handlers.close_period,
            scope=Scope.RECONCILIATION_RESOLVE,
            policy=Policy.OPERATIONS,
            tag=_TAG,
            request=answers.ClosePeriod,
            answers={200: answers.ClosingState},
            problems=frozenset({400, 409, 413, 415}),
        ),
    )
