"""The operations on legal holds, for the one list in `api.routing.routes`."""

from functools import partial

from api.abuse.rate_limits import RatePolicy
from api.holds import answers, handlers
from api.routing.operations import Operation, Parameter
from ledger.scopes import Scope

PREFIX = "/api/v1/holds"
_ID = Parameter(
    "id",
    "The hold: HOLD-7, or 7",
    {"type": "string", "minLength": 1, "maxLength": 14, "pattern": "^(HOLD-)?[0-9]{1,9}$"},
    place="path",
    required=True,
)
_guarded = partial(Operation, scope=Scope.ARCHIVE_HOLDS, policy=RatePolicy.OPERATIONS, tag="holds")


def operations() -> tuple[Operation, ...]:
    """Every operation on legal holds."""
    return (
        _guarded(
            name="listHolds",
            method="GET",
            path=PREFIX,
            summary="List legal holds, the oldest first",
            handler=handlers.list_holds,
            answers={200: answers.HoldList},
        ),
        _guarded(
            name="placeHold",
            method="POST",
            path=PREFIX,
            summary="Place a legal hold",
            description="The hold is recorded for the client of the key, and keeps the months, or the rows of the "
            "subject in them, from being deleted. A request that is sent twice returns the same hold.",
            handler=handlers.place_hold,
            request=answers.NewHold,
            example={
                "matter": "CASE 2026/17",
                "reason": "Order of the court of 12 March",
                "first_month": "2020-01",
                "last_month": "2020-06",
                "subject": "wallet",
                "value": "wallet-1",
                "review_on": "2099-12-31",
            },
            answers={201: answers.Hold},
            problems=frozenset({400, 409, 413, 415}),
        ),
        _guarded(
            name="getHold",
            method="GET",
            path=f"{PREFIX}/{{id}}",
            summary="Get a legal hold and the decisions about its release",
            handler=handlers.get_hold,
            answers={200: answers.Hold},
            parameters=(_ID,),
            problems=frozenset({404}),
        ),
        _guarded(
            name="releaseHold",
            method="POST",
            path=f"{PREFIX}/{{id}}/release",
            summary="Propose or confirm the release of a legal hold",
            description="The first call proposes. The same call by a key of another client releases the hold. The "
            "client that placed it can do neither. `reject` withdraws the proposal.",
            handler=handlers.release_hold,
            request=answers.HoldRelease,
            example={"reason": "The matter is closed"},
            answers={200: answers.Hold},
            parameters=(_ID,),
            problems=frozenset({400, 404, 409, 413, 415}),
        ),
    )
