"""The canonical text of a row: fixed forever, and never the same for two different rows."""

from datetime import UTC, date, datetime, timedelta
from decimal import Context, Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.canonical import FIELD_SEPARATOR, NULL_MARK, canonical_row, readable
from ledger.columns import Column, ColumnKind
from ledger.errors import DataError

COLUMNS = (
    Column("id", ColumnKind.UUID, nullable=False),
    Column("note", ColumnKind.TEXT),
    Column("label", ColumnKind.TEXT),
    Column("flag", ColumnKind.BOOLEAN),
    Column("number", ColumnKind.INTEGER),
    Column("amount", ColumnKind.DECIMAL, precision=18, scale=2),
    Column("rate", ColumnKind.DECIMAL, precision=38, scale=10),
    Column("count", ColumnKind.DECIMAL, precision=38, scale=0),
    Column("moment", ColumnKind.TIMESTAMP),
    Column("day", ColumnKind.DATE),
    Column("metadata", ColumnKind.JSON),
)
EXACT = Context(prec=60)  # the usual 28 digits would round what these tests are about
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters=FIELD_SEPARATOR + NULL_MARK), max_size=6)


def _decimals(digits: int, scale: int) -> st.SearchStrategy[Decimal]:
    largest = 10**digits - 1
    return st.integers(-largest, largest).map(lambda units: Decimal(units).scaleb(-scale, EXACT))


rows = st.tuples(
    st.uuids(),
    st.none() | texts,
    st.none() | texts,
    st.none() | st.booleans(),
    st.none() | st.integers(-(2**63), 2**63 - 1),
    st.none() | _decimals(18, 2),
    st.none() | _decimals(38, 10),
    st.none() | _decimals(38, 0),
    st.none() | st.datetimes(timezones=st.just(UTC)),
    st.none() | st.dates(),
    st.none() | texts,
)


def test_each_kind_has_the_text_that_the_definition_gives() -> None:
    row = (
        UUID("019C2284-5B20-7C3E-9E1D-0000000000AB"),
        "R 1",
        "",
        True,
        -7,
        Decimal("1234.5"),
        Decimal("-0.0000000001"),
        Decimal(-12),
        datetime(1970, 1, 1, 0, 0, 1, 5, tzinfo=UTC),
        date(1970, 1, 31),
        '{"a": 1}',
    )
    fields = [
        "019c2284-5b20-7c3e-9e1d-0000000000ab",
        "R 1",
        "",
        "t",
        "-7",
        "1234.50",
        "-0.0000000001",
        "-12",
        "1000005",
        "30",
        '{"a": 1}',
    ]
    assert canonical_row(COLUMNS, row) == "\x1f".join(fields).encode()


def test_null_is_a_character_that_no_value_holds() -> None:
    assert canonical_row(COLUMNS[1:], (None,) * 10) == b"\x1f".join([b"\x1e"] * 10)


@given(rows, rows)
def test_two_different_rows_never_have_one_text(one: tuple[Any, ...], other: tuple[Any, ...]) -> None:
    assert (canonical_row(COLUMNS, one) == canonical_row(COLUMNS, other)) == (one == other)


@given(rows, st.data())
def test_changing_any_one_field_changes_the_text(row: tuple[Any, ...], data: st.DataObject) -> None:
    place = data.draw(st.integers(1, len(row) - 1))
    other = data.draw(rows)
    changed = (*row[:place], other[place], *row[place + 1 :])
    assert (canonical_row(COLUMNS, row) == canonical_row(COLUMNS, changed)) == (row == changed)


@given(texts, texts)
def test_text_never_slides_from_one_field_into_the_next(one: str, other: str) -> None:
    split = canonical_row(COLUMNS[1:3], (one, other))
    assert split != canonical_row(COLUMNS[1:3], (one + other, "")) or other == ""
    assert split != canonical_row(COLUMNS[1:3], (one, None))


@given(st.integers(-(10**38) + 1, 10**38 - 1))
def test_every_digit_of_the_widest_decimal_counts(units: int) -> None:
    text = canonical_row((COLUMNS[6],), (Decimal(units).scaleb(-10, EXACT),)).decode()
    assert int(text.replace(".", "")) == units
    assert len(text.split(".")[1]) == 10


@pytest.mark.parametrize("zero", ["0", "-0", "-0.00", "0E+5", "-0E-9"])
def test_there_is_one_zero(zero: str) -> None:
    assert canonical_row((COLUMNS[5],), (Decimal(zero),)) == b"0.00"


@given(st.datetimes(timezones=st.just(UTC)))
def test_an_instant_has_one_text_whatever_offset_it_is_written_with(moment: datetime) -> None:
    microseconds = int(canonical_row((COLUMNS[8],), (moment,)))
    assert datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=microseconds) == moment


@pytest.mark.parametrize("mark", [FIELD_SEPARATOR, NULL_MARK])
@pytest.mark.parametrize("column", [COLUMNS[1], COLUMNS[10]])
def test_a_text_with_a_reserved_character_has_no_canonical_form(column: Column, mark: str) -> None:
    with pytest.raises(DataError, match=r"U\+001E or U\+001F"):
        canonical_row((column,), (f"a{mark}b",))


def test_a_row_with_more_or_fewer_values_than_columns_is_refused() -> None:
    with pytest.raises(ValueError, match="zip"):
        canonical_row(COLUMNS, (None,))


@pytest.mark.parametrize("value", ["NaN", "-NaN", "sNaN", "Infinity", "-Infinity"])
def test_what_is_no_number_has_no_canonical_form(value: str) -> None:
    with pytest.raises(DataError, match=r"amount: .* has no canonical form"):
        canonical_row((COLUMNS[5],), (Decimal(value),))


@pytest.mark.parametrize(("kind", "field", "text"), [
    (ColumnKind.TIMESTAMP, "1709982292443000", "2024-03-09T11:04:52.443000Z"),
    (ColumnKind.TIMESTAMP, "-1", "1969-12-31T23:59:59.999999Z"),
    (ColumnKind.TIMESTAMP, "-62135596800000000", "0001-01-01T00:00:00.000000Z"),
    (ColumnKind.TIMESTAMP, "253402300800000000", "253402300800000000"),
    (ColumnKind.DATE, "-1", "1969-12-31"),
    (ColumnKind.DATE, "99999999999999999999", "99999999999999999999"),
    (ColumnKind.TIMESTAMP, NULL_MARK, None),
    (ColumnKind.TEXT, "0", "0"),
    (ColumnKind.INTEGER, "1709982292443000", "1709982292443000"),
])  # fmt: skip
def test_a_reader_sees_times_and_dates_as_the_api_shows_them(kind: ColumnKind, field: str, text: str | None) -> None:
    assert readable(Column("any", kind), field) == text
