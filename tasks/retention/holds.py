"""Legal holds: placed by one person, released by two others. Each is an object in the archive and an event of the log.

The log is public and never forgets, so it names neither people nor wallets: it has the SHA-256 of the object, which is
salted. The object comes back with the catalogue when PostgreSQL is lost.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

from psycopg import errors

from config import Settings
from ledger.errors import FieldError, NotFoundError, RefusalError
from ledger.holds import RELEASE_FORMAT, Hold, HoldScope, Lack, Subject, hold_name
from ledger.installation import Owner
from ledger.people import REASON_CHARACTERS, Person, check_text
from ledger.tables import TieredTable
from ledger.transparency.events import Held, LoggedObject, Released
from sql.clock import read_now
from sql.connection import Connection, connect
from sql.holds import (
    RELEASED,
    HoldDecision,
    HoldRecord,
    add_decision,
    add_hold,
    deleted_in,
    deletions_in,
    hold_decisions,
    known_months,
    list_holds,
    lock_holds,
    next_hold,
)
from sql.installation import read_installation
from sql.log import record_event
from storage.engine import identifier, literal
from storage.layout import HOLDS
from tasks.archiving.ownership import check_ownership, find_owner
from tasks.archiving.records import put_salted_record
from tasks.querying.query import run_query
from tasks.retention.locks import follow_hold
from tasks.retention.subjects import has_column
from tasks.transparency.at_once import publish_for_people

_MATTER_CHARACTERS = 128


@dataclass(frozen=True, slots=True)
class HoldHistory:
    """A hold with all decisions about its release, the oldest first."""

    record: HoldRecord
    decisions: Sequence[HoldDecision]


def place_hold(
    settings: Settings,
    scope: HoldScope,
    matter: str,
    reason: str,
    actor: str,
    review_on: date,
    *,
    account: str | None = None,
) -> HoldRecord:
    """Place a hold. ``account`` is what ``actor`` works under, by default the same.

    Raises FieldError for an invalid text, a review date that is not in the future, or a subject that no table has.
    Raises ConfigError for an unknown table, and NotFoundError for months or rows that are in no tier. Raises
    RefusalError for months that are deleted, and the store's errors. Of a month that is deleted in part it keeps what
    is left, and says so in ``lacks``. Safe to run again: where a hold that is the same in all of this is open, it is
    returned, and none is placed.
    """
    who = Person(actor, account or actor)
    who.check()
    check_text("matter", matter, _MATTER_CHARACTERS)
    check_text("reason", reason, REASON_CHARACTERS)
    if scope.table is not None:
        settings.table(scope.table)
    with connect(settings.database_dsn, "holds") as connection:
        if review_on <= read_now(connection).date():
            raise FieldError("review_on", f"must be a day to come, and {review_on} is not")
        _require_months(connection, scope)
        lacks = _lacks(connection, scope)
        _require_rows(connection, settings, scope, lacks)
        owner = _owner(connection, settings)
        with connection.transaction():
            lock_holds(connection)
            _refuse_deleted(connection, scope)
            if _lacks(connection, scope) != lacks:
                raise RefusalError(f"{scope}: a deletion of some of it began a moment ago: place the hold again")
            number, now = next_hold(connection)
            hold = Hold(number, matter, scope, reason, who.name, who.account, now, review_on, lacks)
            if (same := _same(connection, hold)) is not None:
                return same
            stored = _put(settings, owner, hold.name, hold.to_record())
            add_hold(connection, hold, stored)
            record_event(connection, owner, _held(hold, stored), now)
    follow_hold(settings, hold)
    publish_for_people(settings)
    return HoldRecord(hold, None)


def _same(connection: Connection, hold: Hold) -> HoldRecord | None:
    """Return the open hold that differs from ``hold`` in its number and time alone: its answer may have been lost."""
    for record in list_holds(connection):
        known = replace(record.hold, number=hold.number, placed_at=hold.placed_at)
        if record.state == "open" and known == hold:
            return record
    return None


def release_hold(settings: Settings, number: int, actor: str, reason: str, *, account: str | None = None) -> HoldRecord:
    """Propose to release a hold, or release it when somebody else has proposed it.

    Raises NotFoundError for an unknown hold. Raises RefusalError for one that is released, for the person who placed
    it, and for the person who proposed its release.
    """
    who = _person(actor, account, reason)
    with connect(settings.database_dsn, "holds") as connection:
        owner = _owner(connection, settings)
        with connection.transaction():
            lock_holds(connection)
            record = _open(connection, number)
            hold, proposal = record.hold, record.decision
            if who.is_same_as(hold.actor, hold.account):
                raise RefusalError(
                    f"{hold.name} was placed by {hold.actor} under {hold.account}: two other people must release it"
                )
            now = read_now(connection)
            if proposal is None or proposal.action != "proposed":
                add_decision(connection, number, HoldDecision("proposed", who.name, who.account, reason, now))
            else:
                _refuse_same(hold, who, proposal)
                decision = HoldDecision(RELEASED, who.name, who.account, reason, now)
                stored = _put(settings, owner, f"{hold.name}-released", _release_record(hold, proposal, decision))
                add_decision(connection, number, decision, stored)
                record_event(connection, owner, _released(hold, stored), now)
        newest_record = find_hold(connection, number)
    if not newest_record.is_open:
        follow_hold(settings, newest_record.hold)
        publish_for_people(settings)
    return newest_record


def reject_release(
    settings: Settings, number: int, actor: str, reason: str, *, account: str | None = None
) -> HoldRecord:
    """Take back the proposal to release a hold; anybody may. Raises RefusalError where nothing is proposed."""
    who = _person(actor, account, reason)
    with connect(settings.database_dsn, "holds") as connection:
        with connection.transaction():
            lock_holds(connection)
            record = _open(connection, number)
            if record.decision is None or record.decision.action != "proposed":
                raise RefusalError(f"{record.hold.name}: no release is proposed that could be rejected")
            decision = HoldDecision("rejected", who.name, who.account, reason, read_now(connection))
            add_decision(connection, number, decision)
        return find_hold(connection, number)


def holds(settings: Settings) -> list[HoldRecord]:
    """Every hold, the oldest first."""
    with connect(settings.database_dsn, "holds") as connection:
        return list_holds(connection)


def show_hold(settings: Settings, number: int) -> HoldHistory:
    """A hold and what was decided about it. Raises NotFoundError for an unknown one."""
    with connect(settings.database_dsn, "holds") as connection:
        return HoldHistory(find_hold(connection, number), hold_decisions(connection, number))


def find_hold(connection: Connection, number: int) -> HoldRecord:
    """The hold with a number. Raises NotFoundError."""
    records = list_holds(connection, number)
    if not records:
        raise NotFoundError(f"{hold_name(number)} does not exist: `treasury hold list` shows those that do")
    return records[0]


def _person(actor: str, account: str | None, reason: str) -> Person:
    who = Person(actor, account or actor)
    who.check()
    check_text("reason", reason, REASON_CHARACTERS)
    return who


def _open(connection: Connection, number: int) -> HoldRecord:
    record = find_hold(connection, number)
    if not record.is_open and record.decision is not None:
        at = record.decision.decided_at
        raise RefusalError(f"{record.hold.name} was released on {at:%Y-%m-%d} by {record.decision.actor}")
    return record


def _refuse_same(hold: Hold, who: Person, proposal: HoldDecision) -> None:
    if who.is_same_as(proposal.actor, proposal.account):
        raise RefusalError(
            f"{hold.name}: {proposal.actor} has proposed its release under {proposal.account}; somebody else must "
            "confirm it"
        )


def _require_months(connection: Connection, scope: HoldScope) -> None:
    """Raise NotFoundError unless both ends of the scope are months that a table of it has."""
    known = known_months(connection, scope)
    spans = ", ".join(f"{span.table} has {span.first} to {span.last}" for span in known) or "no table has any month"
    ends = ((scope.first, any(span.has_first for span in known)), (scope.last, any(span.has_last for span in known)))
    for month, is_there in ends:
        if not is_there:
            raise NotFoundError(f"month {month} of {scope.table or 'every table'} is in no tier: {spans}")
    _refuse_deleted(connection, scope)


def _refuse_deleted(connection: Connection, scope: HoldScope) -> None:
    for table, month, certificate in deleted_in(connection, scope):
        raise RefusalError(f"{table} {month} was deleted with certificate {certificate}: nothing is left to hold")


def _lacks(connection: Connection, scope: HoldScope) -> tuple[Lack, ...]:
    """The months of a scope that lost rows which may be of its subject: no hold of the same subject kept them."""
    wanted = (scope.subject, scope.value)
    known = (record.hold for record in list_holds(connection))
    same = {hold.name for hold in known if scope.is_of_rows and (hold.scope.subject, hold.scope.value) == wanted}
    return tuple(lack for lack, kept_by in deletions_in(connection, scope) if same.isdisjoint(kept_by))


def _require_rows(connection: Connection, settings: Settings, scope: HoldScope, lacks: Sequence[Lack]) -> None:
    """Raise NotFoundError where no tier has a row of the scope's subject in its months."""
    subject, value = scope.subject, scope.value
    if subject is None or value is None:
        return
    there = {span.table for span in known_months(connection, scope)}
    tables = [table for name, table in settings.registry.items() if name in there]
    having = [table for table in tables if has_column(connection, table, subject)]
    if not having:
        raise FieldError(subject, f"{scope.table or 'no table'} has no column {subject.column}")
    if not any(_has_rows(settings, table, scope, subject, value) for table in having):
        where = ", ".join(table.name for table in having)
        deleted = "".join(f"; {lack}" for lack in lacks)
        months = f"from {scope.first} to {scope.last}"
        raise NotFoundError(f"{subject} {value} has no row in {where} {months}, in any tier{deleted}")


def _has_rows(settings: Settings, table: TieredTable, scope: HoldScope, subject: Subject, value: str) -> bool:
    time_column = identifier(table.time_column)
    query = (
        f"SELECT 1 FROM {identifier(table.name)} WHERE {identifier(subject.column)} = {literal(value)} "  # noqa: S608
        f"AND {time_column} >= TIMESTAMPTZ {literal(scope.first.lower.isoformat())} "
        f"AND {time_column} < TIMESTAMPTZ {literal(scope.last.upper.isoformat())} LIMIT 1"
    )
    with run_query(settings, query) as answer:
        return bool(answer.batches.read_all().num_rows)


def _owner(connection: Connection, settings: Settings) -> Owner:
    if read_installation(connection) is not None:
        return find_owner(connection, settings)
    try:
        return check_ownership(connection, settings)
    except errors.InsufficientPrivilege as error:  # the API's login may not make the installation
        raise RefusalError("nothing was archived yet: place the first hold with `treasury hold place`") from error


def _put(settings: Settings, owner: Owner, name: str, record: dict[str, Any]) -> LoggedObject:
    return put_salted_record(settings, owner, HOLDS, name, record)


def _release_record(hold: Hold, proposal: HoldDecision, decision: HoldDecision) -> dict[str, Any]:
    people = {"proposed": proposal, "confirmed": decision}
    described = {
        name: {
            "actor": hold_decision.actor,
            "account": hold_decision.account,
            "reason": hold_decision.reason,
            "at": hold_decision.decided_at.isoformat(),
        }
        for name, hold_decision in people.items()
    }
    return {"format": RELEASE_FORMAT, "hold": hold.name, **described}


def _held(hold: Hold, stored: LoggedObject) -> Held:
    return Held(**_logged(hold), record=stored)


def _released(hold: Hold, stored: LoggedObject) -> Released:
    return Released(**_logged(hold), record=stored)


def _logged(hold: Hold) -> dict[str, Any]:
    scope = hold.scope
    return {
        "hold": hold.name,
        "table": scope.table,
        "month": str(scope.first),
        "last_month": str(scope.last),
        "subject": None if scope.subject is None else str(scope.subject),
    }
