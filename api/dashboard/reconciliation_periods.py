"""The page of periods: those that are closed, those that are proposed, and the form that proposes one."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from starlette.responses import Response

from api.abuse.rate_limits import RatePolicy
from api.dashboard import reconciliation_words as words
from api.dashboard.forms import REFUSALS, Form, refused
from api.dashboard.page import HTTP_STATUS, Page, PageCall
from api.dashboard.queue_for_two import Item
from api.dashboard.reconciliation import PATH
from api.reconciliation.answers import PeriodDecision
from api.reconciliation.handlers import MOST_ID
from api.reconciliation.work import decide_period, in_thread, person_of
from api.routing import parsing
from ledger.business_days import day_of
from ledger.errors import FieldError
from ledger.scopes import Scope
from tasks.reconciliation.closing import periods
from tasks.reconciliation.closing.periods import PeriodRecord, PeriodState
from tasks.second_person import WaitingKind, list_waiting

PERIODS = f"{PATH}/periods"
MOST = 100
YES = "yes"
_UNSEEN = frozenset({"decision", "proposal"})  # fields that no error is shown beside
_FIELDS = frozenset({"supplier", "first_day", "last_day", "carry", "reason"}) | _UNSEEN
_PREFILLED = frozenset({"supplier", "first_day", "last_day"})
_NOTICES = {
    str(PeriodState.PROPOSED): "Closing the period is proposed. The key of another client must confirm it.",
    str(PeriodState.CLOSED): "The period is closed. Nothing in its days is run or decided any more.",
    str(PeriodState.REJECTED): "The proposal is rejected. The days stay open.",
}


def pages() -> tuple[Page, ...]:
    """The page of periods, and its form."""
    page = Page(
        PERIODS,
        "Periods",
        show,
        "periods.html",
        scope=Scope.RECONCILIATION_READ,
        policy=RatePolicy.OPERATIONS,
        query=_PREFILLED,
        notices=_NOTICES,
    )
    deciding = replace(
        page,
        handler=decide,
        method="POST",
        scope=Scope.RECONCILIATION_RESOLVE,
        query=frozenset(),
        fields=_FIELDS,
        notices={},
    )
    return page, deciding


async def show(call: PageCall) -> Mapping[str, Any]:
    """The periods, and the form: filled in by the query, else with the month that ended last."""
    return await _shown(
        call, Form({**_last_month(), **{name: call.query[name] for name in _PREFILLED & set(call.query)}})
    )


def _last_month() -> dict[str, str]:
    last = day_of(datetime.now(UTC)).replace(day=1) - timedelta(days=1)
    return {"first_day": last.replace(day=1).isoformat(), "last_day": last.isoformat()}


async def decide(call: PageCall) -> Mapping[str, Any] | Response:
    """Propose, confirm or reject a closing, as the operation `closeReconciliationPeriod` does, but never another one
    than the page showed. A form that confirms names its proposal, and one that proposes names none.
    """
    try:
        fields = {name: parsing.required(name, call.form) for name in ("supplier", "first_day", "last_day", "reason")}
        first, last = (parsing.day(name, fields[name]) for name in ("first_day", "last_day"))
        decision = parsing.member("decision", call.form.get("decision", PeriodDecision.CLOSE), PeriodDecision)
        if call.form.get("carry", YES) != YES:
            raise FieldError("carry", "must be yes, or not given")
        carry = "carry" in call.form
        seen = parsing.integer("proposal", call.form.get("proposal", "0"), 0, MOST_ID)
        days = (fields["supplier"], first, last)
        closing = await decide_period(call.services, call.key, days, decision, fields["reason"], carry=carry, seen=seen)
    except REFUSALS as error:
        if Scope.RECONCILIATION_READ not in call.key.scopes:
            raise
        return await _shown(call, refused(call.form, error, _FIELDS - _UNSEEN))
    return call.redirect(PERIODS, str(closing.state))


async def _shown(call: PageCall, form: Form) -> Mapping[str, Any]:
    records, waiting = await asyncio.gather(
        in_thread(call.services, periods.list_periods, limit=MOST),
        in_thread(call.services, list_waiting, {WaitingKind.CLOSING}),
    )
    who = person_of(call.key)
    return {
        HTTP_STATUS: form.status,
        "form": replace(form, said=words.sentence(form.said)),
        "suppliers": call.services.settings.suppliers.names,
        "proposed": [Item.of(record, who, call.key.scopes) for record in waiting],
        "closed": [Closed.of(record) for record in records if record.state == PeriodState.CLOSED],
        "may_decide": Scope.RECONCILIATION_RESOLVE in call.key.scopes,
    }


@dataclass(frozen=True, slots=True)
class Closed:
    """A closed period: its record, its money by currency, and its reason as it is shown."""

    record: PeriodRecord
    money: Mapping[str, Decimal]
    reason: str

    @classmethod
    def of(cls, record: PeriodRecord) -> "Closed":
        """The row of a record."""
        sums = record.own_sums or {}
        return cls(record, {name: Decimal(sums[name]["value"]) for name in sorted(sums)}, words.sentence(record.reason))
