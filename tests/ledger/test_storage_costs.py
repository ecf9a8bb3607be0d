"""What stored months cost: both sides are of the same months, and what is not known is in neither."""

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from ledger.forecast import KnownMonth
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


def month(tier: Tier, postgres_gb: int | None, object_gb: int | None = None, number: int = 1) -> KnownMonth:
    in_postgres, as_object = (None if size is None else size * GB for size in (postgres_gb, object_gb))
    return KnownMonth(Month(2024, number), tier, 10, in_postgres, as_object)


def test_each_tier_costs_its_bytes_and_all_hot_costs_what_they_took_in_postgresql() -> None:
    months = [
        month(Tier.HOT, 10),
        month(Tier.WARM, 10),
        month(Tier.COLD, 10, 2),
        month(Tier.DEEP, 10, 2),
        month(Tier.DELETED, 10, 2),
    ]
    found = cost_of_month(months, PRICES, objects=0, verified_days=90)
    assert [one.cost for one in found.tiers] == [Decimal(1), Decimal(1), Decimal("0.04"), Decimal("0.002")]
    assert (found.total, found.all_hot, found.all_hot_bytes) == (Decimal("2.042"), Decimal(4), 40 * GB)
    assert found.saved_share == Decimal("0.4895")


def test_requests_are_those_of_the_verification_and_of_one_archived_month() -> None:
    found = cost_of_month([], PRICES, objects=9000, verified_days=90)
    reads_a_month = Decimal(9000) * (Decimal("365.25") / 12) / 90
    assert found.requests == (reads_a_month * 1 + 4 * 5) / 1000
    assert cost_of_month([], PRICES, objects=0, verified_days=90).requests == 0


def test_a_month_of_unknown_size_is_counted_and_in_neither_sum() -> None:
    known, unknown = month(Tier.COLD, 10, 2), month(Tier.COLD, None, 2, number=2)
    found = cost_of_month([known, unknown], PRICES, objects=0, verified_days=90)
    (cold,) = [one for one in found.tiers if one.tier is Tier.COLD]
    assert (cold.months, cold.bytes, cold.unknown, found.unknown) == (2, 2 * GB, 1, 1)
    assert found.all_hot_bytes == 10 * GB
    assert cost_of_month([], PRICES, objects=0, verified_days=90).saved_share is None


@given(
    st.lists(
        st.builds(
            month,
            st.sampled_from(Tier),
            st.one_of(st.none(), st.integers(0, 10**6)),
            st.one_of(st.none(), st.integers(0, 10**6)),
        )
    )
)
def test_no_month_is_lost_and_all_hot_is_never_less_where_the_archive_is_smaller(months: list[KnownMonth]) -> None:
    found = cost_of_month(months, PRICES, objects=0, verified_days=90)
    assert sum(one.months for one in found.tiers) == sum(one.tier is not Tier.DELETED for one in months)
    smaller = all((one.object_bytes or 0) <= (one.postgres_bytes or 0) for one in months)
    assert not smaller or found.total <= found.all_hot
