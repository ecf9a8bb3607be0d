"""INTERVALs of an answer: as the engine has them, or an error where Arrow would have another duration."""

from typing import Any

import duckdb
import pytest

from storage.long_intervals import checked_intervals

_HOUR_NS = 3600 * 10**9


def _answer(query: str) -> list[tuple[Any, ...]]:
    with duckdb.connect() as duck:
        described = [(str(name), str(kind)) for name, kind, *_ in duck.execute(f"DESCRIBE {query}").fetchall()]
        rows = duck.execute(checked_intervals(query, described)).to_arrow_reader(1000).read_all()
        return list(zip(*(column.to_pylist() for column in rows.columns), strict=True))


@pytest.mark.parametrize("hours", [2562047, -2562047, 3000000, 5200000, -5200000, 2562047788])
@pytest.mark.parametrize("form", ["{}", "[{}]", "{{'a': {}}}", "MAP {{'k': {}}}", "INTERVAL '3 years 2 days' + {}"])
def test_one_that_is_too_long_is_an_error_that_names_its_column(hours: int, form: str) -> None:
    with pytest.raises(duckdb.Error, match=r"it's: an INTERVAL of 2562047 hours or more: use CAST"):
        _answer(f"""SELECT 1, {form.format(f"to_hours({hours})")} AS "it's" """)


@pytest.mark.parametrize("hours", [0, 1, -1, 999999, 2562046, -2562046])
def test_every_other_one_is_handed_on(hours: int) -> None:
    ((one, (listed,), none, years, n),) = _answer(
        f"SELECT to_hours({hours}), [to_hours({hours})], NULL::INTERVAL, to_years(100000000), 1;; -- done;"
    )
    assert (one.nanoseconds, listed.nanoseconds) == (hours * _HOUR_NS, hours * _HOUR_NS)
    assert (none, years.months, n) == (None, 1_200_000_000, 1)


def test_the_order_of_the_rows_stays() -> None:
    rows = _answer("SELECT to_hours(i::INTEGER), i FROM range(100000) t(i) ORDER BY i DESC")
    assert [i for _, i in rows] == list(range(99_999, -1, -1))


def test_a_query_without_one_is_as_it_was() -> None:
    query = "SELECT 1 AS interval;"
    assert checked_intervals(query, [("interval", "INTEGER")]) is query
