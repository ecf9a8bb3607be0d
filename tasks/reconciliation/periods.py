"""Closing of periods, by two people: one proposes, another one closes. In closed days nothing is run or resolved."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from enum import StrEnum
from typing import Any

from psycopg.rows import class_row

from config import Settings
from config.suppliers import Suppliers
from ledger.errors import RefusalError
from sql.connection import Connection, connect, fetch_one
from sql.queries import load
from tasks.reconciliation import chain
from tasks.reconciliation.days import day_of, days_between
from tasks.reconciliation.people import REASON_CHARACTERS, Person, check_text

_QUERIES = load("reconciliation")


class PeriodState(StrEnum):
    """The state of a period."""

    PROPOSED = "proposed"
    REJECTED = "rejected"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Closing:
    """What a call came to. ``waiting`` breaks stay open: carried on when the days were closed, to be when proposed."""

    state: PeriodState
    waiting: int


@dataclass(frozen=True, slots=True)
class PeriodRecord:
    """A closed period or a proposed one. ``actor``, ``reason`` and ``at`` are of who closed it, or else proposed it."""

    supplier: str
    first_day: date
    last_day: date
    state: str
    actor: str
    account: str | None
    reason: str
    at: datetime
    proposed_by: str | None
    carry: bool


def list_periods(settings: Settings, supplier: str | None = None, *, limit: int = 100) -> list[PeriodRecord]:
    """Closed and proposed periods, the newest days first."""
    with (
        connect(settings.database_dsn, "reconciliation") as connection,
        connection.cursor(row_factory=class_row(PeriodRecord)) as cursor,
    ):
        return cursor.execute(_QUERIES["list_periods"], {"supplier": supplier, "limit": limit}).fetchall()


def close_period(
    settings: Settings,
    supplier: str,
    first: date,
    last: date,
    actor: str,
    reason: str,
    *,
    account: str | None = None,
    carry: bool = False,
    now: datetime | None = None,
) -> Closing:
    """Propose to close the days from ``first`` to ``last``, or close them when somebody else has proposed it.

    Every day must be over at the aware instant ``now`` (default: this one), and reconciled. Breaks that still wait stop
    it, unless ``carry`` moves them into the next open day, by a record each. ``account`` is what ``actor`` works under,
    by default the same. Raises RefusalError naming what is in the way: also the same person, and a proposal that says
    otherwise about carrying. Closing cannot be undone: corrections belong to the next period.
    """
    who = Person(actor, account or actor)
    period = _period(settings.suppliers, supplier, first, last, who, reason)
    name = f"{supplier} {first} to {last}"
    if last >= day_of(now or datetime.now(UTC)):
        raise RefusalError(f"{name}: {last} is not over yet")
    with connect(settings.database_dsn, "reconciliation") as connection, connection.transaction():
        connection.execute(_QUERIES["lock_chain"])  # no run of the period is written down meanwhile
        _check_closable(connection, period, name)
        waiting = [row[0] for row in connection.execute(_QUERIES["waiting_in_period"], period)]
        if waiting and not carry:
            shown = ", ".join(map(str, waiting[:5]))
            raise RefusalError(f"{name}: {len(waiting)} breaks still wait, such as {shown}")
        proposal = connection.execute(_QUERIES["open_proposal"], period).fetchone()
        if proposal is None:
            _propose(connection, period | {"action": PeriodState.PROPOSED, "carry": carry})
            return Closing(PeriodState.PROPOSED, len(waiting))
        _check_second(name, who, proposal, carry=carry)
        if waiting:
            _carry(connection, period, waiting)
        (period_id,) = fetch_one(connection, _QUERIES["insert_period"], period | {"proposal_id": proposal[0]})
        chain.record_period(connection, period_id)
    return Closing(PeriodState.CLOSED, len(waiting))


def reject_closing(
    settings: Settings, supplier: str, first: date, last: date, actor: str, reason: str, *, account: str | None = None
) -> Closing:
    """Take back the proposal to close these days; who made it may, too. Raises RefusalError when there is none."""
    period = _period(settings.suppliers, supplier, first, last, Person(actor, account or actor), reason)
    with connect(settings.database_dsn, "reconciliation") as connection, connection.transaction():
        connection.execute(_QUERIES["lock_chain"])
        proposal = connection.execute(_QUERIES["open_proposal"], period).fetchone()
        if proposal is None or connection.execute(_QUERIES["overlapping_periods"], period).fetchone() is not None:
            raise RefusalError(f"{supplier} {first} to {last}: nothing is proposed that could be rejected")
        _propose(connection, period | {"action": PeriodState.REJECTED, "carry": proposal[1]})
    return Closing(PeriodState.REJECTED, 0)


def check_open(connection: Connection, supplier: str, day: date) -> None:
    """Raise RefusalError, naming the period, when ``day`` is in a closed one."""
    closed = connection.execute(_QUERIES["closed_period"], {"supplier": supplier, "day": day}).fetchone()
    if closed is not None:
        raise RefusalError(f"{supplier} {day}: the period {closed[1]} to {closed[2]} is closed")


def _period(known: Suppliers, supplier: str, first: date, last: date, who: Person, reason: str) -> dict[str, Any]:
    who.check()
    check_text("reason", reason, REASON_CHARACTERS)
    known.demand(supplier)
    days_between(first, last)
    names = {"actor": who.name, "account": who.account, "reason": reason}
    return {"supplier": supplier, "first": first, "last": last} | names


def _check_closable(connection: Connection, period: dict[str, Any], name: str) -> None:
    overlapping = connection.execute(_QUERIES["overlapping_periods"], period).fetchone()
    if overlapping is not None:
        raise RefusalError(f"{name}: {overlapping[1]} to {overlapping[2]} is closed already")
    missing = [
        str(row[0]) for row in connection.execute(_QUERIES["days_without_run"], period | {"without_lines": True})
    ]
    if missing:
        raise RefusalError(
            f"{name}: {len(missing)} days were never reconciled once they were over, the first is {missing[0]}:"
            " run each with the statement that counts now"
        )


def _check_second(name: str, who: Person, proposal: tuple[Any, ...], *, carry: bool) -> None:
    _, carried, actor, account = proposal
    if who.is_same_as(actor, account):
        raise RefusalError(f"{name}: {actor} has proposed it under {account}; somebody else must close it")
    if carry != carried:
        told = "with" if carried else "without"
        raise RefusalError(f"{name}: closing {told} carrying breaks on is proposed; confirm that, or reject it first")


def _propose(connection: Connection, proposal: dict[str, Any]) -> None:
    (proposal_id,) = fetch_one(connection, _QUERIES["insert_proposal"], proposal)
    chain.record_proposal(connection, proposal_id)


def _carry(connection: Connection, period: dict[str, Any], breaks: Sequence[int]) -> None:
    """Move the breaks into the next open day, by a record and an event each, all in a handful of statements."""
    (day,) = fetch_one(connection, _QUERIES["next_open_day"], period)
    reason = f"still open when {period['first']} to {period['last']} was closed"
    carried = connection.execute(
        _QUERIES["carry_breaks"], period | {"breaks": list(breaks), "to": day, "reason": reason}
    )
    chain.record_resolution(connection, *(resolution_id for (resolution_id,) in carried))
