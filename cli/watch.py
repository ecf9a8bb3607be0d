"""`treasury watch`: evaluate the rules over transactions now."""

from typing import TYPE_CHECKING

import typer

from cli import terminal
from cli.session import session

if TYPE_CHECKING:
    from tasks.watch import TableReport

watch = typer.Typer(help="Rules over stored transactions that raise alerts.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.add_typer(watch, name="watch")


@watch.callback()
def _group() -> None:
    """Keep `run` a command of its own: an application of one command takes its name away."""


@watch.command()
def run() -> None:
    """Evaluate the transactions that were not evaluated yet, and raise alerts. Safe to run again."""
    from tasks.notices import send_notices  # noqa: PLC0415  # the command line must answer --help at once
    from tasks.watch import watch_transactions  # noqa: PLC0415

    with session() as settings:
        report = watch_transactions(settings)
        if report.busy:
            terminal.note("another run of the watch is at it")
            return
        columns = ("table", "slices", "rows", "findings", "alerts", "settled until", "behind")
        terminal.table("Watch", columns, [_line(one) for one in report.tables])
        for error in send_notices(settings).errors:
            terminal.note(error)


def _line(one: "TableReport") -> tuple[str, ...]:
    counts = (one.slices, one.rows, one.findings, one.alerts)
    return (one.table, *map(str, counts), one.settled_until.isoformat(timespec="seconds"), f"{one.behind_s:.0f} s")
