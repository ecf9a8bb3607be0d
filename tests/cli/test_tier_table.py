"""`treasury tiers` of ten years fits a screen: months of a year of which nothing more is to be said are one line."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from cli.tier_table import FoldedYear, folded, show_tiers
from ledger.months import Month
from ledger.policy import Tier
from tasks.archiving.tiers import TierRow

FIRST = Month(2017, 1)
MOVED = datetime(2026, 1, 2, tzinfo=UTC)


def row(month: Month, tier: Tier = Tier.COLD, note: str = "", part: int = 1) -> TierRow:
    digest = "ab" * 32 if tier is Tier.COLD else None
    sums = {"ZAR": {"amount": "12345678901234567890123456789.01", "fee": "0.10"}, "USD": {"amount": "1.00"}}
    return TierRow("transactions", month, part, tier, 10, 1000, 5000, sums, digest, MOVED, note)


TEN_YEARS = [row(FIRST.plus(number), Tier.COLD if number < 105 else Tier.HOT) for number in range(120)]


def test_years_of_one_tier_are_one_line_with_exact_sums() -> None:
    lines = folded(TEN_YEARS)
    years = [line for line in lines if isinstance(line, FoldedYear)]
    assert [one.year for one in years] == list(range(2017, 2026))
    assert (years[0].months, years[0].rows, years[0].bytes, years[0].postgres_bytes) == (12, 120, 12_000, 60_000)
    assert years[0].sums["ZAR"] == {"amount": "148148146814814814681481481468.12", "fee": "1.20"}
    assert (years[-1].tier, years[-1].months) == (Tier.COLD, 9)
    assert len(lines) == 9 + 15


@pytest.mark.parametrize(
    "change",
    [{"note": "held by HOLD-1"}, {"tier": Tier.DEEP}, {"digest": None}, {"rows": None}],
    ids=["remark", "another tier", "no digest", "hidden rows"],
)
def test_a_year_with_something_to_say_is_shown_month_by_month(change: dict[str, object]) -> None:
    rows = [row(FIRST.plus(number)) for number in range(12)]
    rows[5] = replace(rows[5], **change)  # type: ignore[arg-type]  # each changes one field
    assert folded(rows) == rows


def of_a_ledger(table: str) -> list[TierRow]:
    """Ten years by the built-in policy on 2026-11-30, with the partitions ahead: cold, warm, in use, still empty."""
    rows = [
        replace(row(month, tier, part=1), table=table, rows=0 if number > 120 else 10)
        for number in range(133)
        for month in (Month(2016, 11).plus(number),)
        for tier in (Tier.COLD if number < 108 else Tier.WARM if number < 117 else Tier.HOT,)
    ]
    assert str(rows[120].month) == "2026-11"
    return rows


def test_two_tables_of_ten_years_fit_a_screen_and_show_the_months_in_use(capsys: pytest.CaptureFixture[str]) -> None:
    show_tiers([row for table in ("transactions", "vas_transactions") for row in of_a_ledger(table)])
    shown = capsys.readouterr().out
    assert len(shown.splitlines()) <= 50
    lines = shown.partition("vas_transactions")[0].splitlines()
    ends = [line.split()[:4] for line in lines if line.startswith(("2025", "2026", "2027"))]
    assert ends[:3] == [
        ["2025,", "10", "months", "cold"],
        ["2025,", "2", "months", "warm"],
        ["2026,", "7", "months", "warm"],
    ]
    assert [words[0] for words in ends[3:]] == ["2026-08", "2026-09", "2026-10", "2026-11", "2026-12", "2027,"]


def test_a_warm_month_with_a_remark_is_shown_with_its_neighbours() -> None:
    rows = [row(FIRST.plus(number), Tier.COLD if number < 6 else Tier.WARM) for number in range(12)]
    rows[8] = replace(rows[8], note="2 unfinished rows")
    first, *others = folded(rows)
    assert isinstance(first, FoldedYear)
    assert others == rows[6:]


def test_no_row_is_lost() -> None:
    stray = replace(row(FIRST), month=None, digest=None, tier=Tier.HOT)
    rows = [*TEN_YEARS, row(FIRST.plus(104), part=2), stray]
    lines = folded(rows)
    assert sum(line.rows or 0 for line in lines) == 10 * len(rows)
    assert lines[-1] is stray


def test_all_shows_every_month_and_few_months_are_never_folded(capsys: pytest.CaptureFixture[str]) -> None:
    show_tiers(TEN_YEARS)
    short = capsys.readouterr().out
    assert "2017, 12 months" in short
    assert "--all shows every month" in short
    assert "2017-05" not in short
    show_tiers(TEN_YEARS, every_month=True)
    whole = capsys.readouterr().out
    assert all(str(one.month) in whole for one in TEN_YEARS)
    assert "--all" not in whole
    show_tiers(TEN_YEARS[:24])
    assert "2017-05" in capsys.readouterr().out
