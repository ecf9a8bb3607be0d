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
        ("0,500", {"thousands": ","}),  # half a unit, written with the other marks
        ("-0,001", {"thousands": ","}),
        ("00,123.45", {"thousands": ","}),
        ("000,012", {"thousands": ","}),
        ("0.500", {"thousands": ".", "decimal": ","}),
        ("0 500,00", {"thousands": " ", "decimal": ","}),
        ("0,500", {"thousands": ",", "unit": "minor"}),
    ],
)
def test_an_amount_that_could_mean_two_things_is_refused(text: str, options: dict[str, str]) -> None:
    with pytest.raises(FieldError, match="amount"):
        money(text, **options)


WAYS_OF_SIGNS = [
    *[("12.50-", "-"), ("-12.50", "-"), ("- 12.50", "-"), ("+12.50", ""), ("12.50+", ""), ("(12.50)", "-")],
    *[("( 12.50 )", "-"), ("\u221212.50", "-"), ("12.50\u2212", "-"), ("12.50 -", "-")],
]


@pytest.mark.parametrize(("text", "sign"), WAYS_OF_SIGNS)
def test_a_sign_is_read_wherever_people_put_it(text: str, sign: str) -> None:
    assert money(text) == f"{sign}12.50"
    assert money(text, sign="absolute") == "12.50"
    assert money(text.replace("12.50", "1.012,50"), decimal=",", thousands=".") == f"{sign}1012.50"
    assert money(text.replace("12.50", "1250"), unit="minor") == f"{sign}12.50"


@pytest.mark.parametrize("symbol", ["\u20ac", "$", "EUR", "R"])
@pytest.mark.parametrize(
    ("form", "sign"),
    [
        *[
            ("{}12.50", ""),
            ("{} 12.50", ""),
            ("12.50{}", ""),
            ("12.50 {}", ""),
            ("12.50\u00a0{}", ""),
            ("+{}12.50", ""),
        ],
        *[("-{}12.50", "-"), ("{}-12.50", "-"), ("{} -12.50", "-"), ("({}12.50)", "-"), ("(12.50 {})", "-")],
        *[("\u221212.50 {}", "-"), ("12.50- {}", "-"), ("12.50 {}-", "-"), ("{}12.50-", "-"), ("{}\u202f12.50", "")],
    ],
)
def test_a_symbol_is_read_before_and_behind_the_number(form: str, sign: str, symbol: str) -> None:
    text, currency = form.format(symbol), "EUR" if symbol == "EUR" else "ZAR"
    assert money(text, currency, symbols=["EUR", "R", "\u20ac", "$"]) == f"{sign}12.50"
    with pytest.raises(FieldError, match="must be a decimal string"):
        money(text, symbols=["CHF"])
    with pytest.raises(FieldError, match="must be a decimal string"):
        money(text)


BLANKS = [" ", "\u00a0", "\u2007", "\u2009", "\u202f"]


@pytest.mark.parametrize("thousands", [" ", "\u00a0", "\u2009", "\u202f"])
@pytest.mark.parametrize("blank", BLANKS)
def test_any_blank_parts_thousands_where_one_does(blank: str, thousands: str) -> None:
    options: dict[str, Any] = {"thousands": thousands, "decimal": ",", "symbols": ["\u20ac"]}
    assert money(f"-1{blank}234{blank}567,80{blank}\u20ac", **options) == "-1234567.80"
    for text in (f"12{blank}34,50", f"1{blank}2345,00", f"1{blank}{blank}234,50"):
        with pytest.raises(FieldError, match="must be an amount written like"):
            money(text, **options)
    with pytest.raises(FieldError, match="must be a decimal string"):
        money(f"1{blank}234.50")


@pytest.mark.parametrize("mark", ["'", "\u2019"])
def test_one_apostrophe_parts_thousands_like_the_other(mark: str) -> None:
    assert {money(f"1{mark}234.50", thousands=other) for other in ("'", "\u2019")} == {"1234.50"}


@pytest.mark.parametrize(
    ("rule", "texts"),
    [
        ("must have both parentheses or none", ["(12.50", "12.50)", "($12.50", "12.50$)"]),
        (
            "must have one sign at most",
            ["-12.50-", "--12.50", "(-12.50)", "(12.50-)", "-$-12.50", "12.50-$-", "+12.50-"],
        ),
        ("must have one sign at most", ["+12.50-", "-12.50 Dr", "-12.50 Cr", "12.50- Cr", "(12.50 Dr)"]),
        ("must have one symbol at most", ["$12.50$", "$ 12.50 EUR"]),
        (
            "must be a decimal string",
            ["-(12.50)", "-(12.50", "(12.50) Dr", "((12.50))", "12.50 Cr Dr", "$$12.50", "-", "()"],
        ),
    ],
)
def test_an_amount_whose_sign_is_said_twice_or_by_half_is_refused(rule: str, texts: list[str]) -> None:
    for text in texts:
        with pytest.raises(FieldError, match=f"amount: {rule}"):
            money(text, symbols=["$", "EUR"], signs={"Cr": "+", "Dr": "-"})


@pytest.mark.parametrize(
    ("text", "expected"), [("12.50 Dr", "-12.50"), ("12.50Dr", "-12.50"), ("$ 12.50\u00a0Cr", "12.50")]
)
def test_a_word_behind_the_number_says_its_sign(text: str, expected: str) -> None:
    assert money(text, symbols=["$"], signs={"Cr": "+", "Dr": "-"}) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("12.50 Cr", "12.50"),
        ("12.50", "-12.50"),
        ("1250", "-1250"),
        ("$ 1,250.00", "-1250.00"),
        ("(12.50)", "-12.50"),
        ("+12.50", "12.50"),
    ],
)
def test_an_empty_text_says_the_sign_of_an_amount_without_one(text: str, expected: str) -> None:
    options: dict[str, Any] = {"symbols": ["$"], "thousands": ",", "signs": {"Cr": "+", "": "-"}}
    assert money(text, **options) == expected


def test_an_empty_text_says_the_sign_of_minor_units_too() -> None:
    assert money("1250", unit="minor", signs={"Cr": "+", "": "-"}) == "-12.50"


@pytest.mark.parametrize(
    ("text", "currency", "is_taken"),
    [
        ("USD 12.50", "USD", True),
        ("R 12.50", "ZAR", True),
        ("12.50", "ZAR", True),
        ("USD 12.50", "ZAR", False),
        ("12.50 usd", "ZAR", False),
        ("12.50 DEM", "EUR", False),
    ],
)
@pytest.mark.parametrize("options", [{"column": "a"}, {"column": "a", "unit": "minor"}, {"first_of": ["a", "b"]}])
def test_an_amount_in_another_currency_than_its_row_is_refused(
    text: str, currency: str, is_taken: bool, options: dict[str, Any]
) -> None:
    mapping = FieldMapping(symbols=["USD", "usd", "DEM", "R"], **options)
    text = text.replace("12.50", "1250") if mapping.unit == "minor" else text
    read = compile_money("fee", mapping, POSITIONS, FileFormat(), lambda _: currency).amount
    if is_taken:
        assert read([text, ""]) == "12.50"
    else:
        with pytest.raises(FieldError, match=rf"fee: is in (USD|DEM), and the row's currency is {currency}"):
            read([text, ""])


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


CZECH = [
    *("leden", "únor", "březen", "duben", "květen", "červen"),
    *("červenec", "srpen", "září", "říjen", "listopad", "prosinec"),
]
THIRD = datetime(2026, 3, 3, tzinfo=UTC)


@pytest.mark.parametrize(
    ("format_", "text", "months", "expected"),
    [
        ("%-d.%-m.%Y", "3.3.2026", (), THIRD),
        ("%-d.%-m.%Y", "03.03.2026", (), THIRD),
        ("%-m/%-d/%y %-H:%M", "3/3/26 9:05", (), THIRD.replace(hour=9, minute=5)),
        ("%-m/%-d/%Y, %-I:%M %p", "3/3/2026, 9:05\u202fPM", (), THIRD.replace(hour=21, minute=5)),
        ("%-d %b %Y", "3 Mar 2026", (), THIRD),
        ("%-d %b %Y", "3\u00a0March\u20092026", (), THIRD),
        ("%b %-d, %Y", "mar. 3, 2026", (), THIRD),
        ("%-d %b %Y", "3 Sept 2026", (), THIRD.replace(month=9)),
        ("%-d. %b %Y", "3. březen 2026", CZECH, THIRD),
        ("%-d. %b %Y", "3. BŘEZEN 2026", CZECH, THIRD),
        ("%d-%b-%y", "03-prosinec-26", CZECH, THIRD.replace(month=12)),
    ],
)
def test_days_without_padding_and_months_by_name_are_read(
    format_: str, text: str, months: list[str], expected: datetime
) -> None:
    assert compile_instant("t", format_, "UTC", month_names=months)(text) == expected


@pytest.mark.parametrize(
    ("format_", "text", "months"),
    [
        ("%-d.%-m.%Y", "3.13.2026", ()),
        ("%-d.%-m.%Y", "003.3.2026", ()),
        ("%-d.%-m.%Y", "3. 3.2026", ()),
        ("%d.%m.%Y", "3.3.2026", ()),
        ("%-d %b %Y", "3 březen 2026", ()),
        ("%-d %b %Y", "3 March 2026", CZECH),
        ("%-d %b %Y", "3 bře 2026", CZECH),
        ("%-d %b %Y", "30 Feb 2026", ()),
    ],
)
def test_a_day_or_a_month_of_another_form_is_refused(format_: str, text: str, months: list[str]) -> None:
    with pytest.raises(FieldError, match="t: must be a time of the form"):
        compile_instant("t", format_, "UTC", month_names=months)(text)


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
