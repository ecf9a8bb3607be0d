"""The preview of a dry run: the first rows as they would be stored, and counts and sums by month and currency."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from ledger.months import Month
from tasks.importing.rows import Row

FIRST_ROWS = 5


@dataclass(slots=True)
class Preview:
    """Grows with the months and currencies of a file, not with its rows. ``columns`` are those of the rows."""

    columns: tuple[str, ...] = ()
    first: list[tuple[str, ...]] = field(default_factory=list)
    sums: dict[tuple[Month, str], tuple[int, Decimal]] = field(default_factory=dict)

    def add(self, rows: Sequence[Row]) -> None:
        """Count ``rows``, which would be loaded."""
        amount, currency = self.columns.index("amount"), self.columns.index("currency")
        for row in rows:
            cells = tuple(row.copy.split("\t"))
            if len(self.first) < FIRST_ROWS:
                self.first.append(cells)
            month = (Month.from_index(row.month), cells[currency])
            count, total = self.sums.get(month, (0, Decimal(0)))
            self.sums[month] = (count + 1, total + Decimal(cells[amount]))
