"""The grid of months: a tier has a letter, a shape and words, and what is the matter by a sign."""

import re
from datetime import UTC, date, datetime
from typing import Any

import pytest

from api.dashboard import life_grid
from api.dashboard.life import draw
from api.dashboard.life_grid import LETTERS, MEANINGS, Mark
from api.dashboard.month_story import story
from api.dashboard.rendering import assets
from ledger.forecast import KnownPart
from ledger.months import Month
from ledger.policy import Tier
from ledger.tables import TRANSACTIONS
from tasks.archiving.life import Life, MonthCondition, MonthEvent, MonthLife, ProofStanding, TableLife
from tests.api.dashboard.test_formats import plain


def a_month(
    month: Month, tier: Tier = Tier.COLD, rows: int | None = 1234, later: tuple[KnownPart, ...] = (), **changes: Any
) -> MonthLife:
    usual: dict[str, Any] = {
        "table": "transactions",
        "month": month,
        "parts": (KnownPart(month, tier, rows, 8192, 2048), *later),
        "is_exact": True,
        "condition": MonthCondition.QUIET,
        "reason": "",
        "held_by": (),
        "deletion": "",
        "certificate": "",
    }
    return MonthLife(**usual | changes)


def test_years_are_rows_of_twelve_the_newest_first() -> None:
    months = (a_month(Month(2024, 11)), a_month(Month(2024, 12)), a_month(Month(2026, 1), tier=Tier.HOT))
    rows = life_grid.years(TableLife("transactions", months, 0))
    assert [row.year for row in rows] == [2026, 2024]
    assert all(len(row.cells) == 12 for row in rows)
    assert [None if one is None else one.letter for one in rows[1].cells] == [None] * 10 + ["C", "C"]
    first = rows[0].cells[0]
    assert first is not None
    assert (first.month, first.letter, first.tier) == (Month(2026, 1), "H", Tier.HOT)


def test_every_tier_has_a_letter_and_a_shape_of_its_own() -> None:
    assert len(set(LETTERS.values())) == len(Tier)
    shapes = [shape(tier) for tier in Tier]
    assert len(set(shapes)) == len(Tier), dict(zip(Tier, shapes, strict=True))


def shape(tier: Tier) -> frozenset[str]:
    """What the style sheet declares for the cells of a tier, other than colours: who sees none has the shape alone."""
    style = bytes(assets()["dashboard.css"]._plain._whole.body).decode()
    rules = re.findall(r"([^{}]+)\{([^{}]*)\}", re.sub(r"/\*.*?\*/", "", style, flags=re.DOTALL))
    own = [
        body
        for selectors, body in rules
        if f".months .{LETTERS[tier]}" in (name.strip() for name in selectors.split(","))
    ]
    assert own, tier
    declared = (declaration.strip() for body in own for declaration in body.split(";") if declaration.strip())
    return frozenset(
        declaration
        for declaration in declared
        if declaration.partition(":")[0] not in ("color", "border-color") and not declaration.startswith("background")
    )


def test_twenty_years_of_three_tables_leave_room_in_the_first_view() -> None:
    """Of 100 KB, with the style, the script and the icon; the rest of the page takes some 12 KB."""
    present = Month(2026, 11)
    tables = [
        TableLife(
            name,
            tuple(
                a_month(present.plus(-back), rows=5_000_000, table=name, deletion="due" if back > 120 else "")
                for back in range(239, -1, -1)
            ),
            12,
        )
        for name in ("transactions", "vas_transactions", "payouts")
    ]
    standing = ProofStanding(0, None, 0, None, "", "", "", 0, None)
    grids = draw(Life(datetime(2026, 11, 30, tzinfo=UTC), present, tuple(tables), (), None, standing))
    files = sum(len(bytes(asset._packed._whole.body)) for asset in assets().values())
    assert sum(len(grid.encode()) for grid in grids.values()) + files < 88_000


@pytest.mark.parametrize(
    ("changes", "marks", "words"),
    [
        ({}, "", "cold, 1 234 rows, 2.0 KiB"),
        ({"tier": Tier.HOT, "is_exact": False}, "", "hot, about 1 234 rows, 8.0 KiB"),
        ({"rows": None, "is_exact": False}, "", "cold, - rows, 2.0 KiB"),
        ({"condition": MonthCondition.FAILED}, "!", "cold, 1 234 rows, 2.0 KiB, failed"),
        ({"condition": MonthCondition.HELD_BACK, "tier": Tier.WARM}, "~", "warm, 1 234 rows, 8.0 KiB, held back"),
        ({"later": (KnownPart(Month(2024, 3), Tier.WARM, 1, 1024, None),)}, "", "cold and warm, 1 235 rows, 3.0 KiB"),
        ({"condition": MonthCondition.SEALED, "held_by": ("HOLD-1", "HOLD-2")}, "=§", "held by HOLD-1, HOLD-2"),
        ({"deletion": "grace"}, "-", "its deletion is approved and can be revoked"),
        ({"tier": Tier.DELETED, "deletion": "deleted"}, "", "deleted"),
    ],
)
def test_a_cell_says_what_is_the_matter(changes: dict[str, Any], marks: str, words: str) -> None:
    one = life_grid.cell(a_month(Month(2024, 3), **changes))
    assert one.marks == marks
    assert plain(one.said).endswith(words)


def test_every_condition_but_quiet_has_a_sign_and_every_sign_a_meaning() -> None:
    for condition in MonthCondition:
        marks = life_grid.marks_of(a_month(Month(2024, 3), condition=condition))
        assert bool(marks) == (condition is not MonthCondition.QUIET)
    assert set(MEANINGS) == set(Mark)


def test_the_sums_of_the_tiers_are_those_of_their_parts() -> None:
    late = KnownPart(Month(2024, 1), Tier.WARM, 1, 1024, None)
    later = KnownPart(Month(2024, 1), Tier.COLD, 10, 100, 50)
    months = [
        a_month(Month(2024, 1), later=(later, late)),
        a_month(Month(2024, 2), rows=None),
        a_month(Month(2026, 1), tier=Tier.HOT),
    ]
    hot, warm, cold = life_grid.sums(months)
    assert (hot.tier, hot.months, hot.size_bytes) == (Tier.HOT, 1, 8192)
    assert (warm.tier, warm.months, warm.rows, warm.size_bytes, warm.was_bytes) == (Tier.WARM, 1, 1, 1024, 1024)
    assert (cold.tier, cold.months, cold.rows, cold.size_bytes, cold.was_bytes) == (Tier.COLD, 2, 1244, 4146, 16484)


def test_what_nobody_knows_is_counted_and_no_zero() -> None:
    month = Month(2024, 1)
    unknown = a_month(month, later=(KnownPart(month, Tier.COLD, 10, None, 50),))
    assert (unknown.was_bytes, unknown.size_bytes) == (None, 2098)
    (cold,) = life_grid.sums([unknown, a_month(Month(2024, 2))])
    assert (cold.months, cold.unknown, cold.was_bytes) == (2, 1, 16384)


def test_the_story_of_a_month_goes_from_its_beginning_to_its_deletion() -> None:
    month, today = Month(2026, 2), date(2026, 11, 30)
    happened = MonthEvent(
        "warmed", {"run": "x", "size_bytes": 2048, "object_key": "k"}, datetime(2026, 6, 1, 2, tzinfo=UTC)
    )
    chapters = story(TRANSACTIONS, month, [happened], today)
    assert [one.said for one in chapters[:3]] == ["the month began", "the month ended", "moved from hot to warm"]
    assert plain(chapters[2].detail) == "size 2.0 KiB"
    assert [(f"{one.at:%Y-%m-%d}", one.is_ahead) for one in chapters[3:]] == [
        ("2027-03-01", True),
        ("2033-03-01", True),
        ("2036-03-01", True),
    ]


def test_the_present_month_has_not_ended() -> None:
    chapters = story(TRANSACTIONS, Month(2026, 11), [], date(2026, 11, 30))
    assert chapters[0].said == "the month began"
    assert [one.said for one in chapters[1:3]] == ["the month ends", "leaves hot for warm by the policy"]


def test_what_an_event_recorded_is_masked_cut_and_on_one_line() -> None:
    hostile = {"reason": "x\n" * 500, "key": "trk_0123456789ab_secretsecret"}
    event = MonthEvent("strange <b>", hostile, datetime(2026, 6, 1, tzinfo=UTC))
    chapter = story(TRANSACTIONS, Month(2026, 2), [event], date(2026, 11, 30))[2]
    assert chapter.said == "strange <b>"
    assert "secretsecret" not in chapter.detail
    assert len(chapter.detail) <= 200
