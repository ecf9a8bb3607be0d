"""Taking back a decision about a break: one person proposes it, another confirms, and the break waits again.

Nothing is edited. The decision stays where it is, the withdrawal is a record of its own, and both are events of the
audit chain. An internal row that the decision ended stays as it is, because a terminal row never changes. The reopened
break is then decided again, and the correction is a new row.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ledger.errors import RefusalError
from ledger.people import Person
from sql.connection import Connection, fetch_one
from sql.queries import load
from sql.storing import fetch_stored
from tasks.reconciliation.audit import chain
from tasks.reconciliation.vocabulary import Action, BreakState, Decision, WithdrawalState

_BREAKS = load("reconciliation_breaks")
_WITHDRAWN = "withdrawn"
_BY_A_RULE = "is resolved by a rule, not by a person: change the rule in the settings and run its day again"


@dataclass(frozen=True, slots=True)
class Withdrawal:
    """The result of a call. Once it is confirmed, the break is open again, with ``together``, those decided with it.

    ``resolution_id`` is the record that opened the break, else that of the decision in question. ``has_ended_row``: the
    decision ended the internal row, which stays as it is.
    """

    resolution_id: int
    state: WithdrawalState
    together: tuple[int, ...]
    has_ended_row: bool


def is_proposed(connection: Connection, break_id: int) -> bool:
    """Return whether somebody wants to take back the decision that resolved this break."""
    row = connection.execute(_BREAKS["decision_in_force"], {"break_id": break_id}).fetchone()
    if row is None:
        return False
    asked = {"break_id": break_id, "resolution_id": row[0]}
    return connection.execute(_BREAKS["open_withdrawal"], asked).fetchone() is not None


def decide(
    connection: Connection, break_id: int, state: str, who: Person, decision: Decision, reason: str
) -> Withdrawal:
    """Propose to take back the decision about a resolved break, confirm that, or reject it, in the open transaction.

    The caller holds the lock of the chain and of the break. Raises RefusalError naming the break: it is not resolved by
    a person, the same person would confirm, or nothing is proposed that could be rejected.
    """
    asked = _Asked.of(connection, break_id, state)
    proposal = connection.execute(_BREAKS["open_withdrawal"], asked.names).fetchone()
    if decision is Decision.REJECT:
        if proposal is None:
            raise RefusalError(f"break {break_id}: nothing is proposed that could be rejected")
        return _noted(connection, asked, who, reason, WithdrawalState.REJECTED)
    if proposal is None:
        return _noted(connection, asked, who, reason, WithdrawalState.PROPOSED)
    _, actor, account = proposal
    if who.is_same_as(actor, account):
        raise RefusalError(f"break {break_id}: {actor} has proposed to withdraw it; somebody else must confirm")
    return _confirmed(connection, asked, who, reason)


@dataclass(frozen=True, slots=True)
class _Asked:
    """A break whose decision is in question, and that decision."""

    break_id: int
    resolution_id: int
    decision: str

    @property
    def names(self) -> dict[str, Any]:
        return {"break_id": self.break_id, "resolution_id": self.resolution_id}

    @property
    def has_ended_row(self) -> bool:
        return self.decision in (Decision.SETTLE_COMPLETED, Decision.SETTLE_FAILED)

    @classmethod
    def of(cls, connection: Connection, break_id: int, state: str) -> "_Asked":
        """The decision that resolved the break. Raises RefusalError when there is none, or a rule made it."""
        if state != BreakState.RESOLVED:
            raise RefusalError(f"break {break_id} is {state}: only a decision that resolved it can be withdrawn")
        resolution_id, action, decision, run_id = fetch_one(
            connection, _BREAKS["decision_in_force"], {"break_id": break_id}
        )
        if action != Action.RESOLVED or run_id is not None:
            raise RefusalError(f"break {break_id} {_BY_A_RULE}")
        return cls(break_id, resolution_id, decision)


def _noted(connection: Connection, asked: _Asked, who: Person, reason: str, step: WithdrawalState) -> Withdrawal:
    """Write down a proposal or a rejection: the break's state and its decision stay as they are."""
    _insert(connection, asked.names, who, reason, step, None)
    return Withdrawal(asked.resolution_id, step, (), asked.has_ended_row)


def _confirmed(connection: Connection, asked: _Asked, who: Person, reason: str) -> Withdrawal:
    """Open the break again, and all that were decided together with it."""
    members = _members(connection, asked)
    made = {}
    for member in members:
        record = {"break_id": member.break_id, "decision": _WITHDRAWN, "reason": reason}
        names = {"actor": who.name, "account": who.account}
        (reopened,) = fetch_stored(connection, _BREAKS["reopen_break"], record | names, "recon_resolutions")
        chain.record_resolution(connection, reopened)
        _insert(connection, member.names, who, reason, WithdrawalState.CONFIRMED, reopened)
        made[member.break_id] = int(reopened)
    together = tuple(number for number in made if number != asked.break_id)
    return Withdrawal(made[asked.break_id], WithdrawalState.CONFIRMED, together, asked.has_ended_row)


def _members(connection: Connection, asked: _Asked) -> Sequence[_Asked]:
    """The break and those that the same decision resolved; they are taken back together or not at all."""
    if asked.decision != Decision.SAME_TRANSACTION:
        return [asked]
    rows = connection.execute(_BREAKS["decided_together"], asked.names).fetchall()
    others = [row for (row,) in rows if row != asked.break_id]
    members = [asked]
    for other in others:
        state = fetch_one(connection, _BREAKS["lock_break"], {"break_id": other})[2]
        try:
            members.append(_Asked.of(connection, other, state))
        except RefusalError as error:
            raise RefusalError(f"break {asked.break_id}: belongs with another: {error}") from None
    return members


def _insert(
    connection: Connection,
    names: dict[str, Any],
    who: Person,
    reason: str,
    step: WithdrawalState,
    reopened_by: int | None,
) -> None:
    record = {"action": step, "actor": who.name, "account": who.account, "reason": reason, "reopened_by": reopened_by}
    (withdrawal_id,) = fetch_stored(connection, _BREAKS["insert_withdrawal"], names | record, "recon_withdrawals")
    chain.record_withdrawal(connection, withdrawal_id)
