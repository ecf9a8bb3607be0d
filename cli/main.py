"""The `treasury` application: the table of commands, and the exit codes of errors.

`treasury --help` must answer at once, so nothing here imports a command: `cli.lazy` does that when a command runs.
"""

from typing import Annotated

import typer

from cli import terminal
from cli.commands import COMMANDS
from cli.lazy import lazy_group

app = typer.Typer(
    name="treasury",
    help="Keep a payments ledger in tiers (hot, warm, cold), and prove that every archived month is complete.",
    cls=lazy_group(COMMANDS),
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from config.version import product_version  # noqa: PLC0415  # `config` loads every model of the settings

        terminal.console.out(product_version())
        raise typer.Exit


@app.callback()
def options(
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Options that need no command. Typer builds a group only if there is a callback, or a command of its own kind."""


def main() -> None:
    """Run the command line. Exits with 0, with the exit code of a TreasuryError, or with 2 for wrong usage."""
    with terminal.reported():
        app()


if __name__ == "__main__":
    main()
