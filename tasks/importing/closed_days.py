"""Rows of days that two people have closed are not loaded: which of a chunk they are, and that it stays so until
COMMIT.
"""

from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import NamedTuple

from ledger.business_days import day_of
from ledger.months import Month
from ledger.tables import VAS_TRANSACTIONS, TieredTable
from sql.connection import Connection, fetch_one
from sql.queries import load
from sql.storing import check_stored
from tasks.importing.rejects import Reject
from tasks.importing.rows import Row

_QUERIES = load("closed_days")


class DaysClosedError(Exception):
    """A period was closed between `ClosedDays.split` and the COMMIT: split again."""


class _Period(NamedTuple):
    supplier: str
    first: date
    last: date


class ClosedDays:
    """The closed periods as far as rows of one table lie in them. Days are of Africa/Johannesburg.

    Of a chunk that is in the months of no period nothing is looked at but its months.
    """

    def __init__(self, connection: Connection, table: TieredTable, columns: Sequence[str]) -> None:
        self._connection = connection
        self._has_days = table.name == VAS_TRANSACTIONS.name
        self._time_column = table.time_column
        self._newest = 0
        if self._has_days:
            self._supplier, self._time = columns.index("supplier"), columns.index(table.time_column)

    def split(self, rows: Sequence[Row]) -> tuple[Sequence[Row], list[Reject]]:
        """The rows that may be loaded, and the others with their reason."""
        if not (self._has_days and rows):
            return rows, []
        (self._newest,) = fetch_one(self._connection, _QUERIES["newest_period"])
        periods = self._periods("closed_periods", rows)
        if not periods:
            return rows, []
        kept: list[Row] = []
        rejects: list[Reject] = []
        for row in rows:
            period = _holding(periods, *self._day_of(row))
            if period is None:
                kept.append(row)
            else:
                rejects.append(Reject(row.line, self._reason(row, period), self._time_column, row.text))
        return kept, rejects

    def enter(self, rows: Sequence[Row]) -> None:
        """Keep closings out until the open transaction ends, and note for them the rows in days that are proposed for
        it.

        Raises DaysClosedError when one was quicker.
        """
        if not (self._has_days and rows):
            return
        suppliers = sorted({row.copy.split("\t")[self._supplier] for row in rows})
        self._connection.execute(_QUERIES["keep_closings_out"], {"suppliers": suppliers})
        if fetch_one(self._connection, _QUERIES["newest_period"])[0] != self._newest:
            raise DaysClosedError
        proposed = self._periods("proposed_periods", rows)
        days = (
            sorted({supplier_day for row in rows if _holding(proposed, *(supplier_day := self._day_of(row)))})
            if proposed
            else []
        )
        if days:
            named = {"suppliers": [day for day, _ in days], "days": [day for _, day in days]}
            check_stored(self._connection.execute(_QUERIES["note_days"], named), len(days), "recon_day_changes")

    def _periods(self, query: str, rows: Sequence[Row]) -> list[_Period]:
        """Those that the months of the rows touch: in Johannesburg a month of UTC ends a day later."""
        months = [row.month for row in rows]
        first, last = Month.from_index(min(months)), Month.from_index(max(months)).plus(1)
        asked = {"first": first.first_day, "last": last.first_day + timedelta(days=1)}
        return [_Period(*row) for row in self._connection.execute(_QUERIES[query], asked)]

    def _day_of(self, row: Row) -> tuple[str, date]:
        cells = row.copy.split("\t")
        return cells[self._supplier], day_of(datetime.fromisoformat(cells[self._time]))

    def _reason(self, row: Row, period: _Period) -> str:
        supplier, day = self._day_of(row)
        return f"{supplier} {day} is in the closed period {period.first} to {period.last}: it takes no more rows"


def _holding(periods: Sequence[_Period], supplier: str, day: date) -> _Period | None:
    return next(
        (period for period in periods if period.supplier == supplier and period.first <= day <= period.last), None
    )
