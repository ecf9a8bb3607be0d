"""The operations of the API: their addresses, parameters, bodies and answers, and the handlers behind them."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from api.abuse.addresses import Networks
from api.abuse.rate_limits import RatePolicy
from api.keys.auth import ApiKey
from api.routing import parsing
from api.server.services import Services
from ledger.scopes import Scope

_NOWHERE = Networks(())


@dataclass(frozen=True, slots=True)
class Parameter:
    """A query parameter or a header. ``schema`` is JSON Schema."""

    name: str
    description: str
    schema: Mapping[str, Any]
    place: str = "query"
    required: bool = False


@dataclass(frozen=True, slots=True)
class Operation:
    """One method at one address. The router and the OpenAPI document are both made from these.

    ``answers`` are the good statuses, each with the type of its body, in ``media_type``. ``problems`` are the statuses
    that it can end with in addition to those of every operation with a key. ``policy`` is the rate limit that its
    requests are counted by, None for none. ``open_to`` are the networks that need no key for it. A ``conditional`` one
    answers with an ETag, and 304 to If-None-Match; its answers are cached. One that takes ``many`` things at once takes
    a larger body. ``example`` is a body that can be sent as it is, for the interactive page.
    """

    name: str
    method: str
    path: str
    summary: str
    handler: Callable[["Call"], Awaitable[Response]]
    answers: Mapping[int, type]
    tag: str
    scope: Scope | None = None
    policy: RatePolicy | None = RatePolicy.GENERAL
    request: type | None = None
    parameters: tuple[Parameter, ...] = ()
    problems: frozenset[int] = frozenset()
    description: str = ""
    media_type: str = "application/json"
    open_to: Networks = _NOWHERE
    conditional: bool = False
    many: bool = False
    example: Mapping[str, Any] | None = None
    query: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        names = frozenset(parameter.name for parameter in self.parameters if parameter.place == "query")
        object.__setattr__(self, "query", names)


@dataclass(frozen=True, slots=True)
class Call:
    """One request to one operation, its key and scope checked, its query read.

    ``key`` is `api.keys.auth.NOBODY` for an operation without a scope.
    """

    request: Request
    operation: Operation
    services: Services
    query: Mapping[str, str]
    key: ApiKey

    async def body(self) -> bytes:
        """The body of the request, within the limits. Raises problems 413 and 415; TransientError for want of room."""
        parsing.require_json(self.request)
        settings = self.services.settings
        most = settings.api_body_limit_bytes
        if not self.operation.many:
            most = min(most, settings.api_single_body_limit_bytes)
        return await parsing.read_body(self.request, most, self.services.bodies)
