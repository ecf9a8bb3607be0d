"""What stored months cost: pure arithmetic over sizes and prices. Money is exact; rounding is for whoever shows it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from ledger.archive_objects import EVERY_PART
from ledger.forecast import STORED, KnownMonth
from ledger.policy import Tier
from ledger.sizes import GIGABYTE

_THOUSAND = Decimal(1000)
_DAYS_OF_MONTH = Decimal("365.25") / 12
_IN_POSTGRES = (Tier.HOT, Tier.WARM)


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
    """Months of a tier: their number, known bytes, how many are of unknown size, and what the known bytes cost."""

    tier: Tier
    months: int
    bytes: int
    unknown: int
    cost: Decimal


@dataclass(frozen=True, slots=True)
class CostOfMonth:
    """What a month of the present state costs, and what it would cost if all of it were hot.

    ``requests`` is the price of reading every archived object again as often as it is verified. It includes the objects
    of the one month that is archived in a month. ``all_hot_bytes`` is what the months take, or took, in PostgreSQL.
    ``unknown`` are months of which a size is not known. They are in none of the sums but the number of months, so that
    both sides are of the same months.
    """

    tiers: tuple[TierCost, ...]
    requests: Decimal
    all_hot: Decimal
    all_hot_bytes: int
    unknown: int

    @property
    def total(self) -> Decimal:
        """Bytes and requests."""
        return sum((one.cost for one in self.tiers), self.requests)

    @property
    def saved(self) -> Decimal:
        """What is saved by the tiers; negative where they cost more."""
        return self.all_hot - self.total

    @property
    def saved_share(self) -> Decimal | None:
        """The share that is saved, from 0 to 1; None where nothing is stored."""
        return self.saved / self.all_hot if self.all_hot else None


def cost_of_month(months: Iterable[KnownMonth], prices: Prices, objects: int, verified_days: int) -> CostOfMonth:
    """What a month costs. ``objects`` are in the archive, each read again once in ``verified_days``."""
    counted = {tier: [0, 0, 0] for tier in STORED}
    all_hot_bytes = 0
    for month in months:
        if month.tier not in counted:
            continue
        size = month.postgres_bytes if month.tier in _IN_POSTGRES else month.object_bytes
        amounts = counted[month.tier]
        amounts[0] += 1
        if size is None or month.postgres_bytes is None:
            amounts[2] += 1
        else:
            amounts[1] += size
            all_hot_bytes += month.postgres_bytes
    tiers = [
        TierCost(tier, number, size, unknown, prices.of_bytes(tier, size))
        for tier, (number, size, unknown) in counted.items()
    ]
    reads = Decimal(objects) * _DAYS_OF_MONTH / verified_days
    writes = len(EVERY_PART) if objects else 0
    requests = (reads * prices.thousand_reads + writes * prices.thousand_writes) / _THOUSAND
    all_hot = prices.of_bytes(Tier.HOT, all_hot_bytes)
    return CostOfMonth(tuple(tiers), requests, all_hot, all_hot_bytes, sum(one.unknown for one in tiers))
