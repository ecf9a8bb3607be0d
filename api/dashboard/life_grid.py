"""The grid of months: a table for each ledger table, a row for each year, a cell for each month. Pure.

A tier has a letter, a shape and a word; what else is the matter has a sign after the letter.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import groupby

from api.dashboard import formats
from ledger.forecast import KnownPart
from ledger.months import Month
from ledger.policy import Tier
from tasks.archiving.life import MonthCondition, MonthLife, TableLife

LETTERS: Mapping[Tier, str] = {
    Tier.HOT: "H",
    Tier.WARM: "W",
    Tier.COLD: "C",
    Tier.DEEP: "D",
    Tier.DELETED: "X",
}


class Mark(StrEnum):
    """A sign after the letter of a tier."""

    BAD = "!"
    SEALED = "="
    HELD_BACK = "~"
    DUE = ">"
    HOLD = "§"
    DOOMED = "-"


# What a sign means, for the legend and for the text of a cell.
MEANINGS: Mapping[Mark, str] = {
    Mark.BAD: "failed, missing or refused",
    Mark.SEALED: "sealed: takes no writes",
    Mark.HELD_BACK: "held back",
    Mark.DUE: "moves in the next nightly run",
    Mark.HOLD: "kept by a legal hold",
    Mark.DOOMED: "due for deletion, or being deleted",
}
_OF_CONDITION: Mapping[MonthCondition, Mark] = {
    MonthCondition.MISSING: Mark.BAD,
    MonthCondition.FAILED: Mark.BAD,
    MonthCondition.REFUSED: Mark.BAD,
    MonthCondition.SEALED: Mark.SEALED,
    MonthCondition.HELD_BACK: Mark.HELD_BACK,
    MonthCondition.DUE: Mark.DUE,
    MonthCondition.DELETING: Mark.DOOMED,
}


@dataclass(frozen=True, slots=True)
class Cell:
    """A month in the grid. ``said`` is the month in words, with plain spaces: a thin one has three bytes."""

    month: Month
    tier: Tier
    letter: str
    marks: str
    said: str


@dataclass(frozen=True, slots=True)
class Year:
    """A row of the grid: twelve cells, None for a month that is not there."""

    year: int
    cells: tuple[Cell | None, ...]


@dataclass(frozen=True, slots=True)
class TierSum:
    """What a tier holds: months, rows, bytes now and before in PostgreSQL, and of how many months bytes are not known.

    A month of which parts are in two tiers is in both. Rows and bytes are those that are known.
    """

    tier: Tier
    months: int
    rows: int
    size_bytes: int
    was_bytes: int
    unknown: int


def years(table: TableLife) -> list[Year]:
    """The years of a table, the newest first."""
    listed = []
    for year, months in groupby(table.months, key=lambda life: life.month.year):
        by_number = {life.month.month: cell(life) for life in months}
        listed.append(Year(year, tuple(by_number.get(number) for number in range(1, 13))))
    return listed[::-1]


def cell(month: MonthLife) -> Cell:
    """The cell of a month."""
    marks = marks_of(month)
    return Cell(month.month, month.tier, LETTERS[month.tier], "".join(marks), said(month).replace(formats.THIN, " "))


def marks_of(month: MonthLife) -> list[Mark]:
    """The signs of a month, in the order of the legend."""
    marks = {_OF_CONDITION[month.condition]} if month.condition in _OF_CONDITION else set()
    if month.held_by:
        marks.add(Mark.HOLD)
    if month.deletion not in ("", "deleted"):
        marks.add(Mark.DOOMED)
    return [mark for mark in Mark if mark in marks]


def said(month: MonthLife) -> str:
    """The month in a few words: tier, rows, bytes, and what is the matter. Its year and number are beside it."""
    parts = [" and ".join(month.tiers)]
    if month.tier is not Tier.DELETED:
        about = "" if month.is_exact or month.rows is None else "about "
        parts.append(f"{about}{formats.number(month.rows)} rows")
        parts.append(formats.size(month.size_bytes))
    if month.condition is not MonthCondition.QUIET:
        parts.append(str(month.condition))
    if month.held_by:
        parts.append(f"held by {', '.join(month.held_by)}")
    if month.deletion and month.tier is not Tier.DELETED:
        parts.append(DELETIONS[month.deletion])
    return ", ".join(parts)


DELETIONS: Mapping[str, str] = {
    "due": "due for deletion",
    "waiting": "its deletion waits for approvals",
    "grace": "its deletion is approved and can be revoked",
    "approved": "its deletion is approved and due",
    "deleting": "being deleted",
    "deleted": "deleted",
}


def sums(months: Sequence[MonthLife]) -> list[TierSum]:
    """What each tier holds, in their order; only those that hold a part of a month."""
    held = [((month.table, month.month), part) for month in months for part in month.parts]
    return [_sum(tier, parts) for tier in Tier if (parts := [pair for pair in held if pair[1].tier is tier])]


def _sum(tier: Tier, held: Sequence[tuple[tuple[str, Month], KnownPart]]) -> TierSum:
    parts = [part for _, part in held]
    return TierSum(
        tier,
        len({month for month, _ in held}),
        sum(part.rows or 0 for part in parts),
        sum(part.size_bytes or 0 for part in parts),
        sum(part.postgres_bytes or 0 for part in parts),
        len({month for month, part in held if part.size_bytes is None or part.postgres_bytes is None}),
    )
