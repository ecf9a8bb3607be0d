"""A line `next: …` where something follows; a command without one is listed here, with the reason."""

import ast
import inspect
import textwrap
from collections.abc import Iterator
from importlib import import_module
from types import FunctionType

import pytest

from cli.lazy import Command
from tests.cli.tree import each_command

ALL_OF_IT = "it shows all that there is, and asks for nothing"
ENDED = "what was asked for is done, and nothing follows"
SHOWS_ITSELF = "its own text says what to do"
WITHOUT = {
    ("up",): SHOWS_ITSELF,
    ("down",): ENDED,
    ("status",): ALL_OF_IT,
    ("demo",): SHOWS_ITSELF,
    ("prefect", "login"): "the login is alone on its line",
    ("key", "list"): ALL_OF_IT,
    ("key", "events"): ALL_OF_IT,
    ("key", "revoke"): ENDED,
    ("sessions", "list"): ALL_OF_IT,
    ("sessions", "revoke"): ENDED,
    ("limits", "show"): ALL_OF_IT,
    ("limits", "lift"): ENDED,
    ("tiers",): "months move by themselves; its notes say why one does not",
    ("totals",): ALL_OF_IT,
    ("sql",): ALL_OF_IT,
    ("hold", "list"): ALL_OF_IT,
    ("hold", "show"): ALL_OF_IT,
    ("restore", "list"): ALL_OF_IT,
    ("restore", "drop"): ENDED,
    ("unseal",): "the month is archived when it is next due",
    ("delete", "refuse"): ENDED,
    ("delete", "revoke"): ENDED,
    ("delete", "list"): ALL_OF_IT,
    ("certificate", "list"): ALL_OF_IT,
    ("certificate", "show"): ALL_OF_IT,
    ("certificate", "verify"): ENDED,
    ("policy", "simulate"): ALL_OF_IT,
    ("policy", "check"): SHOWS_ITSELF,
    ("storage-check",): SHOWS_ITSELF,
    ("installation", "show"): SHOWS_ITSELF,
    ("installation", "continue"): SHOWS_ITSELF,
    ("installation", "separate"): SHOWS_ITSELF,
    ("log", "publish"): ENDED,
    ("log", "show"): ALL_OF_IT,
    ("log", "keys"): "its text is a policy",
    ("check-proof",): ENDED,
    ("witness", "serve"): "it stays",
    ("witness", "keys"): "its text is a policy",
    ("alert", "resolve"): ENDED,
    ("alert", "test"): ENDED,
    ("suppliers", "test"): ENDED,
    ("suppliers", "settle"): "the flow settle-vends asks again by itself",
    ("statements", "list"): "its notes name the days that are late",
    ("recon", "runs"): ALL_OF_IT,
    ("recon", "show-run"): ALL_OF_IT,
    ("recon", "replay"): ENDED,
    ("recon", "periods"): ALL_OF_IT,
    ("recon", "verify"): ENDED,
    ("watch", "run"): "what it finds becomes alerts",
}


def says_next(function: FunctionType) -> bool:
    """Whether a function of `cli`, or one that it calls, says what comes next."""
    seen: set[FunctionType] = set()
    waiting = [function]
    while waiting:
        caller = waiting.pop()
        if caller in seen:
            continue
        seen.add(caller)
        nodes = list(ast.walk(ast.parse(textwrap.dedent(inspect.getsource(caller)))))
        variables = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
        for node in nodes:
            if isinstance(node, ast.Attribute) and ast.unparse(node) == "terminal.next_step":
                return True
            waiting += _called(caller, node, {*variables, *caller.__code__.co_varnames})
    return False


def _called(caller: FunctionType, node: ast.AST, variables: set[str]) -> Iterator[FunctionType]:
    """The function of `cli` that a name in ``caller`` stands for, also one that is imported there."""
    if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("cli."):
        candidates = [getattr(import_module(node.module or ""), alias.name) for alias in node.names]
    elif isinstance(node, ast.Name) and node.id not in variables:
        candidates = [caller.__globals__.get(node.id)]
    else:
        return
    for candidate in candidates:
        if isinstance(candidate, FunctionType) and candidate.__module__.startswith("cli."):
            yield inspect.unwrap(candidate)


@pytest.mark.parametrize(
    ("path", "command"), [pytest.param(path, command, id=" ".join(path)) for path, command in each_command()]
)
def test_a_command_says_what_comes_next_or_is_listed(path: tuple[str, ...], command: Command) -> None:
    module, _, name = command.function.partition(":")
    assert says_next(getattr(import_module(module), name)) is (path not in WITHOUT)
