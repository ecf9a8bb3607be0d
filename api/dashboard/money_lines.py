"""The lines of the page Money and load, made of totals: of days or months, of one table or of both. Pure."""

import csv
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from itertools import groupby
from typing import Any

from ledger.money import add_exactly
from ledger.spreadsheet_cells import safe_text
from ledger.tables import TieredTable
from ledger.totals import Total, TotalsGroup

BOTH = "Both"
_NOTHING = Decimal(0)


@dataclass(frozen=True, slots=True)
class TotalsLine:
    """A line of a table: what its rows have in common, their number, and their sums in the order of `sums_of`.

    ``when`` is a day, or the first day of a month; None for all days together.
    """

    when: date | None
    groups: tuple[str | None, ...]
    currency: str | None
    rows: int
    sums: tuple[Decimal, ...]


def sums_of(tables: Iterable[TieredTable]) -> tuple[str, ...]:
    """The money columns of the tables. Rows of a table without one of them add nothing to its sum."""
    return tuple(dict.fromkeys(name for table in tables for name in table.money_columns))


def lines_of(
    table: TieredTable,
    totals: Iterable[Total],
    columns: Sequence[TotalsGroup],
    names: Sequence[str],
    *,
    months: bool,
) -> list[TotalsLine]:
    """The totals of a table by ``columns`` and day, or month. ``names`` are the sums that each line has."""
    made = []
    for total in totals:
        assert total.day is not None  # noqa: S101  # every question of the page is by day
        when = total.day.replace(day=1) if months else total.day
        groups = tuple(getattr(total, group.value) for group in columns)
        sums = dict(zip(table.money_columns, total.sums, strict=True))
        made.append(
            TotalsLine(when, groups, total.currency, total.rows, tuple(sums.get(name, _NOTHING) for name in names))
        )
    return by_day(made)


def by_day(lines: Iterable[TotalsLine]) -> list[TotalsLine]:
    """Lines of one day and group added up."""
    return _together(lines, lambda line: (line.when, line.groups, line.currency))


def by_group(lines: Iterable[TotalsLine]) -> list[TotalsLine]:
    """All days together."""
    return _together(lines, lambda line: (None, line.groups, line.currency))


def by_currency(lines: Iterable[TotalsLine]) -> list[TotalsLine]:
    """Everything together, the currency of most rows first."""
    return sorted(_together(lines, lambda line: (None, (), line.currency)), key=lambda line: -line.rows)


def with_both(by_table: Mapping[str, Sequence[TotalsLine]]) -> list[tuple[str, TotalsLine]]:
    """All days together: the lines of each table by its name, and where there are two, those of both behind them."""
    named = [(name, line) for name, lines in by_table.items() for line in by_group(lines)]
    if len(by_table) > 1:
        named += [(BOTH, line) for line in by_group(line for lines in by_table.values() for line in lines)]
    return sorted(named, key=lambda pair: _order((None, pair[1].groups, pair[1].currency)))


def newest_first(lines: Iterable[TotalsLine]) -> list[TotalsLine]:
    """The lines in the order of the page."""

    def place(line: TotalsLine) -> tuple[int, tuple[str, ...]]:
        day = 0 if line.when is None else -line.when.toordinal()
        return day, _order((None, line.groups, line.currency))

    return sorted(lines, key=place)


def csv_of(lines: Iterable[TotalsLine], heads: Sequence[str], when: str) -> bytes:
    """The lines for a spreadsheet. No text is one that a spreadsheet takes for a formula; ``when`` writes the time."""
    # With a byte order mark: Excel takes a file without one for the code page of its machine.
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(heads)
    for line in lines:
        assert line.when is not None  # noqa: S101  # lines of all days are in no file
        texts = (safe_text(value or "") for value in (*line.groups, line.currency))
        writer.writerow([line.when.strftime(when), *texts, line.rows, *(format(value, "f") for value in line.sums)])
    return text.getvalue().encode("utf-8-sig")


def _together(lines: Iterable[TotalsLine], key: Callable[[TotalsLine], Any]) -> list[TotalsLine]:
    """The lines of one key added up, in the order of the keys. Sums of two currencies are never added."""
    made = []
    for (when, groups, currency), some in groupby(sorted(lines, key=lambda line: _order(key(line))), key=key):
        rows, sums = 0, None
        for line in some:
            rows += line.rows
            sums = line.sums if sums is None else tuple(map(add_exactly, sums, line.sums))
        made.append(TotalsLine(when, groups, currency, rows, sums or ()))
    return made


def _order(key: tuple[date | None, tuple[str | None, ...], str | None]) -> tuple[str, ...]:
    when, groups, currency = key
    return (str(when or ""), *(value or "" for value in groups), currency or "")
