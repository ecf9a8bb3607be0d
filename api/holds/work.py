"""The work of people on legal holds, as the HTTP operations and the dashboard do it: `tasks.retention`, in a thread."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TypeVar

import anyio
import anyio.to_thread

from api.connections.database import limited_settings
from api.holds.answers import HoldRelease, HoldReleaseDecision
from api.keys.auth import ApiKey
from api.routing.problems import NOT_FOUND, HttpError
from api.server.services import Services
from ledger.errors import NotFoundError
from sql.holds import HoldRecord
from tasks.retention import holds as legal

T = TypeVar("T")

_AT_ONCE = anyio.CapacityLimiter(2)


def account_of(key: ApiKey) -> str:
    """The account of the caller, which it cannot choose: its key."""
    return f"key {key.key_id}"


async def in_thread(services: Services, work: Callable[..., T], *arguments: Any, **named: Any) -> T:
    """The result of ``work``, which gets the settings first and asks PostgreSQL and the archive."""
    bound = partial(work, limited_settings(services.settings), *arguments, **named)
    return await anyio.to_thread.run_sync(bound, limiter=_AT_ONCE)


async def known(work: Awaitable[T]) -> T:
    """The result of ``work``. Raises problem 404 where the hold does not exist."""
    try:
        return await work
    except NotFoundError:
        raise HttpError(NOT_FOUND) from None


async def decide_release(services: Services, key: ApiKey, number: int, release: HoldRelease) -> HoldRecord:
    """Propose, confirm or reject the release of a hold in the name of the key's client. Raises as `legal.release_hold`,
    and problem 404.
    """
    decide = legal.reject_release if release.decision is HoldReleaseDecision.REJECT else legal.release_hold
    return await known(in_thread(services, decide, number, key.client_id, release.reason, account=account_of(key)))
