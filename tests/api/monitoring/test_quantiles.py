"""Percentiles from buckets are within a tenth of the true ones."""

import math
from bisect import bisect_left
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.monitoring.metrics import BUCKET_RATIO, DURATION_BUCKETS_S
from api.monitoring.quantiles import quantile

measured_s = st.floats(DURATION_BUCKETS_S[0], DURATION_BUCKETS_S[-1])


def counted(durations_s: list[float]) -> list[float]:
    """How a histogram counts: at or below each bound, and the total."""
    return [float(sum(bisect_left(DURATION_BUCKETS_S, value) <= index for value in durations_s)) for index in range(62)]


@given(st.lists(measured_s, min_size=1, max_size=200), st.sampled_from([0.5, 0.95, 0.99, 1.0]))
def test_a_percentile_is_within_ten_percent(durations_s: list[float], share: float) -> None:
    true_s = sorted(durations_s)[math.ceil(share * len(durations_s)) - 1]
    found_s = quantile(DURATION_BUCKETS_S, counted(durations_s), share)

    assert found_s is not None
    assert found_s / true_s == pytest.approx(1, rel=0.1)


@given(st.lists(st.floats(0, 100), min_size=1, max_size=50))
def test_percentiles_never_fall_as_their_share_grows(durations_s: list[float]) -> None:
    cumulative = counted(durations_s)
    found = [quantile(DURATION_BUCKETS_S, cumulative, share) or 0 for share in (0.01, 0.5, 0.95, 0.99, 1)]
    assert found == sorted(found)


def test_nothing_counted_has_no_percentile() -> None:
    assert quantile(DURATION_BUCKETS_S, [0.0] * 62, 0.5) is None


def test_what_lies_beyond_the_last_bound_is_told_as_that_bound() -> None:
    assert quantile(DURATION_BUCKETS_S, counted([99.0]), 0.5) == DURATION_BUCKETS_S[-1]


def test_the_bounds_are_in_one_ratio() -> None:
    assert len(DURATION_BUCKETS_S) == 61
    assert all(other / one == pytest.approx(BUCKET_RATIO, rel=1e-4) for one, other in pairwise(DURATION_BUCKETS_S))
