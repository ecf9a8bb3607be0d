"""ASGI middleware before everything that reads a request: held addresses, the limit per address, and the watch."""

import asyncio
import math
import time

from starlette.types import ASGIApp, Receive, Scope, Send

from api.abuse.attackers import Stage
from api.abuse.defence import Defence
from api.abuse.rate_limits import RatePolicy
from api.abuse.visitor import register
from api.abuse.watch import Sender
from api.logs.access_log import of_request
from api.routing import problems
from api.routing.problems import ADDRESS_REFUSED, TOO_MANY, HttpError

_MOST_SLOWED = 100  # requests of one process that may be held up at once; the next one is refused
_RETRY_AFTER_S = 5


class Guard:
    """Refuses, slows and watches. It is inside `RequestLog`, so that each refusal is logged and has an id."""

    def __init__(self, app: ASGIApp, defence: Defence) -> None:
        self._app = app
        self._defence = defence
        self._slow_s = defence.settings.watch.slow_ms / 1000
        self._slowed = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        defence, record = self._defence, of_request(scope)
        sender = Sender(defence.addresses.client_of(scope), record.request_id)
        record.address = sender.address
        register(scope, sender)
        refusal = await self._refusal(scope, sender)
        if refusal is not None:
            await problems.response(refusal, record.request_id)(scope, receive, send)
        else:
            await self._app(scope, receive, send)
        if record.status >= 400 and defence.watch.enabled and (refusal is None or refusal.kind is TOO_MANY):
            defence.watch.answered(record.status, record.key_id, scope["path"], sender)

    async def _refusal(self, scope: Scope, sender: Sender) -> HttpError | None:
        """Return why the request goes no further, if it does not. An address that is slowed waits here."""
        defence = self._defence
        held = defence.attackers.held(sender.address)
        if held is not None and held.stage is Stage.REFUSED:
            return _held_off(math.ceil(held.ends_s - time.time()))
        if held is not None and not await self._slow_down():
            return _held_off(_RETRY_AFTER_S)
        verdict = await defence.limiter.spend(RatePolicy.DDOS, sender.address)
        if verdict is not None and not verdict.admitted:
            return verdict.refusal()
        if defence.watch.enabled:
            defence.watch.arrived(scope["raw_path"], scope["query_string"], scope["headers"], sender)
        return None

    async def _slow_down(self) -> bool:
        """Hold the request up; False when too many are held up already."""
        if self._slowed >= _MOST_SLOWED:
            return False
        self._slowed += 1
        try:
            await asyncio.sleep(self._slow_s)
        finally:
            self._slowed -= 1
        return True


def _held_off(seconds: int) -> HttpError:
    return HttpError(ADDRESS_REFUSED, headers={"Retry-After": str(max(1, seconds))})
