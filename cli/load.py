"""import, generate: rows into the hot and warm months."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from cli import terminal
from cli.days import DAY
from cli.session import session
from ledger.errors import ConfigError


def register(app: typer.Typer) -> None:
    """Add this module's commands to ``app``."""
    app.command("import")(import_)
    app.command()(generate)


def import_(
    file: Annotated[Path, typer.Argument(help="Delimited text, plain or gzip")],
    mapping: Annotated[Path, typer.Option(help="TOML that says what the columns mean; see docs/importing.md")],
    table: Annotated[str | None, typer.Option(help="Load into this table, not the mapping's")] = None,
    rejects: Annotated[Path | None, typer.Option(help="Where lines not loaded go  [default: FILE.rejects.csv]")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check every line, load none")] = False,
) -> None:
    """Load history from a file: every line is loaded, or rejected with its number and reason. Safe to run again."""
    from tasks.importing.run import ImportRequest, import_file  # noqa: PLC0415  # `treasury --help` must start at once

    request = ImportRequest(file, mapping, table, rejects, dry_run)
    with session(may_make_home=True) as settings, _bytes_bar() as show:
        report = import_file(settings, request, show, datetime.now(UTC))
    would = "dry run, nothing is loaded: " if report.dry_run else ""
    terminal.console.print(
        f"{would}read {report.read} = loaded {report.loaded} + rejected {report.rejected}", markup=False
    )
    if report.rejected:
        terminal.note(f"rejected lines: {report.rejects}")


def generate(
    months: Annotated[int, typer.Option(help="Months to make, up to the day before --until")],
    rows_per_month: Annotated[int, typer.Option(help="Transactions in a whole month")],
    vas_rows_per_month: Annotated[int, typer.Option(help="VAS transactions in a whole month")] = 0,
    seed: Annotated[int, typer.Option(help="The same seed makes the same rows")] = 1,
    until: Annotated[
        datetime | None,
        typer.Option(**DAY, help="Rows end before this UTC day  [default: today]"),
    ] = None,
    wallets: Annotated[int, typer.Option(help="Wallets that the rows belong to")] = 10_000,
    unfinished: Annotated[int, typer.Option(help="Rows left pending in the oldest month of each table")] = 0,
) -> None:
    """Make months of realistic, made-up rows. A month that has rows is left alone, so it is safe to run again."""
    from pydantic import ValidationError  # noqa: PLC0415  # `treasury --help` must start at once

    from tasks.generate import GenerateParameters  # noqa: PLC0415
    from tasks.generate import generate as fill  # noqa: PLC0415

    today = datetime.now(UTC).date()
    end = until.date() if until else today
    if end > today:
        raise ConfigError(f"--until {end} lies in the future")
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
    with session(may_make_home=True) as settings, _rows_bar() as show:
        made = fill(settings, parameters, show)
    rows = [(month.table, str(month.month), f"{month.rows:,}", month.skipped or "") for month in made]
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
