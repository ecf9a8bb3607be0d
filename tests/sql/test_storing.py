"""What PostgreSQL is asked to store is counted: no INSERT of the product is taken for done because it ended well."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from sql.queries import load

PROJECT = Path(__file__).resolve().parents[2]
PACKAGES = ("sql", "tasks", "api", "cli", "flows", "servers")
COUNTING = re.compile(r"\b(check_stored|check_counted|fetch_stored|not_stored|NotStoredError|raise_alerts)\b")
_INSERT = re.compile(r"^\s*INSERT INTO (?!pg_temp\.)", re.MULTILINE)
# Counted elsewhere, each with where.
ELSEWHERE = {
    ("alerts", "raise"): "tasks/alerting/store.py looks for the alert",
    ("installation", "make"): "read again at once: without the row nothing is written to the archive",
    ("log", "begin_log"): "read again at once: without the row nothing is published",
    ("watch", "start"): "read again at once by `progress`",
    ("watch", "keep"): "tasks/watch/findings.py looks at each finding",
    ("transactions", "store"): "the statement compares what was stored with what was sent",
    ("vending", "finish"): "the statement raises an error itself",
    ("tiers", "open_part"): "tasks/archiving/late_rows.py looks for the part",
    ("dashboard_sessions", "insert"): "api/dashboard/sessions.py looks at the row",
}


def _inserting() -> Iterator[tuple[str, str]]:
    """File and name of every query that stores rows."""
    for file in sorted((PROJECT / "sql" / "queries").glob("*.sql")):
        yield from ((file.stem, name) for name, query in load(file.stem).items() if _INSERT.search(query))


@cache
def _modules() -> list[tuple[str, list[str]]]:
    """The text of each module that loads queries, and the source of each of its functions."""
    files = [file for package in PACKAGES for file in sorted((PROJECT / package).rglob("*.py"))]
    texts = [text for file in files if "load" in (text := file.read_text(encoding="utf-8"))]
    return [(text, [*_functions(text)]) for text in texts]


def _functions(text: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield "\n".join(text.splitlines()[node.lineno - 1 : node.end_lineno])


def _users(name: str, file: str) -> Iterator[str]:
    """The source of every function that runs the query, in modules that load its file; of the module where none names
    it as a subscript, because it runs several.
    """
    for text, functions in _modules():
        if f'"{name}"' in text and re.search(rf'load\w*\("{file}"\)', text):
            yield from [source for source in functions if f'["{name}"]' in source] or [text]


@pytest.mark.parametrize(("file", "name"), [one for one in _inserting() if one not in ELSEWHERE])
def test_every_insert_is_counted_where_it_is_run(file: str, name: str) -> None:
    users = list(_users(name, file))
    assert users, f"nothing runs {name} of {file}.sql"
    assert all(COUNTING.search(source) for source in users), users


def test_the_exceptions_are_inserts() -> None:
    assert set(ELSEWHERE) <= set(_inserting())
