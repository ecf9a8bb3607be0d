"""The words of reconciliation on pages: what a class, a state, a decision or a record is called. Pure."""

import re
from collections.abc import Mapping

from ledger.masking import mask_text
from ledger.scopes import Scope
from ledger.statements import BreakClass
from tasks.reconciliation.vocabulary import Action, BreakState, Decision, Verdict
from tasks.second_person import WaitingKind

CLASSES: Mapping[str, str] = {
    BreakClass.MISSING_HERE: "missing in the ledger",
    BreakClass.MISSING_THERE: "missing in the statement",
    BreakClass.DUPLICATE: "matched twice",
    BreakClass.AMOUNT: "other amount",
    BreakClass.STATUS: "other status",
    BreakClass.LATE_POSTING: "other day",
    BreakClass.PRODUCT: "other product",
    BreakClass.TIME: "other time",
    BreakClass.COMMISSION: "other commission",
    BreakClass.CLOSED_PERIOD_CHANGED: "closed day has changed",
}
STATES: Mapping[str, str] = {
    BreakState.OPEN: "open",
    BreakState.PROPOSED: "waits for a second person",
    BreakState.RESOLVED: "resolved",
    BreakState.CLOSED: "closed by a later run",
}
STATE_SIGNS: Mapping[str, str] = {
    BreakState.OPEN: "bad",
    BreakState.PROPOSED: "warning",
    BreakState.RESOLVED: "good",
    BreakState.CLOSED: "good",
}
VERDICTS: Mapping[str, tuple[str, str]] = {
    Verdict.PASSED: ("good", "passed"),
    Verdict.FAILED: ("warning", "failed"),
    Verdict.CRITICAL: ("bad", "critical"),
}
# The decisions about an open break, in the order of the form: what it is called, and what it means.
DECISIONS: Mapping[str, tuple[str, str]] = {
    Decision.THEIRS_IS_RIGHT: (
        "The statement is right",
        "The internal row is to be added or corrected. Later runs look for it.",
    ),
    Decision.OURS_IS_RIGHT: (
        "The internal row is right",
        "The supplier's line is still to come, or is to be corrected.",
    ),
    Decision.SAME_TRANSACTION: (
        "Both are the same transaction",
        "Confirms the match that the newest run suggests. All breaks of the match are decided together.",
    ),
    Decision.WRITE_OFF: ("Write the difference off", "The difference stays, and nobody looks for it."),
    Decision.SETTLE_COMPLETED: (
        "End the internal row as completed",
        "For an unfinished row: you know that the purchase was sold.",
    ),
    Decision.SETTLE_FAILED: (
        "End the internal row as failed",
        "For an unfinished row: you know that the purchase was not sold.",
    ),
}
_RECORDED: Mapping[str, str] = {
    Decision.WITHDRAW: "take the decision back",
    Decision.REJECT: "rejected",
    "withdrawn": "decision taken back",
    "carried_on": "carried into the next open day",
    "counterpart_arrived": "the other side came with another day",
    "counterpart_gone": "the other side is no longer there",
    "not_found_again": "a later run does not find it",
    "found_again": "a later run finds it again",
    "still_differs": "other differences remain",
    "row_under_way": "the internal row is unfinished",
    "settled_by_statement": "the statement ended the row",
    "not_on_any_statement": "no statement has the row",
    "line_elsewhere": "the line belongs to another row",
    "near_in_time": "rule: near in time",
    "rounding": "rule: rounding",
    "small_commission": "rule: small commission",
}
ACTIONS: Mapping[str, str] = {
    Action.AUTO_RESOLVED: "resolved by a rule",
    Action.PROPOSED: "proposed",
    Action.REJECTED: "proposal rejected",
    Action.RESOLVED: "resolved",
    Action.CLOSED: "closed by a run",
    Action.REOPENED: "opened again",
    Action.CARRIED: "moved to another day",
    Action.NOTED: "noted",
    Action.WITHDRAWAL_PROPOSED: "taking back proposed",
    Action.WITHDRAWAL_REJECTED: "taking back rejected",
}
KINDS: Mapping[str, str] = {
    WaitingKind.DECISION: "Decision about a break",
    WaitingKind.SETTLEMENT: "End of an unfinished row",
    WaitingKind.WITHDRAWAL: "Taking a decision back",
    WaitingKind.CLOSING: "Closing of a period",
    WaitingKind.ABSENCE: "Day without a statement",
    WaitingKind.RELEASE: "Release of a legal hold",
    WaitingKind.DELETION: "Deletion of months",
}
# What a key without the scope does not see in the queue.
KINDS_OF_SCOPE: Mapping[Scope, str] = {
    Scope.RECONCILIATION_READ: "decisions and periods (scope reconciliation:read)",
    Scope.ARCHIVE_HOLDS: "releases of holds (scope archive:holds)",
    Scope.ARCHIVE_READ: "deletion requests (scope archive:read)",
}
_RAW = re.compile(
    r"\b("
    + "|".join(word for word in sorted((*Decision, *BreakClass), key=len, reverse=True) if "_" in word)
    + r"|closed_period_changed)\b"
)


def of_class(name: str) -> str:
    """A class or an issue."""
    return CLASSES.get(name, name.replace("_", " "))


def of_decision(name: str) -> str:
    """A decision as a record has it: a person's, a rule's or a run's."""
    if name in DECISIONS:
        return DECISIONS[name][0].lower()
    return _RECORDED.get(name, name.replace("_", " "))


def of_action(name: str) -> str:
    """What a record did."""
    return ACTIONS.get(name, name.replace("_", " "))


def sentence(text: str) -> str:
    """A message of the reconciliation, which names decisions and classes as the API does, in the words of the pages.

    What looks like a mobile number, a card number or an address of e-mail is masked.
    """
    return mask_text(_RAW.sub(lambda match: f"“{_word(match[0])}”", text))


def _word(name: str) -> str:
    return DECISIONS[name][0] if name in DECISIONS else of_class(name)
