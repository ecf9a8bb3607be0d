"""`treasury import` and `treasury generate`: load rows into the hot and warm months."""

import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from cli import terminal
from cli.days import DAY
from cli.json_output import AsJson, record, write_json
from cli.session import preparing
from ledger.card_finder import mask_card_numbers
from ledger.counts import counted
from ledger.errors import ConfigError, DataError
from tasks.importing.preview import Preview
from tasks.importing.run import ImportReport, ImportRequest, import_file
from tasks.importing.suggestion import suggest_mapping
from tasks.synthetic.generate import GenerateParameters
from tasks.synthetic.generate import generate as generate_months

_ARCHIVE = "move the months that are due with `treasury run run_archiving_operations`"


def import_(
    file: Annotated[Path, typer.Argument(help="Delimited text file, plain or gzip; - reads standard input")],
    mapping: Annotated[
        Path | None, typer.Option(help="TOML file that maps the columns to fields; see docs/importing.md")
    ] = None,
    table: Annotated[str | None, typer.Option(help="Target table, instead of the mapping's")] = None,
    rejects: Annotated[
        Path | None, typer.Option(help="File or folder for lines that are not loaded  [default: FILE.rejects.csv]")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check all lines, load none, show the first rows and sums by month")
    ] = False,
    suggest: Annotated[
        bool, typer.Option("--suggest", help="Print a mapping for FILE to begin with, and stop")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Load transactions from a delimited file. Safe to run again.

    Each record is loaded, known from an earlier import, or listed with its line and the reason.

    Examples:
      treasury import bank.csv.gz --suggest > bank.toml
      treasury import bank.csv.gz --mapping bank.toml --dry-run
      treasury import bank.csv.gz --mapping bank.toml
    """
    if suggest and as_json:
        raise ConfigError("give --json or --suggest, and not both: a mapping is TOML")
    with _local(file) as source:
        if suggest:
            typer.echo(suggest_mapping(source))
            terminal.next_step(f"check every line of it, then run `treasury import {file} --mapping M.toml --dry-run`")
            return
        if mapping is None:
            raise ConfigError("--mapping is missing: name a mapping file, or begin with --suggest")
        request = ImportRequest(source, mapping, table, rejects or (Path() if source != file else None), dry_run)
        with preparing(may_make_home=True) as settings, _bytes_bar() as show:
            report = import_file(settings, request, show, datetime.now(UTC))
        if as_json:
            write_json(_as_json(report))
        else:
            if report.dry_run:
                _show_preview(report.preview)
            _show(report)
            _say_next(report)
        _refuse_nothing(report)


@contextmanager
def _local(file: Path) -> Iterator[Path]:
    """``file``, or for - a private copy of standard input: an import reads its file twice."""
    if str(file) != "-":
        yield file
        return
    if sys.stdin is None:
        raise ConfigError("FILE: - reads standard input, which is closed")
    with tempfile.TemporaryDirectory(prefix="treasury-import-") as folder:
        copy = Path(folder) / "standard-input"
        with copy.open("wb") as target:
            shutil.copyfileobj(sys.stdin.buffer, target)
        yield copy


def _show_preview(preview: Preview) -> None:
    """Print the first rows as they would be stored, and the sums by month."""
    for cells in preview.first:
        shown = [(name, mask_card_numbers(cell)) for name, cell in zip(preview.columns, cells, strict=True) if cell]
        terminal.table("A row as it would be stored", ("column", "value"), shown)
    rows = [
        (str(month), currency, f"{count:,}", f"{total:,}")
        for (month, currency), (count, total) in sorted(preview.sums.items())
    ]
    terminal.table("What would be loaded", ("month", "currency", "rows", "amount"), rows)


def _show(report: ImportReport) -> None:
    """Print the account of an import: of its records, and below it of the lines of the file."""
    prefix = "dry run, nothing is loaded: " if report.dry_run else ""
    lines = report.lines
    of_lines = (
        f"lines {lines.all} = skipped {lines.skipped} + header {lines.header} + records {lines.record_lines}"
        f" + footer {lines.footer}"
    )
    of_records = (
        f"{prefix}read {report.read} = loaded {report.loaded} + known {report.known} + different {report.different}"
        f" + rejected {report.rejected}"
    )
    for account in (of_lines, of_records):
        terminal.console.print(account, markup=False, highlight=False, soft_wrap=True)
    for warning in report.warnings:
        terminal.note(f"warning: {warning}")
    if report.read > report.loaded:
        terminal.note(f"lines that were not loaded: {report.rejects}")


def _as_json(report: ImportReport) -> dict[str, Any]:
    """The account of an import; its preview is that of a dry run, null otherwise."""
    preview = report.preview
    rows = [{n: mask_card_numbers(c) for n, c in zip(preview.columns, cells, strict=True)} for cells in preview.first]
    sums = [
        {"month": month, "currency": currency, "rows": count, "amount": total}
        for (month, currency), (count, total) in sorted(preview.sums.items())
    ]
    further = {"rejects": str(report.rejects), "preview": {"rows": rows, "sums": sums} if report.dry_run else None}
    return record(report) | further


def _say_next(report: ImportReport) -> None:
    if report.dry_run and report.loaded:
        terminal.next_step("run the same without --dry-run to load the rows")
    elif report.loaded:
        terminal.next_step(_ARCHIVE)


def _refuse_nothing(report: ImportReport) -> None:
    """End with an error when the ledger has not what the file says. Single rejected lines are an answer."""
    if report.different:
        raise DataError(
            f"{counted(report.different, 'record was', 'records were')} loaded before with other values, and not "
            f"changed: a correction is a row of its own; {report.rejects} says what differs"
        )
    if report.rejected == report.read:
        raise DataError(f"none of {report.read} records could be loaded: {report.rejects} says why")


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
    as_json: AsJson = False,
) -> None:
    """Generate months of realistic transactions. Safe to run again: months that have rows stay as they are.

    Examples:
      treasury generate --months 16 --rows-per-month 400
      treasury generate --months 36 --rows-per-month 10000 --vas-rows-per-month 4000 --until 2026-11-01
    """
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
    if as_json:
        write_json(generated)
        return
    rows = [(month.table, str(month.month), f"{month.rows:,}", month.skipped or "") for month in generated]
    terminal.table("Generated months", ("table", "month", "rows", "skipped"), rows)
    terminal.next_step(_ARCHIVE)


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
