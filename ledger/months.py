"""The month: a UTC calendar month, half-open ``[lower, upper)``, the unit that moves between tiers."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime

from ledger.errors import ConfigError

FIRST_YEAR = 1970  # a UUIDv7 cannot carry an earlier instant (RFC 9562, 5.7: unsigned milliseconds since 1970)
LAST_YEAR = 2199
MONTH_RULE = "must be a month such as 2026-11"

_TEXT = re.compile(r"(\d{4})-(\d{2})\Z", re.ASCII)


@dataclass(frozen=True, order=True, slots=True)
class Month:
    """A calendar month in UTC. Ordered by time; ``str()`` is ``YYYY-MM``."""

    year: int
    month: int

    def __post_init__(self) -> None:
        if not (FIRST_YEAR <= self.year <= LAST_YEAR and 1 <= self.month <= 12):
            raise ConfigError(f"month {self.year}-{self.month} is outside {FIRST_YEAR}-01 to {LAST_YEAR}-12")

    @classmethod
    def parse(cls, text: str) -> "Month":
        """Read ``YYYY-MM``. Raises ConfigError for any other form."""
        match = _TEXT.match(text)
        if match is None:
            raise ConfigError(f"month {text!r} is not of the form YYYY-MM")
        return cls(int(match[1]), int(match[2]))

    @classmethod
    def of(cls, moment: datetime | date) -> "Month":
        """The month that holds ``moment``. A datetime must carry a timezone; a date is taken as a UTC day."""
        if isinstance(moment, datetime):
            if moment.tzinfo is None:
                raise ValueError("a datetime without a timezone has no month")
            moment = moment.astimezone(UTC)
        return cls(moment.year, moment.month)

    @classmethod
    def from_index(cls, index: int) -> "Month":
        """The inverse of ``index``."""
        return cls(index // 12, index % 12 + 1)

    @property
    def index(self) -> int:
        """Months since year 0: subtracting two gives the distance in months."""
        return self.year * 12 + self.month - 1

    @property
    def lower(self) -> datetime:
        """The first instant, timezone-aware UTC."""
        return datetime(self.year, self.month, 1, tzinfo=UTC)

    @property
    def upper(self) -> datetime:
        """The first instant after the month, timezone-aware UTC."""
        return datetime(self.year + self.month // 12, self.month % 12 + 1, 1, tzinfo=UTC)

    @property
    def first_day(self) -> date:
        """The first day: how a month is stored in a PostgreSQL ``date`` column."""
        return date(self.year, self.month, 1)

    def plus(self, months: int) -> "Month":
        """The month that lies ``months`` later (earlier when negative)."""
        return Month.from_index(self.index + months)

    def __str__(self) -> str:
        return f"{self.year:04d}-{self.month:02d}"


FIRST_MONTH = Month(FIRST_YEAR, 1)
LAST_MONTH = Month(LAST_YEAR, 12)


def months_between(first: Month, last: Month) -> Iterator[Month]:
    """Every month from ``first`` to ``last``, both included."""
    return (Month.from_index(index) for index in range(first.index, last.index + 1))
