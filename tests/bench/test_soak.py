"""When the soak says that something leaks."""

from typing import Any

import pytest

from bench.soak import judged


def soaked(memory_mb: list[float], connections: list[int] | None = None, **changes: Any) -> bool:
    result = {
        "passed": True,
        "memory_samples_mb": memory_mb,
        "connection_samples": connections or [8] * len(memory_mb),
        **changes,
    }
    return bool(judged(result)["passed"])


FLAT = [100.0, 140.0, 150.0] * 2 + [200.0 + number % 3 for number in range(54)]


def test_memory_that_fills_at_first_and_then_stays_passes() -> None:
    assert soaked(FLAT)


@pytest.mark.parametrize("mb_a_sample", [0.5, 2])
def test_memory_that_climbs_fails(mb_a_sample: float) -> None:
    assert not soaked([200.0 + mb_a_sample * number for number in range(60)])


def test_one_peak_is_no_leak() -> None:
    assert soaked([*FLAT[:-1], 900.0])


def test_a_connection_that_is_not_given_back_fails() -> None:
    assert not soaked(FLAT, [8] * 40 + [9] * 20)


def test_a_run_that_missed_its_targets_or_was_too_short_to_tell_fails() -> None:
    assert not soaked(FLAT, passed=False)
    assert not soaked(FLAT[-5:])
