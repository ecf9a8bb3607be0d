"""The bodies of requests that one process holds at once, in bytes: bounded, however many connections send them."""

from typing import Any

from starlette.types import Scope

from ledger.errors import TransientError

_KEY = "treasury.body_bytes"


class Bodies:
    """The bodies that are held, of at most ``most_bytes`` together. A body counts from its first byte until its request
    is handled.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self.held_bytes = 0

    def take(self, scope: Scope, size_bytes: int) -> None:
        """Count a piece of the request's body. Raises TransientError when it is too much for now."""
        if self.held_bytes + size_bytes > self._most_bytes:
            raise TransientError("too many bytes of bodies are held")
        held: Any = scope.get(_KEY, 0)
        scope[_KEY] = held + size_bytes
        self.held_bytes += size_bytes

    def give_back(self, scope: Scope) -> None:
        """Stop counting the request's body. Safe to repeat."""
        self.held_bytes -= scope.pop(_KEY, 0)
