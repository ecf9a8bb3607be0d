"""Percentiles from a histogram's counts. Pure."""

import math
from bisect import bisect_left
from collections.abc import Sequence


def quantile(bounds: Sequence[float], cumulative: Sequence[float], share: float) -> float | None:
    """The value at or below which ``share`` of what was counted lies (nearest rank); None when nothing was.

    ``cumulative`` counts what is at or below each of ``bounds``, ascending, and has one more entry for the total. The
    answer is the geometric middle of the range that holds the value. With bounds in a constant ratio r it is off by a
    factor of at most sqrt(r). Below the first bound the range is taken to be as wide as the next one. Beyond the last
    bound the answer is the last bound.
    """
    total = cumulative[-1]
    if total <= 0:
        return None
    rank = max(1, math.ceil(share * total - 1e-9))
    index = bisect_left(cumulative, rank)
    if index >= len(bounds):
        return bounds[-1]
    lower = bounds[index - 1] if index else bounds[0] * bounds[0] / bounds[1]
    return math.sqrt(lower * bounds[index])
