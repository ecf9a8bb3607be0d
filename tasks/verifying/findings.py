"""The findings of a verification, all of them, and its counts."""

from collections import Counter
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, order=True)
class ArchiveFinding:
    """One thing that is wrong: the object or the event that it is about, and a sentence."""

    place: str
    text: str

    def __str__(self) -> str:
        return f"{self.place}: {self.text}"


@dataclass(frozen=True, slots=True)
class CheckedMonth:
    """A part of a month whose objects were read and are what the log says. ``deep``: every row, too.

    ``keys`` are the objects with rows and the tree.
    """

    table: str
    month: str
    part: int
    manifest_sha256: str
    keys: tuple[str, ...]
    size_bytes: int
    rows: int
    deep: bool


@dataclass(slots=True)
class VerificationReport:
    """The result of one verification. ``notes`` are remarks that are nothing wrong."""

    findings: list[ArchiveFinding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    months: list[CheckedMonth] = field(default_factory=list)
    origin: str | None = None
    size: int = 0

    def add(self, place: str, text: str) -> None:
        """Take a finding; the same one counts once."""
        finding = ArchiveFinding(place, text)
        if finding not in self.findings:
            self.findings.append(finding)
