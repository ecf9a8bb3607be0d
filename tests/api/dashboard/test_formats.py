"""How pages write values."""

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.dashboard import formats
from api.dashboard.formats import MINUS, NOTHING, THIN


def plain(text: str) -> str:
    """A written value with ordinary spaces and signs, to compare by eye."""
    return text.replace(THIN, " ").replace(MINUS, "-").replace(NOTHING, "-")


@pytest.mark.parametrize(
    ("given", "written"),
    [
        (None, "-"),
        (0, "0 B"),
        (1, "1 B"),
        (1023, "1 023 B"),
        (1024, "1.0 KiB"),
        (427_000, "417 KiB"),
        (1_048_575, "1.0 MiB"),
        (10 * 1024, "10 KiB"),
        (5 << 30, "5.0 GiB"),
        (3 << 60, "3 072 PiB"),
    ],
)
def test_bytes_are_written_in_the_largest_unit(given: int | None, written: str) -> None:
    assert plain(formats.size(given)) == written


@pytest.mark.parametrize(
    ("given", "written"),
    [
        (None, "-"),
        (0, "0"),
        (999, "999"),
        (1234567, "1 234 567"),
        (-1234, "-1 234"),
        (0.25, "0.2"),
        (12.0, "12"),
        (1234.5, "1 234"),
        (Decimal("1234.50"), "1 234.50"),
    ],
)
def test_numbers_have_their_digits_in_groups(given: float | None, written: str) -> None:
    assert plain(formats.number(given)) == written


@pytest.mark.parametrize(
    ("amount", "currency", "written"),
    [
        (Decimal("1234.5"), "ZAR", "1 234.50 ZAR"),
        ("-0.1", "ZAR", "-0.10 ZAR"),
        (Decimal("1234.00"), "JPY", "1 234 JPY"),
        (Decimal("1234.50"), "JPY", "1 234.5 JPY"),
        (Decimal("1.5"), "KWD", "1.500 KWD"),
        (Decimal("0.1234"), "ZAR", "0.1234 ZAR"),
        (Decimal("50.1200"), "ZAR", "50.12 ZAR"),
        ("1" * 31 + ".0000", "ZAR", "1" + " 111" * 10 + ".00 ZAR"),  # a sum of more than 28 digits
        (Decimal("NaN"), "ZAR", "NaN ZAR"),
        (None, "ZAR", "-"),
    ],
)
def test_money_has_the_places_of_its_currency_and_loses_none(
    amount: Decimal | str | None, currency: str, written: str
) -> None:
    assert plain(formats.money(amount, currency)) == written


@given(st.decimals(allow_nan=False, allow_infinity=False, places=4, min_value=-(10**14), max_value=10**14))
def test_money_is_read_back_as_it_was(amount: Decimal) -> None:
    assert Decimal(plain(formats.money(amount, "ZAR")).replace(" ", "").removesuffix("ZAR")) == amount


@pytest.mark.parametrize(
    ("share", "written"),
    [
        (None, "-"),
        (0, "0 %"),
        (1, "100 %"),
        (0.004, "0.4 %"),
        (0.00001, "< 0.1 %"),
        (0.99999, "> 99.9 %"),
        (0.5, "50 %"),
        (0.995, "99.5 %"),
    ],
)
def test_a_share_is_never_rounded_to_none_or_all(share: float | None, written: str) -> None:
    assert plain(formats.percent(share)) == written


@pytest.mark.parametrize(
    ("seconds", "written"),
    [
        (None, "-"),
        (0, "0 s"),
        (3.24, "3.2 s"),
        (59.6, "1 min"),
        (200, "3 min 20 s"),
        (7500, "2 h 5 min"),
        (86_400, "1 day"),
        (3 * 86_400 + 4 * 3600, "3 days 4 h"),
    ],
)
def test_a_duration_has_two_units_at_most(seconds: float | None, written: str) -> None:
    assert plain(formats.duration(seconds)) == written


@pytest.mark.parametrize(
    ("value_ms", "written"), [(None, "-"), (0.34, "0.3 ms"), (12.6, "13 ms"), (999.9, "1000 ms"), (2500, "2.5 s")]
)
def test_short_times_are_milliseconds(value_ms: float | None, written: str) -> None:
    assert plain(formats.milliseconds(value_ms)) == written


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain <b>", "plain &lt;b&gt;"),
        ("run `treasury <up>` now", "run <code>treasury &lt;up&gt;</code> now"),
        ("one ` alone <", "one ` alone &lt;"),
        ("", ""),
    ],
)
def test_commands_in_a_sentence_are_code_and_everything_is_escaped(text: str, shown: str) -> None:
    assert formats.prose(text) == shown


def test_instants_are_utc_and_readable_by_machines() -> None:
    there = timezone(timedelta(hours=2))
    assert plain(formats.moment(datetime(2026, 11, 30, 7, 43, 9, tzinfo=there))) == (
        '<time datetime="2026-11-30T05:43:09+00:00">2026-11-30 05:43 UTC</time>'
    )
    assert formats.day(date(2026, 11, 30)) == '<time datetime="2026-11-30">2026-11-30</time>'
    assert formats.moment(None) == formats.day(None) == NOTHING


@pytest.mark.parametrize(
    ("ago_s", "written"),
    [(0, "0 seconds ago"), (1, "1 second ago"), (90, "1 minute ago"), (7300, "2 hours ago"), (-172_800, "in 2 days")],
)
def test_an_age_says_how_long_ago_and_when(ago_s: float, written: str) -> None:
    now = datetime(2026, 11, 30, 12, tzinfo=UTC)
    shown = formats.age(now - timedelta(seconds=ago_s), now)
    assert shown.endswith(f">{written}</time>")
    assert "title=" in shown


@pytest.mark.parametrize(("amount", "written"), [
    ("0", "0.00"), ("0.0001", "0.00010"), ("0.00734", "0.0073"), ("-0.0002", "-0.00020"), ("0.01", "0.01"),
    ("1234.567", "1 234.57"), ("-3.2", "-3.20"),
])  # fmt: skip
def test_a_price_below_a_cent_has_two_digits_that_count(amount: str, written: str) -> None:
    assert plain(formats.cost(Decimal(amount))) == written
