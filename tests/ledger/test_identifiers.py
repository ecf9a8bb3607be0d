"""The id tells the month: a UUIDv7 carries the milliseconds of created_at and nothing else of the row."""

import random
from datetime import UTC, datetime, timedelta, timezone
from uuid import RFC_4122, UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.errors import FieldError
from ledger.identifiers import (
    created_at_of,
    derived_id,
    from_unix_ms,
    id_bounds,
    new_id,
    time_of,
    truncate_ms,
    unix_ms,
    unix_us,
)
from ledger.months import FIRST_YEAR, LAST_YEAR, Month

MILLISECOND = timedelta(milliseconds=1)
months = st.builds(Month, st.integers(FIRST_YEAR, LAST_YEAR - 1), st.integers(1, 12))
offsets = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
instants = st.datetimes(datetime(FIRST_YEAR, 1, 2), datetime(LAST_YEAR, 12, 30), timezones=offsets)  # noqa: DTZ001
tails = st.integers(0, 2**74 - 1)


def _id(moment: datetime, tail: int) -> UUID:
    return new_id(moment, lambda bits: tail & ((1 << bits) - 1))


@given(instants, tails)
def test_an_id_carries_created_at_at_millisecond_precision(moment: datetime, tail: int) -> None:
    row_id = _id(moment, tail)
    assert (row_id.version, row_id.variant) == (7, RFC_4122)
    assert created_at_of(row_id) == truncate_ms(moment)


@pytest.mark.parametrize("text", ["00000000-0000-4000-8000-000000000000", "ffffffff-ffff-7fff-bfff-ffffffffffff"])
def test_an_id_without_a_time_that_a_calendar_has_is_refused_by_name(text: str) -> None:
    with pytest.raises(FieldError, match="id: must be"):
        created_at_of(UUID(text))
    assert time_of(UUID(text)) is None


@given(instants, tails, tails)
def test_different_random_bits_give_different_ids(moment: datetime, one: int, other: int) -> None:
    assert (_id(moment, one) == _id(moment, other)) == (one == other)


def test_each_of_the_74_random_bits_reaches_the_id() -> None:
    moment = datetime(2026, 2, 3, tzinfo=UTC)
    assert len({_id(moment, 1 << bit) for bit in range(74)} | {_id(moment, 0)}) == 75


@given(instants, instants, tails, tails)
def test_ids_are_ordered_like_their_milliseconds(one: datetime, other: datetime, tail: int, another: int) -> None:
    if unix_ms(one) < unix_ms(other):
        assert _id(one, tail) < _id(other, another)


@given(months, tails)
def test_the_bounds_of_a_month_hold_its_first_and_last_id_and_not_their_neighbours(month: Month, tail: int) -> None:
    first, last = id_bounds(month)
    assert first <= _id(month.lower, 0) <= _id(month.lower, tail)
    assert _id(month.upper - MILLISECOND, 2**74 - 1) < last
    assert _id(month.upper, 0) >= last
    if month.lower > from_unix_ms(0):
        assert _id(month.lower - MILLISECOND, 2**74 - 1) < first


@given(instants, tails, months)
def test_an_id_is_within_the_bounds_exactly_when_its_instant_is(moment: datetime, tail: int, month: Month) -> None:
    first, last = id_bounds(month)
    assert (first <= _id(moment, tail) < last) == (Month.of(moment) == month)


@given(months)
def test_the_bounds_of_neighbouring_months_touch(month: Month) -> None:
    if month.year < LAST_YEAR - 1:
        assert id_bounds(month)[1] == id_bounds(month.plus(1))[0]


@given(instants, st.binary(max_size=40))
def test_a_derived_id_is_the_same_every_time_and_carries_created_at(moment: datetime, source: bytes) -> None:
    row_id = derived_id(moment, source)
    assert row_id == derived_id(moment, source)
    assert (row_id.version, row_id.variant) == (7, RFC_4122)
    assert created_at_of(row_id) == truncate_ms(moment)


@given(instants, st.binary(max_size=40), st.binary(max_size=40))
def test_derived_ids_of_different_sources_differ(moment: datetime, one: bytes, other: bytes) -> None:
    assert (derived_id(moment, one) == derived_id(moment, other)) == (one == other)


def test_a_derived_id_never_changes_between_versions_of_this_project() -> None:
    moment = datetime(2026, 2, 3, 9, 15, tzinfo=UTC)
    assert derived_id(moment, b"bank:695247") == UUID("019c22c8-a220-7d4c-97a2-48b65450c7a2")


def test_new_ids_from_a_real_source_of_randomness_do_not_repeat() -> None:
    moment = datetime(2026, 2, 3, tzinfo=UTC)
    assert len({new_id(moment, random.getrandbits) for _ in range(1000)}) == 1000


@given(instants)
def test_truncation_drops_only_the_microseconds_and_is_stable(moment: datetime) -> None:
    truncated = truncate_ms(moment)
    assert timedelta(0) <= moment - truncated < MILLISECOND
    assert truncated.tzinfo is UTC
    assert truncate_ms(truncated) == truncated
    assert from_unix_ms(unix_ms(moment)) == truncated


def test_instants_before_1970_round_down_too() -> None:
    moment = datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)
    assert (unix_us(moment), unix_ms(moment)) == (-1, -1)


@given(st.datetimes(datetime(1, 1, 3), datetime(9999, 12, 30), timezones=offsets))  # noqa: DTZ001
def test_microseconds_are_exact_over_the_whole_range_of_dates(moment: datetime) -> None:
    assert datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=unix_us(moment)) == moment


@pytest.mark.parametrize("row_id", [uuid4(), UUID(int=0), UUID(int=2**128 - 1), UUID(int=0x7 << 76)])
def test_an_id_that_is_no_uuid_of_version_7_has_no_instant(row_id: UUID) -> None:
    with pytest.raises(FieldError, match="version 7") as caught:
        created_at_of(row_id)
    assert caught.value.field == "id"
