"""What is known of a month's rows on one side: count, sums, and digest. Two sides that agree prove the copy."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from ledger.tables import TieredTable


@dataclass(frozen=True, slots=True)
class Group:
    """The rows of one currency and status: their number, the sum of each money column, their first and last instant."""

    currency: str
    status: str
    rows: int
    sums: tuple[Decimal, ...]
    first: datetime
    last: datetime


@dataclass(frozen=True, slots=True)
class MonthProof:
    """One side's evidence: the Merkle root over its rows and their groups, in order of currency and status."""

    digest: bytes
    groups: tuple[Group, ...]

    @property
    def rows(self) -> int:
        """The number of rows."""
        return sum(group.rows for group in self.groups)


def groups_of(records: Iterable[Sequence[Any]]) -> tuple[Group, ...]:
    """The groups in records of (currency, status, rows, first, last, sum, sum, ...), sorted; NULL counts as ''."""
    groups = (
        Group(currency or "", status or "", rows, tuple(_sum(value) for value in sums), first, last)
        for currency, status, rows, first, last, *sums in records
    )
    return tuple(sorted(groups, key=lambda group: (group.currency, group.status)))


def _sum(value: Any) -> Decimal:
    """A sum as it is, with its scale; of nothing but NULLs it is zero."""
    return Decimal(0) if value is None else Decimal(value)


def sums_per_currency(table: TieredTable, groups: Iterable[Group]) -> dict[str, dict[str, str]]:
    """``{"ZAR": {"amount": "12.00", "fee": "0.10"}}``: every money column as decimal text, all statuses together."""
    totals: dict[str, dict[str, Decimal]] = defaultdict(lambda: dict.fromkeys(table.money_columns, Decimal(0)))
    for group in groups:
        for column, value in zip(table.money_columns, group.sums, strict=True):
            totals[group.currency][column] += value
    return {currency: {name: str(value) for name, value in sums.items()} for currency, sums in sorted(totals.items())}


def differences(here: MonthProof, there: MonthProof, names: Mapping[str, str]) -> list[str]:
    """What two proofs disagree on, each as one line of text; empty when they are equal. ``names`` are here, there."""
    differing = []
    if here.rows != there.rows:
        differing.append(f"rows: {names['here']} {here.rows}, {names['there']} {there.rows}")
    if here.groups != there.groups:
        differing.append(f"sums per currency and status differ between {names['here']} and {names['there']}")
    if here.digest != there.digest:
        differing.append(f"digest: {names['here']} {here.digest.hex()}, {names['there']} {there.digest.hex()}")
    return differing
