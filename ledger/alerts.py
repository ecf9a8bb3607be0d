"""The definition of an alert: a rule that a subject has met, its severity, and what a person should do about it."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from ledger.card_finder import mask_card_numbers
from ledger.masking import cut, masked


class Severity(StrEnum):
    """The severity of an alert. Health results have a third state below these two: healthy."""

    WARNING = "warning"
    CRITICAL = "critical"


_RULE_LIMIT = 64
_SUBJECT_LIMIT = 200
_TITLE_LIMIT = 300
_WHAT_TO_DO_LIMIT = 1000


@dataclass(frozen=True, slots=True)
class Alert:
    """One occurrence of something that somebody must look at.

    ``rule`` and ``subject`` are its identity: of the two together at most one alert is open. Texts are cut to what is
    stored, and everything but the rule may come from outside. Secrets and personal data in ``title`` and ``evidence``
    are masked when it is stored (`stored`), card numbers in every text.
    """

    rule: str
    subject: str
    severity: Severity
    title: str
    what_to_do: str
    evidence: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not 0 < len(self.rule) <= _RULE_LIMIT:
            raise ValueError(f"an alert's rule has 1 to {_RULE_LIMIT} characters")

    @property
    def fingerprint(self) -> bytes:
        """32 bytes that stand for rule and whole subject, also where the subject is too long to be stored whole."""
        return fingerprint(self.rule, self.subject)

    def stored(self) -> dict[str, Any]:
        """The values as they are stored and sent: masked, cut, and free of what PostgreSQL's text cannot hold."""
        return {
            "rule": self.rule,
            "subject": cut(mask_card_numbers(self.subject), _SUBJECT_LIMIT),
            "fingerprint": self.fingerprint,
            "severity": str(self.severity),
            "title": cut(masked(self.title), _TITLE_LIMIT),
            "what_to_do": cut(mask_card_numbers(self.what_to_do), _WHAT_TO_DO_LIMIT),
            "evidence": masked(dict(self.evidence)),
        }


@dataclass(frozen=True, slots=True)
class AlertRule:
    """A rule as it is listed: what it looks at, the worst severity of its alerts, and its threshold as text."""

    name: str
    description: str
    severity: Severity
    threshold: str


def fingerprint(rule: str, subject: str) -> bytes:
    """Return the SHA-256 of an alert's rule and subject, which identifies it."""
    return hashlib.sha256(f"{rule}\x1f{subject}".encode("utf-8", "replace")).digest()
