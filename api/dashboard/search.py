"""What the page Find is asked for. Pure."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from uuid import UUID

import msgspec

from api.routing import parsing
from api.transactions.reading import Wanted
from ledger.errors import FieldError
from ledger.months import FIRST_YEAR, LAST_YEAR, Month
from ledger.names import check_asked_name
from ledger.tables import TieredTable
from ledger.totals import Zone

LONGEST_VALUE = 512


class By(StrEnum):
    """What a row is looked for by, by the name of the column."""

    REFERENCE = "reference"
    ID = "id"
    WALLET = "wallet_id"
    USER = "user_id"


@dataclass(frozen=True, slots=True)
class RowSearch:
    """What is looked for. ``first`` and ``last`` are days in ``zone``, both included; None for no bound.

    ``client_id`` names the only client whose rows are shown; None shows those of all.
    """

    tables: tuple[TieredTable, ...]
    by: By
    value: str
    first: date | None
    last: date | None
    zone: Zone
    client_id: str | None

    def __post_init__(self) -> None:
        """Raise FieldError for a value or days that no row can have."""
        if not self.value:
            raise FieldError("value", "is required")
        if self.by is By.ID:
            parsing.row_id("value", self.value)
        elif self.by is By.REFERENCE:
            if not (len(self.value) <= LONGEST_VALUE and self.value.isprintable()):
                raise FieldError("value", f"must have 1 to {LONGEST_VALUE} printable characters")
        else:
            check_asked_name("value", self.value)
        for name, day in (("from", self.first), ("to", self.last)):
            if day is not None and not FIRST_YEAR <= day.year < LAST_YEAR:
                raise FieldError(name, f"must be in the years {FIRST_YEAR} to {LAST_YEAR - 1}")
        if self.first is not None and self.last is not None and self.last < self.first:
            raise FieldError("to", f"must not be before the first day, {self.first}")

    @property
    def lower(self) -> datetime | None:
        """The first instant that is looked at."""
        return None if self.first is None else self.zone.start(self.first)

    @property
    def upper(self) -> datetime | None:
        """The first instant after those that are looked at."""
        return None if self.last is None else self.zone.start(self.last + timedelta(days=1))

    @property
    def question(self) -> bytes:
        """What a cursor is bound to."""
        names = [table.name for table in self.tables]
        return msgspec.json.encode(["find", names, self.client_id, self.by, self.value, self.lower, self.upper])

    def includes(self, month: Month) -> bool:
        """Whether rows of a month may lie between the days."""
        return (self.lower is None or month.upper > self.lower) and (self.upper is None or month.lower < self.upper)

    def wanted(self, before: tuple[datetime, UUID] | None) -> Wanted:
        """The filter of a page behind the row ``before``."""
        asked = {self.by: self.value}
        return Wanted(
            id=UUID(self.value) if self.by is By.ID else None,
            wallet_id=asked.get(By.WALLET),
            user_id=asked.get(By.USER),
            reference=asked.get(By.REFERENCE),
            client_id=self.client_id,
            created_from=self.lower,
            created_before=self.upper,
            before=before,
        )
