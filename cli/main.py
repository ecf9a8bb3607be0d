"""The `treasury` application: the table of commands, and the exit codes of errors.

`treasury --help` must answer at once, so nothing here imports a command: `cli.lazy` does that when a command runs.
"""

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


@app.callback()
def _treasury() -> None:
    """Make typer build a group. It builds one only if there is a command or a callback, and `COMMANDS` is neither."""


def main() -> None:
    """Run the command line. Exits with 0, with the exit code of a TreasuryError, or with 2 for wrong usage."""
    with terminal.reported():
        app()


if __name__ == "__main__":
    main()
