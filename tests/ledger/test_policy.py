"""Which tier a month belongs in: decided by whole months since it ended, and never back."""

from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from ledger.months import Month
from ledger.policy import Tier, TierPolicy, age_months

ORDER = list(Tier)
DEFAULT = TierPolicy()
months = st.builds(Month, st.integers(1975, 2100), st.integers(1, 12))
days = st.dates(date(1975, 1, 1), date(2100, 12, 31))
policies = st.lists(st.integers(1, 400), min_size=4, max_size=4, unique=True).map(
    lambda ages: TierPolicy(
        **dict(zip(("hot_months", "warm_months", "cold_months", "retention_months"), sorted(ages), strict=True))
    )
)


@pytest.mark.parametrize(
    ("month", "tier"),
    [
        ("2027-03", Tier.HOT),
        ("2026-11", Tier.HOT),
        ("2026-08", Tier.HOT),
        ("2026-07", Tier.WARM),
        ("2025-11", Tier.WARM),
        ("2025-10", Tier.COLD),
        ("2019-11", Tier.COLD),
        ("2019-10", Tier.DEEP),
        ("2016-11", Tier.DEEP),
        ("2016-10", Tier.DELETED),
        ("1993-01", Tier.DELETED),
    ],
)
def test_the_defaults_place_months_as_the_documented_example_says(month: str, tier: Tier) -> None:
    assert DEFAULT.tier_of(Month.parse(month), date(2026, 11, 23)) is tier


@given(policies, months, days, st.integers(0, 4000))
def test_a_month_never_moves_back_as_time_goes_on(policy: TierPolicy, month: Month, day: date, later: int) -> None:
    now, then = (policy.tier_of(month, as_of) for as_of in (day, day + timedelta(days=later)))
    assert ORDER.index(now) <= ORDER.index(then)


@given(policies, months, months, days)
def test_an_older_month_is_never_in_a_dearer_tier(policy: TierPolicy, one: Month, other: Month, day: date) -> None:
    older, newer = sorted((one, other))
    assert ORDER.index(policy.tier_of(older, day)) >= ORDER.index(policy.tier_of(newer, day))


@given(policies, months, days)
def test_every_day_of_a_month_gives_the_same_answer(policy: TierPolicy, month: Month, day: date) -> None:
    assert policy.tier_of(month, day) is policy.tier_of(month, day.replace(day=1))


@given(policies, months)
def test_each_tier_begins_exactly_at_its_age(policy: TierPolicy, month: Month) -> None:
    ages = (policy.hot_months, policy.warm_months, policy.cold_months, policy.retention_months)
    for number, age in enumerate(ages):
        at_age = month.plus(1 + age).first_day
        assert age_months(month, at_age) == age
        assert policy.tier_of(month, at_age) is ORDER[number + 1]
        assert policy.tier_of(month, at_age - timedelta(days=1)) is ORDER[number]


@given(st.permutations([3, 12, 84, 120]))
def test_ages_are_taken_in_order_and_in_no_other(ages: list[int]) -> None:
    names = ("hot_months", "warm_months", "cold_months", "retention_months")
    values: dict[str, Any] = dict(zip(names, ages, strict=True))
    if ages == sorted(ages):
        assert TierPolicy(**values) == DEFAULT
    else:
        with pytest.raises(ValidationError, match="hot_months < warm_months < cold_months < retention_months"):
            TierPolicy(**values)


@pytest.mark.parametrize("value", [0, -1, 2.5, 3.0, "3", True, None])
def test_an_age_that_is_no_whole_positive_number_of_months_is_refused(value: Any) -> None:
    with pytest.raises(ValidationError, match="hot_months"):
        TierPolicy(hot_months=value)


def test_two_tiers_cannot_end_at_the_same_age() -> None:
    with pytest.raises(ValidationError, match="got 3, 12, 12, 120"):
        TierPolicy(cold_months=12)


def test_every_tier_is_in_postgresql_or_in_the_archive_until_it_is_deleted() -> None:
    places = {tier: (tier.is_in_postgres, tier.is_archived) for tier in Tier}
    in_postgres, in_archive, nowhere = (True, False), (False, True), (False, False)
    assert places == {
        Tier.HOT: in_postgres,
        Tier.WARM: in_postgres,
        Tier.COLD: in_archive,
        Tier.DEEP: in_archive,
        Tier.DELETED: nowhere,
    }


def test_an_unknown_age_is_refused() -> None:
    with pytest.raises(ValidationError, match="frozen_months"):
        TierPolicy.model_validate({"frozen_months": 3})
