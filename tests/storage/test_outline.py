"""A plan over one stand-in for each table leaves out no month that a plan over all months keeps."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from ledger.months import Month
from storage.branches import Branch
from storage.conditions import Asked, Condition
from storage.outline import Outline, may_hold
from storage.pruning import plan_of
from tests.storage.archived_rows import TABLE
from tests.storage.test_pruning import CONFIG, MONTHS, OTHER, PRUNED, TABLES, TIERS, WHOLE

BRANCHES = [
    Branch(table, month, tier, f"{table.name} {month}", table.key_is_uuid7)
    for table in (TABLE, OTHER)
    for month, tier in zip(MONTHS, TIERS, strict=True)
]
SIMPLE = [
    "SELECT count(*) FROM transactions",
    "SELECT sum(amount) FROM transactions WHERE wallet_id = 'wallet-1'",
    "SELECT * FROM transactions WHERE month >= '2026-02' AND reference = 'x'",
    "SELECT * FROM transactions WHERE month LIKE '2025-%'",
    "SELECT currency, month, sum(amount) FROM transactions_archive_cold GROUP BY ALL",
    "SELECT * FROM events WHERE created_at >= '2026-02-01' AND tier = 'warm' ORDER BY id LIMIT 5",
]


@pytest.fixture(scope="module")
def outline() -> Iterator[Outline]:
    made = Outline(TABLES, CONFIG)
    yield made
    made.close()


@pytest.mark.parametrize("query", [*(query for query, _ in PRUNED), *WHOLE, *SIMPLE])
def test_it_keeps_what_each_months_stand_in_keeps(outline: Outline, query: str) -> None:
    moment = datetime.now(UTC)
    found = outline.plan(query, moment, BRANCHES)
    wanted = plan_of(TABLES, BRANCHES, query, CONFIG, moment)
    kept, needed = ({id(need.branch) for need in plan.needs} for plan in (found.plan, wanted))
    assert kept >= needed
    assert found.plan.names == wanted.names
    if found.is_whole:
        assert kept == needed


@pytest.mark.parametrize("query", SIMPLE)
def test_simple_questions_need_no_look_at_each_month(outline: Outline, query: str) -> None:
    assert outline.plan(query, datetime.now(UTC), BRANCHES).is_whole


@pytest.mark.parametrize(
    "query",
    [
        "SELECT count(*) FROM transactions AS a JOIN events AS b USING (month) WHERE b.month = '2026-02'",
        "SELECT * FROM transactions WHERE month = (SELECT min(month) FROM events)",
        "SELECT * FROM transactions WHERE extract(month FROM created_at) = 2",
        "SELECT * FROM transactions WHERE wallet_id = 'a' OR month = '2026-02'",
    ],
)
def test_what_is_not_seen_through_is_looked_at_for_each_month(outline: Outline, query: str) -> None:
    assert not outline.plan(query, datetime.now(UTC), BRANCHES).is_whole


def test_every_place_that_reads_a_month_counts(outline: Outline) -> None:
    query = (
        "SELECT count(*) FROM transactions WHERE month = '2026-02' UNION ALL"
        " SELECT count(*) FROM transactions_archive_cold WHERE month = '2025-12'"
    )
    found = outline.plan(query, datetime.now(UTC), BRANCHES).plan
    assert [str(need.branch.month) for need in found.needs] == ["2025-12", "2026-02"]


MONTH = Month(2026, 2)
PLACE = Branch(TABLE, MONTH, "cold", "x", keys_tell_month=True)


@pytest.mark.parametrize(
    ("comparison", "value", "is_possible"),
    [
        ("=", MONTH.lower, True),
        ("=", MONTH.upper, False),
        (">=", MONTH.upper, False),
        (">", MONTH.lower, True),
        ("<", MONTH.lower, False),
        ("<=", MONTH.lower, True),
        ("<", MONTH.upper, True),
    ],
)
def test_bounds_of_time_are_half_open(comparison: str, value: datetime, is_possible: bool) -> None:  # a case
    asked = Asked(None, ((Condition("created_at", comparison, (value,)),),))
    assert may_hold(PLACE, asked) == is_possible
    assert may_hold(Branch(TABLE, None, "hot", "x"), asked)
