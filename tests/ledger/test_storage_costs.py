"""What stored months cost: both sides are of the same months, and what is not known is in neither."""

from dataclasses import replace
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from ledger.forecast import KnownPart
from ledger.months import Month
from ledger.policy import Tier
from ledger.storage_costs import Prices, cost_of_month

GB = 10**9
PRICES = Prices(
    "USD",
    {Tier.HOT: Decimal("0.1"), Tier.WARM: Decimal("0.1"), Tier.COLD: Decimal("0.02"), Tier.DEEP: Decimal("0.001")},
    thousand_writes=Decimal(5),
    thousand_reads=Decimal(1),
)


def part(tier: Tier, postgres_gb: int | None, object_gb: int | None = None, number: int = 1) -> KnownPart:
    in_postgres, as_object = (None if size is None else size * GB for size in (postgres_gb, object_gb))
    return KnownPart(Month(2024, number), tier, 10, in_postgres, as_object)


def test_each_tier_costs_its_bytes_and_all_hot_costs_what_they_took_in_postgresql() -> None:
    parts = [
        part(Tier.HOT, 10),
        part(Tier.WARM, 10),
        part(Tier.COLD, 10, 2),
        part(Tier.DEEP, 10, 2),
        part(Tier.DELETED, 10, 2),
    ]
    found = cost_of_month(parts, PRICES, verified_days=90)
    assert [one.cost for one in found.tiers] == [Decimal(1), Decimal(1), Decimal("0.04"), Decimal("0.002")]
    assert (found.total, found.all_hot, found.all_hot_bytes) == (Decimal("2.042"), Decimal(4), 40 * GB)
    assert found.saved_share == Decimal("0.4895")


def test_requests_are_those_of_the_verification_and_of_one_archived_month() -> None:
    parts = [replace(part(Tier.COLD, 10, 2, number), objects=3000) for number in (1, 2, 3)]
    found = cost_of_month(parts, PRICES, verified_days=90)
    reads_a_month = Decimal(9000) * (Decimal("365.25") / 12) / 90
    assert found.requests == (reads_a_month * 1 + 4 * 5) / 1000
    assert cost_of_month([], PRICES, verified_days=90).requests == 0


def test_a_month_of_unknown_size_is_counted_and_in_neither_sum() -> None:
    known, unknown = part(Tier.COLD, 10, 2), part(Tier.COLD, None, 2, number=2)
    found = cost_of_month([known, unknown], PRICES, verified_days=90)
    (cold,) = [one for one in found.tiers if one.tier is Tier.COLD]
    assert (cold.months, cold.bytes, cold.unknown, found.unknown) == (2, 2 * GB, 1, 1)
    assert found.all_hot_bytes == 10 * GB
    assert cost_of_month([], PRICES, verified_days=90).saved_share is None


@given(
    st.lists(
        st.builds(
            part,
            st.sampled_from(Tier),
            st.one_of(st.none(), st.integers(0, 10**6)),
            st.one_of(st.none(), st.integers(0, 10**6)),
            st.integers(1, 12),
        )
    )
)
def test_no_month_is_lost_and_all_hot_is_never_less_where_the_archive_is_smaller(parts: list[KnownPart]) -> None:
    found = cost_of_month(parts, PRICES, verified_days=90)
    for one in found.tiers:
        assert one.months == len({part.month for part in parts if part.tier is one.tier})
    smaller = all((one.object_bytes or 0) <= (one.postgres_bytes or 0) for one in parts)
    assert not smaller or found.total <= found.all_hot


def test_late_rows_in_postgresql_leave_the_price_of_the_archived_month_as_it_was() -> None:
    cold = part(Tier.COLD, 100, 20)
    before = cost_of_month([cold], PRICES, verified_days=90)
    found = cost_of_month([cold, part(Tier.WARM, 1)], PRICES, verified_days=90)
    assert (found.total - before.total, found.all_hot - before.all_hot) == (Decimal("0.1"), Decimal("0.1"))
    assert {one.tier: one.months for one in found.tiers if one.months} == {Tier.WARM: 1, Tier.COLD: 1}
    twice = cost_of_month([cold, part(Tier.COLD, 1, 1)], PRICES, verified_days=90)
    assert [one.months for one in twice.tiers] == [0, 0, 1, 0]


def test_other_objects_cost_what_cold_ones_do_in_every_tier() -> None:
    parts = [
        replace(part(Tier.WARM, 10), former_bytes=3 * GB),
        replace(part(Tier.DEEP, 10, 44, number=2), other_bytes=3 * GB),
        replace(part(Tier.COLD, None, 44, number=3), other_bytes=3 * GB),
    ]
    found = cost_of_month(parts, PRICES, verified_days=90)
    assert (found.other_bytes, found.other) == (6 * GB, Decimal("0.12"))
    assert found.total == Decimal(1) + Decimal("0.044") + Decimal("0.12")
    assert found.unknown == 1
