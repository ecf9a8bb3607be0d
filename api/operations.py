"""What an operation of the API is: its address, what it takes and gives, and the handler behind it."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from api.addresses import Networks
from api.auth import ApiKey
from api.rate_limits import Policy
from api.services import Services
from tasks.keys import Scope

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

    ``answers`` are the good statuses, each with the type of its body, in ``media_type``; ``problems`` the statuses
    that it can end with besides those that every operation with a key has. ``policy`` is the rate limit that its
    requests are counted by. ``open_to`` are the networks that need no key for it.
    """

    name: str
    method: str
    path: str
    summary: str
    handler: Callable[["Call"], Awaitable[Response]]
    answers: Mapping[int, type]
    tag: str
    scope: Scope | None = None
    policy: Policy = Policy.GENERAL
    request: type | None = None
    parameters: tuple[Parameter, ...] = ()
    problems: frozenset[int] = frozenset()
    description: str = ""
    media_type: str = "application/json"
    open_to: Networks = _NOWHERE
    query: frozenset[str] = field(init=False)

    def __post_init__(self) -> None:
        names = frozenset(parameter.name for parameter in self.parameters if parameter.place == "query")
        object.__setattr__(self, "query", names)


@dataclass(frozen=True, slots=True)
class Call:
    """One request to one operation, its key and scope checked, its query read.

    ``key`` is `api.auth.NOBODY` for an operation without a scope.
    """

    request: Request
    operation: Operation
    services: Services
    query: Mapping[str, str]
    key: ApiKey
