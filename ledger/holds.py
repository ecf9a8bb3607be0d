"""The legal hold: why some rows must stay although their retention is over, and which rows those are.

A hold without a subject keeps whole months. One of a wallet, a user or a client keeps the rows of that subject alone.
When the month is deleted, they stay as a part of the month.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import Any

from ledger.errors import ConfigError, DataError, FieldError
from ledger.months import Month
from ledger.names import check_asked_name

FORMAT = "treasury-hold-v1"
RELEASE_FORMAT = "treasury-hold-release-v1"
_PREFIX = "HOLD-"
_MOST_DIGITS = 9


class Subject(StrEnum):
    """Whose rows a hold keeps."""

    WALLET = "wallet"
    USER = "user"
    CLIENT = "client"

    @property
    def column(self) -> str:
        """The column of a ledger table that names the subject."""
        return f"{self.value}_id"


@dataclass(frozen=True, slots=True)
class HoldScope:
    """The rows that a hold keeps: those of the months from ``first`` to ``last``, both included.

    ``table`` is None for every ledger table. ``subject`` and ``value`` narrow it to the rows of one wallet, user or
    client. Raises ConfigError for months in the wrong order, FieldError for a subject without a value or the reverse.
    """

    first: Month
    last: Month
    table: str | None = None
    subject: Subject | None = None
    value: str | None = None

    def __post_init__(self) -> None:
        if self.last < self.first:
            raise ConfigError(f"months: the last month {self.last} is before the first, {self.first}")
        if self.subject is None and self.value is not None:
            raise FieldError("subject", "must be wallet, user or client where a value is given")
        if self.subject is not None:
            check_asked_name(self.subject.value, self.value or "")

    @property
    def is_of_rows(self) -> bool:
        """Whether the hold keeps the rows of a subject, and not whole months."""
        return self.subject is not None

    def includes(self, table: str, month: Month) -> bool:
        """Return whether rows of a table's month are in the scope."""
        return self.table in (None, table) and self.first <= month <= self.last

    def __str__(self) -> str:
        months = str(self.first) if self.first == self.last else f"{self.first} to {self.last}"
        whose = f", rows of {self.subject} {self.value}" if self.subject else ""
        return f"{self.table or 'every table'} {months}{whose}"

    def to_record(self) -> dict[str, Any]:
        """The scope as JSON values."""
        return {
            "table": self.table,
            "first_month": str(self.first),
            "last_month": str(self.last),
            "subject": None if self.subject is None else str(self.subject),
            "value": self.value,
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "HoldScope":
        """Read what `to_record` made."""
        subject = record["subject"]
        months = Month.parse(record["first_month"]), Month.parse(record["last_month"])
        return cls(*months, record["table"], None if subject is None else Subject(subject), record["value"])


@dataclass(frozen=True, slots=True)
class Lack:
    """A month of which rows were deleted before a hold was placed, and the certificate: the hold keeps what is left."""

    table: str
    month: Month
    certificate: str

    def __str__(self) -> str:
        return f"rows of {self.table} {self.month} were deleted with certificate {self.certificate}"

    def to_record(self) -> dict[str, str]:
        """The values as JSON."""
        return {"table": self.table, "month": str(self.month), "certificate": self.certificate}

    @classmethod
    def from_record(cls, record: Mapping[str, str]) -> "Lack":
        """Read what `to_record` made."""
        return cls(record["table"], Month.parse(record["month"]), record["certificate"])


@dataclass(frozen=True, slots=True)
class Hold:
    """A hold that was placed: its number, the matter that it belongs to, and who placed it when (UTC) and why.

    ``review_on`` is the day on which somebody must look at it again. ``account`` is what ``actor`` worked under.
    ``lacks`` are the months of the scope of which rows were deleted before, and no hold of the same subject kept them.
    """

    number: int
    matter: str
    scope: HoldScope
    reason: str
    actor: str
    account: str
    placed_at: datetime
    review_on: date
    lacks: tuple[Lack, ...] = ()

    @property
    def name(self) -> str:
        """The name that people, the log and certificates use."""
        return hold_name(self.number)

    def to_record(self) -> dict[str, Any]:
        """The hold as JSON values: what its object in the archive contains."""
        lacks = {"lacks": [lack.to_record() for lack in self.lacks]} if self.lacks else {}
        return lacks | {
            "format": FORMAT,
            "hold": self.name,
            "matter": self.matter,
            "scope": self.scope.to_record(),
            "reason": self.reason,
            "actor": self.actor,
            "account": self.account,
            "placed_at": self.placed_at.isoformat(),
            "review_on": self.review_on.isoformat(),
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any], place: str) -> "Hold":
        """Read what `to_record` made. Raises DataError naming ``place`` for anything else."""
        try:
            hold = cls(
                number=hold_number(record["hold"]),
                matter=record["matter"],
                scope=HoldScope.from_record(record["scope"]),
                reason=record["reason"],
                actor=record["actor"],
                account=record["account"],
                placed_at=datetime.fromisoformat(record["placed_at"]),
                review_on=date.fromisoformat(record["review_on"]),
                lacks=tuple(Lack.from_record(lack) for lack in record.get("lacks", ())),
            )
        except (KeyError, TypeError, ValueError, ConfigError, FieldError) as error:
            raise DataError(f"{place}: cannot be read as a hold: {error}") from None
        if hold.to_record() != {name: value for name, value in record.items() if name != "salt"}:
            raise DataError(f"{place}: cannot be read as a hold: it is not of the format {FORMAT}")
        return hold


def hold_name(number: int) -> str:
    """The name of the hold with a number."""
    return f"{_PREFIX}{number}"


def hold_number(text: str) -> int:
    """The number in ``HOLD-7`` or ``7``. Raises ConfigError for anything else."""
    digits = text.removeprefix(_PREFIX)
    if not (digits.isascii() and digits.isdecimal() and 0 < len(digits) <= _MOST_DIGITS and int(digits)):
        raise ConfigError(f"hold {text!r}: must be a number, or HOLD- and a number")
    return int(digits)


def holds_on(holds: Iterable[Hold], table: str, month: Month) -> tuple[list[Hold], list[Hold]]:
    """The holds that keep all of a table's month, and those that keep some of its rows, each in their order."""
    here = [hold for hold in holds if hold.scope.includes(table, month)]
    return [hold for hold in here if not hold.scope.is_of_rows], [hold for hold in here if hold.scope.is_of_rows]
