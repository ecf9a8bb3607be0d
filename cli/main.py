"""The `treasury` application: puts the families of commands together and turns errors into exit codes.

It must answer ``--help`` at once, so nothing here or at the top of a command module imports a server, a driver,
Prefect or Arrow: a command imports what it needs when it runs.
"""

from typing import Annotated

import typer

from cli import alerts, archive, demo, health, keys, limits, load, recon, statements, suppliers, terminal, up, watch
from config.version import product_version

# One line a family of commands; each module has a `register(app)`.
COMMANDS = (up, demo, keys, limits, load, archive, health, alerts, suppliers, statements, recon, watch)

app = typer.Typer(
    name="treasury",
    help="Keeps payment ledgers in tiers: hot, warm, cold, deep, and proves that nothing was lost on the way.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        terminal.console.out(product_version())
        raise typer.Exit


@app.callback()
def options(
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Options that need no command."""


for commands in COMMANDS:
    commands.register(app)


def main() -> None:
    """Run the command line. Exits with 0, with the exit code of a TreasuryError, or with 2 for wrong usage."""
    with terminal.reported():
        app()


if __name__ == "__main__":
    main()
