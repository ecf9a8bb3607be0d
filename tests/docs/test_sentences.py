"""A sentence has at most 25 words: on the pages, in the help of commands, in messages and in docstrings.

The words between two full stops count; a question mark and an exclamation mark are full stops as well. Code between
backticks is one word. Tables, blocks of code, headings and addresses of links do not count, nor do the examples of a
command's help.
"""

import ast
import inspect
import re
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest

from cli.commands import COMMANDS
from cli.lazy import Command, LazyCommand, split_examples
from tests.cli.tree import each_command

PROJECT = Path(__file__).resolve().parents[2]
MOST_WORDS = 25
PAGES = [
    path.relative_to(PROJECT).as_posix() for path in (*PROJECT.glob("*.md"), *sorted((PROJECT / "docs").rglob("*.md")))
]
ROOMS = ("api", "bench", "cli", "config", "flows", "ledger", "servers", "sql", "storage", "suppliers", "tasks")
SOURCES = [
    path.relative_to(PROJECT).as_posix()
    for room in (*ROOMS, "examples")
    for path in sorted((PROJECT / room).rglob("*.py"))
]

_FULL_STOP = re.compile(r"(?<=[.?!])[\"')*_]*\s+")
_ITEM = re.compile(r"^\s*(?:[-*] |\d+\. )")
_SQL = re.compile(r"\b(SELECT|INSERT|UPDATE|CREATE|DELETE|WHERE)\b")


def long_sentences(text: str) -> list[str]:
    """The sentences of a paragraph that have more than 25 words."""
    masked = re.sub(r"``.+?``|`[^`]*`", "`code`", text)
    masked = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", masked)
    return [sentence for sentence in _FULL_STOP.split(masked) if len(re.findall(r"\S*\w\S*", sentence)) > MOST_WORDS]


def _of_page(page: str) -> Iterator[str]:
    is_code = False
    for number, line in enumerate((PROJECT / page).read_text(encoding="utf-8").splitlines(), 1):
        if line.lstrip().startswith("```"):
            is_code = not is_code
        elif not is_code and not line.startswith(("#", "|", "    ")):
            yield from (f"{page}:{number}: {sentence}" for sentence in long_sentences(_ITEM.sub("", line)))


def _paragraphs(text: str) -> list[str]:
    """The paragraphs and list items of a text, each in one line; no tables, no indented blocks and no examples."""
    parts = re.split(r"\n\s*\n|\n(?=\s*(?:[-*] |\d+\. ))", text)
    return [" ".join(part.split()) for part in parts if not re.match(r"\s*(?:\x08|\||Examples?:| {4}\S)", part)]


@cache
def _tree(source: str) -> ast.Module:
    return ast.parse((PROJECT / source).read_text(encoding="utf-8"))


def _text_of(node: ast.AST) -> str | None:
    """The text of a string in the source; what a format puts in is one word."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(str(one.value) if isinstance(one, ast.Constant) else "X" for one in node.values)
    return None


def _messages(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """The texts in the code: messages of errors, of logs and of alerts, help of options and advice of checks."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        text = _text_of(node)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            continue  # a docstring
        if text is None:
            waiting.extend(ast.iter_child_nodes(node))
        elif len(text) > MOST_WORDS and not _SQL.search(text):
            yield getattr(node, "lineno", 0), text


def _is_prose(sentence: str) -> bool:
    """Return whether a text is for people: no program, no style sheet, no list of codes or of laws."""
    words = re.findall(r"\S*\w\S*", sentence)
    return not re.search(r"[{}<>]|==|'self'", sentence) and sum(word.islower() for word in words) > 0.7 * len(words)


def _long_messages(source: str) -> list[str]:
    return [
        f"{source}:{line}: {sentence}"
        for line, text in sorted(set(_messages(_tree(source))))
        for paragraph in _paragraphs(text)
        for sentence in long_sentences(paragraph)
        if _is_prose(sentence)
    ]


def _docstrings(source: str) -> Iterator[tuple[str, str]]:
    """The name and the docstring of a module and of everything public in it."""
    for node in ast.walk(_tree(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            name, text = getattr(node, "name", "module"), ast.get_docstring(node)
            if text is not None and (not name.startswith("_") or name == "__init__"):
                yield name, text


def _long_in_docstrings(source: str) -> list[str]:
    return [
        f"{source}: {name}: {sentence}"
        for name, text in _docstrings(source)
        for paragraph in _paragraphs(text)
        for sentence in long_sentences(paragraph)
    ]


@pytest.mark.parametrize("page", PAGES)
def test_sentences_of_a_page_are_short(page: str) -> None:
    found = list(_of_page(page))
    assert not found, "\n".join(found)


def test_sentences_in_messages_are_short() -> None:
    for source in SOURCES:
        assert not _long_messages(source), "\n".join(_long_messages(source))


def test_sentences_in_docstrings_of_public_things_are_short() -> None:
    for source in SOURCES:
        found = _long_in_docstrings(source)
        assert found == [], "\n".join(found)


@pytest.mark.parametrize(
    ("path", "command"), list(each_command()), ids=lambda value: " ".join(value) if isinstance(value, tuple) else ""
)
def test_the_help_of_a_command_is_made_of_short_sentences(path: tuple[str, ...], command: Command) -> None:
    module, _, name = command.function.partition(":")
    text, _ = split_examples(inspect.getdoc(getattr(import_module(module), name)) or "")
    options = [getattr(option, "help", None) or "" for option in LazyCommand(path[-1], command).load().params]
    assert [s for part in (text, command.summary, *options) for p in _paragraphs(part) for s in long_sentences(p)] == []


def test_the_summaries_of_groups_are_short() -> None:
    assert [entry.summary for entry in COMMANDS.values() if long_sentences(entry.summary)] == []


def test_a_long_sentence_would_be_noticed() -> None:
    assert long_sentences("word " * MOST_WORDS) == []
    assert len(long_sentences("word " * (MOST_WORDS + 1))) == 1
    assert long_sentences(f"{'word ' * 20}end. {'word ' * 20}") == []
    assert len(long_sentences(f"{'word ' * 20}such as 1.5 of: {'word ' * 20}")) == 1  # a colon is no full stop
    assert long_sentences(f"{'word ' * 20}`{'code ' * 20}`") == []
    assert long_sentences(f"{'word ' * 20}[link](https://example.com/{'a b ' * 20})") == []


@pytest.mark.parametrize(
    ("source", "line"),
    [
        (f"raise DataError('{'word ' * 26}')", 1),
        (f"_NOTICE = '{'word ' * 26}'", 1),
        (f"def f(x):\n    return f'{'word ' * 25}{{x}}'", 2),
        (f"CHECKS = [Check('name', ('{'word ' * 26}', 1))]", 1),
    ],
)
def test_a_long_message_would_be_noticed_wherever_it_is(source: str, line: int) -> None:
    messages = [(number, text) for number, text in _messages(ast.parse(source)) if long_sentences(text)]
    assert [number for number, _ in messages] == [line]
    assert all(map(_is_prose, (text for _, text in messages)))


def test_docstrings_and_code_are_no_messages() -> None:
    source = f'def f():\n    """{"word " * 26}"""\n    return "SELECT {"word " * 26}"'
    assert list(_messages(ast.parse(source))) == []
    assert not _is_prose("a { color: red; } " * 20)
