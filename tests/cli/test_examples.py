"""The examples in help texts: each command that needs one has one, and each is a command that exists."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from cli.lazy import Command, LazyCommand, split_examples
from tests.cli.in_process import run_here
from tests.cli.tree import each_command

EVERY = [pytest.param(path, command, id=" ".join(path)) for path, command in each_command()]
_LINE = re.compile(r"  treasury (.*?)(?: > \S+)?")


def loaded(path: tuple[str, ...], command: Command) -> Any:
    """The command that a user gets."""
    return LazyCommand(path[-1], command).load()


def examples(path: tuple[str, ...], command: Command) -> list[list[str]]:
    """The words of each example of a command. Fails for a line that is none."""
    lines = (loaded(path, command).epilog or "").splitlines()
    assert lines[:2] in ([], ["\b", "Examples:"])
    found = [_LINE.fullmatch(line) for line in lines[2:]]
    assert all(found), lines
    return [shlex.split(match[1]) for match in found if match]


@pytest.mark.parametrize(("path", "command"), EVERY)
def test_a_command_that_must_be_given_something_has_an_example(path: tuple[str, ...], command: Command) -> None:
    real = loaded(path, command)
    if any(one.required or one.param_type_name == "argument" for one in real.params):
        assert examples(path, command), f"treasury {' '.join(path)} needs an example in its docstring"


@pytest.mark.parametrize(("path", "command"), EVERY)
def test_an_example_is_a_command_with_options_that_exist(path: tuple[str, ...], command: Command) -> None:
    for words in examples(path, command):
        assert tuple(words[: len(path)]) == path
        loaded(path, command).make_context(" ".join(path), words[len(path) :])  # raises for what it does not know


@pytest.mark.parametrize(("path", "command"), EVERY)
def test_a_help_text_has_no_line_that_is_an_example_and_no_mark(path: tuple[str, ...], command: Command) -> None:
    assert "Examples:" not in loaded(path, command).help


def test_examples_are_lines_of_their_own_at_the_end_of_the_help(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = run_here(capsys, tmp_path, {"COLUMNS": "60"}, "recon", "resolve", "--help").stdout
    assert shown.endswith(
        "  Examples:\n"
        '    treasury recon resolve 17 --decision theirs_is_right --reason "row added"\n'
        '    treasury recon resolve 17 --decision withdraw --reason "the wrong break"\n'
    )


def test_a_docstring_without_examples_is_a_help_text_alone() -> None:
    assert split_examples("Do it.\n\nMore.") == ("Do it.\n\nMore.", None)
    assert split_examples("Do it.\n\nExamples:\n  treasury up") == ("Do it.\n", "\b\nExamples:\n  treasury up")
