"""Delivering notices through apprise: few messages a severity and target, each under a time limit.

A target is a URL of ``settings.alert_urls``; it is known by a hash, since the URL holds secrets.
"""

import hashlib
import logging
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from pydantic import SecretStr

from config import Settings
from ledger.alerts import Severity
from ledger.counts import counted
from ledger.errors import ConfigError, TreasuryError
from ledger.masking import cut, mask_text
from tasks.deadline import run_each

_BODY_LIMIT = 6000
_TITLE_LIMIT = 150
_ERROR_LIMIT = 400
_BETWEEN = "\n\n"
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]{0,30}", re.IGNORECASE)


class NoticeKind(StrEnum):
    """The reason why a notice is sent."""

    OPENED = "opened"
    REPEATED = "still open"
    RESOLVED = "resolved"


@dataclass(frozen=True, slots=True)
class Notice:
    """The content of a notice about one alert. ``taken_by`` are the targets that have it already, of an attempt that
    half failed; ``runbook`` is the place of the alert's section.
    """

    kind: NoticeKind
    severity: Severity
    rule: str
    subject: str
    title: str
    what_to_do: str
    first_seen: datetime
    last_seen: datetime
    count: int
    taken_by: frozenset[str] = frozenset()
    runbook: str = ""

    @property
    def text(self) -> str:
        """The notice as a paragraph of plain text."""
        seen = f"seen {self.count} times" if self.count > 1 else "seen once"
        times = f"{seen}, first {self.first_seen:%Y-%m-%d %H:%M}, last {self.last_seen:%Y-%m-%d %H:%M} UTC"
        lines = [f"[{self.kind}] {self.rule} ({self.subject}): {mask_text(self.title)}", times]
        if self.kind is not NoticeKind.RESOLVED:
            lines.append(f"What to do: {self.what_to_do}")
            lines += [f"Runbook: {self.runbook}"] if self.runbook else []
        return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class Delivery:
    """The delivery of one notice: the targets that have it by now, and what went wrong; empty when nothing did."""

    taken_by: frozenset[str]
    error: str = ""


@dataclass(frozen=True, slots=True)
class _Target:
    """The target of notices of a severity. ``place`` names it without its secrets."""

    severity: Severity
    place: str
    url: SecretStr

    @property
    def key(self) -> str:
        return hashlib.sha256(self.url.get_secret_value().encode()).hexdigest()[:16]


def targeted(settings: Settings) -> list[Severity]:
    """The severities that have a target for notices."""
    return [severity for severity in Severity if _targets(settings, severity)]


def deliver(settings: Settings, notices: Sequence[Notice]) -> list[Delivery]:
    """Send every notice to each target of its severity that has not got it; how it went, in the order given.

    Every notice is named in a message; those that are too long for one are several. All messages go at once, each
    within ``settings.notice_timeout_s``. Raises nothing: what fails is in the answer.
    """
    messages = [
        (target, part)
        for severity in Severity
        for target in _targets(settings, severity)
        for part in _parts(
            [notice for notice in notices if notice.severity is severity and target.key not in notice.taken_by]
        )
    ]
    work = {
        f"notice {target.place} {target.key} {number}": _sending(target, part)
        for number, (target, part) in enumerate(messages)
    }
    outcomes = list(run_each(work, settings.notice_timeout_s).values()) if work else []
    errors = {
        (target, id(notice)): _error(target, outcome)
        for (target, part), (outcome, _) in zip(messages, outcomes, strict=True)
        for notice in part
    }
    return [_delivery(settings, notice, errors) for notice in notices]


def invalid_targets(settings: Settings) -> list[str]:
    """Return what is wrong with the URLs that notices go to, a line each: one that apprise cannot read. Sends nothing.

    Loads apprise where a URL is set, which takes seconds on a busy machine. No line holds a URL.
    """
    every = [target for severity in Severity for target in _targets(settings, severity)]
    if not every:
        return []
    from apprise import Apprise  # noqa: PLC0415  # slow to import, and most runs send nothing

    logging.getLogger("apprise").setLevel(logging.CRITICAL)
    return [
        f"TREASURY_ALERT_URLS {target.place}: {_no_target(target)}"
        for target in every
        if not Apprise().add(target.url.get_secret_value())
    ]


def malformed_targets(settings: Settings) -> list[str]:
    """`invalid_targets` as far as the form of a URL shows it: quick."""
    every = [target for severity in Severity for target in _targets(settings, severity)]
    return [f"TREASURY_ALERT_URLS {target.place}: {_no_target(target)}" for target in every if not _has_form(target)]


def require_targets(settings: Settings) -> None:
    """Raise ConfigError that names every URL of ``alert_urls`` that is none."""
    if wrong := invalid_targets(settings):
        raise ConfigError("; ".join(wrong))


def send_test(settings: Settings, now: datetime) -> list[tuple[str, str]]:
    """Send a test notice to each target: its name and what went wrong, empty when it took the notice.

    Raises ConfigError when no target is set.
    """
    every = [target for severity in Severity for target in _targets(settings, severity)]
    if not every:
        raise ConfigError("TREASURY_ALERT_URLS is not set: there is nobody to send a notice to")
    work = {f"notice {target.place} {target.key} test": _test_of(target, now) for target in every}
    outcomes = run_each(work, settings.notice_timeout_s).values()
    return [(target.place, _error(target, outcome)) for target, (outcome, _) in zip(every, outcomes, strict=True)]


def _test_of(target: _Target, now: datetime) -> Callable[[], bool]:
    text = ("test", "treasury", "this is a test notice", "nothing: the notice has arrived")
    return _sending(target, [Notice(NoticeKind.OPENED, target.severity, *text, now, now, 1)])


def load() -> None:
    """Load apprise and its plugins, which takes seconds on a busy machine; else it is done when it is needed."""
    from apprise import Apprise  # noqa: PLC0415  # slow to import, and most runs send nothing

    Apprise().add("json://localhost")


def _targets(settings: Settings, severity: Severity) -> list[_Target]:
    urls = getattr(settings.alert_urls, severity)
    return [_Target(severity, f"{severity}[{number}]", url) for number, url in enumerate(urls)]


def _sending(target: _Target, notices: Sequence[Notice]) -> Callable[[], bool]:
    """The sending of one message. What is slow and local, loading apprise and its plugins, is done before it begins."""
    from apprise import Apprise, AppriseAsset, NotifyType, OverflowMode  # noqa: PLC0415  # slow to import

    logging.getLogger("apprise").setLevel(logging.CRITICAL)  # it would log addresses; the answer is enough
    # Behind a redirect a POST becomes a GET: whatever answers that has not taken the notice.
    apprise = Apprise(asset=AppriseAsset(http_redirects=False))
    if not apprise.add(target.url.get_secret_value()):
        return lambda: _refuse(target)
    for service in apprise:
        service.overflow_mode = OverflowMode.SPLIT  # a service that takes less than our limit gets several messages
    over = all(notice.kind is NoticeKind.RESOLVED for notice in notices)
    kind = {Severity.WARNING: NotifyType.WARNING, Severity.CRITICAL: NotifyType.FAILURE}[target.severity]
    body = _BETWEEN.join(notice.text for notice in notices)
    title = _title(notices)
    return lambda: apprise.notify(body=body, title=title, notify_type=NotifyType.SUCCESS if over else kind) is True


def _refuse(target: _Target) -> bool:
    raise ConfigError(_no_target(target))


def _no_target(target: _Target) -> str:
    """Return why a URL is none, without what may be a secret in it."""
    scheme, separator, rest = target.url.get_secret_value().partition("://")
    if not separator or _SCHEME.fullmatch(scheme) is None:
        return "must be a URL of a service that apprise knows, such as mailtos://user:password@host"
    if not rest.strip("/"):
        return f"{scheme}:// must be followed by a host"
    return f"{scheme}:// is not a service that apprise knows, or its host, address or token has a wrong form"


def _has_form(target: _Target) -> bool:
    scheme, _, rest = target.url.get_secret_value().partition("://")
    return _SCHEME.fullmatch(scheme) is not None and bool(rest.strip("/"))


def _parts(notices: Sequence[Notice]) -> Iterator[list[Notice]]:
    """The notices of one severity in messages that are not too long, each notice whole in one of them."""
    part: list[Notice] = []
    length = 0
    for notice in notices:
        size = len(notice.text) + len(_BETWEEN)
        if part and length + size > _BODY_LIMIT:
            yield part
            part, length = [], 0
        part.append(notice)
        length += size
    if part:
        yield part


def _title(notices: Sequence[Notice]) -> str:
    first = notices[0]
    if len(notices) > 1:
        return f"treasury: {counted(len(notices), 'notice')}, {first.severity}"
    heading = "resolved" if first.kind is NoticeKind.RESOLVED else first.severity
    return cut(f"treasury: {heading}: {mask_text(first.title)}", _TITLE_LIMIT)


def _error(target: _Target, outcome: bool | Exception) -> str:
    if outcome is True:
        return ""
    if isinstance(outcome, TreasuryError):
        return f"{target.place}: {outcome}"
    # A library's own text may hold the address, and so its secrets.
    return f"{target.place}: {type(outcome).__name__ if isinstance(outcome, Exception) else 'was not taken'}"


def _delivery(settings: Settings, notice: Notice, errors: dict[tuple[_Target, int], str]) -> Delivery:
    mine = {target: errors.get((target, id(notice)), "") for target in _targets(settings, notice.severity)}
    taken = frozenset(target.key for target, error in mine.items() if not error)
    return Delivery(taken, cut("; ".join(error for error in mine.values() if error), _ERROR_LIMIT))
