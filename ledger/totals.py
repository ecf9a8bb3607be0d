"""Daily totals: what they are grouped by, in whose days, and how they are added up.

A piece is the time that one UTC day and one Johannesburg day share: 00:00 to 22:00 and 22:00 to 24:00 UTC. Every row is
in one piece, and the pieces of a day in either zone are whole, so one set of totals serves both.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from enum import StrEnum
from itertools import chain
from typing import Any

from msgspec import Struct

from ledger.business_days import JOHANNESBURG, ZONE
from ledger.columns import Column, ColumnKind
from ledger.errors import DataError, FieldError
from ledger.money import add_exactly, plain
from ledger.months import FIRST_YEAR, LAST_YEAR
from ledger.tables import TieredTable

DAY = Column("day", ColumnKind.DATE, nullable=False)
CLIENT, SUPPLIER = "client_id", "supplier"  # as the columns are called in every table that has them


class Zone(StrEnum):
    """Whose days the totals are of. South Africa has had UTC+2 all year since 1944."""

    UTC = "UTC"
    JOHANNESBURG = ZONE

    @property
    def timezone(self) -> timezone:
        """The zone for datetimes."""
        return UTC if self is Zone.UTC else JOHANNESBURG

    def start(self, day: date) -> datetime:
        """The instant at which ``day`` begins, aware."""
        return datetime(day.year, day.month, day.day, tzinfo=self.timezone)


class TotalsGroup(StrEnum):
    """What totals can be grouped by, in addition to the currency. The order is that of answers."""

    DAY = "day"
    CLIENT = "client_id"
    TYPE = "type"
    STATUS = "status"
    SUPPLIER = "supplier"


COLUMNS = (TotalsGroup.CLIENT, TotalsGroup.TYPE, TotalsGroup.STATUS, TotalsGroup.SUPPLIER)
# The columns that each set of kept totals is grouped by, by its number in `daily_totals.detail`, beside the currency.
DETAILS: Sequence[frozenset[TotalsGroup]] = (frozenset(), frozenset({TotalsGroup.CLIENT}), frozenset(COLUMNS))


def column_of(table: TieredTable, group: TotalsGroup, living: Iterable[str]) -> str | None:
    """The column of ``table`` that ``group`` is in, of those that the table has now; None for none."""
    wanted = {TotalsGroup.TYPE: table.type_column, TotalsGroup.STATUS: table.status_column}.get(group, group.value)
    return wanted if wanted in set(living) else None


def totals_columns(table: TieredTable, living: Sequence[Column]) -> tuple[Column, ...]:
    """The columns of the view of daily totals of a table that has ``living`` now."""
    names = [column.name for column in living]
    grouped = [Column(group.value, ColumnKind.TEXT) for group in COLUMNS if column_of(table, group, names)]
    scales = {column.name: column.scale or 0 for column in living}
    sums = [Column(name, ColumnKind.DECIMAL, precision=38, scale=scales.get(name, 0)) for name in table.money_columns]
    return (DAY, *grouped, Column("currency", ColumnKind.TEXT), Column("rows", ColumnKind.INTEGER), *sums)


@dataclass(frozen=True, slots=True)
class Question:
    """Which totals: the days from ``first`` to ``last``, both included, in ``zone``; grouped by ``groups``.

    ``client_id`` names the only client whose rows count; None counts all rows. ``may_be_any_year``: the days may
    be outside the years that months have.
    """

    first: date
    last: date
    zone: Zone = Zone.UTC
    groups: frozenset[TotalsGroup] = frozenset({TotalsGroup.DAY})
    client_id: str | None = None
    may_be_any_year: bool = False

    def __post_init__(self) -> None:
        """Raise FieldError for days in the wrong order, and for years that no month has."""
        if self.last < self.first:
            raise FieldError("to", f"must not be before `from`, {self.first}")
        for name, day in (("from", self.first), ("to", self.last)):
            if not (self.may_be_any_year or FIRST_YEAR <= day.year < LAST_YEAR):
                raise FieldError(name, f"must be in the years {FIRST_YEAR} to {LAST_YEAR - 1}")

    @property
    def lower(self) -> datetime:
        """The first instant of the range."""
        return self.zone.start(self.first)

    @property
    def upper(self) -> datetime:
        """The first instant after the range."""
        return self.zone.start(self.last + timedelta(days=1))

    @property
    def columns(self) -> tuple[TotalsGroup, ...]:
        """The columns that totals are grouped by, in their order."""
        return tuple(group for group in COLUMNS if group in self.groups)

    @property
    def is_of_pieces(self) -> bool:
        """Whether a group of the answer is of few kept totals: those of the pieces of a day in that set."""
        named = self.groups | ({TotalsGroup.CLIENT} if self.client_id is not None else set())
        return TotalsGroup.DAY in self.groups and DETAILS[self.detail] <= named

    @property
    def detail(self) -> int:
        """The smallest set of kept totals that can answer."""
        needed = self.groups.intersection(COLUMNS) | ({TotalsGroup.CLIENT} if self.client_id is not None else set())
        return next(number for number, kept_groups in enumerate(DETAILS) if needed <= kept_groups)


Row = tuple[Any, ...]  # of a group: its key as in `SummedGroup`, the number of its rows and their sums
_KEY = 2 + len(COLUMNS)  # day, currency and columns


class SummedGroup(Struct, frozen=True):
    """What all rows of a total have in common. A column that totals are not grouped by is None, and so is NULL."""

    day: date | None
    currency: str | None
    client_id: str | None
    type: str | None
    status: str | None
    supplier: str | None


class Total(SummedGroup, frozen=True):
    """The rows of one group: their number, and the sum of each money column in the table's order."""

    rows: int
    sums: tuple[Decimal, ...]

    def amounts(self, table: TieredTable) -> dict[str, str]:
        """The sums as decimal texts, by money column."""
        return {name: plain(value) for name, value in zip(table.money_columns, self.sums, strict=True)}


class Sums:
    """Adds up totals of several places. A sum has at least the decimal places of its column, given by ``scales``."""

    def __init__(self, table: TieredTable, scales: Sequence[int]) -> None:
        self._table = table
        self._zeros = tuple(Decimal(0).scaleb(-scale) for scale in scales)

    def totals(self, whole: Sequence[Row], parts: Iterable[Row] = ()) -> list[Total]:
        """The totals of ``whole``, which are in the order of their keys, with ``parts`` added to them.

        They are by day, currency and columns; None comes first. Raises DataError for a sum that is NaN or infinite.
        """
        folded = list(self._folded(whole))
        more = list(parts)
        totals = [Total(*row) for row in (self._joined(folded, more) if more else folded)]
        self._check(totals)
        return totals

    def _folded(self, rows: Iterable[Row]) -> Iterator[Row]:
        """The rows with their sums as one tuple; those of one key, which are next to each other, are added up."""
        last: Row | None = None
        counted, sums = 0, self._zeros
        for row in rows:
            key = row[:_KEY]
            if key != last:
                if last is not None:
                    yield (*last, counted, sums)
                last, counted, sums = key, 0, self._zeros
            counted, sums = counted + row[_KEY], self._plus(sums, row[_KEY + 1 :])
        if last is not None:
            yield (*last, counted, sums)

    def _joined(self, whole: Iterable[Row], parts: Iterable[Row]) -> list[Row]:
        by_key = {row[:_KEY]: (row[_KEY], row[_KEY + 1]) for row in whole}
        for row in parts:
            counted, sums = by_key.get(row[:_KEY], (0, self._zeros))
            by_key[row[:_KEY]] = counted + row[_KEY], self._plus(sums, row[_KEY + 1 :])
        return [(*key, *by_key[key]) for key in sorted(by_key, key=_order)]

    @staticmethod
    def _plus(sums: Iterable[Decimal], more: Iterable[Decimal]) -> tuple[Decimal, ...]:
        return tuple(map(add_exactly, sums, more))

    def _check(self, totals: Sequence[Total]) -> None:
        if all(map(Decimal.is_finite, chain.from_iterable(total.sums for total in totals))):
            return
        named_sums = (pair for total in totals for pair in zip(self._table.money_columns, total.sums, strict=True))
        name, value = next((name, value) for name, value in named_sums if not value.is_finite())
        raise DataError(f"{self._table.name}.{name}: a sum is {value}: find the rows whose {name} is NaN or infinite")


def _order(key: Row) -> list[str]:
    """What keys are sorted by: None first, then days and texts."""
    return ["" if value is None else f"={value}" for value in key]
