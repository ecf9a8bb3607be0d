"""What a question may be: one SELECT over the views, and nothing that reaches beyond them."""

import json
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any

import duckdb

from ledger.errors import DataError

# The plan is made where nothing but the views exists: a query that names anything else fails there.
PLAN_CONFIG = {"memory_limit": "256MB", "threads": "1", "enable_external_access": "false"}
# The only functions that FROM may contain. query() and its like would be answered one way where the query is planned
# and another way where it runs; postgres_execute(), read_text() and the rest reach beyond the views.
_DEEPEST = 300  # levels of the syntax tree: the time to plan grows with the cube of nested expressions
_MOST_SUBQUERIES = 12  # each within the one before, in expressions: the time to plan doubles with each
_TABLE_FUNCTIONS = frozenset({"unnest", "range", "generate_series", "generate_subscripts", "repeat_row"})


def check_reading(query: str) -> None:
    """Raise DataError for anything that is not one SELECT over the views, naming what is not."""
    try:
        statements = duckdb.extract_statements(query)
    except duckdb.Error as error:
        raise DataError(f"SQL: {error}") from None
    except TypeError:  # what UTF-8 cannot encode
        raise DataError("SQL: the query has a character that is none of Unicode's, such as half a surrogate") from None
    if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
        raise DataError("SQL: exactly one SELECT is answered here; nothing is ever changed through it")
    tree = _syntax_tree(query)
    if any(node.get("type") == "SHOW_REF" for node in _nodes(tree)):
        raise DataError(
            "SQL: exactly one SELECT is answered here, and not DESCRIBE, SHOW or SUMMARIZE; \\d NAME in the shell of "
            "`treasury sql` lists the columns of a view"
        )
    _check_depth(tree)
    refused = sorted({name for name in _table_functions(tree) if name not in _TABLE_FUNCTIONS})
    if refused:
        raise DataError(f"SQL: {', '.join(refused)}() must not be in FROM: only the views and plain series are read")
    if qualified := sorted(set(_qualified_functions(tree))):
        raise DataError(f"SQL: {', '.join(qualified)}: call functions without a catalogue")


def is_ended(query: str) -> bool:
    """Whether a query ends with a semicolon, which may have comments behind it, and is not in a text or a comment."""
    tokens = duckdb.tokenize(query)  # by bytes, without comments
    return bool(tokens) and query.encode()[tokens[-1][0] :].startswith(b";")


@cache
def _parser() -> duckdb.DuckDBPyConnection:
    """The engine of the process that parses and nothing else: to make one takes longer than to parse."""
    return duckdb.connect(config=dict(PLAN_CONFIG))


def _syntax_tree(query: str) -> Any:
    """The query as DuckDB parses it, not bound to anything. Raises DataError when it has no such form."""
    try:
        with _parser().cursor() as connection:
            row = connection.execute("SELECT json_serialize_sql(?::VARCHAR)", [query]).fetchone()
        tree = json.loads(row[0]) if row else {"error": True}
    except duckdb.FatalException:
        _parser.cache_clear()  # this engine answers nothing any more
        raise
    except RecursionError:
        raise DataError(_too_deep()) from None
    if tree.get("error"):
        raise DataError(f"SQL: {tree.get('error_message', 'this statement is not answered here')}")
    return tree


def _check_depth(tree: Any) -> None:
    """Raise DataError for a query that the engine could plan for hours, while months wait for their move."""
    waiting = [(tree, 0, 0)]
    while waiting:
        node, depth, subqueries = waiting.pop()
        subqueries += isinstance(node, dict) and node.get("class") == "SUBQUERY"
        if depth > _DEEPEST:
            raise DataError(_too_deep())
        if subqueries > _MOST_SUBQUERIES:
            raise DataError(
                f"SQL: more than {_MOST_SUBQUERIES} subqueries are within each other: join them, or name them in WITH"
            )
        waiting += [(value, depth + 1, subqueries) for value in _inside(node)]


def _too_deep() -> str:
    return "SQL: the query is nested too deep: name parts of it in WITH, or use list functions for long chains"


def _inside(tree: Any) -> Iterable[Any]:
    if isinstance(tree, dict):
        return tree.values()
    return tree if isinstance(tree, list) else ()


def _nodes(tree: Any) -> Iterator[dict[str, Any]]:
    """Every node of a syntax tree, however deep."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            yield node
        waiting += _inside(node)


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
