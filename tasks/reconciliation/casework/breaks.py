"""A decision about a break: by one person, or with four eyes above a limit.

A resolution is an added record, never an edit, and an event of the audit chain in the same transaction.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any
from uuid import UUID

from config import Settings
from ledger.errors import NotFoundError, RefusalError
from ledger.people import REASON_CHARACTERS, SYSTEM, Person, check_text
from ledger.statements import BreakClass
from sql.connection import Connection, connect
from sql.queries import load
from sql.storing import fetch_stored
from tasks.reconciliation.audit import chain
from tasks.reconciliation.casework import manual_settlement, suggestions, withdrawals
from tasks.reconciliation.casework.suggestions import Match
from tasks.reconciliation.closing import closed_days
from tasks.reconciliation.closing.periods import check_open
from tasks.reconciliation.vocabulary import WAITING, Action, BreakState, Decision, WithdrawalState

_AUDIT = load("reconciliation_audit")
_BREAKS = load("reconciliation_breaks")
_NO_MONEY = Decimal(0)


@dataclass(frozen=True, slots=True)
class ResolvedBreak:
    """The result of `resolve`: the break's state now. ``proposed``: a second person must confirm. ``together``
    are the other breaks of a suggested match, with the same result. ``ended_row`` is the internal row that this ended;
    a break that is open then has more to decide about than that. ``withdrawal``: of a call about taking a decision
    back; ``keeps_ended_row``: that decision ended the internal row, which stays as it is.
    """

    break_id: int
    state: BreakState
    resolution_id: int
    together: tuple[int, ...] = ()
    ended_row: UUID | None = None
    withdrawal: WithdrawalState | None = None
    keeps_ended_row: bool = False


def resolve(
    settings: Settings, break_id: int, actor: str, decision: Decision, reason: str, *, account: str | None = None
) -> ResolvedBreak:
    """Record what ``actor`` decides about a waiting break, and why; ``account`` is what they work under, by default the
    same. ``same_transaction`` decides all breaks of the match that is suggested, at once or not at all. A ``settle_…``
    ends the break's internal row with it, also where the break was decided before and its row was left under way.

    Above ``four_eyes_above`` the first call proposes; the same decision by somebody else confirms it, and ``reject``
    takes the proposal back. ``withdraw`` takes back a decision that resolved the break, always by two people, with all
    breaks that were decided together. ``reject`` ends that proposal, too.

    Raises RefusalError, naming the break, when it does not wait any more, or lies in a closed period. It does so for
    one without a suggested match to confirm, a row that may be ended, or a person's decision to withdraw. The same
    person may not confirm, by name or by account. Raises FieldError for an empty or overlong text, and NotFoundError
    for no such break. Safe to run again: what is decided is not decided twice.
    """
    who = Person(actor, account or actor)
    who.check()
    check_text("reason", reason, REASON_CHARACTERS)
    with connect(settings.database_dsn, "reconciliation") as connection, connection.transaction():
        connection.execute(_AUDIT["lock_chain"])  # first, as a run does: so neither waits for the other in a circle
        if _is_about_withdrawal(connection, break_id, decision):
            return _withdrawn(connection, break_id, who, decision, reason)
        ending = _ending(connection, settings, break_id, who, decision)
        asked = _lock(connection, break_id)
        proposal = connection.execute(_BREAKS["last_proposal"], {"break_id": break_id}).fetchone()
        if asked.state is not BreakState.PROPOSED:
            proposal = None
        match = _match(connection, break_id, decision, proposal)
        members = [_lock(connection, number) for number in (match.breaks if match else [break_id])]
        _check_together(break_id, asked, members)
        largest = max(*(member.difference for member in members), ending.amount if ending else _NO_MONEY)
        action = _action(settings, break_id, who, decision, largest, proposal)
        record = {"action": action, "actor": who.name, "account": who.account, "decision": decision, "reason": reason}
        made = {member.break_id: _record(connection, member.break_id, record, match) for member in members}
        if action is Action.RESOLVED and BreakClass.CLOSED_PERIOD_CHANGED in asked.issues:
            closed_days.end_alert(connection, asked.supplier, asked.day)
        if ending is not None and action is Action.RESOLVED:
            return _ended(connection, settings, ending, made[break_id])
    others = tuple(number for number in made if number != break_id)
    return ResolvedBreak(break_id, _STATES[action], made[break_id], others)


def _is_about_withdrawal(connection: Connection, break_id: int, decision: Decision) -> bool:
    """Return whether the call withdraws a decision, or rejects the proposal to do so."""
    if decision is Decision.WITHDRAW:
        return True
    if decision is not Decision.REJECT:
        return False
    return _find(connection, break_id).state is BreakState.RESOLVED and withdrawals.is_proposed(connection, break_id)


def _withdrawn(connection: Connection, break_id: int, who: Person, decision: Decision, reason: str) -> ResolvedBreak:
    state = _find(connection, break_id).state
    done = withdrawals.decide(connection, break_id, state, who, decision, reason)
    after = BreakState.OPEN if done.state is WithdrawalState.CONFIRMED else state
    return ResolvedBreak(
        break_id,
        after,
        done.resolution_id,
        done.together,
        withdrawal=done.state,
        keeps_ended_row=done.has_ended_row,
    )


@dataclass(frozen=True, slots=True)
class _Locked:
    """A break that somebody decides about, locked until the transaction ends."""

    break_id: int
    supplier: str
    difference: Decimal
    state: BreakState
    period_day: date
    issues: list[str]
    line: dict[str, Any] | None
    own: dict[str, Any] | None
    day: date


def _find(connection: Connection, break_id: int) -> _Locked:
    row = connection.execute(_BREAKS["lock_break"], {"break_id": break_id}).fetchone()
    if row is None:
        raise NotFoundError(f"break {break_id} does not exist")
    supplier, difference, state, *facts = row
    return _Locked(break_id, supplier, difference, BreakState(state), *facts)


def _lock(connection: Connection, break_id: int) -> _Locked:
    locked = _find(connection, break_id)
    if locked.state not in WAITING:
        raise RefusalError(f"break {break_id} is {locked.state} already")
    try:
        check_open(connection, locked.supplier, locked.period_day)
    except RefusalError as error:
        raise RefusalError(f"break {break_id}: {error}") from None
    return locked


def _ending(
    connection: Connection, settings: Settings, break_id: int, who: Person, decision: Decision
) -> manual_settlement.Ending | None:
    """Return how the decision ends the break's row; None for one that ends none. A break that was decided without an
    end for its row is opened again, or nobody could end that any more.
    """
    if decision not in manual_settlement.STATUSES:
        return None
    locked = _find(connection, break_id)
    contents = (locked.issues, locked.line, locked.own)
    ending = manual_settlement.planned(connection, settings, break_id, contents, decision)
    if locked.state is BreakState.RESOLVED:
        names = {"actor": who.name, "account": who.account}
        _reopen(connection, break_id, names, "row_under_way", "its internal row is still under way")
    return ending


def _ended(
    connection: Connection, settings: Settings, ending: manual_settlement.Ending, resolution_id: int
) -> ResolvedBreak:
    """End the row of a break that was just resolved; an issue that this leaves open opens the break again."""
    manual_settlement.carry_out(connection, settings, ending)
    state = BreakState.RESOLVED
    if ending.remaining:
        reason = f"its row has ended as {ending.end.status}; {', '.join(ending.remaining)} still differs"
        _reopen(connection, ending.break_id, {"actor": SYSTEM, "account": None}, "still_differs", reason)
        state = BreakState.OPEN
    return ResolvedBreak(ending.break_id, state, resolution_id, ended_row=ending.row_id)


def _reopen(connection: Connection, break_id: int, names: Mapping[str, str | None], decision: str, reason: str) -> None:
    record = dict(names) | {"break_id": break_id, "decision": decision, "reason": reason}
    (resolution_id,) = fetch_stored(connection, _BREAKS["reopen_break"], record, "recon_resolutions")
    chain.record_resolution(connection, resolution_id)


def _match(connection: Connection, break_id: int, decision: Decision, proposal: tuple[Any, ...] | None) -> Match | None:
    """The match that a decision is about; None for one about the break alone."""
    if proposal is None:
        return suggestions.suggested(connection, break_id) if decision is Decision.SAME_TRANSACTION else None
    if proposal[2] != Decision.SAME_TRANSACTION:
        return None
    match = suggestions.proposed(connection, break_id)
    if match is None and decision is Decision.SAME_TRANSACTION:
        raise RefusalError(f"break {break_id}: the match that was proposed is not there any more; reject it")
    return match


def _check_together(break_id: int, asked: _Locked, members: Sequence[_Locked]) -> None:
    """All breaks of a match must have the state of the asked one: each is decided with the others."""
    for member in members:
        if member.state is not asked.state:
            raise RefusalError(f"break {break_id}: belongs with break {member.break_id}, which is {member.state}")


def _action(
    settings: Settings,
    break_id: int,
    who: Person,
    decision: Decision,
    difference: Decimal,
    proposal: tuple[Any, ...] | None,
) -> Action:
    """Return what a decision is: a proposal, its confirmation, its rejection, or all there is to it."""
    if proposal is None:
        if decision is Decision.REJECT:
            raise RefusalError(f"break {break_id}: nothing is proposed that could be rejected")
        return Action.PROPOSED if difference > settings.reconciliation.four_eyes_above else Action.RESOLVED
    actor, account, proposed = proposal
    if decision is Decision.REJECT:
        return Action.REJECTED
    if who.is_same_as(actor, account):
        under = f" under {account}" if account not in (None, actor) else ""
        raise RefusalError(f"break {break_id}: {actor} has proposed it{under}; somebody else must confirm")
    if decision != proposed:
        raise RefusalError(f"break {break_id}: {proposed} is proposed; confirm that, or reject it first")
    return Action.RESOLVED


_STATES = {
    Action.PROPOSED: BreakState.PROPOSED,
    Action.RESOLVED: BreakState.RESOLVED,
    Action.REJECTED: BreakState.OPEN,
}


def _record(connection: Connection, break_id: int, record: dict[str, Any], match: Match | None) -> int:
    """One record, the state that it leads to, and its event; returns its number."""
    action = record["action"]
    (resolution_id,) = fetch_stored(
        connection, _BREAKS["insert_resolution"], record | {"break_id": break_id}, "recon_resolutions"
    )
    connection.execute(_BREAKS["set_state"], {"break_id": break_id, "state": _STATES[action]})
    if match is not None and match.line_break == break_id and action is not Action.REJECTED:
        suggestions.confirm(connection, match, resolution_id)
    chain.record_resolution(connection, resolution_id)
    return int(resolution_id)
