"""Sums of numbers so wide that the engine may wrap around: checked beside a sum of floating point numbers.

Row by row, DuckDB raises an error where a sum leaves 128 bits. Partial sums, of threads or of months, it adds without a
look, and the answer has another sign. A second sum, of DOUBLEs, distinguishes the two cases: it is off by rounding
alone, the other by at least 2**127.
"""

import json
from collections.abc import Mapping
from typing import Any

import duckdb

CHECKED = "treasury_checked"
_DOUBLE = {"id": "DOUBLE", "type_info": None}


def register_checks(connection: duckdb.DuckDBPyConnection) -> None:
    """Give ``connection`` the function that `checked` writes into queries."""
    scale = "coalesce(try_cast(regexp_extract(typeof(exact), ',(\\d+)\\)', 1) AS INTEGER), 0)"
    message = "a sum has more than 38 digits: add fewer rows, or CAST to DOUBLE"
    connection.execute(
        f"CREATE OR REPLACE MACRO {CHECKED}(exact, rounded) AS CASE"
        f" WHEN abs(exact::DOUBLE - rounded) > 1e38 / pow(10, {scale}) THEN error('{message}') ELSE exact END"
    )


def checked(connection: duckdb.DuckDBPyConnection, query: str) -> str:
    """``query`` with a check on each `sum()`; the names of its columns may be others.

    ``query`` itself where it cannot be written down in that way: then its sums are unchecked.
    """
    row = connection.execute("SELECT json_serialize_sql(?::VARCHAR)", [query]).fetchone()
    tree = json.loads(row[0]) if row else {"error": True}
    if tree.get("error"):
        return query
    text = json.dumps(_checked(tree))
    try:
        checked_row = connection.execute("SELECT json_deserialize_sql(?::JSON)", [text]).fetchone()
        written = str(checked_row[0]) if checked_row else query
        connection.execute(f"EXPLAIN {written}")
    except duckdb.Error:
        return query
    return written


def _checked(node: Any) -> Any:
    if isinstance(node, list):
        return [_checked(child) for child in node]
    if not isinstance(node, dict):
        return node
    inner = {key: _checked(value) for key, value in node.items()}
    return _beside(inner) if _is_sum(node) else inner


def _is_sum(node: Mapping[str, Any]) -> bool:
    """Whether the node adds up a column. One of distinct values does not: two of them may be one DOUBLE."""
    is_call = node.get("class") in ("FUNCTION", "WINDOW") and str(node.get("function_name")).lower() == "sum"
    return is_call and not node.get("distinct") and len(node.get("children", ())) == 1


def _beside(node: dict[str, Any]) -> dict[str, Any]:
    """The sum and, beside it, the same sum of DOUBLEs, as the arguments of the check."""
    (summed,) = node["children"]
    cast = {"class": "CAST", "type": "OPERATOR_CAST", "alias": "", "query_location": 0, "child": summed}
    rounded = {**node, "alias": "", "children": [{**cast, "cast_type": _DOUBLE, "try_cast": False}]}
    return {
        "class": "FUNCTION",
        "type": "FUNCTION",
        "alias": node.get("alias", ""),
        "query_location": 0,
        "function_name": CHECKED,
        "schema": "",
        "children": [{**node, "alias": ""}, rounded],
        "filter": None,
        "order_bys": {"type": "ORDER_MODIFIER", "orders": []},
        "distinct": False,
        "is_operator": False,
        "export_state": False,
        "catalog": "",
    }
