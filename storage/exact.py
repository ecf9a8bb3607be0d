"""Exact functions for the auditor's SQL, where the engine's own go through DOUBLE: `/`, `avg()`, numbers in JSON."""

import json
from fractions import Fraction
from typing import Any

import duckdb
import pyarrow as pa
from duckdb.func import FunctionNullHandling, PythonUDFType

from storage.wide_sums import CHECKED

_QUOTIENT = "treasury_quotient"
_WITHIN = "treasury_within"
_LEVELS = 5  # of metadata that the API stores
_MOST_DIGITS = 38  # of a DECIMAL


def register_exact(connection: duckdb.DuckDBPyConnection) -> None:
    """Give ``connection`` `exact_div(a, b, digits)`, `avg_exact(x, digits)` and `json_exact(json, key, ...)`.

    The first two have ``digits`` after the point, a constant, default 2. They give a DECIMAL(38, digits), rounded half
    away from zero, as `round()` does in DuckDB and in PostgreSQL. NULL where an operand is NULL. An operand that is a
    floating point number, a divisor 0 and a quotient of more than 38 digits are errors. The third is `within`, of up to
    five keys. Needs `storage.wide_sums.register_checks` first.
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
    _register_within(connection)


def _register_within(connection: duckdb.DuckDBPyConnection) -> None:
    # Through Arrow: by batches it costs a sixteenth of what it costs row by row.
    connection.create_function(
        _WITHIN,
        _within_each,
        ["VARCHAR", "VARCHAR[]"],
        "VARCHAR",
        type=PythonUDFType.ARROW,
        null_handling=FunctionNullHandling.SPECIAL,
    )
    keys = [f"key_{level}" for level in range(1, _LEVELS + 1)]
    forms = (
        f"(document, {', '.join(keys[:count])}) AS {_WITHIN}(document::VARCHAR,"
        f" [{', '.join(f'{key}::VARCHAR' for key in keys[:count])}])"
        for count in range(1, _LEVELS + 1)
    )
    connection.execute(f"CREATE OR REPLACE MACRO json_exact {', '.join(forms)}")


def quotient(dividend: str, divisor: str, digits: int) -> str:
    """``dividend`` / ``divisor``, decimal texts, with ``digits`` behind the point, rounded half away from zero."""
    exact = Fraction(dividend) / Fraction(divisor) * 10**digits
    whole = (2 * abs(exact.numerator) + exact.denominator) // (2 * exact.denominator)
    text = str(whole).zfill(digits + 1)
    sign = "-" if exact < 0 and whole else ""
    return f"{sign}{text[:-digits]}.{text[-digits:]}" if digits else f"{sign}{text}"


class _Number(str):
    """A number of JSON as its text."""

    __slots__ = ()


def _within_each(documents: pa.Array, keys: pa.Array) -> pa.Array:
    pairs = zip(documents.to_pylist(), keys.to_pylist(), strict=True)
    return pa.array([within(document, path) for document, path in pairs], pa.string())


def within(document: str | None, keys: list[str | None] | None) -> str | None:
    """The value behind ``keys`` in a JSON text, as PostgreSQL's ``jsonb #>> keys``: a number with every digit.

    A key of a list is a place, from 0; a negative one counts from the end. None where there is no such value or it is
    null. Raises ValueError for a text that is not JSON.
    """
    if document is None or keys is None or None in keys:
        return None
    try:
        value: Any = json.loads(document, parse_float=_Number, parse_int=_Number, parse_constant=_Number)
    except ValueError:
        raise ValueError("json_exact: a text is not JSON") from None
    for key in keys:
        value = _member(value, str(key))
    return None if value is None else value if isinstance(value, str) else _written(value)


def _member(value: Any, key: str) -> Any:
    if isinstance(value, dict):
        return value.get(key)
    if (
        isinstance(value, list)
        and key.isascii()
        and key.removeprefix("-").isdecimal()
        and -len(value) <= int(key) < len(value)
    ):
        return value[int(key)]
    return None


def _written(value: Any) -> str:
    """JSON as PostgreSQL writes a jsonb."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_written(name)}: {_written(item)}" for name, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_written, value)) + "]"
    return value if isinstance(value, _Number) else json.dumps(value, ensure_ascii=False)
