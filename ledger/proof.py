"""The account of a month's rows on one side: count and sums. Two sides that agree, row by row too, prove the copy."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from ledger.money import add_exactly, plain
from ledger.tables import TieredTable


@dataclass(frozen=True, slots=True)
class Totals:
    """The rows of one currency, type and status: their number, the sum of each money column, their first and last
    instant.

    A table without one of the three columns has ``""`` there; NULL is None.
    """

    currency: str | None
    type: str | None
    status: str | None
    rows: int
    sums: tuple[Decimal, ...]
    first: datetime
    last: datetime


@dataclass(frozen=True, slots=True)
class MonthContent:
    """One side's account of a month: its totals, in order of currency, type and status.

    ``keys_tell_month`` says that every key lies within the month's bounds (`ledger.identifiers.id_bounds`): only then
    may a reader that looks for a key leave the month out.
    """

    totals: tuple[Totals, ...]
    keys_tell_month: bool = False

    @property
    def rows(self) -> int:
        """The number of rows."""
        return sum(total.rows for total in self.totals)


def totals_of(records: Iterable[Sequence[Any]]) -> tuple[Totals, ...]:
    """Totals from records of (currency, type, status, rows, first, last, sum, ...), sorted, NULL before all texts."""
    totals = (
        Totals(currency, kind, status, rows, tuple(_sum(value) for value in sums), first, last)
        for currency, kind, status, rows, first, last, *sums in records
    )
    return tuple(sorted(totals, key=lambda item: (_place(item.currency), _place(item.type), _place(item.status))))


def _place(value: str | None) -> tuple[bool, str]:
    return value is not None, value or ""


def _sum(value: Any) -> Decimal:
    """A sum as it is, with its scale; of nothing but NULLs it is zero."""
    return Decimal(0) if value is None else Decimal(value)


def sums_per_currency(table: TieredTable, every: Iterable[Totals]) -> dict[str, dict[str, str]]:
    """``{"ZAR": {"amount": "12.00", "fee": "0.10"}}``: every money column as decimal text, of all types and statuses.

    Exact, however many digits there are. Rows without a currency are under ``""``.
    """
    totals: dict[str, dict[str, Decimal]] = defaultdict(lambda: dict.fromkeys(table.money_columns, Decimal(0)))
    for total in every:
        of_currency = totals[total.currency or ""]
        for column, value in zip(table.money_columns, total.sums, strict=True):
            of_currency[column] = add_exactly(of_currency[column], value)
    return {currency: {name: plain(value) for name, value in sums.items()} for currency, sums in sorted(totals.items())}


def differences(here: MonthContent, there: MonthContent, names: Mapping[str, str]) -> list[str]:
    """Return what two accounts disagree on, each as one line of text; empty when they are equal. ``names`` are here,
    there.
    """
    differing = []
    if here.rows != there.rows:
        differing.append(f"rows: {names['here']} {here.rows}, {names['there']} {there.rows}")
    if here.totals != there.totals:
        differing.append(f"sums per currency, type and status differ between {names['here']} and {names['there']}")
    if here.keys_tell_month != there.keys_tell_month:
        differing.append(f"keys within the month: {names['here']} {here.keys_tell_month}, "
                         f"{names['there']} {there.keys_tell_month}")  # fmt: skip
    return differing
