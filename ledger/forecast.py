"""What policies come to in the years ahead: pure arithmetic over months, sizes and dates."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal

from ledger.months import Month, months_between
from ledger.policy import Tier, TierPolicy
from ledger.retention import due_on

_GIGABYTE = Decimal(10**9)
_ORDER = tuple(Tier)
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
class Held:
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
    unknown size.
    """

    month: Month
    moves: Mapping[Tier, Sequence[Month]]
    held: Sequence[Month]
    locked: Sequence[Month]
    tiers: Mapping[Tier, Held]
    costs: Mapping[Tier, Decimal | None]


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
    there = {one.month for one in known}
    newest = max((one.month for one in known), default=first.plus(-1))
    come = [month for month in months_between(newest.plus(1), last) if month not in there]
    sizes = (growth.rows, growth.postgres_bytes, growth.object_bytes)
    everything = [*known, *(KnownMonth(month, Tier.HOT, *sizes) for month in come)]
    tiers: dict[Month, Tier] = {one.month: one.tier for one in known if one.tier is not Tier.DELETED}
    found = []
    for month in months_between(first, last):
        day = month.plus(1).first_day - timedelta(days=1)
        living = [one for one in everything if one.tier is not Tier.DELETED and one.month <= month]
        after = {one.month: _tier_on(policy, one, tiers.get(one.month, Tier.HOT), day, grace_days) for one in living}
        found.append(_month(policy, month, day, living, tiers, after, prices))
        tiers = after
    return found


def _tier_on(policy: TierPolicy, one: KnownMonth, before: Tier, day: date, grace_days: int) -> Tier:
    if before is Tier.DELETED or _is_deleted(policy, one, day, grace_days):
        return Tier.DELETED
    due = policy.tier_of(one.month, day)
    due = Tier.DEEP if due is Tier.DELETED else due
    return max(before, due, key=_ORDER.index)


def _is_deleted(policy: TierPolicy, one: KnownMonth, day: date, grace_days: int) -> bool:
    due = due_on(policy, one.month) + timedelta(days=grace_days)
    locked = one.locked_until
    return not one.held and day >= due and (locked is None or day >= locked)


def _month(
    policy: TierPolicy,
    month: Month,
    day: date,
    living: Iterable[KnownMonth],
    before: Mapping[Month, Tier],
    after: Mapping[Month, Tier],
    prices: Mapping[Tier, Decimal],
) -> ForecastMonth:
    moves: dict[Tier, list[Month]] = {}
    held, locked, tiers = [], [], dict.fromkeys(STORED, Held())
    for one in living:
        tier = after[one.month]
        if tier is not before.get(one.month, Tier.HOT):
            moves.setdefault(tier, []).append(one.month)
        if tier is Tier.DELETED:
            continue
        tiers[tier] = _with(tiers[tier], one, tier)
        if policy.tier_of(one.month, day) is Tier.DELETED:
            if one.held:
                held.append(one.month)
            elif one.locked_until is not None and one.locked_until > day:
                locked.append(one.month)
    costs = {tier: _cost(amount, prices.get(tier)) for tier, amount in tiers.items()}
    return ForecastMonth(month, moves, held, locked, tiers, costs)


def _with(amount: Held, one: KnownMonth, tier: Tier) -> Held:
    size = one.postgres_bytes if tier in (Tier.HOT, Tier.WARM) else one.object_bytes
    return Held(
        amount.months + 1, amount.rows + (one.rows or 0), amount.bytes + (size or 0), amount.unknown + (size is None)
    )


def _cost(amount: Held, price: Decimal | None) -> Decimal | None:
    if price is None or amount.unknown:
        return None
    return (Decimal(amount.bytes) / _GIGABYTE * price).quantize(Decimal("0.01"))
