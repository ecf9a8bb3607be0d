"""`treasury import` and `treasury generate`: load rows into the hot and warm months."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from cli import terminal
from cli.days import DAY
from cli.session import preparing
from ledger.errors import ConfigError
from tasks.importing.run import ImportRequest, import_file
from tasks.synthetic.generate import GenerateParameters
from tasks.synthetic.generate import generate as generate_months


def import_(
    file: Annotated[Path, typer.Argument(help="Delimited text file, plain or gzip")],
    mapping: Annotated[Path, typer.Option(help="TOML file that maps the columns to fields; see docs/importing.md")],
    table: Annotated[str | None, typer.Option(help="Target table, instead of the mapping's")] = None,
    rejects: Annotated[Path | None, typer.Option(help="File for rejected lines  [default: FILE.rejects.csv]")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check all lines and load none")] = False,
) -> None:
    """Load transactions from a delimited file. Safe to run again.

    Each line is either loaded, or rejected with its number and the reason.
    """
    request = ImportRequest(file, mapping, table, rejects, dry_run)
    with preparing(may_make_home=True) as settings, _bytes_bar() as show:
        report = import_file(settings, request, show, datetime.now(UTC))
    prefix = "dry run, nothing is loaded: " if report.dry_run else ""
    terminal.console.print(
        f"{prefix}read {report.read} = loaded {report.loaded} + rejected {report.rejected}", markup=False
    )
    if report.rejected:
        terminal.note(f"rejected lines: {report.rejects}")


def generate(
    months: Annotated[int, typer.Option(help="Number of months, the last one ending before --until")],
    rows_per_month: Annotated[int, typer.Option(help="Transactions per full month")],
    vas_rows_per_month: Annotated[int, typer.Option(help="VAS transactions per full month")] = 0,
    seed: Annotated[int, typer.Option(help="The same seed gives the same rows")] = 1,
    until: Annotated[
        datetime | None,
        typer.Option(**DAY, help="First UTC day without rows  [default: today]"),
    ] = None,
    wallets: Annotated[int, typer.Option(help="Number of wallets")] = 10_000,
    unfinished: Annotated[int, typer.Option(help="Pending rows in the oldest month of each table")] = 0,
) -> None:
    """Generate months of realistic transactions. Safe to run again: months that have rows stay as they are."""
    today = datetime.now(UTC).date()
    end = until.date() if until else today
    if end > today:
        raise ConfigError(f"--until {end}: must not be in the future")
    try:
        parameters = GenerateParameters(
            months=months,
            rows_per_month=rows_per_month,
            vas_rows_per_month=vas_rows_per_month,
            until=end,
            seed=seed,
            wallets=wallets,
            unfinished=unfinished,
        )
    except ValidationError as error:
        raise ConfigError("; ".join(f"{item['loc'][0]}: {item['msg']}" for item in error.errors())) from None
    with preparing(may_make_home=True) as settings, _rows_bar() as show:
        generated = generate_months(settings, parameters, show)
    rows = [(month.table, str(month.month), f"{month.rows:,}", month.skipped or "") for month in generated]
    terminal.table("Generated months", ("table", "month", "rows", "skipped"), rows)


@contextmanager
def _bytes_bar() -> Iterator[Callable[[str, int, int], None]]:
    """A bar over the file's bytes, on standard error; nothing where that is not a terminal."""
    columns = (TextColumn("{task.description}"), BarColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=terminal.errors, transient=True, disable=not terminal.errors.is_terminal) as bar:
        task = bar.add_task("checking", total=None)
        yield lambda step, done, total: bar.update(task, description=step, completed=done, total=total)


@contextmanager
def _rows_bar() -> Iterator[Callable[[int, int], None]]:
    """A bar over rows, on standard error; nothing where that is not a terminal."""
    columns = (TextColumn("generating"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=terminal.errors, transient=True, disable=not terminal.errors.is_terminal) as bar:
        task = bar.add_task("generating", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
