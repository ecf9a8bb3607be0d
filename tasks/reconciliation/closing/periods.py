"""Closing of periods, by two people: one proposes, another one closes. In closed days nothing is run or resolved.

The internal rows are read again first, and must be those that the runs of the days read. That may take long and keeps
nobody out. In the end a lock keeps writers out for as long as it takes to see that nobody changed the days meanwhile.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from enum import StrEnum
from typing import Any

import psycopg
from psycopg import errors
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from config import Settings
from config.suppliers import Suppliers
from ledger.business_days import OFFSET_MS, ZONE, day_of, days_between
from ledger.counts import counted
from ledger.errors import RefusalError, TransientError
from ledger.installation import Owner
from ledger.people import REASON_CHARACTERS, Person, check_text
from ledger.transparency.events import AuditHead, PeriodClosed
from sql.connection import Connection, connect, fetch_one
from sql.installation import read_installation
from sql.log import record_event
from sql.queries import load
from sql.storing import check_stored, fetch_stored
from tasks.reconciliation.audit import chain
from tasks.reconciliation.closing import closed_days
from tasks.reconciliation.closing.internal_days import sums_of
from tasks.transparency.at_once import publish_for_people

_AUDIT = load("reconciliation_audit")
_PERIODS = load("reconciliation_periods")
_CLOSED = load("closed_days")
_ATTEMPTS = 10
_PAUSE_S = 0.1


class PeriodState(StrEnum):
    """The state of a period."""

    PROPOSED = "proposed"
    REJECTED = "rejected"
    CLOSED = "closed"


@dataclass(frozen=True, slots=True)
class Closing:
    """The result of a call. ``waiting`` breaks stay open: carried on when the days were closed, to be when proposed.
    ``under_way``: internal rows in these days that have not ended.
    """

    state: PeriodState
    waiting: int
    under_way: int = 0


@dataclass(frozen=True, slots=True)
class PeriodRecord:
    """A closed period or a proposed one. ``actor``, ``reason`` and ``at`` are of the person who closed it, or else
    proposed it.

    ``own_rows``, ``own_sums`` and ``own_digest`` are the internal rows of its days as it was closed. They are None for
    one that is proposed, or was closed before they were kept. ``days_changed``: days of it that runs have found changed
    since.
    """

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
    own_rows: int | None
    own_sums: dict[str, Any] | None
    own_digest: str | None
    days_changed: int


def list_periods(settings: Settings, supplier: str | None = None, *, limit: int = 100) -> list[PeriodRecord]:
    """Closed and proposed periods, the newest days first."""
    with (
        connect(settings.database_dsn, "reconciliation") as connection,
        connection.cursor(row_factory=class_row(PeriodRecord)) as cursor,
    ):
        return cursor.execute(_PERIODS["list_periods"], {"supplier": supplier, "limit": limit}).fetchall()


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
    seen: int | None = None,
    now: datetime | None = None,
) -> Closing:
    """Propose to close the days from ``first`` to ``last``, or close them when somebody else has proposed it.

    Every day must be over at the aware instant ``now`` (default: this one) and by PostgreSQL's clock, and reconciled.
    The internal rows of each must be those that its newest run read, but for ends that the record of a break explains.
    Breaks that still wait stop it, unless ``carry`` moves them into the next open day, by a record each. ``account`` is
    what ``actor`` works under, by default the same. ``seen`` is the number of the proposal that a page showed when
    ``actor`` decided, 0 for none. The call is refused when another one is open by now. Raises RefusalError naming what
    is in the way: also the same person, and a proposal that says otherwise about carrying. Raises TransientError when
    the days do not stop changing.
    Closing cannot be undone: corrections belong to the next period.
    """
    who = Person(actor, account or actor)
    period = _period(settings.suppliers, supplier, first, last, who, reason)
    name = f"{supplier} {first} to {last}"
    with connect(settings.database_dsn, "reconciliation") as connection:
        (today,) = fetch_one(connection, _CLOSED["today"], {"offset_ms": OFFSET_MS})
        if last >= min(day_of(now or datetime.now(UTC)), today):
            raise RefusalError(f"{name}: {last} is not over yet")
        done = None
        for _ in range(_ATTEMPTS):
            _check_closable(connection, period, name)
            known = _open_proposal(connection, period)  # first: who writes after this notes it
            if closed_days.writers_have_ended(settings, connection, supplier):
                compared = closed_days.compare_with_runs(settings, connection, supplier, first, last)
                done = _decided(settings, connection, period, who, compared, known, carry=carry, seen=seen)
            if done is not None:
                break
            time.sleep(_PAUSE_S)
    if done is None:
        raise TransientError(f"{name}: rows of these days are being changed; try again")
    if done.state is PeriodState.CLOSED:
        publish_for_people(settings)
    return done


def _decided(
    settings: Settings,
    connection: Connection,
    period: dict[str, Any],
    who: Person,
    compared: closed_days.Compared,
    known: tuple[Any, ...] | None,
    *,
    carry: bool,
    seen: int | None,
) -> Closing | None:
    """Propose or close, in one transaction; None when the days are not what was compared any more, or are being
    written. ``known`` is the proposal that was open before they were compared.
    """
    try:
        with connection.transaction() as transaction:
            connection.execute(_AUDIT["lock_chain"])  # no run of the period is written down meanwhile
            done = _decide(settings, connection, period, who, compared, known, carry=carry, seen=seen)
            if done is None:
                raise psycopg.Rollback(transaction)
    except errors.LockNotAvailable:
        return None
    return done


def _decide(
    settings: Settings,
    connection: Connection,
    period: dict[str, Any],
    who: Person,
    compared: closed_days.Compared,
    known: tuple[Any, ...] | None,
    *,
    carry: bool,
    seen: int | None,
) -> Closing | None:
    supplier, first, last = period["supplier"], period["first"], period["last"]
    name = f"{supplier} {first} to {last}"
    _check_closable(connection, period, name)
    waiting = [row[0] for row in connection.execute(_PERIODS["waiting_in_period"], period)]
    if waiting and not carry:
        shown = ", ".join(map(str, waiting[:5]))
        raise RefusalError(
            f"{name}: {counted(len(waiting), 'break still waits', 'breaks still wait')}, such as {shown}"
        )
    under_way = sum(sums["under_way"] for sums in sums_of(compared.together).values())
    proposal = _open_proposal(connection, period)
    if proposal is None:
        _check_seen(name, proposal, seen)
        _propose(connection, period | {"action": PeriodState.PROPOSED, "carry": carry})
        return Closing(PeriodState.PROPOSED, len(waiting), under_way)
    _check_second(name, who, proposal, carry=carry, seen=seen)
    if proposal != known:
        return None  # writes since the comparison may have found no proposal, and left no note
    if waiting:
        _carry(connection, period, waiting)
    # Last, so that nobody waits for anything but what follows.
    if not closed_days.is_current(settings, connection, supplier, first, last, compared):
        return None
    _insert(connection, period | {"proposal_id": proposal[0]}, compared)
    return Closing(PeriodState.CLOSED, len(waiting), under_way)


def _insert(connection: Connection, period: dict[str, Any], compared: closed_days.Compared) -> None:
    """The closed period, what its days are, and the event of both."""
    own = {
        "own_rows": sum(day.own.rows for day in compared.days),
        "own_sums": Jsonb(sums_of(compared.together)),
        "own_digest": compared.digest,
    }
    (period_id,) = fetch_stored(connection, _PERIODS["insert_period"], period | own, "recon_periods")
    closed_days.insert_first_states(connection, period["supplier"], period_id, compared)
    head = chain.record_period(connection, period_id)
    _record_in_log(connection, period, head)


def _record_in_log(connection: Connection, period: dict[str, Any], head: chain.Head) -> None:
    """The event of the public log: the period, and the head of the audit chain. A run has made the installation."""
    installation = read_installation(connection)
    if installation is not None:
        owner = Owner(installation.installation_id, installation.incarnation)
        audit_head = AuditHead(event_no=head.event_no, hash=head.hash.hex())
        days = {"first_day": period["first"], "last_day": period["last"]}
        record_event(connection, owner, PeriodClosed(supplier=period["supplier"], audit_head=audit_head, **days))


def reject_closing(
    settings: Settings,
    supplier: str,
    first: date,
    last: date,
    actor: str,
    reason: str,
    *,
    account: str | None = None,
    seen: int | None = None,
) -> Closing:
    """Take back the proposal to close these days; the person who made it may, too. ``seen`` as in `close_period`.
    Raises RefusalError when there is none.
    """
    period = _period(settings.suppliers, supplier, first, last, Person(actor, account or actor), reason)
    with connect(settings.database_dsn, "reconciliation") as connection, connection.transaction():
        connection.execute(_AUDIT["lock_chain"])
        proposal = _open_proposal(connection, period)
        if proposal is None or connection.execute(_PERIODS["overlapping_periods"], period).fetchone() is not None:
            raise RefusalError(f"{supplier} {first} to {last}: nothing is proposed that could be rejected")
        _check_seen(f"{supplier} {first} to {last}", proposal, seen)
        _propose(connection, period | {"action": PeriodState.REJECTED, "carry": proposal[1]})
    return Closing(PeriodState.REJECTED, 0)


def check_open(connection: Connection, supplier: str, day: date) -> None:
    """Raise RefusalError, naming the period, when ``day`` is in a closed one."""
    period = closed_period(connection, supplier, day)
    if period is not None:
        raise RefusalError(f"{supplier} {day}: the period {period} is closed")


def closed_period(connection: Connection, supplier: str, day: date) -> str | None:
    """The first and the last day of the closed period that has ``day``, for people; None when none has."""
    period = connection.execute(_PERIODS["closed_period"], {"supplier": supplier, "day": day}).fetchone()
    return None if period is None else f"{period[1]} to {period[2]}"


def _period(known: Suppliers, supplier: str, first: date, last: date, who: Person, reason: str) -> dict[str, Any]:
    who.check()
    check_text("reason", reason, REASON_CHARACTERS)
    known.require(supplier)
    days_between(first, last)
    names = {"actor": who.name, "account": who.account, "reason": reason}
    return {"supplier": supplier, "first": first, "last": last} | names


def _check_closable(connection: Connection, period: dict[str, Any], name: str) -> None:
    overlapping = connection.execute(_PERIODS["overlapping_periods"], period).fetchone()
    if overlapping is not None:
        raise RefusalError(f"{name}: {overlapping[1]} to {overlapping[2]} is closed already")
    wanted = period | {"without_lines": True, "declared": True, "early": True, "zone": ZONE}
    missing = [str(row[0]) for row in connection.execute(_PERIODS["days_without_run"], wanted)]
    if missing:
        late = "day was never reconciled once it was over", "days were never reconciled once they were over"
        raise RefusalError(
            f"{name}: {counted(len(missing), *late)}, the first is {missing[0]}:"
            " run each with the statement that counts now; `treasury statements none` declares a day without one"
        )


def _open_proposal(connection: Connection, period: dict[str, Any]) -> tuple[Any, ...] | None:
    """Number, carrying, actor and account of the proposal to close these very days."""
    return connection.execute(_PERIODS["open_proposal"], period).fetchone()


def _check_second(name: str, who: Person, proposal: tuple[Any, ...], *, carry: bool, seen: int | None) -> None:
    _, carried, actor, account = proposal
    if who.is_same_as(actor, account):
        raise RefusalError(f"{name}: {actor} has proposed it under {account}; somebody else must close it")
    _check_seen(name, proposal, seen)
    if carry != carried:
        how = "with" if carried else "without"
        raise RefusalError(f"{name}: closing {how} carrying breaks on is proposed; confirm that, or reject it first")


def _check_seen(name: str, proposal: tuple[Any, ...] | None, seen: int | None) -> None:
    """Refuse a decision that was made while another proposal was open, or none: its page is older than this one."""
    if seen is None or seen == (0 if proposal is None else proposal[0]):
        return
    if seen or proposal is None:
        raise RefusalError(f"{name}: the proposal that you saw is not open any more; load the page again")
    by = proposal[2]
    raise RefusalError(
        f"{name}: {by} has proposed to close these days meanwhile: see that proposal, and confirm or refuse it"
    )


def _propose(connection: Connection, proposal: dict[str, Any]) -> None:
    (proposal_id,) = fetch_stored(connection, _PERIODS["insert_proposal"], proposal, "recon_period_proposals")
    chain.record_proposal(connection, proposal_id)


def _carry(connection: Connection, period: dict[str, Any], breaks: Sequence[int]) -> None:
    """Move the breaks into the next open day, by a record and an event each, all in a handful of statements."""
    (day,) = fetch_one(connection, _PERIODS["next_open_day"], period)
    reason = f"still open when {period['first']} to {period['last']} was closed"
    carried = connection.execute(
        _PERIODS["carry_breaks"], period | {"breaks": list(breaks), "to": day, "reason": reason}
    )
    check_stored(carried, len(breaks), "recon_resolutions")
    chain.record_resolution(connection, *(resolution_id for (resolution_id,) in carried))
