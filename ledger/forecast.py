"""Forecasts of policies for the years ahead: pure arithmetic over months, sizes and dates."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from decimal import Decimal

from ledger.months import Month, months_between
from ledger.policy import Tier, TierPolicy
from ledger.retention import due_on
from ledger.sizes import GIGABYTE

_PLACES = {tier: place for place, tier in enumerate(Tier)}
_IN_POSTGRES = (Tier.HOT, Tier.WARM)
STORED = (Tier.HOT, Tier.WARM, Tier.COLD, Tier.DEEP)


@dataclass(frozen=True, slots=True)
class KnownMonth:
    """A month as it is now: rows, bytes in PostgreSQL and as an object; None where nobody knows.

    ``held``: a hold keeps all of it. ``locked_until``: the store keeps it until that day.
    """

    month: Month
    tier: Tier
    rows: int | None
    postgres_bytes: int | None
    object_bytes: int | None
    held: bool = False
    locked_until: date | None = None


@dataclass(frozen=True, slots=True)
class Growth:
    """What a month to come will have: rows, bytes in PostgreSQL and as an object; None where nobody knows."""

    rows: int
    postgres_bytes: int | None
    object_bytes: int | None


@dataclass(frozen=True, slots=True)
class TierAmount:
    """What a tier has at the end of a month. ``bytes`` counts what is known; ``unknown`` are months of unknown size."""

    months: int = 0
    rows: int = 0
    bytes: int = 0
    unknown: int = 0


@dataclass(frozen=True, slots=True)
class ForecastMonth:
    """What happens in a month to come, and what the tiers have at its end.

    ``moves`` are the months that reach a tier, ``deleted`` among them; ``held`` those past their retention that stay
    because of holds, ``locked`` because of locks. ``costs`` are of the month, None for a tier without a price or of
    unknown size. ``all_hot`` is what the same months would take in PostgreSQL.
    """

    month: Month
    moves: Mapping[Tier, Sequence[Month]]
    held: Sequence[Month]
    locked: Sequence[Month]
    tiers: Mapping[Tier, TierAmount]
    costs: Mapping[Tier, Decimal | None]
    all_hot: TierAmount


def forecast(
    policy: TierPolicy,
    known: Sequence[KnownMonth],
    growth: Growth,
    first: Month,
    months: int,
    grace_days: int,
    prices: Mapping[Tier, Decimal],
) -> list[ForecastMonth]:
    """The ``months`` from ``first`` on, of one table. ``prices`` are per gigabyte (10^9 bytes) and month.

    A month goes no tier back. Deletions need approvals: the dates are the earliest ones.
    """
    last = first.plus(months - 1)
    sizes = (growth.rows, growth.postgres_bytes, growth.object_bytes)
    newest = max((one.month for one in known), default=first)
    there = {one.month for one in known}
    come = [
        KnownMonth(month, Tier.HOT, *sizes) for month in months_between(max(newest, first), last) if month not in there
    ]
    sized = [_with_object(one, growth) for one in known]
    lives = [_Life.of(policy, one, grace_days) for one in (*sized, *come) if one.tier is not Tier.DELETED]
    return [_month(month, lives, prices) for month in months_between(first, last)]


def _with_object(one: KnownMonth, growth: Growth) -> KnownMonth:
    """A month in PostgreSQL with the size that its object will have, by the bytes a row of months to come."""
    if one.object_bytes is not None or one.rows is None or growth.object_bytes is None or not growth.rows:
        return one
    return replace(one, object_bytes=one.rows * growth.object_bytes // growth.rows)


@dataclass(slots=True)
class _Life:
    """A month on its way: in how many months from year 0 on it is past each age. ``tier`` is where it is by now."""

    one: KnownMonth
    index: int
    ages: tuple[int, int, int, int]
    deleted_from: int | None
    tier: Tier

    @classmethod
    def of(cls, policy: TierPolicy, one: KnownMonth, grace_days: int) -> "_Life":
        due = due_on(policy, one.month) + timedelta(days=grace_days)
        day = due if one.locked_until is None else max(due, one.locked_until)
        ages = (policy.hot_months, policy.warm_months, policy.cold_months, policy.retention_months)
        return cls(one, one.month.index, ages, None if one.held else Month.of(day).index, one.tier)

    def tier_in(self, index: int) -> Tier:
        """The tier at the end of a month, given by its index."""
        if self.deleted_from is not None and index >= self.deleted_from:
            return Tier.DELETED
        age, (hot, warm, cold, _) = index - self.index - 1, self.ages
        due = Tier.HOT if age < hot else Tier.WARM if age < warm else Tier.COLD if age < cold else Tier.DEEP
        return due if _PLACES[due] > _PLACES[self.tier] else self.tier

    def is_past_retention(self, index: int) -> bool:
        return index - self.index - 1 >= self.ages[3]


def _month(month: Month, lives: Sequence[_Life], prices: Mapping[Tier, Decimal]) -> ForecastMonth:
    index = month.index
    moves: dict[Tier, list[Month]] = {}
    held, locked = list[Month](), list[Month]()
    amounts = {tier: [0, 0, 0, 0] for tier in STORED}
    all_hot = [0, 0, 0, 0]
    for life in lives:
        if life.tier is Tier.DELETED or life.index > index:
            continue
        tier = life.tier_in(index)
        if tier is not life.tier:
            moves.setdefault(tier, []).append(life.one.month)
            life.tier = tier
        if tier is Tier.DELETED:
            continue
        _count(amounts[tier], life.one, tier)
        _count(all_hot, life.one, Tier.HOT)
        if life.is_past_retention(index):
            if life.one.held:
                held.append(life.one.month)
            elif life.one.locked_until is not None and Month.of(life.one.locked_until) > month:
                locked.append(life.one.month)
    tiers = {tier: TierAmount(*amount) for tier, amount in amounts.items()}
    costs = {tier: _cost(amount, prices.get(tier)) for tier, amount in tiers.items()}
    return ForecastMonth(month, moves, held, locked, tiers, costs, TierAmount(*all_hot))


def _count(amount: list[int], one: KnownMonth, tier: Tier) -> None:
    size = one.postgres_bytes if tier in _IN_POSTGRES else one.object_bytes
    amount[0] += 1
    amount[1] += one.rows or 0
    amount[2] += size or 0
    amount[3] += size is None


def _cost(amount: TierAmount, price: Decimal | None) -> Decimal | None:
    if price is None or amount.unknown:
        return None
    return (Decimal(amount.bytes) / GIGABYTE * price).quantize(Decimal("0.01"))
