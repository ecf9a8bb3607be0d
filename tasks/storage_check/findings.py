"""What one try found: a promise, whether the store keeps it, and what follows."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any


class PromiseState(StrEnum):
    """Whether a promise holds."""

    HOLDS = "holds"
    BROKEN = "does not hold"
    ABSENT = "not offered"
    UNTRIED = "not tried"


@dataclass(frozen=True, slots=True)
class Finding:
    """A promise and the result of trying it. ``relied_on``: the settings need it, and all but `holds` is an error."""

    promise: str
    verdict: PromiseState
    found: str
    follows: str
    relied_on: bool = False

    @property
    def is_wrong(self) -> bool:
        """Whether the settings rely on what the store does not do."""
        return self.relied_on and self.verdict is not PromiseState.HOLDS

    def as_json(self) -> dict[str, Any]:
        """The finding in JSON's types."""
        return {
            "promise": self.promise,
            "verdict": str(self.verdict),
            "found": self.found,
            "follows": self.follows,
            "relied_on": self.relied_on,
        }


@dataclass(frozen=True, slots=True)
class Left:
    """A canary that a lock keeps, until when in UTC."""

    key: str
    version: str
    until: datetime | None


@dataclass(frozen=True, slots=True)
class StorageReport:
    """All findings about an archive's place, the canaries that locks keep, and how many former ones were removed."""

    location: str
    findings: tuple[Finding, ...]
    left: tuple[Left, ...]
    removed: int

    @property
    def wrong(self) -> list[Finding]:
        """What the settings rely on and the store does not do."""
        return [finding for finding in self.findings if finding.is_wrong]

    def as_json(self) -> dict[str, Any]:
        """The report in JSON's types."""
        left = [
            {"key": key.key, "version": key.version, "until": key.until.isoformat() if key.until else None}
            for key in self.left
        ]
        findings = [key.as_json() for key in self.findings]
        return {"archive": self.location, "findings": findings, "left": left, "removed": self.removed}
