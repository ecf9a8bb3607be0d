"""The page of a break: both sides, its history, and the form of what can be decided about it now."""

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any

from starlette.responses import Response

from api.abuse.rate_limits import RatePolicy
from api.dashboard import formats
from api.dashboard import reconciliation_words as words
from api.dashboard.find import FIND
from api.dashboard.forms import REFUSALS, Form, refused
from api.dashboard.page import HTTP_STATUS, Page, PageCall
from api.dashboard.reconciliation import PATH
from api.reconciliation.handlers import MOST_ID
from api.reconciliation.references import REFERENCES, sees_references
from api.reconciliation.work import decide_break, in_thread, person_of
from api.routing import parsing
from api.routing.problems import NOT_FOUND, HttpError
from ledger.business_days import JOHANNESBURG, day_of
from ledger.masking import mask_text
from ledger.people import Person
from ledger.scopes import Scope
from ledger.statements import BreakClass
from tasks.reconciliation.casework import lists
from tasks.reconciliation.casework.breaks import ResolvedBreak
from tasks.reconciliation.casework.fitting import Candidate, read_fitting
from tasks.reconciliation.casework.lists import BreakRecord, ResolutionRecord
from tasks.reconciliation.runs.internal_rows import TABLE
from tasks.reconciliation.vocabulary import OWN_STATUS, Action, BreakState, Decision, WithdrawalState

BREAK = f"{PATH}/breaks/{{id}}"
_FIELDS = frozenset({"decision", "reason"})
_NOTICES = {
    "proposed": "The decision is proposed. The key of another client must confirm it.",
    "resolved": "The break is resolved.",
    "row-ended": "The break is resolved, and its internal row has ended.",
    "row-ended-open": "The internal row has ended. The break stays open, because other things differ.",
    "rejected": "The proposal is rejected. The break is open.",
    "withdrawal-proposed": "Taking the decision back is proposed. The key of another client must confirm it.",
    "withdrawal-rejected": "Taking the decision back is rejected. The decision counts.",
    "withdrawn": "The decision is taken back. The break is open.",
}


def pages() -> tuple[Page, ...]:
    """The page of a break, and its form."""
    page = Page(
        BREAK,
        "Break",
        show,
        "break.html",
        scope=Scope.RECONCILIATION_READ,
        policy=RatePolicy.OPERATIONS,
        notices=_NOTICES,
    )
    deciding = replace(
        page, handler=decide, method="POST", scope=Scope.RECONCILIATION_RESOLVE, fields=_FIELDS, notices={}
    )
    return page, deciding


async def show(call: PageCall) -> Mapping[str, Any]:
    """Everything that the page shows of a break."""
    return await _shown(call, _id(call), Form())


async def decide(call: PageCall) -> Mapping[str, Any] | Response:
    """Decide about a break, as the operation `resolveReconciliationBreak` does."""
    break_id = _id(call)
    try:
        decision = parsing.member("decision", parsing.required("decision", call.form), Decision)
        reason = parsing.required("reason", call.form)
        done = await decide_break(call.services, call.key, break_id, decision, reason)
    except REFUSALS as error:
        if Scope.RECONCILIATION_READ not in call.key.scopes:
            raise
        return await _shown(call, break_id, refused(call.form, error, _FIELDS))
    return call.redirect(BREAK.replace("{id}", str(break_id)), _notice(done))


def _notice(done: ResolvedBreak) -> str:
    if done.withdrawal is not None:
        return {
            WithdrawalState.PROPOSED: "withdrawal-proposed",
            WithdrawalState.REJECTED: "withdrawal-rejected",
            WithdrawalState.CONFIRMED: "withdrawn",
        }[done.withdrawal]
    if done.ended_row is not None:
        return "row-ended" if done.state is BreakState.RESOLVED else "row-ended-open"
    return {BreakState.PROPOSED: "proposed", BreakState.RESOLVED: "resolved"}.get(done.state, "rejected")


def _id(call: PageCall) -> int:
    return parsing.integer("id", call.request.path_params["id"], 1, MOST_ID)


async def _shown(call: PageCall, break_id: int, form: Form) -> Mapping[str, Any]:
    record = await in_thread(call.services, lists.get_break, break_id)
    if record is None:
        raise HttpError(NOT_FOUND)
    history = await in_thread(call.services, lists.history, break_id)
    fitting = await in_thread(call.services, read_fitting, record)
    scopes, limit = call.key.scopes, call.services.settings.reconciliation.four_eyes_above
    following = next_step(record, history, person_of(call.key))
    return {
        HTTP_STATUS: form.status,
        "title": f"Break {break_id}",
        "form": replace(form, said=words.sentence(form.said)),
        "record": record,
        "name": words.of_class(record.class_),
        "issues": [words.of_class(issue) for issue in record.issues],
        "state_sign": words.STATE_SIGNS[record.state],
        "state_words": words.STATES[record.state],
        "age_days": record.age_days(day_of(datetime.now(UTC))),
        "note": words.sentence(record.note),
        "sides": sides(record, has_references=sees_references(scopes)),
        "candidates": [CandidateSides.of(record, candidate, scopes) for candidate in fitting.candidates],
        "matches": fitting.matches,
        "rows_at": f"{FIND}/{TABLE}" if Scope.VAS_READ in scopes else "",
        "history": [HistoryRow.of(entry) for entry in history],
        "next": following,
        "why_two": why_two(record, following, fitting.together, limit),
        "decisions": decisions_for(fitting.decisions),
        "endings": endings_for(record, fitting.decisions),
        "limit": limit,
        "may_decide": Scope.RECONCILIATION_RESOLVE in scopes,
    }


class BreakStep(StrEnum):
    """What can be done about a break now."""

    DECIDE = "decide"
    CONFIRM = "confirm"
    WAIT = "wait"
    TAKE_BACK = "take back"
    CONFIRM_TAKING_BACK = "confirm taking back"
    WAIT_TAKING_BACK = "wait taking back"
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class NextStep:
    """What can be done about a break now, and the record that it is about: a proposal, or the decision that counts."""

    step: BreakStep
    record: ResolutionRecord | None = None
    decision: str = ""  # in words
    reason: str = ""


def next_step(record: BreakRecord, history: Sequence[ResolutionRecord], who: Person) -> NextStep:
    """What ``who`` can do about a break. The functions behind the form have the last word."""
    deciding = [entry for entry in history if entry.action not in _ASIDE]
    last = deciding[-1] if deciding else None
    if record.state == BreakState.OPEN:
        return NextStep(BreakStep.DECIDE)
    if record.state == BreakState.PROPOSED and last is not None:
        return _about(BreakStep.WAIT if _is_by(last, who) else BreakStep.CONFIRM, last)
    if record.state != BreakState.RESOLVED or last is None or last.action != Action.RESOLVED or last.run_id is not None:
        return _about(BreakStep.NOTHING, last)
    taking_back = [
        entry for entry in history if entry.action in _TAKING_BACK and entry.resolution_id == last.resolution_id
    ]
    if taking_back and taking_back[-1].action == Action.WITHDRAWAL_PROPOSED:
        asked = taking_back[-1]
        step = BreakStep.WAIT_TAKING_BACK if _is_by(asked, who) else BreakStep.CONFIRM_TAKING_BACK
        return replace(_about(step, asked), decision=words.of_decision(last.decision))
    return _about(BreakStep.TAKE_BACK, last)


_TAKING_BACK = (Action.WITHDRAWAL_PROPOSED, Action.WITHDRAWAL_REJECTED)
_ASIDE = (Action.CARRIED, Action.NOTED, *_TAKING_BACK)


def _about(step: BreakStep, entry: ResolutionRecord | None) -> NextStep:
    if entry is None:
        return NextStep(step)
    return NextStep(step, entry, words.of_decision(entry.decision), words.sentence(entry.reason))


def _is_by(entry: ResolutionRecord, who: Person) -> bool:
    return who.is_same_as(entry.actor, entry.account)


def why_two(record: BreakRecord, following: NextStep, together: Sequence[BreakRecord], limit: Decimal) -> str:
    """Why what is proposed about a break needs a second person; empty where nothing is."""
    if following.step in (BreakStep.CONFIRM_TAKING_BACK, BreakStep.WAIT_TAKING_BACK):
        return "Taking a decision back always needs two people, whatever the amount."
    if following.step not in (BreakStep.CONFIRM, BreakStep.WAIT) or following.record is None:
        return ""
    amounts = [record.difference, *(other.difference for other in together)]
    if following.record.decision in _ENDINGS and record.own is not None:
        amounts.append(abs(Decimal(record.own.get("amount") or 0)))  # ending a row decides about its whole amount
    amount, most = formats.money(max(amounts), record.currency), formats.money(limit, record.currency)
    with_others = "".join(f" with break {other.break_id}" for other in together)
    if max(amounts) > limit:
        return (
            f"Two people are needed, because {amount} is decided about{with_others}, and one may decide about {most}."
        )
    return f"Two people are needed: the limit for one person was below {amount} when it was proposed. Now it is {most}."


_ENDINGS = (Decision.SETTLE_COMPLETED, Decision.SETTLE_FAILED)


def decisions_for(fitting: Collection[Decision]) -> list[tuple[str, str, str]]:
    """The decisions about an open break that would be accepted now: value, name and meaning."""
    return [(str(name), *said) for name, said in words.DECISIONS.items() if name in fitting]


def endings_for(record: BreakRecord, fitting: Collection[Decision]) -> list[tuple[str, str, str]]:
    """The decisions about a resolved break whose row is unfinished."""
    if record.state != BreakState.RESOLVED:
        return []
    return [(str(name), *words.DECISIONS[name]) for name in _ENDINGS if name in fitting]


@dataclass(frozen=True, slots=True)
class Side:
    """One field of a break on both sides. ``differs``: as an issue of the break; ``is_other``: but is tolerated."""

    label: str
    own: str
    line: str
    differs: bool
    is_other: bool


@dataclass(frozen=True, slots=True)
class Sides:
    """The two sides of a break: the names of the columns, and the fields. ``is_short``: without references."""

    left: str
    right: str
    fields: Sequence[Side]
    is_short: bool = False


_LABELS = {
    "amount": "amount",
    "commission": "commission",
    "net": "net amount",
    "status": "status",
    "at_ms": "time (Johannesburg)",
    "day": "day (Johannesburg)",
    "kind": "kind",
    "vas_type": "service",
    "product_code": "product code",
    "product_name": "product",
    "reference": "reference",
    "supplier_reference": "reference at the supplier",
    "supplier_transaction_id": "transaction id at the supplier",
    "payout_reference": "payout reference",
    "id": "row id",
}
_LEFT_OUT = "not shown"
_WORDS = frozenset({"status", "vas_type", "kind"})
_MONEY = frozenset({"amount", "commission", "net", "value"})
# The fields that show an issue.
_SHOWS: Mapping[str, frozenset[str]] = {
    "amount": frozenset({BreakClass.AMOUNT}),
    "status": frozenset({BreakClass.STATUS}),
    "at_ms": frozenset({BreakClass.TIME, BreakClass.LATE_POSTING}),
    "day": frozenset({BreakClass.LATE_POSTING}),
    "product_code": frozenset({BreakClass.PRODUCT}),
    "vas_type": frozenset({BreakClass.PRODUCT}),
    "commission": frozenset({BreakClass.COMMISSION}),
}


def sides(record: BreakRecord, *, has_references: bool = False) -> Sides:
    """Both sides next to each other. A changed closed day has what it was and what it is in their place.

    Unless it ``has_references``, those of the rows are compared and not shown.
    """
    own, line = record.own or {}, record.line or {}
    if "rows_then" in own:
        fields = [_side(record, name, own.get(f"{name}_then"), own.get(f"{name}_now")) for name in ("rows", "value")]
        return Sides("When it was closed", "Now", [replace(field, differs=field.is_other) for field in fields])
    names = [name for name in _LABELS if own.get(name) is not None or line.get(name) is not None]
    fields = [_side(record, name, own.get(name), line.get(name)) for name in names]
    hidden = frozenset() if has_references else frozenset(map(_LABELS.get, REFERENCES))
    shown = [_without_texts(field) if field.label in hidden else field for field in fields]
    return Sides("Internal row", "Statement line", shown, is_short=shown != fields)


@dataclass(frozen=True, slots=True)
class CandidateSides:
    """What may be the other side of a break, and both next to each other where the other side is a break, too."""

    row_id: str
    break_id: int | None
    sides: Sides | None

    @classmethod
    def of(cls, record: BreakRecord, candidate: Candidate, scopes: Collection[str]) -> "CandidateSides":
        """The two sides of a break and of its candidate, every difference marked."""
        other = candidate.record
        row_id = str(candidate.row_id or "")
        if other is None:
            return cls(row_id, None, None)
        joined = replace(record, own=record.own or other.own, line=record.line or other.line, issues=[*BreakClass])
        return cls(row_id, other.break_id, sides(joined, has_references=sees_references(scopes)))


def _without_texts(side: Side) -> Side:
    own, line = (text if text == formats.NOTHING else _LEFT_OUT for text in (side.own, side.line))
    return replace(side, own=own, line=line)


def _side(record: BreakRecord, name: str, own: Any, line: Any) -> Side:
    is_other = own is not None and line is not None and _compared(name, own, True) != _compared(name, line, False)
    differs = is_other and bool(_SHOWS.get(name, frozenset()) & set(record.issues))
    texts = (_text(name, own, record.currency), _text(name, line, record.currency))
    if is_other and name == "at_ms" and texts[0] == texts[1]:
        texts = (f"{texts[0]}.{own % 1000:03d}", f"{texts[1]}.{line % 1000:03d}")  # they differ below a second
    return Side(_LABELS.get(name, name), *texts, differs, is_other)


def _compared(name: str, value: Any, is_own: bool) -> Any:
    """A value as it is compared: our status in the words of statements, money as a number."""
    if name == "status" and is_own:
        return OWN_STATUS.get(value, value)
    try:
        return Decimal(value) if name in _MONEY else str(value)
    except (ArithmeticError, TypeError, ValueError):
        return str(value)


def _text(name: str, value: Any, currency: str) -> str:
    if value is None:
        return formats.NOTHING
    with suppress(ArithmeticError, TypeError, ValueError):  # of a value that no run has written
        if name in _MONEY:
            return formats.money(value, currency)
        if name == "at_ms":
            moment = datetime.fromtimestamp(0, JOHANNESBURG) + timedelta(milliseconds=value)
            return f"{moment:%Y-%m-%d %H:%M:%S}"
    text = mask_text(str(value))
    return text.replace("_", " ") if name in _WORDS else text


@dataclass(frozen=True, slots=True)
class HistoryRow:
    """A record of the history of a break, in words."""

    record: ResolutionRecord
    action: str
    decision: str
    reason: str

    @classmethod
    def of(cls, entry: ResolutionRecord) -> "HistoryRow":
        """The row of a record."""
        return cls(
            entry, words.of_action(entry.action), words.of_decision(entry.decision), words.sentence(entry.reason)
        )
