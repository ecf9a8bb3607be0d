"""From which value on a check is bad, and that the settings cannot say it the wrong way round."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from config import Settings
from config.health import HealthSettings
from tasks.health.checks import CHECKS
from tasks.health.result import HealthState, Limits, exact

NUMBERS = st.integers(-1000, 1000)


@given(NUMBERS, NUMBERS, NUMBERS, st.booleans())
def test_the_worse_the_value_the_worse_the_state(one: int, other: int, between: int, falling: bool) -> None:
    warning, critical = sorted((one, other), reverse=falling)
    limits = Limits(warning, critical, "", falling)
    better, worse = sorted((between, between + 7), reverse=falling)
    assert limits.judge(better).rank <= limits.judge(worse).rank
    assert limits.judge(critical) is HealthState.CRITICAL
    assert limits.judge(warning).rank >= HealthState.WARNING.rank


@pytest.mark.parametrize(
    "wrong", [{"disk_warning_percent": 5, "disk_critical_percent": 10}, {"lock_warning_s": 90}, {"colour": 1}]
)
def test_a_warning_that_would_come_after_the_critical_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValidationError):
        HealthSettings(**wrong)


def test_every_threshold_is_one_of_a_pair() -> None:
    for name in HealthSettings.model_fields:
        if "_warning" in name:
            assert name.replace("_warning", "_critical") in HealthSettings.model_fields


def test_every_check_has_a_threshold_in_the_settings(settings: Settings) -> None:
    without = [check.name for check in CHECKS if check.limits(settings) is None]
    # The value of database_size is bytes: it is judged by the days until the disk is full, growth_*. A schedule
    # is late by its own interval, and a policy or a trigger is there or not.
    assert without == ["database_size", "schedules", "row_access"]


def test_a_measured_number_is_kept_with_one_decimal_place() -> None:
    assert [str(exact(value)) for value in (3, 3.14159, 1e15)] == ["3", "3.1", "1000000000000000.0"]
