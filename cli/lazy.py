"""Commands whose module is imported when the command runs: `treasury --help` and shell completion import none of them.

The table `cli.commands.COMMANDS` holds what a list of commands shows. Everything else is in the command's function.
"""

import gc
import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

_EXAMPLES = "\nExamples:\n"


@dataclass(frozen=True, slots=True)
class Command:
    """A command: its function as ``module:name``, and the first sentence of the function's docstring."""

    function: str
    summary: str


@dataclass(frozen=True, slots=True)
class Group:
    """A group of commands: its help text, and its commands by name."""

    summary: str
    commands: Mapping[str, Command]


class LazyCommand(TyperCommand):
    """Takes the place of a command that is not imported yet in a list of commands."""

    def __init__(self, name: str, command: Command) -> None:
        super().__init__(name, help=command.summary, rich_markup_mode=None)
        self._command = command

    def get_short_help_str(self, limit: int = 0) -> str:  # a summary is short enough for any list
        """The whole summary."""
        return self._command.summary

    def make_context(
        self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any
    ) -> Any:  # of typer's own types, which are private
        """The context of the real command: every run, help text and completion of an argument asks for it first."""
        return self.load().make_context(info_name, args, parent, **extra)

    def load(self) -> Any:
        """Import the module, and make the command from its function's signature and docstring."""
        module, _, name = self._command.function.partition(":")
        function = getattr(import_module(module), name)
        text, examples = split_examples(inspect.getdoc(function) or "")
        app = typer.Typer(add_completion=False, rich_markup_mode=None)
        app.command(self.name, help=text, epilog=examples)(function)
        gc.enable()  # `cli.start` imports without it
        return get_command(app)


def split_examples(docstring: str) -> tuple[str, str | None]:
    """The help text in a docstring, and its part ``Examples:`` for the end of the help; None where there is none.

    The command line wraps no line of a paragraph that begins with a backspace.
    """
    text, _, examples = docstring.partition(_EXAMPLES)
    return text, f"\b{_EXAMPLES}{examples}" if examples else None


def lazy_group(entries: Mapping[str, Command | Group]) -> type[TyperGroup]:
    """A class of groups, for `typer.Typer(cls=...)`, that has ``entries`` as its commands."""

    class LazyGroup(TyperGroup):
        def __init__(self, **attributes: Any) -> None:
            super().__init__(**attributes | {"commands": _commands(entries)})

    return LazyGroup


def _commands(entries: Mapping[str, Command | Group]) -> dict[str, Any]:
    return {name: _made(name, entry) for name, entry in entries.items()}


def _made(name: str, entry: Command | Group) -> LazyCommand | TyperGroup:
    if isinstance(entry, Command):
        return LazyCommand(name, entry)
    commands = _commands(entry.commands)
    return TyperGroup(
        name=name,
        help=entry.summary,
        short_help=entry.summary,
        commands=commands,
        no_args_is_help=True,
        rich_markup_mode=None,
    )
