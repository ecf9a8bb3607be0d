"""The sender of a request, as far as its address identifies it, and the headers that the limits add to its answer."""

from dataclasses import dataclass, field

from starlette.types import Scope

from api.abuse.watch import Sender

_STATE_KEY = "treasury.visitor"


@dataclass(slots=True)
class Visitor:
    """The sender of one request. ``headers`` are those of the rate limit that the request was counted by."""

    sender: Sender
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)


def visitor_of(scope: Scope) -> Visitor:
    """The sender of the request that ``scope`` belongs to."""
    visitor: Visitor = scope[_STATE_KEY]
    return visitor


def register(scope: Scope, sender: Sender) -> None:
    """Note the sender of a request."""
    scope[_STATE_KEY] = Visitor(sender)
