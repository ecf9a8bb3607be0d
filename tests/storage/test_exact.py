"""Division for auditors: exact decimals, where the engine's own division gives a floating point number."""

from decimal import ROUND_HALF_UP, Decimal, localcontext

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.exact import quotient, register_exact
from storage.wide_sums import register_checks

_EXACT = {
    "exact_div(9999999999999999.99, 1)": "9999999999999999.99",
    "exact_div(9999999999999999.99::DECIMAL(18, 2), 3, 10)": "3333333333333333.3300000000",
    "exact_div(999999999999999999999999999999999999.99::DECIMAL(38, 2), 7)": "142857142857142857142857142857142857.14",
    "exact_div(2, 3, 0)": "1",
    "exact_div(1, 8)": "0.13",
    "exact_div(-1, 8)": "-0.13",
    "exact_div(-1, 1000)": "0.00",
    "exact_div(1, 3, 37)": f"0.{'3' * 37}",
    "exact_div(sum(x), count(*), digits := 4) FROM (VALUES (0.01), (0.02)) AS t(x)": "0.0150",
    "avg_exact(x) FROM (VALUES (9999999999999999.99), (9999999999999999.98)) AS t(x)": "9999999999999999.99",
    "avg_exact(x, 6) FROM range(4) AS t(x)": "1.500000",
    "sum(exact_div(x, 3, 4)) FROM range(4) AS t(x)": "2.0000",
}
_REFUSED = {
    "exact_div(1, 0)": "nullif",
    "exact_div(1.5::DOUBLE, 2)": "floating point",
    "exact_div(1, 2::FLOAT)": "floating point",
    "exact_div(1, 3, 38)": "0 to 37",
    "exact_div(1, 3, -1)": "0 to 37",
    "exact_div(99999999999999999999999999999999999999::DECIMAL(38, 0), 1, 2)": "Could not cast|Conversion|out of range",
}


@pytest.fixture(scope="module")
def exact() -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect()
    register_checks(connection)
    register_exact(connection)
    return connection


@pytest.mark.parametrize("expression", _EXACT)
def test_a_quotient_is_exact_to_its_last_digit(exact: duckdb.DuckDBPyConnection, expression: str) -> None:
    row = exact.execute(f"SELECT {expression}").fetchone()
    assert row == (Decimal(_EXACT[expression]),)
    assert str(row[0]) == _EXACT[expression]


@pytest.mark.parametrize("expression", _REFUSED)
def test_what_has_no_exact_quotient_is_an_error(exact: duckdb.DuckDBPyConnection, expression: str) -> None:
    with pytest.raises(duckdb.Error, match=_REFUSED[expression]):
        exact.execute(f"SELECT {expression}").fetchone()


def test_nothing_divided_is_nothing(exact: duckdb.DuckDBPyConnection) -> None:
    assert exact.execute("SELECT exact_div(NULL, 1), exact_div(1, NULL), exact_div(1, nullif(0, 0))").fetchone() == (
        None,
        None,
        None,
    )
    assert exact.execute("SELECT avg_exact(x) FROM range(0) AS t(x)").fetchone() == (None,)


def test_the_engine_s_own_division_is_not_exact(exact: duckdb.DuckDBPyConnection) -> None:
    """What docs/auditing.md warns of: when this fails, the warning can go."""
    assert exact.execute("SELECT typeof(1.00 / 1), 9999999999999999.99 / 1").fetchone() == ("DOUBLE", 1e16)


_LARGE = "9999999999999999.99::DECIMAL(18, 2)"
_FLOATING = [
    *(f"{_LARGE} // 1", f"CASE WHEN true THEN {_LARGE} ELSE 0.0::DOUBLE END", f"coalesce({_LARGE}, 0e0)"),
    *(f"list_avg([{_LARGE}])", f"fdiv({_LARGE}, 1)", f"fsum({_LARGE})", f"product({_LARGE})", f"pow({_LARGE}, 1)"),
    f"round_even({_LARGE}, 2)",
]


@pytest.mark.parametrize("expression", _FLOATING)
def test_what_makes_a_floating_point_number_of_money_is_in_the_documentation(
    exact: duckdb.DuckDBPyConnection, expression: str
) -> None:
    """As docs/auditing.md says: when this fails, the expression can go from there."""
    assert exact.execute(f"SELECT typeof({expression}), {expression}").fetchone() == ("DOUBLE", 1e16)


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        (f"{_LARGE} < 1e16", False),
        (f"{_LARGE} < 10000000000000000", True),
        (f"format('{{:,.2f}}', {_LARGE})", "10,000,000,000,000,000.00"),
        (f"printf('%.2f', {_LARGE})", "10000000000000000.00"),
        (f"{_LARGE} % 10", Decimal("9.99")),
        (f"{_LARGE} * 1", Decimal("9999999999999999.99")),
        (f"round({_LARGE}, 1)", Decimal("10000000000000000.0")),
    ],
)
def test_comparisons_and_forms_of_money_are_as_the_documentation_says(
    exact: duckdb.DuckDBPyConnection, expression: str, value: object
) -> None:
    assert exact.execute(f"SELECT {expression}").fetchone() == (value,)


_DOCUMENT = (
    '{"price": 1.50, "limit": 9999999999999999.99, "tiny": 0.10000000000000000000001, "n": null, "é\\"": "x\\n",'
    ' "d": {"l": [1.10, null, true, "x\\u0001"], "o": {}}}'
)
_INSIDE = {
    "'price'": "1.50",
    "'limit'": "9999999999999999.99",
    "'tiny'": "0.10000000000000000000001",
    "'d'": '{"l": [1.10, null, true, "x\\u0001"], "o": {}}',
    "'d', 'l', 0": "1.10",
    "'d', 'l', '-1'": "x\x01",
    "'d', 'l', 2": "true",
    "'é\"'": "x\n",
    "'d', 'l', 9": None,
    "'d', 'l', 'o'": None,
    "'price', 'more'": None,
    "'n'": None,
    "'none'": None,
    "NULL": None,
}


@pytest.mark.parametrize("keys", _INSIDE)
def test_a_value_in_json_has_every_digit(exact: duckdb.DuckDBPyConnection, keys: str) -> None:
    for kind in ("VARCHAR", "JSON"):
        found = exact.execute(f"SELECT json_exact(?::{kind}, {keys})", [_DOCUMENT]).fetchone()
        assert found == (_INSIDE[keys],)


def test_a_text_that_is_not_json_is_an_error_that_does_not_show_it(exact: duckdb.DuckDBPyConnection) -> None:
    with pytest.raises(duckdb.Error, match="json_exact: a text is not JSON") as raised:
        exact.execute("SELECT json_exact('{secret', 'a')").fetchone()
    assert "secret" not in str(raised.value)


def test_the_engine_s_own_reading_of_json_is_not_exact(exact: duckdb.DuckDBPyConnection) -> None:
    """What docs/auditing.md warns of: when this fails, the warning can go."""
    asked = "SELECT x->>'price', x->>'limit', json_extract_string(x, 'tiny'), x->'d'->'l'->0 FROM (SELECT ?::JSON AS x)"
    assert exact.execute(asked, [_DOCUMENT]).fetchone() == ("1.5", "10000000000000000.0", "0.1", "1.1")


_amounts = st.decimals(-(10**36), 10**36, places=2)


@given(_amounts, _amounts.filter(bool), st.integers(0, 37))
def test_every_quotient_is_that_of_a_wide_decimal_context(dividend: Decimal, divisor: Decimal, digits: int) -> None:
    with localcontext(prec=400):
        wanted = (dividend / divisor).quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP)
    assert Decimal(quotient(f"{dividend:f}", f"{divisor:f}", digits)) == wanted
