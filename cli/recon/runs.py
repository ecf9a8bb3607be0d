"""`treasury recon run`, `runs`, `show-run` and `replay`: reconcile days, and compute a run again."""

from datetime import date, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from cli import terminal
from cli.days import DAY
from cli.json_output import AsJson, record, write_json
from cli.names import OneSupplier, SupplierName
from cli.people import account_of_process
from cli.recon.options import First, Last, Limit, date_of
from cli.reports import print_report
from cli.session import session, simulators
from ledger.business_days import days_between
from ledger.counts import counted
from ledger.errors import ConfigError, DataError, NotFoundError, TreasuryError, VerificationError, combined
from tasks.reconciliation.casework import lists
from tasks.reconciliation.casework.lists import RunRecord
from tasks.reconciliation.closing.internal_days import OwnDay
from tasks.reconciliation.engine.tieout import FloatMovement
from tasks.reconciliation.runs.replay import replay_run
from tasks.reconciliation.runs.report import RunSummary, markdown
from tasks.reconciliation.runs.request import RunRequest
from tasks.reconciliation.runs.run import RunResult, reconcile_day
from tasks.reconciliation.runs.statements import statement_of
from tasks.reconciliation.vocabulary import Verdict


def run(
    supplier: SupplierName,
    day: Annotated[datetime, typer.Argument(**DAY, help="Africa/Johannesburg day, or the first day of a range")],
    last_day: Annotated[datetime | None, typer.Option(**DAY, help="Last day of a range")] = None,
    statement: Annotated[
        str | None,
        typer.Option(help="Parquet file or archive key  [default: the day's statement]"),
    ] = None,
    balance: Annotated[
        str | None,
        typer.Option("--float", help="Supplier float of the day: OPENING,DEPOSITS,CLOSING[,net|gross[,CURRENCY]]"),
    ] = None,
    dry_run: Annotated[bool, typer.Option(help="Show the result and store nothing")] = False,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Folder for a copy of the reports")] = None,
    as_json: AsJson = False,
) -> None:
    """Reconcile a supplier's days with its statements.

    In a range, a day that fails does not stop the others. Exits with 65 if a verdict is critical, after the result is
    stored; with 0 if the verdict is passed or failed.

    Examples:
      treasury recon run flash 2026-11-25
      treasury recon run flash 2026-11-01 --last-day 2026-11-25 --output reports
    """
    failed: list[TreasuryError] = []
    results: list[RunResult] = []
    days = days_between(day.date(), (last_day or day).date())
    if len(days) > 1 and (statement or balance):
        raise ConfigError("--statement and --float belong to one day: leave out --last-day")
    movement = None if balance is None else FloatMovement.parse("--float", balance)
    with session("s3", *simulators()) as settings:
        for run_day in days:
            folder = output / run_day.isoformat() if output and len(days) > 1 else output
            try:
                key = statement or statement_of(settings, supplier, run_day)
                request = RunRequest(supplier, run_day, key, account_of_process(), movement, dry_run, folder)
                with terminal.working(f"reconciling {supplier} {run_day}"):
                    result = reconcile_day(settings, request)
            except TreasuryError as error:
                failed.append(error)
                if len(days) > 1:
                    terminal.note(_of_day(supplier, run_day, error))
                continue
            results.append(result)
            if not as_json:
                print_report(result.markdown())
            if result.verdict is Verdict.CRITICAL:
                failed.append(DataError(f"{supplier} {run_day}: the verdict is critical"))
    if as_json:
        write_json(list(map(_result_as_json, results)))
    elif not dry_run and any(result.waiting for result in results):
        terminal.next_step(f"look at what waits with `treasury recon breaks --supplier {supplier}`")
    if failed:
        raise _of_days(failed, len(days))


def _of_days(failed: list[TreasuryError], day_count: int) -> TreasuryError:
    """One error for all days that failed."""
    if day_count == 1:
        return failed[0]
    return combined(failed, f"{len(failed)} of {counted(day_count, 'day')} failed, the first: {failed[0]}")


def _result_as_json(result: RunResult) -> dict[str, Any]:
    """A run with the names that `show-run --json` has; its number is null for a dry run."""
    return {
        "run_id": result.run_id,
        **record(result.summary),
        "waiting": result.waiting,
        "waiting_since": result.oldest,
        "ended_rows": result.settled.count,
        "warnings": result.warnings,
    }


def runs(
    supplier: OneSupplier = None,
    first: First = None,
    last: Last = None,
    limit: Limit = 50,
    as_json: AsJson = False,
) -> None:
    """List the reconciliation runs, newest first."""
    with session() as settings:
        records = lists.list_runs(settings, supplier, date_of(first), date_of(last), limit=limit)
    if as_json:
        write_json([record(run, "figures", "rules", "object_prefix", warnings=run.warnings) for run in records])
        return
    columns = ("run", "supplier", "day", "verdict", "lines", "internal rows", "matched", "breaks", "digest", "state")
    terminal.table("Runs", columns, list(map(_run_cells, records)))


def show_run(run_id: Annotated[int, typer.Argument(help="Number of the run")], as_json: AsJson = False) -> None:
    """Show the figures of a run and its inputs.

    Examples:
      treasury recon show-run 42
    """
    with session() as settings:
        run = lists.get_run(settings, run_id)
    if run is None:
        raise NotFoundError(f"run {run_id} does not exist")
    if as_json:
        write_json(record(run, warnings=run.warnings))
    else:
        _show_run(run)


def _show_run(run: RunRecord) -> None:
    print_report(markdown(RunSummary(run.supplier, str(run.day), run.digest.hex(), run.verdict, run.figures)))
    for warning in run.warnings:
        typer.echo(f"\nWarning: {terminal.visible(warning)}")
    if "own_day" in run.figures:
        own = OwnDay(**run.figures["own_day"])
        typer.echo(f"\nInternal rows of the day: {own.text()}, SHA-256 {own.digest}.")
    statement = run.figures.get("statement", {})
    state = "the current run of its day" if run.current else "superseded by a later run of its day"
    typer.echo(f"\nRun {run.run_id} by {run.actor}, {run.started_at:%Y-%m-%d %H:%M} UTC: {state}.")
    if statement:
        typer.echo(f"Statement {statement['key']}, SHA-256 {statement['sha256']}.")
    typer.echo(f"Reports in the archive under {run.object_prefix}/.")


def replay(run_id: Annotated[int, typer.Argument(help="Number of the run")], as_json: AsJson = False) -> None:
    """Compute a run again without writing, and compare the results.

    The statement and the earlier results are those of the run. The internal rows are the present ones.

    Examples:
      treasury recon replay 42
    """
    with session("s3") as settings, terminal.working("computing"):
        replayed = replay_run(settings, run_id)
    if as_json:
        write_json(record(replayed, is_same=replayed.is_same))
    if replayed.is_same and not as_json:
        typer.echo(f"run {run_id}: same result, digest {replayed.digest}")
    if replayed.is_same:
        return
    if not as_json:
        for difference in replayed.differences:
            typer.echo(terminal.visible(difference))
    terminal.note(
        "the replay uses the run's own statement and earlier results, and the present internal rows: rows that were"
    )
    terminal.note("settled since then differ")
    raise VerificationError(f"run {run_id}: the replay has digest {replayed.digest}, the run has {replayed.recorded}")


def _of_day(supplier: str, day: date, error: TreasuryError) -> str:
    """The error of one day of a range, with the day, which not every error names."""
    head, text = f"{supplier} {day}: ", str(error)
    return text if text.startswith(head) else head + text


def _run_cells(run: RunRecord) -> tuple[str, ...]:
    counts = (run.line_count, run.own_count, run.matched_count, run.break_count)
    state = "current" if run.current else "superseded"
    return (
        str(run.run_id),
        run.supplier,
        str(run.day),
        run.verdict,
        *map(str, counts),
        run.digest.hex()[:8],
        state,
    )
