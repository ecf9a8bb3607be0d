"""What policies come to: each month goes its way, none goes back, and what nobody knows is not made up."""

from datetime import date, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.forecast import STORED, Growth, KnownPart, forecast
from ledger.months import Month
from ledger.policy import Tier, TierPolicy
from ledger.retention import due_on

POLICY = TierPolicy()
NOW = Month(2026, 11)
GROWTH = Growth(1000, 500_000, 100_000)


def old(month: Month, tier: Tier = Tier.DEEP, held: bool = False, locked_until: date | None = None) -> KnownPart:
    return KnownPart(month, tier, 10, 5_000_000_000, 1_000_000_000, held, locked_until)


def deletions(known: KnownPart, grace_days: int = 14) -> list[Month]:
    """In which month it is deleted."""
    found = forecast(POLICY, [known], GROWTH, NOW, 120, grace_days, {})
    return [one.month for one in found if known.month in one.moves.get(Tier.DELETED, ())]


def test_a_month_is_deleted_when_its_retention_and_the_grace_period_are_over() -> None:
    assert deletions(old(Month(2016, 11))) == [Month(2026, 12)]  # due on 1 December
    assert deletions(old(Month(2016, 11)), grace_days=40) == [Month(2027, 1)]


def test_a_held_month_is_not_deleted_and_a_locked_one_later() -> None:
    assert deletions(old(Month(2016, 11), held=True)) == []
    assert deletions(old(Month(2016, 11), locked_until=date(2030, 5, 3))) == [Month(2030, 5)]
    found = forecast(POLICY, [old(Month(2016, 11), held=True)], GROWTH, NOW, 3, 14, {})
    assert [list(one.held) for one in found] == [[], [Month(2016, 11)], [Month(2016, 11)]]
    locked = forecast(POLICY, [old(Month(2016, 11), locked_until=date(2030, 5, 3))], GROWTH, NOW, 3, 14, {})
    assert [list(one.locked) for one in locked] == [[], [Month(2016, 11)], [Month(2016, 11)]]


def test_months_to_come_move_at_their_ages() -> None:
    found = {one.month: one for one in forecast(POLICY, [], GROWTH, NOW, 100, 14, {})}
    first = {tier: next(month for month, one in found.items() if NOW in one.moves.get(tier, ())) for tier in STORED[1:]}
    assert first == {Tier.WARM: NOW.plus(4), Tier.COLD: NOW.plus(13), Tier.DEEP: NOW.plus(85)}
    assert found[NOW.plus(3)].tiers[Tier.HOT].months == 4


def test_what_nobody_knows_is_unknown_and_not_zero() -> None:
    prices = {Tier.COLD: Decimal("0.02"), Tier.HOT: Decimal(1)}
    known = [old(Month(2024, 1), Tier.COLD), KnownPart(Month(2026, 10), Tier.HOT, None, None, None)]
    (one,) = forecast(POLICY, known, GROWTH, NOW, 1, 14, prices)
    assert one.costs == {Tier.HOT: None, Tier.WARM: None, Tier.COLD: Decimal("0.02"), Tier.DEEP: None}
    assert (one.tiers[Tier.HOT].unknown, one.tiers[Tier.COLD].bytes) == (1, 1_000_000_000)


def test_a_month_in_postgresql_will_take_as_many_bytes_a_row_as_months_to_come() -> None:
    warm = KnownPart(NOW.plus(-13), Tier.WARM, 2_000, 1_000_000, None)
    (one,) = forecast(POLICY, [warm], GROWTH, NOW, 1, 14, {})
    assert (one.tiers[Tier.COLD].bytes, one.tiers[Tier.COLD].unknown) == (200_000, 0)
    (one,) = forecast(POLICY, [warm], Growth(1000, 500_000, None), NOW, 1, 14, {})
    assert one.tiers[Tier.COLD].unknown == 1


def test_the_parts_of_a_month_go_their_way_and_the_month_counts_once() -> None:
    month = NOW.plus(-13)
    cold, late = old(month, Tier.COLD), KnownPart(month, Tier.WARM, 1, 8192, None)
    first, *_ = forecast(POLICY, [cold, cold, late], GROWTH, NOW, 1, 14, {Tier.COLD: Decimal(1)})
    assert dict(first.moves) == {Tier.COLD: [month]}
    assert (first.tiers[Tier.COLD].months, first.tiers[Tier.COLD].bytes) == (1, 2_000_000_100)
    assert (first.tiers[Tier.COLD].rows, first.costs[Tier.COLD]) == (21, Decimal("2.00"))
    (last,) = [one for one in forecast(POLICY, [cold, cold], GROWTH, NOW, 120, 14, {}) if Tier.DELETED in one.moves]
    assert last.moves[Tier.DELETED] == [month]


def test_other_objects_are_counted_from_the_move_to_cold_on_and_former_ones_always() -> None:
    warm = KnownPart(NOW.plus(-12), Tier.WARM, 2_000, 1_000_000, None, former_bytes=10**9)
    growth = Growth(1000, 500_000, 100_000, other_bytes=3_000)
    found = forecast(POLICY, [warm], growth, NOW, 2, 14, {Tier.COLD: Decimal("0.02")})
    assert [one.other_bytes for one in found] == [10**9, 10**9 + 6_000]
    assert found[0].other_cost == Decimal("0.02")


def test_a_part_of_unknown_former_size_is_taken_to_have_had_that_of_months_to_come() -> None:
    rebuilt = KnownPart(NOW.plus(-24), Tier.COLD, 2_000, None, 100_000)
    (one,) = forecast(POLICY, [rebuilt], GROWTH, NOW, 1, 14, {})
    assert (one.all_hot.bytes, one.unknown) == (1_000_000 + 500_000, 0)
    (one,) = forecast(POLICY, [rebuilt], Growth(1000, None, 100_000), NOW, 1, 14, {})
    assert one.unknown == 2  # the month that begins, too


@given(
    ages=st.lists(st.integers(1, 130), min_size=4, max_size=4, unique=True).map(sorted),
    months=st.lists(st.integers(0, 200), max_size=8, unique=True),
    grace_days=st.integers(0, 60),
)
def test_no_month_goes_back_or_is_deleted_early(ages: list[int], months: list[int], grace_days: int) -> None:
    policy = TierPolicy(hot_months=ages[0], warm_months=ages[1], cold_months=ages[2], retention_months=ages[3])
    known = [old(NOW.plus(-age), Tier.COLD) for age in months]
    places = list(Tier)
    at = {one.month: Tier.COLD for one in known}
    for one in forecast(policy, known, GROWTH, NOW, 40, grace_days, {}):
        for tier, moved in one.moves.items():
            for month in moved:
                assert places.index(tier) > places.index(at.get(month, Tier.HOT))
                at[month] = tier
        last_day = one.month.plus(1).first_day - timedelta(days=1)
        for month in one.moves.get(Tier.DELETED, ()):
            assert due_on(policy, month) + timedelta(days=grace_days) <= last_day
        assert sum(held.months for held in one.tiers.values()) == sum(
            at.get(month, Tier.HOT) is not Tier.DELETED
            for month in {*at, *(NOW.plus(number) for number in range(one.month.index - NOW.index + 1))}
        )


@pytest.mark.parametrize("ages", [(12, 3, 84, 120), (3, 12, 120, 84), (3, 3, 84, 120)])
def test_ages_out_of_order_are_refused_by_name(ages: tuple[int, int, int, int]) -> None:
    names = ("hot_months", "warm_months", "cold_months", "retention_months")
    with pytest.raises(ValueError, match="hot_months < warm_months < cold_months < retention_months is required"):
        TierPolicy(**dict(zip(names, ages, strict=True)))
