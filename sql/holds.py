"""Legal holds in PostgreSQL: who placed them, who released them, and which are open."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from itertools import combinations
from typing import Any

from psycopg.rows import TupleRow
from psycopg.types.json import Jsonb

from ledger.holds import Hold, HoldScope, Lack, Subject
from ledger.months import Month
from ledger.people import folded_names
from ledger.transparency.events import LoggedObject
from sql.connection import Connection, fetch_one
from sql.queries import load
from sql.storing import check_stored

_QUERIES = load("holds")
RELEASED = "released"


@dataclass(frozen=True, slots=True)
class HoldDecision:
    """A person's decision about the release of a hold: ``proposed``, ``rejected`` or ``released``."""

    action: str
    actor: str
    account: str
    reason: str
    decided_at: datetime


@dataclass(frozen=True, slots=True)
class HoldRecord:
    """A hold, and the newest decision about its release; None where nobody has decided. ``proposer`` are name and
    account of the person who proposed what the decision is about.
    """

    hold: Hold
    decision: HoldDecision | None
    proposer: tuple[str | None, str | None] = (None, None)

    @property
    def keeps(self) -> bool:
        """Whether it keeps rows: it is open, or its release is not one by two people who have not placed it."""
        return self.is_open or not self.is_released_by_two

    @property
    def is_released_by_two(self) -> bool:
        """Whether the newest decision is a release that counts, whatever wrote it."""
        if self.is_open or self.decision is None or None in self.proposer:
            return False
        people = (
            folded_names(self.hold.actor, self.hold.account),
            folded_names(*self.proposer),
            folded_names(self.decision.actor, self.decision.account),
        )
        return all(names.isdisjoint(other) for names, other in combinations(people, 2))

    @property
    def is_open(self) -> bool:
        """Whether no release is recorded."""
        return self.decision is None or self.decision.action != RELEASED

    @property
    def state(self) -> str:
        """``open``, ``release proposed`` or ``released``."""
        if self.decision is None or self.decision.action == "rejected":
            return "open"
        return "released" if self.decision.action == RELEASED else "release proposed"


def lock_holds(connection: Connection) -> None:
    """Until the end of the caller's transaction no hold is placed or released, and no deletion begins."""
    connection.execute(_QUERIES["lock"])


def next_hold(connection: Connection) -> tuple[int, datetime]:
    """The number of the next hold, and the time (UTC). To be called under `lock_holds`."""
    number, now = fetch_one(connection, _QUERIES["next_number"])
    return number, now


def add_hold(connection: Connection, hold: Hold, stored: LoggedObject) -> None:
    """Record a hold and its object."""
    scope = hold.scope
    values = {
        "hold_id": hold.number,
        "matter": hold.matter,
        "table": scope.table,
        "first_month": scope.first.first_day,
        "last_month": scope.last.first_day,
        "subject": None if scope.subject is None else str(scope.subject),
        "value": scope.value,
        "reason": hold.reason,
        "actor": hold.actor,
        "account": hold.account,
        "placed_at": hold.placed_at,
        "review_on": hold.review_on,
        "lacks": Jsonb([lack.to_record() for lack in hold.lacks]),
    }
    check_stored(connection.execute(_QUERIES["add_hold"], values | _object(stored)), 1, "holds")


def add_decision(
    connection: Connection, number: int, decision: HoldDecision, stored: LoggedObject | None = None
) -> None:
    """Record a decision about the release of a hold, and the object of a release."""
    values = {
        "hold_id": number,
        "action": decision.action,
        "actor": decision.actor,
        "account": decision.account,
        "reason": decision.reason,
        "decided_at": decision.decided_at,
    }
    added = connection.execute(_QUERIES["add_decision"], values | _object(stored))
    check_stored(added, 1, "hold_decisions")


def list_holds(connection: Connection, number: int | None = None) -> list[HoldRecord]:
    """Every hold, the oldest first, or the one with a number."""
    return [read_hold(row) for row in connection.execute(_QUERIES["holds"], {"hold_id": number}).fetchall()]


def open_holds(connection: Connection) -> list[Hold]:
    """The holds that keep rows, the oldest first."""
    return open_holds_of(connection.execute(_QUERIES["holds"], {"hold_id": None}).fetchall())


def open_holds_of(rows: Iterable[TupleRow]) -> list[Hold]:
    """`open_holds` of the rows of its query."""
    return [record.hold for record in map(read_hold, rows) if record.keeps]


def wrongly_released(connection: Connection) -> set[str]:
    """The names of the holds that keep rows although a release of them is recorded."""
    return {record.hold.name for record in list_holds(connection) if record.keeps and not record.is_open}


def hold_decisions(connection: Connection, number: int) -> list[HoldDecision]:
    """All decisions about a hold, the oldest first."""
    return [HoldDecision(*row) for row in connection.execute(_QUERIES["decisions"], {"hold_id": number})]


@dataclass(frozen=True, slots=True)
class KnownMonths:
    """The months of a table that any tier has: the first and the last, and whether both ends of a scope are there."""

    table: str
    first: Month
    last: Month
    has_first: bool
    has_last: bool


def known_months(connection: Connection, scope: HoldScope) -> list[KnownMonths]:
    """Return what is known of the months of the tables of a scope."""
    rows = connection.execute(_QUERIES["known_months"], _span(scope)).fetchall()
    return [KnownMonths(table, Month.of(first), Month.of(last), *ends) for table, first, last, *ends in rows]


def deleted_in(connection: Connection, scope: HoldScope) -> list[tuple[str, Month, str]]:
    """The tables and months of a scope that are deleted, with the numbers of their certificates."""
    rows = connection.execute(_QUERIES["deleted_months"], _span(scope)).fetchall()
    return [(table, Month.of(month), certificate) for table, month, certificate in rows]


def deletions_in(connection: Connection, scope: HoldScope) -> list[tuple[Lack, frozenset[str]]]:
    """The deletions of months of a scope that have begun, the oldest first, each with the holds whose rows stayed."""
    rows = connection.execute(_QUERIES["deletions_in"], _span(scope)).fetchall()
    return [
        (Lack(table, Month.of(month), certificate), frozenset(json.loads(bytes(order))["holds"]["on_rows"]))
        for table, month, certificate, order in rows
    ]


@dataclass(frozen=True, slots=True)
class Review:
    """The number of open holds, the number past their review date, the oldest such date and its hold."""

    open: int
    overdue: int
    oldest: date | None
    number: int | None


def review_holds(connection: Connection, today: date) -> Review:
    """Return what there is to review on a UTC day."""
    return review_of(open_holds(connection), today)


def review_of(holds: Sequence[Hold], today: date) -> Review:
    """What there is to review of open holds on a UTC day."""
    overdue = [hold for hold in holds if hold.review_on < today]
    oldest = min(overdue, key=lambda hold: (hold.review_on, hold.number), default=None)
    first = (None, None) if oldest is None else (oldest.review_on, oldest.number)
    return Review(len(holds), len(overdue), *first)


def _span(scope: HoldScope) -> dict[str, Any]:
    return {"table": scope.table, "first_month": scope.first.first_day, "last_month": scope.last.first_day}


def _object(stored: LoggedObject | None) -> dict[str, Any]:
    if stored is None:
        return dict.fromkeys(("object_key", "object_bytes", "object_sha256"))
    sha256 = bytes.fromhex(stored.sha256)
    return {"object_key": stored.key, "object_bytes": stored.size_bytes, "object_sha256": sha256}


def read_hold(row: TupleRow) -> HoldRecord:
    """A row of the query `holds`."""
    number, matter, table, first, last, subject, value, reason, actor, account, placed_at, review_on, lacks, *rest = row
    *decided, proposer, its_account = rest
    scope = HoldScope(Month.of(first), Month.of(last), table, None if subject is None else Subject(subject), value)
    hold = Hold(
        number, matter, scope, reason, actor, account, placed_at, review_on, tuple(map(Lack.from_record, lacks))
    )
    decision = None if decided[0] is None else HoldDecision(*decided)
    return HoldRecord(hold, decision, (proposer, its_account))
