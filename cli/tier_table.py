"""The months of a table for people: a line for each, or one for those of a year that are alike and need nothing."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import groupby

from rich.table import Table
from rich.text import Text

from cli.terminal import console, draw, visible
from ledger.counts import counted
from ledger.money import add_exactly
from ledger.policy import Tier
from ledger.sizes import human_bytes
from tasks.archiving.tiers import TierRow

MOST_LINES = 24  # of a table; one with more has its years folded
_LEGEND = (
    "bytes: size in the present tier; was: size in PostgreSQL before archiving; sum: currency with the largest sum,"
    " +N: number of further currencies. --json gives all sums and full digests"
)
_FOLDED = "months of a year that differ in nothing but their numbers are one line; --all shows every month"


@dataclass(frozen=True, slots=True)
class FoldedYear:
    """The months of a year that are in one tier, without a remark: their number, and what they have together."""

    year: int
    tier: Tier
    months: int
    rows: int
    bytes: int
    postgres_bytes: int | None  # before the months left PostgreSQL
    sums: dict[str, dict[str, str]]


def show_tiers(rows: Sequence[TierRow], *, every_month: bool = False) -> None:
    """Print the months of each table. Years are folded where there are many, unless ``every_month`` is asked for."""
    is_folded = False
    for name in dict.fromkeys(row.table for row in rows):
        mine = [row for row in rows if row.table == name]
        lines = list(mine) if every_month or len(mine) <= MOST_LINES else folded(mine)
        is_folded |= any(isinstance(line, FoldedYear) for line in lines)
        draw(_table(name, lines))
    for text in (_LEGEND, _FOLDED) if is_folded else (_LEGEND,):
        console.print(text, soft_wrap=True)


def folded(rows: Sequence[TierRow]) -> list["TierRow | FoldedYear"]:
    """The rows of one table, oldest first, with a line in the place of the months of a year that can be folded."""
    lines: list[TierRow | FoldedYear] = []
    for year, group in groupby(rows, key=lambda row: row.month.year if row.month else None):
        several = list(group)
        runs = [list(run) for _, run in groupby(several, key=_kind)]
        if year is None or len(runs) > len(set(map(_kind, several))):  # months went back and forth: show each
            lines += several
            continue
        for run in runs:
            together = _folded(year, run)
            lines += run if together is None else [together]
    return lines


def _kind(row: TierRow) -> tuple[Tier, bool]:
    """What the months of one line have in common: their tier, and whether they are still to be filled."""
    return row.tier, row.tier is Tier.HOT and row.rows == 0


def _folded(year: int, rows: Sequence[TierRow]) -> FoldedYear | None:
    tier, is_empty = _kind(rows[0])
    counts = [row.rows for row in rows if row.rows is not None]
    needs_digest = tier not in (Tier.HOT, Tier.WARM)
    is_plain = all(not row.note and (row.digest or not needs_digest) for row in rows)
    in_use = tier is Tier.HOT and not is_empty
    if len(rows) == 1 or in_use or not is_plain or len(counts) < len(rows):
        return None
    return FoldedYear(
        year,
        tier,
        len({row.month for row in rows}),
        sum(counts),
        sum(row.bytes for row in rows),
        sum(row.postgres_bytes for row in rows) if needs_digest else None,
        _added([row.sums for row in rows]),
    )


def _added(sums: Sequence[dict[str, dict[str, str]]]) -> dict[str, dict[str, str]]:
    """The sums of several months, by currency and money column."""
    added: dict[str, dict[str, Decimal]] = {}
    for month_sums in sums:
        for currency, columns in month_sums.items():
            known = added.setdefault(currency, {})
            for column, amount in columns.items():
                known[column] = add_exactly(known.get(column, Decimal(0)), Decimal(amount))
    return {currency: {name: str(amount) for name, amount in columns.items()} for currency, columns in added.items()}


def _table(name: str, lines: Sequence[TierRow | FoldedYear]) -> Table:
    shown = Table(
        title=Text(visible(name), style="table.title"),
        title_justify="left",
        box=None,
        padding=(0, 1, 0, 0),
        header_style="bold",
    )
    for heading in ("month", "tier"):
        shown.add_column(heading, no_wrap=True)
    for heading in ("rows", "bytes", "was", "sum"):
        shown.add_column(heading, justify="right", no_wrap=True)
    for heading in ("digest", "moved"):
        shown.add_column(heading, no_wrap=True)
    notes = [line.note if isinstance(line, TierRow) else "" for line in lines]
    if any(notes):
        shown.add_column("note")
    for line, note in zip(lines, notes, strict=True):
        cells = _cells(line) if isinstance(line, TierRow) else _year_cells(line)
        shown.add_row(*(Text(visible(cell)) for cell in (*cells, *([note] if note else []))))
    return shown


def _cells(row: TierRow) -> tuple[str, ...]:
    return (
        str(row.month) if row.month else "other",
        row.tier,
        "hidden" if row.rows is None else f"{row.rows:,}",
        human_bytes(row.bytes),
        human_bytes(row.postgres_bytes) if row.digest else "",
        _largest_sum(row.sums),
        row.digest[:8] if row.digest else "",
        f"{row.moved_at:%Y-%m-%d}" if row.moved_at else "",
    )


def _year_cells(year: FoldedYear) -> tuple[str, ...]:
    sizes = (human_bytes(year.bytes), "" if year.postgres_bytes is None else human_bytes(year.postgres_bytes))
    months = f"{year.year}, {counted(year.months, 'month')}"
    return (months, year.tier, f"{year.rows:,}", *sizes, _largest_sum(year.sums), "", "")


def _largest_sum(sums: dict[str, dict[str, str]]) -> str:
    """The first money column's sum in the currency with most of it; how many more currencies there are."""
    amounts = {currency: next(iter(columns.values())) for currency, columns in sums.items() if columns}
    if not amounts:
        return ""
    currency = max(amounts, key=lambda name: _size(Decimal(amounts[name])))
    more = f" +{len(amounts) - 1}" if len(amounts) > 1 else ""
    return f"{Decimal(amounts[currency]):,} {currency}{more}"


def _size(amount: Decimal) -> tuple[bool, Decimal]:
    """Return what sums are compared by. NaN, which PostgreSQL's numeric has, is the one that must be seen."""
    return (True, Decimal(0)) if amount.is_nan() else (False, amount)
