"""The work of people on breaks and periods, as the HTTP operations and the dashboard do it.

`tasks.reconciliation` queries PostgreSQL in a thread: only a few people work here, so no pool is needed.
"""

from collections.abc import Callable
from datetime import date
from functools import partial
from typing import Any, TypeVar

import anyio
import anyio.to_thread

from api.connections.database import limited_settings
from api.keys.auth import ApiKey
from api.reconciliation.answers import PeriodDecision
from api.routing import parsing
from api.routing.problems import NOT_FOUND, HttpError
from api.server.services import Services
from ledger.business_days import MOST_DAYS
from ledger.errors import FieldError
from ledger.people import Person
from tasks.reconciliation.casework import breaks, lists
from tasks.reconciliation.casework.breaks import ResolvedBreak
from tasks.reconciliation.closing import periods
from tasks.reconciliation.closing.periods import Closing
from tasks.reconciliation.vocabulary import Decision

T = TypeVar("T")

_AT_ONCE = anyio.CapacityLimiter(4)


async def in_thread(services: Services, work: Callable[..., T], *arguments: Any, **named: Any) -> T:
    """The result of ``work``, which gets the settings first and queries PostgreSQL."""
    # A run may hold the chain for longer than a client waits.
    bound = partial(work, limited_settings(services.settings), *arguments, **named)
    return await anyio.to_thread.run_sync(bound, limiter=_AT_ONCE)


def person_of(key: ApiKey) -> Person:
    """The person that a key stands for: its client, and as the account, which nobody can choose, the key."""
    return Person(key.client_id, f"key {key.key_id}")


async def decide_break(
    services: Services, key: ApiKey, break_id: int, decision: Decision, reason: str
) -> ResolvedBreak:
    """Decide about a break in the name of the key's client. Raises as `breaks.resolve`, and problem 404."""
    if await in_thread(services, lists.get_break, break_id) is None:
        raise HttpError(NOT_FOUND)
    who = person_of(key)
    return await in_thread(services, breaks.resolve, break_id, who.name, decision, reason, account=who.account)


async def decide_period(
    services: Services,
    key: ApiKey,
    days: tuple[str, date, date],
    decision: PeriodDecision,
    reason: str,
    *,
    carry: bool,
    seen: int | None = None,
) -> Closing:
    """Propose, confirm or reject the closing of ``days``: a supplier, the first and the last day. ``seen`` is the
    proposal that a page showed, 0 for none.

    Raises as `periods.close_period`, and FieldError for an unknown supplier and for days in the wrong
    order, or too many.
    """
    supplier, first, last = days
    parsing.choice("supplier", supplier, services.settings.suppliers.names)
    if not 0 <= (last - first).days < MOST_DAYS:
        raise FieldError("last_day", f"must be the first day or later, and make no more than {MOST_DAYS} days")
    who = person_of(key)
    arguments = (supplier, first, last, who.name, reason)
    if decision is PeriodDecision.REJECT:
        return await in_thread(services, periods.reject_closing, *arguments, account=who.account, seen=seen)
    return await in_thread(services, periods.close_period, *arguments, account=who.account, carry=carry, seen=seen)
