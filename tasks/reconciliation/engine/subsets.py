"""The subset of a few amounts that adds up to one: exact, bounded, and an answer only where there is no other. Pure.

Both halves' sums are laid out and looked up in each other, so the work is that of 2^(n/2) sums, whatever the amounts.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

MOST_ROWS = 32  # 65,536 sums a half
_Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Subsets:
    """``places`` of the only subset; None where there is none, or where ``several`` are as good."""

    places: tuple[int, ...] | None
    several: bool


def only_subset(amounts: Sequence[int], total: int) -> Subsets:
    """The only non-empty subset of ``amounts`` (whole cents, of any sign) that adds up to ``total``.

    Raises ValueError for more than `MOST_ROWS` amounts.
    """
    if len(amounts) > MOST_ROWS:
        raise ValueError(f"at most {MOST_ROWS} amounts can be looked at, not {len(amounts)}")
    middle = len(amounts) // 2
    left, right = _sums(amounts[:middle]), _sums(amounts[middle:])
    order = np.argsort(right, kind="stable")
    ranked = right[order]
    first = np.searchsorted(ranked, total - left, side="left")
    counts = np.searchsorted(ranked, total - left, side="right") - first
    sets = int(counts.sum()) - (total == 0)  # of nothing at all the sum is 0
    if sets != 1:
        return Subsets(None, several=sets > 1)
    places = np.flatnonzero(counts)
    chosen = next(
        (int(mask), int(order[at]))
        for mask in places
        for at in range(int(first[mask]), int(first[mask] + counts[mask]))
        if mask or order[at]
    )
    return Subsets((*_bits(chosen[0], 0), *_bits(chosen[1], middle)), several=False)


def _sums(amounts: Sequence[int]) -> _Integers:
    """The sum of every subset; bit ``n`` of a place says whether amount ``n`` is in it."""
    sums = np.zeros(1, np.int64)
    for amount in amounts:
        sums = np.concatenate([sums, sums + amount])
    return sums


def _bits(mask: int, start: int) -> list[int]:
    return [start + place for place in range(mask.bit_length()) if mask >> place & 1]
