"""Every command of the command line, for tests of what holds for all of them."""

from collections.abc import Iterator

from cli.commands import COMMANDS
from cli.lazy import Command


def each_command() -> Iterator[tuple[tuple[str, ...], Command]]:
    """The path and the entry of every command of the table."""
    for name, entry in COMMANDS.items():
        if isinstance(entry, Command):
            yield (name,), entry
        else:
            yield from (((name, inner), command) for inner, command in entry.commands.items())
