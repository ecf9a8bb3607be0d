"""One reading of RFC 3339, for every door."""

from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.instants import INSTANT_RULE, LOCAL_RULE, exists, occurs_twice, parse_instant, parse_local_instant

BERLIN = ZoneInfo("Europe/Berlin")
REFUSED = [
    *("2026-02-03 10.15", "2026-02-03 10-15", "2026-02-01+02:00", "20260203101", "2026-02-03", "2026-034T10:15:00Z"),
    *("2026-W05-2T10:15:00Z", "20260203T101500Z", "2026-02-03T10:15Z", "2026-02-03T10Z", "2026-02-03T10:15:00,5Z"),
    *("2026-02-03T24:00:00Z", "2026-02-03T10:15:60Z", "2026-02-30T10:15:00Z", "2026-02-03T10:15:00+0200"),
    *("2026-02-03T10:15:00+02", "2026-02-03T10:15:00+24:00", "2026-02-03T10:15:00+02:60", "2026-02-03T10:15:00.Z"),
    *("+2026-02-03T10:15:00Z", "2026-2-3T10:15:00Z", "2026-02-03T10:15:00Z ", "2026-02-03T10:15:00Z\n", "", "now"),
    *("\u0662026-02-03T10:15:00Z", "0001-01-01T00:00:00+02:00", "9999-12-31T23:59:59-02:00"),
]


@given(
    st.datetimes(datetime(1970, 1, 2), datetime(9998, 1, 1)),  # noqa: DTZ001  # bounds are naive
    st.integers(-1439, 1439),
)
def test_what_is_written_by_rfc_3339_is_read_exactly(naive: datetime, minutes: int) -> None:
    moment = naive.replace(tzinfo=timezone(timedelta(minutes=minutes)))
    for text in (moment.isoformat(), moment.isoformat().replace("T", "t")):
        assert parse_instant(text) == parse_local_instant(text, BERLIN) == moment
        assert parse_instant(text).tzinfo is UTC


@pytest.mark.parametrize("text", REFUSED)
def test_everything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=f"^{INSTANT_RULE}$"):
        parse_instant(text)
    with pytest.raises(ValueError, match=f"^{LOCAL_RULE}$"):
        parse_local_instant(text, BERLIN)


@pytest.mark.parametrize("text", ["2026-02-03T10:15:00", "2026-02-03 10:15:00Z", "2026-02-03T10:15:00.1234567Z"])
def test_an_instant_that_is_a_bound_needs_its_offset_and_is_exact(text: str) -> None:
    with pytest.raises(ValueError, match="with an offset"):
        parse_instant(text)


def test_a_local_instant_is_in_its_own_offset_or_in_the_zone() -> None:
    local = datetime(2026, 2, 3, 10, 15, tzinfo=BERLIN)
    assert parse_local_instant("2026-02-03 10:15:00", BERLIN) == local
    assert parse_local_instant("2026-02-03 10:15:00z", BERLIN) == local + timedelta(hours=1)
    assert parse_local_instant("2026-02-03T10:15:00.123456789Z", BERLIN).microsecond == 123456


def test_clocks_leave_an_hour_out_and_repeat_one() -> None:
    gap, twice = datetime(2026, 3, 29, 2, 30, tzinfo=BERLIN), datetime(2026, 10, 25, 2, 30, tzinfo=BERLIN)
    assert (exists(gap), exists(twice), occurs_twice(twice)) == (False, True, True)
    assert exists(gap + timedelta(hours=1))
    assert not occurs_twice(twice + timedelta(hours=1))
