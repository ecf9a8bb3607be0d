"""What is known of a month's rows on one side: count, sums, and digest. Two sides that agree prove the copy."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from ledger.money import add_exactly, plain
from ledger.tables import TieredTable


@dataclass(frozen=True, slots=True)
class Group:
    """The rows of one currency and status: their number, the sum of each money column, their first and last instant.

    A table without one of the two columns has ``""`` there; NULL is None.
    """

    currency: str | None
    status: str | None
    rows: int
    sums: tuple[Decimal, ...]
    first: datetime
    last: datetime


@dataclass(frozen=True, slots=True)
class MonthProof:
    """One side's evidence: the Merkle root over its rows and their groups, in order of currency and status.

    ``keys_tell_month`` says that every key lies within the month's bounds (`ledger.identifiers.id_bounds`): only then
    may a reader that looks for a key leave the month out.
    """

    digest: bytes
    groups: tuple[Group, ...]
    keys_tell_month: bool = False

    @property
    def rows(self) -> int:
        """The number of rows."""
        return sum(group.rows for group in self.groups)


def groups_of(records: Iterable[Sequence[Any]]) -> tuple[Group, ...]:
    """The groups in records of (currency, status, rows, first, last, sum, sum, ...), sorted, NULL before all texts."""
    groups = (
        Group(currency, status, rows, tuple(_sum(value) for value in sums), first, last)
        for currency, status, rows, first, last, *sums in records
    )
    return tuple(sorted(groups, key=lambda group: (_place(group.currency), _place(group.status))))


def _place(value: str | None) -> tuple[bool, str]:
    return value is not None, value or ""


def _sum(value: Any) -> Decimal:
    """A sum as it is, with its scale; of nothing but NULLs it is zero."""
    return Decimal(0) if value is None else Decimal(value)


def sums_per_currency(table: TieredTable, groups: Iterable[Group]) -> dict[str, dict[str, str]]:
    """``{"ZAR": {"amount": "12.00", "fee": "0.10"}}``: every money column as decimal text, all statuses together.

    Exact, however many digits there are. Rows without a currency are under ``""``.
    """
    totals: dict[str, dict[str, Decimal]] = defaultdict(lambda: dict.fromkeys(table.money_columns, Decimal(0)))
    for group in groups:
        of_currency = totals[group.currency or ""]
        for column, value in zip(table.money_columns, group.sums, strict=True):
            of_currency[column] = add_exactly(of_currency[column], value)
    return {currency: {name: plain(value) for name, value in sums.items()} for currency, sums in sorted(totals.items())}


def differences(here: MonthProof, there: MonthProof, names: Mapping[str, str]) -> list[str]:
    """What two proofs disagree on, each as one line of text; empty when they are equal. ``names`` are here, there."""
    differing = []
    if here.rows != there.rows:
        differing.append(f"rows: {names['here']} {here.rows}, {names['there']} {there.rows}")
    if here.groups != there.groups:
        differing.append(f"sums per currency and status differ between {names['here']} and {names['there']}")
    if here.digest != there.digest:
        differing.append(f"digest: {names['here']} {here.digest.hex()}, {names['there']} {there.digest.hex()}")
    if here.keys_tell_month != there.keys_tell_month:
        differing.append(f"keys within the month: {names['here']} {here.keys_tell_month}, "
                     f"{names['there']} {there.keys_tell_month}")  # fmt: skip
    return differing
