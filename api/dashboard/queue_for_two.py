"""The page *Waits for a second person*: everything that waits for a second person, the oldest first."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

from starlette.responses import Response

from api.abuse.rate_limits import RatePolicy
from api.dashboard import reconciliation_words as words
from api.dashboard.error_pages import HOME
from api.dashboard.forms import REFUSALS, Form, refused
from api.dashboard.page import HTTP_STATUS, Page, PageCall
from api.holds import work as holds
from api.holds.answers import HoldRelease, HoldReleaseDecision
from api.reconciliation.work import in_thread, person_of
from api.routing import parsing
from api.routing.problems import NOT_FOUND, HttpError
from ledger.counts import counted
from ledger.errors import ConfigError
from ledger.holds import hold_number
from ledger.masking import mask_text
from ledger.people import Person
from ledger.scopes import Scope
from tasks.second_person import RECONCILIATION, Waiting, WaitingKind, list_waiting

PATH = f"{HOME}/queue"
HOLD = f"{PATH}/holds/{{id}}"
MOST = 50  # a form takes 1.6 KB, and a page is to stay below 100 KB
_FIELDS = frozenset({"decision", "reason"})
_RELEASED, _REJECTED, _PROPOSED = "released", "rejected", "proposed"
_NOTICES = {
    _RELEASED: "The hold is released.",
    _REJECTED: "The proposal is rejected. The hold stays.",
    _PROPOSED: "The release is proposed. The key of another client must confirm it.",
}
# Which scope shows which kinds, as the operations of the API do.
_SHOWN: Mapping[Scope, frozenset[WaitingKind]] = {
    Scope.RECONCILIATION_READ: RECONCILIATION,
    Scope.ARCHIVE_HOLDS: frozenset({WaitingKind.RELEASE}),
    Scope.ARCHIVE_READ: frozenset({WaitingKind.DELETION}),
}
# What a key needs to confirm; a kind that is not here is confirmed by a command.
_DECIDED_WITH: Mapping[WaitingKind, Scope] = {
    WaitingKind.DECISION: Scope.RECONCILIATION_RESOLVE,
    WaitingKind.SETTLEMENT: Scope.RECONCILIATION_RESOLVE,
    WaitingKind.WITHDRAWAL: Scope.RECONCILIATION_RESOLVE,
    WaitingKind.CLOSING: Scope.RECONCILIATION_RESOLVE,
    WaitingKind.RELEASE: Scope.ARCHIVE_HOLDS,
}


def pages() -> tuple[Page, ...]:
    """The page of this module, and the form about the release of a hold."""
    page = Page(
        PATH,
        "Waits for a second person",
        show,
        "queue.html",
        scope=Scope.RECONCILIATION_READ,
        or_scopes=frozenset({Scope.ARCHIVE_HOLDS, Scope.ARCHIVE_READ}),
        label="Waits for a second person",
        policy=RatePolicy.OPERATIONS,
        notices=_NOTICES,
    )
    releasing = replace(
        page,
        path=HOLD,
        handler=decide_release,
        method="POST",
        scope=Scope.ARCHIVE_HOLDS,
        or_scopes=frozenset(),
        label="",
        fields=_FIELDS,
        notices={},
        form_at=PATH,
    )
    return page, releasing


async def waiting_for(call: PageCall) -> list[Waiting]:
    """Everything that waits and that the key may see, at most 500 of a kind."""
    kinds = {kind for scope, shown in _SHOWN.items() if scope in call.key.scopes for kind in shown}
    return await in_thread(call.services, list_waiting, kinds) if kinds else []


async def show(call: PageCall) -> Mapping[str, Any]:
    """Everything that waits and that the key may see."""
    return await _shown(call, Form())


async def decide_release(call: PageCall) -> Mapping[str, Any] | Response:
    """Confirm or reject the release of a hold, as the operation `releaseHold` does."""
    number = _hold(call)
    try:
        decision = parsing.member("decision", parsing.required("decision", call.form), HoldReleaseDecision)
        release = HoldRelease(reason=parsing.required("reason", call.form), decision=decision)
        done = await holds.decide_release(call.services, call.key, number, release)
    except REFUSALS as error:
        return await _shown(call, refused(call.form, error, _FIELDS), f"HOLD-{number}")
    if decision is HoldReleaseDecision.REJECT:
        return call.redirect(PATH, _REJECTED)
    return call.redirect(PATH, _PROPOSED if done.is_open else _RELEASED)


def _hold(call: PageCall) -> int:
    try:
        return hold_number(call.request.path_params["id"])
    except ConfigError:
        raise HttpError(NOT_FOUND) from None


async def _shown(call: PageCall, form: Form, hold: str = "") -> Mapping[str, Any]:
    """The page; ``form`` is that of ``hold`` after a refusal, with the reason at its place in the list."""
    scopes, waiting = call.key.scopes, await waiting_for(call)
    who = person_of(call.key)
    items = [
        Item.of(proposal, who, scopes, form if hold and proposal.number == hold else Form())
        for proposal in waiting[:MOST]
    ]
    is_there = any(item.waiting.number == hold for item in items)
    return {
        HTTP_STATUS: form.status,
        "form": form if hold and not is_there else Form(),
        "items": items,
        "for_you": sum(item.is_for_you and not item.needs and not item.commands for item in items),
        "is_more": len(waiting) > len(items),
        "hidden": [words.KINDS_OF_SCOPE[scope] for scope in _SHOWN if scope not in scopes],
    }


@dataclass(frozen=True, slots=True)
class Item:
    """One entry of the list, as a key sees it.

    ``is_for_you``: nothing bars this person from confirming it. ``needs``: the scope that the key lacks for it, "" for
    none. ``commands`` confirm and refuse what no key can. ``link`` leads to where it is decided; "" where the form is.
    """

    waiting: Waiting
    kind: str
    subject: str
    notes: tuple[str, ...]
    reason: str
    is_for_you: bool
    why_not: str
    needs: str
    commands: tuple[str, ...]
    link: str
    form: Form

    @classmethod
    def of(cls, waiting: Waiting, who: Person, scopes: Collection[str], form: Form = Form()) -> "Item":  # noqa: B008
        """The entry of a proposal."""
        needed = _DECIDED_WITH.get(waiting.kind)
        return cls(
            waiting=waiting,
            kind=words.KINDS[waiting.kind],
            subject=mask_text(_subject(waiting)),
            notes=tuple(_notes(waiting)),
            reason=words.sentence(waiting.reason),
            is_for_you=waiting.is_for(who),
            why_not=_why_not(waiting, who),
            needs="" if needed is None or needed in scopes else str(needed),
            commands=_commands(waiting),
            link=f"{HOME}/reconciliation/breaks/{waiting.number}" if waiting.kind in _OF_BREAKS else "",
            form=replace(form, said=words.sentence(form.said)),
        )


_OF_BREAKS = frozenset({WaitingKind.DECISION, WaitingKind.SETTLEMENT, WaitingKind.WITHDRAWAL})


def _subject(waiting: Waiting) -> str:
    """What it is about, in a line."""
    facts = waiting.facts
    if waiting.kind in _OF_BREAKS:
        return f"Break {waiting.number}: {words.of_class(facts['class'])}, {waiting.supplier} {waiting.first_day}"
    if waiting.kind is WaitingKind.CLOSING:
        return f"{waiting.supplier}, {waiting.first_day} to {waiting.last_day}"
    if waiting.kind is WaitingKind.ABSENCE:
        return f"{waiting.supplier} {waiting.first_day}"
    if waiting.kind is WaitingKind.RELEASE:
        return f"{waiting.number}, matter {facts['matter']}: {facts['scope']}"
    months = [str(month) for month in facts["months"]]
    rest = f" and {len(months) - _SHOWN_MONTHS} more" if len(months) > _SHOWN_MONTHS else ""
    return f"Request {waiting.number}: {', '.join(months[:_SHOWN_MONTHS])}{rest}"


_SHOWN_MONTHS = 6


def _notes(waiting: Waiting) -> list[str]:
    """What else there is to know before somebody confirms it."""
    facts = waiting.facts
    if waiting.kind is WaitingKind.CLOSING:
        return [_carried(facts["breaks"], facts["carry"])]
    if waiting.kind in _OF_BREAKS:
        together = [f"together with break {other}" for other in facts["together"]]
        return [f"decision: {words.of_decision(facts['decision'])}", *together]
    if waiting.kind is WaitingKind.RELEASE:
        return [f"placed by {facts['placed_by'].name} ({facts['placed_by'].account})"]
    if waiting.kind is WaitingKind.DELETION:
        by = ", ".join(f"{person.name} ({person.account})" for person in facts["approved_by"])
        return [
            counted(facts["rows"], "row"),
            f"{len(facts['approved_by'])} of {facts['approvals']} approvals{f', by {by}' if by else ''}",
            f"deleted {counted(facts['grace_days'], 'day')} after the last approval",
        ]
    return []


def _carried(breaks: int, carry: bool) -> str:
    if not breaks:
        return "no break waits in these days"
    count = f"{breaks} {'break waits' if breaks == 1 else 'breaks wait'} in these days"
    return (
        f"{count}, and {'moves' if breaks == 1 else 'move'} to the next open day" if carry else f"{count}: decide first"
    )


def _why_not(waiting: Waiting, who: Person) -> str:
    """Why this person may not confirm it; empty where they may."""
    if waiting.is_for(who):
        return ""
    if waiting.kind is WaitingKind.DELETION:
        return "You have approved it."
    if not who.is_same_as(waiting.proposer.name, waiting.proposer.account):
        return "You have placed this hold."
    return "You have proposed it."


def _commands(waiting: Waiting) -> tuple[str, ...]:
    """The commands that confirm and refuse what no key can decide."""
    if waiting.kind is WaitingKind.DELETION:
        return tuple(f"treasury delete {verb} {waiting.number} --reason …" for verb in ("approve", "refuse"))
    if waiting.kind is WaitingKind.ABSENCE:
        command = f"treasury statements none {waiting.supplier} {waiting.first_day} --reason …"
        return command, f"{command} --reject"
    return ()
