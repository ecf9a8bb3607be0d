"""Forecasts of policies for the years ahead: pure arithmetic over months, sizes and dates."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from decimal import Decimal

from ledger.months import Month, months_between
from ledger.policy import Tier, TierPolicy
from ledger.retention import due_on
from ledger.sizes import GIGABYTE

_PLACES = {tier: place for place, tier in enumerate(Tier)}
STORED = tuple(tier for tier in Tier if tier.is_in_postgres or tier.is_archived)


def whole(values: Iterable[int | None]) -> int | None:
    """The sum; None where any of them is not known."""
    every = list(values)
    known = [value for value in every if value is not None]
    return sum(known) if len(known) == len(every) else None


@dataclass(frozen=True, slots=True)
class KnownPart:
    """A part of a month as it is now: rows, and the bytes of these in PostgreSQL and as an object; None: nobody knows.

    ``other_bytes`` are those of the objects beside the rows: its lookup, tree and proofs. ``former_bytes`` are the
    former objects of its month. ``objects`` is how many objects all these are, with that of the rows. ``held``: a hold
    keeps all of the month. ``locked_until``: the store keeps it until that day.
    """

    month: Month
    tier: Tier
    rows: int | None
    postgres_bytes: int | None
    object_bytes: int | None
    held: bool = False
    locked_until: date | None = None
    other_bytes: int = 0
    former_bytes: int = 0
    objects: int = 0

    def bytes_in(self, tier: Tier) -> int | None:
        """What its rows take in a tier; None where nobody knows."""
        return self.postgres_bytes if tier.is_in_postgres else self.object_bytes if tier.is_archived else 0

    @property
    def size_bytes(self) -> int | None:
        """What its rows take where they are."""
        return self.bytes_in(self.tier)

    def other_in(self, tier: Tier) -> int:
        """What the objects beside its rows take while it is in a tier."""
        return self.former_bytes + (self.other_bytes if tier.is_archived else 0)


@dataclass(frozen=True, slots=True)
class Growth:
    """What a month to come will have: rows, bytes in PostgreSQL and as an object; None where nobody knows.

    ``other_bytes`` will be those of its lookup, tree and proofs.
    """

    rows: int
    postgres_bytes: int | None
    object_bytes: int | None
    other_bytes: int = 0


@dataclass(frozen=True, slots=True)
class TierAmount:
    """What a tier has at the end of a month. ``bytes`` counts what is known; ``unknown`` are months of unknown size.

    A month of which parts are in two tiers is counted in each.
    """

    months: int = 0
    rows: int = 0
    bytes: int = 0
    unknown: int = 0


@dataclass(frozen=True, slots=True)
class ForecastMonth:
    """What happens in a month to come, and what the tiers have at its end.

    ``moves`` are the months that reach a tier, ``deleted`` among them; ``held`` those past their retention that stay
    because of holds, ``locked`` because of locks. ``costs`` are of the month, None for a tier without a price or of
    unknown size. ``all_hot`` is what the same months would take in PostgreSQL. ``other_bytes`` are the objects beside
    the rows, and ``other_cost`` is their price as cold bytes. ``unknown`` are the months of unknown size in a tier or
    in PostgreSQL.
    """

    month: Month
    moves: Mapping[Tier, Sequence[Month]]
    held: Sequence[Month]
    locked: Sequence[Month]
    tiers: Mapping[Tier, TierAmount]
    costs: Mapping[Tier, Decimal | None]
    all_hot: TierAmount
    other_bytes: int
    other_cost: Decimal | None
    unknown: int


def forecast(
    policy: TierPolicy,
    known: Sequence[KnownPart],
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
    new = KnownPart(first, Tier.HOT, growth.rows, growth.postgres_bytes, growth.object_bytes)
    newest = max((part.month for part in known), default=first)
    there = {part.month for part in known}
    come = [replace(new, month=month) for month in months_between(max(newest, first), last) if month not in there]
    sized = [_sized(part, growth) for part in (*known, *come)]
    lives = [_Life.of(policy, part, grace_days) for part in sized if part.tier is not Tier.DELETED]
    return [_month(month, lives, prices) for month in months_between(first, last)]


def _sized(part: KnownPart, growth: Growth) -> KnownPart:
    """A part with the sizes that it has or will have: what nobody knows is by the bytes a row of months to come."""
    rows, sized = part.rows, part
    if rows is None or not growth.rows:
        return part
    if part.postgres_bytes is None and growth.postgres_bytes is not None:
        sized = replace(sized, postgres_bytes=rows * growth.postgres_bytes // growth.rows)
    if part.object_bytes is None and growth.object_bytes is not None:
        sized = replace(sized, object_bytes=rows * growth.object_bytes // growth.rows)
    if part.tier.is_in_postgres:
        sized = replace(sized, other_bytes=rows * growth.other_bytes // growth.rows)
    return sized


@dataclass(slots=True)
class _Life:
    """A part on its way: in how many months from year 0 on it is past each age. ``tier`` is where it is by now."""

    one: KnownPart
    index: int
    ages: tuple[int, int, int, int]
    deleted_from: int | None
    tier: Tier

    @classmethod
    def of(cls, policy: TierPolicy, part: KnownPart, grace_days: int) -> "_Life":
        due = due_on(policy, part.month) + timedelta(days=grace_days)
        day = due if part.locked_until is None else max(due, part.locked_until)
        ages = (policy.hot_months, policy.warm_months, policy.cold_months, policy.retention_months)
        return cls(part, part.month.index, ages, None if part.held else Month.of(day).index, part.tier)

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
    begun = [life for life in lives if life.tier is not Tier.DELETED and life.index <= index]
    for life in begun:
        tier = life.tier_in(index)
        if tier is not life.tier:
            moves.setdefault(tier, []).append(life.one.month)
            life.tier = tier
    there = [life for life in begun if life.tier is not Tier.DELETED]
    stored = [(life.tier, life.one) for life in there]
    kept = [life.one for life in there if life.is_past_retention(index)]
    tiers = {tier: _amount([part for place, part in stored if place is tier], tier) for tier in STORED}
    other_bytes = sum(part.other_in(tier) for tier, part in stored)
    return ForecastMonth(
        month=month,
        moves={tier: _distinct(months) for tier, months in moves.items()},
        held=_distinct(part.month for part in kept if part.held),
        locked=_distinct(part.month for part in kept if not part.held and _is_locked(part, month)),
        tiers=tiers,
        costs={tier: _cost(amount.bytes, amount.unknown, prices.get(tier)) for tier, amount in tiers.items()},
        all_hot=_amount([part for _, part in stored], Tier.HOT),
        other_bytes=other_bytes,
        other_cost=_cost(other_bytes, 0, prices.get(Tier.COLD)),
        unknown=len({part.month for tier, part in stored if None in (part.bytes_in(tier), part.postgres_bytes)}),
    )


def _is_locked(part: KnownPart, month: Month) -> bool:
    return part.locked_until is not None and Month.of(part.locked_until) > month


def _distinct(months: Iterable[Month]) -> list[Month]:
    """Each once, in their order: several parts of a month go the same way."""
    return list(dict.fromkeys(months))


def _amount(parts: Sequence[KnownPart], tier: Tier) -> TierAmount:
    sizes = [(part.month, part.bytes_in(tier)) for part in parts]
    return TierAmount(
        months=len({month for month, _ in sizes}),
        rows=sum(part.rows or 0 for part in parts),
        bytes=sum(size or 0 for _, size in sizes),
        unknown=len({month for month, size in sizes if size is None}),
    )


def _cost(size: int, unknown: int, price: Decimal | None) -> Decimal | None:
    if price is None or unknown:
        return None
    return (Decimal(size) / GIGABYTE * price).quantize(Decimal("0.01"))
