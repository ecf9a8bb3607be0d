"""The day from which a month may be deleted, and the plan that people approve: pure data with a hash, so that a change
shows.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import rfc8785

from ledger.installation import Owner
from ledger.months import Month
from ledger.policy import TierPolicy


def due_on(policy: TierPolicy, month: Month) -> date:
    """The first UTC day on which the policy of a table lets ``month`` be deleted."""
    return month.plus(policy.retention_months + 1).first_day


def last_due(policy: TierPolicy, today: date) -> Month:
    """The last month that the policy of a table lets be deleted on a UTC day."""
    return Month.of(today).plus(-policy.retention_months - 1)


@dataclass(frozen=True, slots=True)
class DoomedPart:
    """A part of a month that is to be deleted: its rows, its root and the SHA-256 of its manifest, both in hex."""

    part: int
    rows: int
    root: str
    manifest_sha256: str

    def to_record(self) -> dict[str, Any]:
        """The part as JSON values."""
        return {"part": self.part, "rows": self.rows, "root": self.root, "manifest_sha256": self.manifest_sha256}


@dataclass(frozen=True, slots=True)
class DoomedMonth:
    """A month of a table that is past its policy, with the parts that are there.

    ``keeps`` are the names of the holds whose rows stay.
    """

    table: str
    month: Month
    due_on: date
    retention_months: int
    parts: tuple[DoomedPart, ...]
    keeps: tuple[str, ...] = ()

    @property
    def rows(self) -> int:
        """The rows of all parts, those that stay included."""
        return sum(part.rows for part in self.parts)

    def to_record(self) -> dict[str, Any]:
        """The month as JSON values."""
        return {
            "table": self.table,
            "month": str(self.month),
            "due_on": self.due_on.isoformat(),
            "retention_months": self.retention_months,
            "parts": [part.to_record() for part in self.parts],
            "keeps": list(self.keeps),
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "DoomedMonth":
        """Read what `to_record` made."""
        parts = tuple(DoomedPart(**part) for part in record["parts"])
        month, due = Month.parse(record["month"]), date.fromisoformat(record["due_on"])
        return cls(record["table"], month, due, record["retention_months"], parts, tuple(record["keeps"]))

    def __str__(self) -> str:
        return f"{self.table} {self.month}"


@dataclass(frozen=True, slots=True)
class KeptMonth:
    """A month that is past its policy and stays, and why. ``is_wholly_held``: because holds keep every row of it."""

    table: str
    month: Month
    reason: str
    is_wholly_held: bool = False


@dataclass(frozen=True, slots=True)
class DeletionPlan:
    """The result of the policies and the holds on the UTC day ``as_of``: what is to be deleted, and what stays."""

    as_of: date
    months: tuple[DoomedMonth, ...]
    kept: tuple[KeptMonth, ...] = ()

    @property
    def sha256(self) -> bytes:
        """The hash of what is to be deleted. People approve this value, and nothing else is deleted under it."""
        return plan_hash(self.months)


def plan_hash(months: Sequence[DoomedMonth]) -> bytes:
    """SHA-256 of the canonical JSON of the months, in their order."""
    return hashlib.sha256(rfc8785.dumps([month.to_record() for month in months])).digest()


def certificate_number(owner: Owner, number: int) -> str:
    """The number of an installation's certificate: ``DEL-9018d232-7``."""
    return f"DEL-{owner.short}-{number}"
