"""Columns to values: maps, templates, money, times."""

from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.errors import FieldError
from ledger.money import parse_amount
from tasks.importing.amounts import compile_money
from tasks.importing.instants import compile_instant
from tasks.importing.mapping import FieldMapping, FileFormat
from tasks.importing.values import compile_value

POSITIONS = {"a": 0, "b": 1}


def value(*fields: str, **options: Any) -> str | None:
    return compile_value("f", FieldMapping(**options), POSITIONS, FileFormat())(fields)


def money(text: str, currency: str = "ZAR", **options: Any) -> str | None:
    mapping = FieldMapping(column="a", **options)
    return compile_money("amount", mapping, POSITIONS, FileFormat(), lambda _: currency).amount([text, ""])


def test_a_text_keeps_its_white_space_unless_the_file_strips_and_white_space_alone_is_none() -> None:
    assert value(" x ", "", column="a") == " x "
    read = compile_value("f", FieldMapping(column="a"), POSITIONS, FileFormat(strip=True))
    assert read([" x ", ""]) == "x"
    assert value("", "y", column="a") is None
    assert value(" \u00a0", "y", column="a") is None


def test_what_a_map_or_a_case_looks_up_has_no_white_space_around() -> None:
    assert value(" X ", "", column="a", map={"X": "1"}) == "1"
    assert value(" X ", " Y", columns=["a", "b"], cases=[{"when": ["X", "Y"], "then": "z"}]) == "z"


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [("x", "y", "x y"), ("x", "", "x"), ("", "y", "y"), (" x", "", " x "), ("x ", "y", "x  y"), (" ", "\t", None)],
)
def test_of_a_template_only_its_own_blanks_are_left_out(first: str, second: str, expected: str | None) -> None:
    assert value(first, second, template="{a} {b}") == expected


def test_a_default_stands_for_an_empty_column_and_empty_can_be_refused() -> None:
    assert value("", "", column="a", default="d") == "d"
    with pytest.raises(FieldError, match="is empty"):
        value(" ", "", column="a", empty="reject")


def test_a_map_takes_only_what_it_lists() -> None:
    assert value("X", "", column="a", map={"X": "1"}) == "1"
    assert value("Y", "", column="a", map={"X": "1"}, otherwise="2") == "2"
    assert value("", "", column="a", map={"": "nothing"}) == "nothing"
    with pytest.raises(FieldError, match="'Y'"):
        value("Y", "", column="a", map={"X": "1"})


def test_cases_look_at_several_columns_together() -> None:
    cases = [{"when": ["P", ""], "then": "interest"}, {"when": ["P", "V"], "then": "deposit"}]
    assert value("P", " ", columns=["a", "b"], cases=cases) == "interest"
    assert value("P", "V", columns=["a", "b"], cases=cases) == "deposit"
    with pytest.raises(FieldError, match="no case"):
        value("Q", "V", columns=["a", "b"], cases=cases)


def test_a_template_joins_columns_and_is_nothing_without_any() -> None:
    assert value("50%", "n", template="{a} off {b}%") == "50% off n%"
    assert value("", "", template="{a}/{b}") is None


def test_line_breaks_are_joined_on_request() -> None:
    assert value("one\r\ntwo", "", column="a", join_lines=True) == "one two"
    assert value("\none\ntwo\r\n", "", column="a", join_lines=True) == "one two"


@pytest.mark.parametrize(
    ("text", "options", "expected"),
    [
        ("150.0000", {}, "150.00"),
        ("150.0050", {}, "150.0050"),
        ("1500", {"unit": "minor"}, "15.00"),
        ("-5", {"unit": "minor"}, "-0.05"),
        ("007", {"unit": "minor"}, "0.07"),
        ("1 234 567,8", {"thousands": " ", "decimal": ","}, "1234567.8"),
        ("1234,50", {"thousands": ".", "decimal": ","}, "1234.50"),
        ("-12.50", {"sign": "absolute"}, "12.50"),
    ],
)
def test_amounts_become_decimal_strings(text: str, options: dict[str, str], expected: str) -> None:
    assert money(text, **options) == expected


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("15.5", {"unit": "minor"}),
        ("1.234", {"decimal": ","}),
        ("1,23,456.00", {"thousands": ","}),
        ("1.23,50", {"thousands": ".", "decimal": ","}),
        ("1,5", {"thousands": ","}),
    ],
)
def test_an_amount_that_could_mean_two_things_is_refused(text: str, options: dict[str, str]) -> None:
    with pytest.raises(FieldError, match="amount"):
        money(text, **options)


@given(st.decimals("0.01", "9999999999999.99", places=2))
def test_any_amount_survives_every_way_of_writing_it(amount: Decimal) -> None:
    grouped = f"{amount:,.2f}"
    written: list[tuple[str, dict[str, str]]] = [
        (str(amount), {}),
        (f"{amount:.4f}", {}),
        (grouped, {"thousands": ","}),
        (grouped.translate({44: ".", 46: ","}), {"thousands": ".", "decimal": ","}),
        (str(int(amount * 100)), {"unit": "minor"}),
    ]
    for text, options in written:
        assert parse_amount("amount", str(money(text, **options))) == amount


@pytest.mark.parametrize(
    ("format_", "zone", "text", "expected"),
    [
        ("%y%m%d", "UTC", "930101", datetime(1993, 1, 1, tzinfo=UTC)),
        ("%y%m%d", "UTC", "680101", datetime(2068, 1, 1, tzinfo=UTC)),
        ("%y%m%d", "UTC", "690101", datetime(1969, 1, 1, tzinfo=UTC)),
        ("%Y/%m/%d %H:%M", "Africa/Johannesburg", "2026/02/01 01:15", datetime(2026, 1, 31, 23, 15, tzinfo=UTC)),
        ("%d.%m.%Y", "Europe/Prague", "01.07.2020", datetime(2020, 6, 30, 22, tzinfo=UTC)),
        (
            "%Y-%m-%dT%H:%M:%S.%f%z",
            "UTC",
            "2020-01-01T00:00:00.1239+02:00",
            datetime(2019, 12, 31, 22, 0, 0, 123000, UTC),
        ),
        ("%Y%m%d%H%M%S", "UTC", "20200131235959", datetime(2020, 1, 31, 23, 59, 59, tzinfo=UTC)),
        ("iso", "Africa/Johannesburg", "2020-01-01T00:00:00", datetime(2019, 12, 31, 22, tzinfo=UTC)),
        ("iso", "Africa/Johannesburg", "2020-01-01 00:00:00.123456789", datetime(2019, 12, 31, 22, 0, 0, 123000, UTC)),
        ("iso", "Africa/Johannesburg", "2020-01-01t00:00:00z", datetime(2020, 1, 1, tzinfo=UTC)),
        ("iso", "Africa/Johannesburg", "2020-01-01T00:00:00Z", datetime(2020, 1, 1, tzinfo=UTC)),
    ],
)
def test_times_are_read_in_their_zone(format_: str, zone: str, text: str, expected: datetime) -> None:
    assert compile_instant("t", format_, zone)(text) == expected


@pytest.mark.parametrize(
    ("format_", "text"),
    [
        ("%y%m%d", "930230"),
        ("%y%m%d", "93011"),
        ("%Y-%m-%d", "2020-1-1"),
        ("%Y-%m-%d", "\u0662\u0660\u0662\u0660-01-01"),
        ("%Y-%m-%d", "2020-01-01\n"),
        ("iso", "soon"),
        ("iso", "2026-02-03 10.15"),
        ("iso", "2026-02-03T10-15"),
        ("iso", "2026-02-03 10-15"),
        ("iso", "2026-02-01+02:00"),
        ("iso", "20260203101"),
        ("iso", "2026-02-03"),
        ("iso", "2026-02-03T10:15"),
        ("iso", "20260203T101500Z"),
        ("iso", "2026-W05-2T10:15:00Z"),
        ("iso", "2026-02-03T10:15:00,5Z"),
        ("iso", "2026-02-03T24:00:00Z"),
        ("iso", "2026-02-03T10:15:60Z"),
        ("iso", "2026-02-03T10:15:00+0200"),
        ("iso", "2026-02-03T10:15:00+02"),
        ("iso", "0001-01-01"),
    ],
)
def test_a_time_that_does_not_fit_is_refused(format_: str, text: str) -> None:
    read: Callable[[str], datetime] = compile_instant("t", format_, "Africa/Johannesburg")
    with pytest.raises(FieldError, match="t: must be"):
        read(text)


@given(st.datetimes(datetime(1970, 1, 2), datetime(2199, 1, 1), timezones=st.just(UTC)))  # noqa: DTZ001  # bounds are naive
def test_a_time_written_by_a_format_is_read_by_it(moment: datetime) -> None:
    format_ = "%d/%m/%Y %H-%M-%S.%f"
    expected = moment.replace(microsecond=moment.microsecond // 1000 * 1000)
    assert compile_instant("t", format_, "UTC")(moment.strftime(format_)) == expected
