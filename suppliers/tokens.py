"""A bearer token, fetched once for all callers and renewed before it ends."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Token:
    """A token and for how many seconds from its arrival it is good, as its issuer says."""

    value: str = field(repr=False)
    expires_in_s: float


class TokenCache:
    """The current token. However many ask at once, one fetches."""

    def __init__(
        self,
        fetch: Callable[[], Awaitable[Token]],
        early_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._fetch = fetch
        self._early_s = early_s
        self._clock = clock
        self._lock = asyncio.Lock()
        self._value: str | None = None
        self._renew_at = 0.0

    async def get(self) -> str:
        """A token that is good for a while yet. Raises what fetching raises."""
        if self._value is not None and self._clock() < self._renew_at:
            return self._value
        async with self._lock:
            if self._value is not None and self._clock() < self._renew_at:
                return self._value
            return await self._renew()

    async def replace(self, refused: str) -> str:
        """A token other than the one that was ``refused``; those who come late get what the first one fetched."""
        async with self._lock:
            if self._value is not None and self._value != refused:
                return self._value
            return await self._renew()

    async def fresh(self) -> str:
        """A token that was fetched just now."""
        async with self._lock:
            return await self._renew()

    async def _renew(self) -> str:
        self._value = None
        asked_at = self._clock()
        token = await self._fetch()
        # A token that lives shorter than the margin would be fetched for every call: then half its life is the margin.
        margin = min(self._early_s, token.expires_in_s / 2)
        self._value, self._renew_at = token.value, asked_at + token.expires_in_s - margin
        return token.value
