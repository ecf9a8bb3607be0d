"""What a question may be: one SELECT over the views, and nothing that reaches beyond them."""

import json
from collections.abc import Iterator
from functools import cache
from typing import Any

import duckdb

from ledger.errors import DataError

# The plan is made where nothing but the views exists: a query that names anything else fails there.
PLAN_CONFIG = {"memory_limit": "256MB", "threads": "1", "enable_external_access": "false"}
# The only functions that FROM may contain. query() and its like would be answered one way where the query is planned
# and another way where it runs; postgres_execute(), read_text() and the rest reach beyond the views.
_TABLE_FUNCTIONS = frozenset({"unnest", "range", "generate_series", "generate_subscripts", "repeat_row"})


def check_reading(query: str) -> None:
    """Raise DataError for anything that is not one SELECT over the views, naming what is not."""
    try:
        statements = duckdb.extract_statements(query)
    except duckdb.Error as error:
        raise DataError(f"SQL: {error}") from None
    if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
        raise DataError("SQL: exactly one SELECT is answered here; nothing is ever changed through it")
    tree = _syntax_tree(query)
    refused = sorted({name for name in _table_functions(tree) if name not in _TABLE_FUNCTIONS})
    if refused:
        raise DataError(f"SQL: {', '.join(refused)}() must not be in FROM: only the views and plain series are read")
    if qualified := sorted(set(_qualified_functions(tree))):
        raise DataError(f"SQL: {', '.join(qualified)}: call functions without a catalogue")


@cache
def _parser() -> duckdb.DuckDBPyConnection:
    """The engine of the process that parses and nothing else: to make one takes longer than to parse."""
    return duckdb.connect(config=dict(PLAN_CONFIG))


def _syntax_tree(query: str) -> Any:
    """The query as DuckDB parses it, not bound to anything. Raises DataError when it has no such form."""
    with _parser().cursor() as connection:
        row = connection.execute("SELECT json_serialize_sql(?::VARCHAR)", [query]).fetchone()
    tree = json.loads(row[0]) if row else {"error": True}
    if tree.get("error"):
        raise DataError(f"SQL: {tree.get('error_message', 'this statement is not answered here')}")
    return tree


def _nodes(tree: Any) -> Iterator[dict[str, Any]]:
    """Every node of a syntax tree, however deep."""
    if isinstance(tree, dict):
        yield tree
        for value in tree.values():
            yield from _nodes(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from _nodes(value)


def _table_functions(tree: Any) -> Iterator[str]:
    """The name of every function in the place of a table."""
    for node in _nodes(tree):
        if node.get("type") == "TABLE_FUNCTION":
            function = node.get("function") or {}
            yield str(function.get("function_name", "an expression")).lower()


def _qualified_functions(tree: Any) -> Iterator[str]:
    """Every function called through the engine's catalogue, past the macros of `storage.moment`."""
    for node in _nodes(tree):
        places = [str(node.get(key)) for key in ("catalog", "schema") if node.get(key)]
        if node.get("class") in ("FUNCTION", "WINDOW") and "system" in (place.lower() for place in places):
            yield ".".join([*places, str(node.get("function_name"))])
