"""A month is a UTC calendar month, half-open, whatever timezone an instant is written in."""

from datetime import UTC, date, datetime, timedelta, timezone
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.errors import ConfigError
from ledger.months import FIRST_YEAR, LAST_YEAR, Month, months_between

MICROSECOND = timedelta(microseconds=1)
months = st.builds(Month, st.integers(FIRST_YEAR, LAST_YEAR), st.integers(1, 12))
offsets = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
# A day away from both ends of the range, so that no offset leaves it.
instants = st.datetimes(datetime(FIRST_YEAR, 1, 2), datetime(LAST_YEAR, 12, 30), timezones=offsets)  # noqa: DTZ001


@given(instants)
def test_an_instant_lies_in_exactly_the_month_whose_bounds_hold_it(moment: datetime) -> None:
    month = Month.of(moment)
    assert month.lower <= moment < month.upper


@given(instants, offsets)
def test_the_month_does_not_depend_on_the_timezone_that_an_instant_is_written_in(
    moment: datetime, other: timezone
) -> None:
    assert Month.of(moment.astimezone(other)) == Month.of(moment)


def test_the_last_minutes_of_a_local_month_may_belong_to_another_utc_month() -> None:
    assert Month.of(datetime.fromisoformat("2026-03-01T01:59:59+02:00")) == Month(2026, 2)
    assert Month.of(datetime.fromisoformat("2026-02-28T20:00:00-05:00")) == Month(2026, 3)


@given(months)
def test_bounds_are_half_open_and_months_touch_without_gap_or_overlap(month: Month) -> None:
    assert Month.of(month.lower) == month
    assert Month.of(month.upper - MICROSECOND) == month
    if month != Month(LAST_YEAR, 12):
        assert month.upper == month.plus(1).lower
        assert Month.of(month.upper) == month.plus(1)


@given(months)
def test_bounds_are_midnights_in_utc(month: Month) -> None:
    for bound in (month.lower, month.upper):
        assert bound.tzinfo is UTC
        assert (bound.day, bound.time().isoformat()) == (1, "00:00:00")


@given(months)
def test_index_text_and_first_day_all_lead_back_to_the_month(month: Month) -> None:
    assert Month.from_index(month.index) == month
    assert Month.parse(str(month)) == month
    assert Month.of(month.first_day) == month


@given(months, months)
def test_the_order_of_months_is_the_order_of_their_instants(one: Month, other: Month) -> None:
    assert (one < other) == (one.lower < other.lower) == (str(one) < str(other))


@given(months, months)
def test_plus_moves_by_the_difference_of_the_indexes(one: Month, other: Month) -> None:
    assert one.plus(other.index - one.index) == other


@given(months, st.integers(0, 30))
def test_months_between_gives_every_month_once_with_both_ends(first: Month, distance: int) -> None:
    last = Month.from_index(min(first.index + distance, Month(LAST_YEAR, 12).index))
    found = list(months_between(first, last))
    assert (found[0], found[-1]) == (first, last)
    assert all(later == earlier.plus(1) for earlier, later in pairwise(found))


def test_months_between_is_empty_when_the_last_comes_before_the_first() -> None:
    assert list(months_between(Month(2026, 2), Month(2026, 1))) == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2026",
        "2026-1",
        "2026-13",
        "2026-00",
        "26-01",
        "2026-01-01",
        " 2026-01",
        "2026-01\n",
        "2026/01",
        "1969-12",
        "\u0662\u0660\u0662\u0666-\u0660\u0661",
    ],
)
def test_anything_but_a_month_of_the_form_yyyy_mm_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="month"):
        Month.parse(text)


@pytest.mark.parametrize(("year", "month"), [(1969, 12), (2200, 1), (2026, 0), (2026, 13)])
def test_a_month_outside_the_range_cannot_be_made(year: int, month: int) -> None:
    with pytest.raises(ConfigError, match=f"month {year}-{month} is outside"):
        Month(year, month)


def test_a_datetime_without_a_timezone_has_no_month() -> None:
    with pytest.raises(ValueError, match="timezone"):
        Month.of(datetime(2026, 1, 1))  # noqa: DTZ001  # the point of the test


def test_a_date_is_taken_as_a_utc_day() -> None:
    assert Month.of(date(2026, 1, 31)) == Month(2026, 1)
