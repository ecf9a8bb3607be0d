"""Delivering notices through apprise: one message a severity and target, each under a time limit.

A target is a URL of ``settings.alert_urls``; it is known by a hash, since the URL holds secrets.
"""

import hashlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from pydantic import SecretStr

from config import Settings
from ledger.alerts import Severity
from ledger.errors import ConfigError, TreasuryError
from ledger.masking import cut, mask_text
from tasks.deadline import run_each

_BODY_LIMIT = 6000
_TITLE_LIMIT = 150
_ERROR_LIMIT = 400


class Kind(StrEnum):
    """Why a notice is sent."""

    OPENED = "opened"
    REPEATED = "still open"
    RESOLVED = "resolved"


@dataclass(frozen=True, slots=True)
class Notice:
    """What is told of one alert. ``taken_by`` are the targets that have it already, of an attempt that half failed."""

    kind: Kind
    severity: Severity
    rule: str
    subject: str
    title: str
    what_to_do: str
    first_seen: datetime
    last_seen: datetime
    count: int
    taken_by: frozenset[str] = frozenset()

    @property
    def text(self) -> str:
        """The notice as a paragraph of plain text."""
        seen = f"seen {self.count} times" if self.count > 1 else "seen once"
        times = f"{seen}, first {self.first_seen:%Y-%m-%d %H:%M}, last {self.last_seen:%Y-%m-%d %H:%M} UTC"
        lines = [f"[{self.kind}] {self.rule} ({self.subject}): {mask_text(self.title)}", times]
        if self.kind is not Kind.RESOLVED:
            lines.append(f"What to do: {self.what_to_do}")
        return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class Delivery:
    """How it went with one notice: the targets that have it by now, and what went wrong; empty when nothing did."""

    taken_by: frozenset[str]
    error: str = ""


@dataclass(frozen=True, slots=True)
class _Target:
    """Where notices of a severity go. ``place`` names it without its secrets."""

    severity: Severity
    place: str
    url: SecretStr

    @property
    def key(self) -> str:
        return hashlib.sha256(self.url.get_secret_value().encode()).hexdigest()[:16]


def targeted(settings: Settings) -> list[Severity]:
    """The severities that somebody is to be told of."""
    return [severity for severity in Severity if _targets(settings, severity)]


def deliver(settings: Settings, notices: Sequence[Notice]) -> list[Delivery]:
    """Send every notice to each target of its severity that has not got it; how it went, in the order given.

    All messages go at once, each within ``settings.notice_timeout_s``. Raises nothing: what fails is in the answer.
    """
    messages = {
        target: waiting
        for severity in Severity
        for target in _targets(settings, severity)
        if (waiting := [one for one in notices if one.severity is severity and target.key not in one.taken_by])
    }
    work = {f"notice {target.place} {target.key}": _sending(target, waiting) for target, waiting in messages.items()}
    outcomes = list(run_each(work, settings.notice_timeout_s).values()) if work else []
    errors = {target: _error(target, outcome) for target, (outcome, _) in zip(messages, outcomes, strict=True)}
    return [_delivery(settings, notice, errors) for notice in notices]


def load() -> None:
    """Load apprise and its plugins, which takes seconds on a busy machine; else it is done when it is needed."""
    from apprise import Apprise  # noqa: PLC0415  # slow to import, and most runs send nothing

    Apprise().add("json://localhost")


def _targets(settings: Settings, severity: Severity) -> list[_Target]:
    urls = getattr(settings.alert_urls, severity)
    return [_Target(severity, f"{severity}[{number}]", url) for number, url in enumerate(urls)]


def _sending(target: _Target, notices: Sequence[Notice]) -> Callable[[], bool]:
    """The sending of one message. What is slow and local, loading apprise and its plugins, is done before it begins."""
    from apprise import Apprise, NotifyType  # noqa: PLC0415  # slow to import, and most runs send nothing

    logging.getLogger("apprise").setLevel(logging.CRITICAL)  # it would log addresses; the answer is enough
    apprise = Apprise()
    if not apprise.add(target.url.get_secret_value()):
        return _refuse
    over = all(notice.kind is Kind.RESOLVED for notice in notices)
    kind = {Severity.WARNING: NotifyType.WARNING, Severity.CRITICAL: NotifyType.FAILURE}[target.severity]
    body = _joined([notice.text for notice in notices])
    title = _title(notices)
    return lambda: apprise.notify(body=body, title=title, notify_type=NotifyType.SUCCESS if over else kind) is True


def _refuse() -> bool:
    raise ConfigError("no URL that apprise knows")


def _title(notices: Sequence[Notice]) -> str:
    first = notices[0]
    if len(notices) > 1:
        return f"treasury: {len(notices)} notices, {first.severity}"
    told = "resolved" if first.kind is Kind.RESOLVED else first.severity
    return cut(f"treasury: {told}: {mask_text(first.title)}", _TITLE_LIMIT)


def _error(target: _Target, outcome: bool | Exception) -> str:
    if outcome is True:
        return ""
    if isinstance(outcome, TreasuryError):
        return f"{target.place}: {outcome}"
    # A library's own text may hold the address, and so its secrets.
    return f"{target.place}: {type(outcome).__name__ if isinstance(outcome, Exception) else 'was not taken'}"


def _delivery(settings: Settings, notice: Notice, errors: dict[_Target, str]) -> Delivery:
    mine = {target: errors.get(target, "") for target in _targets(settings, notice.severity)}
    taken = frozenset(target.key for target, error in mine.items() if not error)
    return Delivery(taken, cut("; ".join(error for error in mine.values() if error), _ERROR_LIMIT))


def _joined(paragraphs: Sequence[str]) -> str:
    """The paragraphs as one text that is not too long for a message; what was left out is counted."""
    kept: list[str] = []
    for paragraph in paragraphs:
        if sum(map(len, kept)) + len(paragraph) > _BODY_LIMIT:
            return "\n\n".join([*kept, f"and {len(paragraphs) - len(kept)} more"])
        kept.append(paragraph)
    return "\n\n".join(kept)
