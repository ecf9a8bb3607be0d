"""Division of decimals without floating point, for the auditor's SQL: the engine's `/` and `avg()` give a DOUBLE."""

from fractions import Fraction

import duckdb

from storage.wide_sums import CHECKED

_QUOTIENT = "treasury_quotient"
_MOST_DIGITS = 38  # of a DECIMAL


def register_exact(connection: duckdb.DuckDBPyConnection) -> None:
    """Give ``connection`` `exact_div(a, b, digits)` and `avg_exact(x, digits)`. ``digits`` after the point, default 2.

    Both give a DECIMAL(38, digits), rounded half away from zero, as `round()` does in DuckDB and in PostgreSQL. NULL
    where an operand is NULL. An operand that is a floating point number, a divisor 0 and a quotient of more than 38
    digits are errors. ``digits`` must be a constant. Needs `storage.wide_sums.register_checks` first.
    """
    connection.create_function(_QUOTIENT, quotient, ["VARCHAR", "VARCHAR", "INTEGER"], "VARCHAR")
    is_float = "typeof(a) IN ('FLOAT', 'DOUBLE') OR typeof(b) IN ('FLOAT', 'DOUBLE')"
    text = (
        f"CASE WHEN {is_float} THEN error('exact_div: a floating point number is not exact: CAST it AS DECIMAL')"
        f" WHEN digits NOT BETWEEN 0 AND {_MOST_DIGITS - 1} THEN error('exact_div: digits: must be 0 to 37')"
        " WHEN a IS NULL OR b IS NULL THEN NULL"
        " WHEN b = 0 THEN error('exact_div: division by zero: give NULL in its place with nullif(divisor, 0)')"
        f" ELSE {_QUOTIENT}(a::VARCHAR, b::VARCHAR, digits) END"
    )
    # The second argument lends its type alone: rounded to a constant number of digits it is a DECIMAL(38, digits).
    like = "round(0::DECIMAL(38, 37), digits)"
    connection.execute(f"CREATE OR REPLACE MACRO exact_div(a, b, digits := 2) AS cast_to_type({text}, {like})")
    connection.execute(
        "CREATE OR REPLACE MACRO avg_exact(x, digits := 2) AS "
        f"exact_div({CHECKED}(sum(x), sum(x::DOUBLE)), count(x), digits := digits)"
    )


def quotient(dividend: str, divisor: str, digits: int) -> str:
    """``dividend`` / ``divisor``, decimal texts, with ``digits`` behind the point, rounded half away from zero."""
    exact = Fraction(dividend) / Fraction(divisor) * 10**digits
    whole = (2 * abs(exact.numerator) + exact.denominator) // (2 * exact.denominator)
    text = str(whole).zfill(digits + 1)
    sign = "-" if exact < 0 and whole else ""
    return f"{sign}{text[:-digits]}.{text[-digits:]}" if digits else f"{sign}{text}"
