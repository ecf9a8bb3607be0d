"""What stored months cost: pure arithmetic over sizes and prices. Money is exact; rounding is for whoever shows it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from ledger.archive_objects import EVERY_PART
from ledger.forecast import STORED, KnownPart
from ledger.policy import Tier
from ledger.sizes import GIGABYTE

_THOUSAND = Decimal(1000)
_DAYS_OF_MONTH = Decimal("365.25") / 12


@dataclass(frozen=True, slots=True)
class Prices:
    """Prices of a month, per gigabyte of 10^9 bytes in each tier, and per 1,000 requests to the store."""

    currency: str
    gigabyte: Mapping[Tier, Decimal]
    thousand_writes: Decimal
    thousand_reads: Decimal

    def of_bytes(self, tier: Tier, size: int) -> Decimal:
        """The price of a month of some bytes in a tier."""
        return Decimal(size) / GIGABYTE * self.gigabyte[tier]


@dataclass(frozen=True, slots=True)
class TierCost:
    """What a tier has of months: their number, known bytes, how many are of unknown size, and what the bytes cost.

    A month of which parts are in two tiers is counted in each.
    """

    tier: Tier
    months: int
    bytes: int
    unknown: int
    cost: Decimal


@dataclass(frozen=True, slots=True)
class CostOfMonth:
    """What a month of the present state costs, and what it would cost if all of it were hot.

    ``other_bytes`` are the objects beside those of the rows: lookups, trees, proofs, and former objects. They stay in
    the default storage class, so ``other`` is their price as cold bytes. ``requests`` is the price of reading every
    archived object again as often as it is verified. It includes the objects of the one month that is archived in a
    month. ``all_hot_bytes`` is what the months take, or took, in PostgreSQL. ``unknown`` are months with a part of
    which a size is not known. Such a part is in no sum, so that both sides are of the same rows.
    """

    tiers: tuple[TierCost, ...]
    other_bytes: int
    other: Decimal
    requests: Decimal
    all_hot: Decimal
    all_hot_bytes: int
    unknown: int

    @property
    def total(self) -> Decimal:
        """Bytes and requests."""
        return sum((tier.cost for tier in self.tiers), self.other + self.requests)

    @property
    def saved(self) -> Decimal:
        """What is saved by the tiers; negative where they cost more."""
        return self.all_hot - self.total

    @property
    def saved_share(self) -> Decimal | None:
        """The share that is saved, from 0 to 1; None where nothing is stored."""
        return self.saved / self.all_hot if self.all_hot else None


def cost_of_month(parts: Iterable[KnownPart], prices: Prices, verified_days: int) -> CostOfMonth:
    """What the parts of months cost in a month. Each object is read again once in ``verified_days``."""
    stored = [part for part in parts if part.tier in STORED]
    known = [part for part in stored if _is_known(part)]
    other_bytes = sum(part.other_in(part.tier) for part in known)
    all_hot_bytes = sum(part.postgres_bytes or 0 for part in known)
    objects = sum(part.objects for part in known)
    reads = Decimal(objects) * _DAYS_OF_MONTH / verified_days
    writes = len(EVERY_PART) if objects else 0
    return CostOfMonth(
        tiers=tuple(_tier_cost(tier, [part for part in stored if part.tier is tier], prices) for tier in STORED),
        other_bytes=other_bytes,
        other=prices.of_bytes(Tier.COLD, other_bytes),
        requests=(reads * prices.thousand_reads + writes * prices.thousand_writes) / _THOUSAND,
        all_hot=prices.of_bytes(Tier.HOT, all_hot_bytes),
        all_hot_bytes=all_hot_bytes,
        unknown=len({part.month for part in stored if not _is_known(part)}),
    )


def sum_of_costs(costs: Sequence[CostOfMonth]) -> CostOfMonth:
    """What several tables cost together. ``unknown`` counts a month once for each table."""
    return CostOfMonth(
        tiers=tuple(
            _sum_of_tier(tier, [tier_cost for cost in costs for tier_cost in cost.tiers if tier_cost.tier is tier])
            for tier in STORED
        ),
        other_bytes=sum(cost.other_bytes for cost in costs),
        other=sum((cost.other for cost in costs), Decimal(0)),
        requests=sum((cost.requests for cost in costs), Decimal(0)),
        all_hot=sum((cost.all_hot for cost in costs), Decimal(0)),
        all_hot_bytes=sum(cost.all_hot_bytes for cost in costs),
        unknown=sum(cost.unknown for cost in costs),
    )


def _sum_of_tier(tier: Tier, costs: Sequence[TierCost]) -> TierCost:
    return TierCost(
        tier,
        sum(cost.months for cost in costs),
        sum(cost.bytes for cost in costs),
        sum(cost.unknown for cost in costs),
        sum((cost.cost for cost in costs), Decimal(0)),
    )


def _tier_cost(tier: Tier, parts: Sequence[KnownPart], prices: Prices) -> TierCost:
    size = sum(part.size_bytes or 0 for part in parts if _is_known(part))
    unknown = {part.month for part in parts if not _is_known(part)}
    return TierCost(tier, len({part.month for part in parts}), size, len(unknown), prices.of_bytes(tier, size))


def _is_known(part: KnownPart) -> bool:
    """Whether what it takes and what it took are known."""
    return part.size_bytes is not None and part.postgres_bytes is not None
