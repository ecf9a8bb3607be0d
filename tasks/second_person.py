"""Everything that waits for a second person, in one list: what was proposed, by whom, and who may not confirm it.

Each kind of proposal has its own rules where it is made and confirmed; this module only lists. A kind that is new there
is added here: `WaitingKind`.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

from config import Settings
from ledger.people import Person
from sql.clock import read_now
from sql.connection import Connection, connect
from sql.deletion_requests import DeletionRequest, RequestState, list_requests
from sql.holds import HoldRecord, list_holds
from sql.queries import load
from tasks.reconciliation.casework.manual_settlement import STATUSES

_QUERIES = load("second_person")
_MOST = 500  # of a kind
_PROPOSED = "release proposed"


class WaitingKind(StrEnum):
    """What waits for a second person."""

    DECISION = "decision"
    SETTLEMENT = "settlement"
    WITHDRAWAL = "withdrawal"
    CLOSING = "closing"
    ABSENCE = "absence"
    RELEASE = "release"
    DELETION = "deletion"


RECONCILIATION = frozenset(
    {
        WaitingKind.DECISION,
        WaitingKind.SETTLEMENT,
        WaitingKind.WITHDRAWAL,
        WaitingKind.CLOSING,
        WaitingKind.ABSENCE,
    }
)


@dataclass(frozen=True, slots=True)
class Waiting:
    """One proposal. ``number`` identifies it within its kind: a break, a hold, a request or the proposal to close a
    period, "" for a day without a statement.

    ``money`` is by currency: what is decided about, nothing where no money is. ``barred`` are the people who may not
    confirm it. ``supplier`` and the days are of reconciliation; ``facts`` are those of the kind alone.
    """

    kind: WaitingKind
    number: str
    proposer: Person
    reason: str
    asked_at: datetime
    barred: tuple[Person, ...]
    money: Mapping[str, Decimal] = field(default_factory=dict)
    supplier: str = ""
    first_day: date | None = None
    last_day: date | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)

    def is_for(self, person: Person) -> bool:
        """Return whether ``person`` may confirm it."""
        return not any(person.is_same_as(barred_person.name, barred_person.account) for barred_person in self.barred)


def list_waiting(settings: Settings, kinds: Collection[WaitingKind]) -> list[Waiting]:
    """Everything of ``kinds`` that waits, the oldest first; at most 500 of a kind. Raises the errors of `connect`."""
    with connect(settings.database_dsn, "second person") as connection:
        decisions = [*_reconciliation(connection)] if RECONCILIATION & set(kinds) else []
        if WaitingKind.RELEASE in kinds:
            decisions += map(_release, (record for record in list_holds(connection) if record.state == _PROPOSED))
        if WaitingKind.DELETION in kinds:
            now = read_now(connection)
            waiting = [request for request in list_requests(connection) if request.state(now) is RequestState.WAITING]
            decisions += map(_deletion, waiting[-_MOST:])  # the newest come first
    return sorted(
        (decision for decision in decisions if decision.kind in kinds), key=lambda decision: decision.asked_at
    )


def _reconciliation(connection: Connection) -> Iterator[Waiting]:
    limit = {"limit": _MOST}
    for row in connection.execute(_QUERIES["decisions"], limit):
        yield _about_break(row, WaitingKind.SETTLEMENT if row[7] in STATUSES else WaitingKind.DECISION)
    for row in connection.execute(_QUERIES["withdrawals"], limit):
        yield _about_break(row, WaitingKind.WITHDRAWAL)
    for row in connection.execute(_QUERIES["closings"], limit):
        yield _closing(row)
    for row in connection.execute(_QUERIES["absences"], limit):
        yield _absence(row)


def _about_break(row: tuple[Any, ...], kind: WaitingKind) -> Waiting:
    number, supplier, day, class_, currency, difference, row_amount, decision, *people, asked_at, together = row
    actor, account, reason = people
    who = Person(actor, account or actor)
    # Ending a row decides about its whole amount.
    amount = max(difference, abs(Decimal(row_amount or 0))) if kind is WaitingKind.SETTLEMENT else difference
    facts = {"class": class_, "decision": decision, "together": tuple(together)}
    return Waiting(kind, str(number), who, reason, asked_at, (who,), {currency: amount}, supplier, day, day, facts)


def _closing(row: tuple[Any, ...]) -> Waiting:
    number, supplier, first, last, carry, actor, account, reason, asked_at, breaks, sums = row
    who = Person(actor, account or actor)
    money = {currency: Decimal(total) for currency, total in sorted(sums.items())}
    facts = {"carry": carry, "breaks": breaks}
    return Waiting(WaitingKind.CLOSING, str(number), who, reason, asked_at, (who,), money, supplier, first, last, facts)


def _absence(row: tuple[Any, ...]) -> Waiting:
    supplier, day, actor, account, reason, asked_at = row
    who = Person(actor, account)
    return Waiting(WaitingKind.ABSENCE, "", who, reason, asked_at, (who,), {}, supplier, day, day)


def _release(record: HoldRecord) -> Waiting:
    """The release of a hold: neither the proposer nor the person who placed the hold may confirm it."""
    hold, proposal = record.hold, record.decision
    assert proposal is not None, hold.name  # noqa: S101  # its state is that a release is proposed
    who, placed_by = Person(proposal.actor, proposal.account), Person(hold.actor, hold.account)
    facts = {"matter": hold.matter, "scope": hold.scope, "placed_by": placed_by, "placed_at": hold.placed_at}
    return Waiting(
        WaitingKind.RELEASE, hold.name, who, proposal.reason, proposal.decided_at, (who, placed_by), facts=facts
    )


def _deletion(request: DeletionRequest) -> Waiting:
    """A request to delete: whoever approved it may not do so again."""
    who = Person(request.actor, request.account)
    approved = tuple(Person(decision.actor, decision.account) for decision in request.approved_by)
    facts = {
        "months": request.months,
        "rows": sum(month.rows for month in request.months),
        "approvals": request.approvals,
        "approved_by": approved,
        "grace_days": request.grace_days,
    }
    number = str(request.request_id)
    return Waiting(WaitingKind.DELETION, number, who, request.reason, request.requested_at, approved, facts=facts)
