"""The tokens that a simulator has given out."""

import secrets
import time

from starlette.requests import Request

_MOST = 10_000


class Tokens:
    """Tokens that are good for a while."""

    def __init__(self, life_s: int) -> None:
        self.life_s = life_s
        self._ends: dict[str, float] = {}

    def issue(self) -> str:
        """A new token."""
        now = time.monotonic()
        if len(self._ends) >= _MOST:
            self._ends = {token: end for token, end in self._ends.items() if end > now}
        token = secrets.token_urlsafe(24)
        self._ends[token] = now + self.life_s
        return token

    def accepts(self, request: Request) -> bool:
        """Return whether the request carries a token that is still good."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        return scheme == "Bearer" and self._ends.get(token, 0.0) > time.monotonic()

    def revoke_all(self) -> None:
        """Make every token useless at once."""
        self._ends.clear()
