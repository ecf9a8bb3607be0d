"""Reconciliation: a supplier's day, or a range of days, each against its statement."""

from collections import Counter
from datetime import date, datetime, timedelta

from prefect import flow, get_run_logger
from prefect.artifacts import create_markdown_artifact, create_table_artifact

from config import load_settings
from flows.console import explained, finished, name_run
from flows.futures import raise_together, result_or_error
from flows.parameters import DryRun, LastDay, ReconciledDay, Statement, Supplier, SupplierFloat
from flows.schedule import HOOKS
from ledger.business_days import JOHANNESBURG, days_between, require_past
from ledger.errors import ConfigError, DataError, TreasuryError
from tasks.reconciliation.engine.tieout import FloatMovement
from tasks.reconciliation.runs.request import RunRequest
from tasks.reconciliation.runs.run import RunResult
from tasks.reconciliation.runs.statements import statement_of
from tasks.reconciliation.vocabulary import Verdict
from tasks.statements.intake import days_to_reconcile
from tasks.steps import reconcile_day_step


@flow(name="reconcile-supplier", **HOOKS)
@explained("reconcile-supplier")
def reconcile_supplier(
    supplier: Supplier,
    day: ReconciledDay = None,
    last_day: LastDay = None,
    statement: Statement = None,
    float_movement: SupplierFloat = None,
    dry_run: DryRun = False,
) -> list[RunResult]:
    """Reconcile day by day, in order: without a day yesterday, and what came late or was replaced. A day that fails
    stops no other, and fails the run at its end; so does a verdict of critical. Safe to run again: a day done again
    supersedes its former run and doubles no break.
    """
    settings = load_settings()
    movement = None if float_movement is None else FloatMovement.parse("float_movement", float_movement)
    results: list[RunResult] = []
    problems: list[Exception] = []
    days = named_days(datetime.now(JOHANNESBURG).date(), day, last_day, only_one=bool(statement or float_movement))
    if not (day or last_day or statement or float_movement):
        days = sorted({*days, *days_to_reconcile(settings, supplier, days[-1])})
    verb = "dry run of reconciling" if dry_run else "reconcile"
    task = f"{verb} {supplier} {days[0] if len(days) == 1 else f'{days[0]} to {days[-1]}'}"
    name_run(task)
    for reconciled_day in days:
        try:
            request = RunRequest(
                supplier,
                reconciled_day,
                statement or statement_of(settings, supplier, reconciled_day),
                movement=movement,
                dry_run=dry_run,
            )
        except TreasuryError as error:
            problems.append(error)
            continue
        # One after another: a day needs to know which of its neighbours' rows are matched.
        outcome = result_or_error(reconcile_day_step.submit(settings, request))
        if isinstance(outcome, Exception):
            problems.append(outcome)
        else:
            results.append(outcome)
            if outcome.verdict is Verdict.CRITICAL:
                problems.append(DataError(f"{supplier} {reconciled_day}: critical, see the run's report"))
    get_run_logger().info(_publish(supplier, results))
    raise_together(problems)
    verdicts = Counter(str(result.verdict) for result in results)
    return finished(results, f"{task}: {', '.join(f'{count} {name}' for name, count in sorted(verdicts.items()))}")


def named_days(today: date, day: date | None, last_day: date | None, *, only_one: bool) -> list[date]:
    """The days of the form, or yesterday (Africa/Johannesburg). Raises ConfigError for a range that is none, a day
    that has not come, or many days where ``only_one`` may be named.
    """
    first = day or today - timedelta(days=1)
    require_past("day", first, today)
    require_past("last_day", last_day or first, today)
    days = days_between(first, last_day or first)
    if only_one and len(days) > 1:
        raise ConfigError("statement and float_movement are of one day; leave last_day empty")
    return days


def _publish(supplier: str, results: list[RunResult]) -> str:
    """The runs as artifacts: a table of the days, and each day's report; returns the reports for the log."""
    rows = [
        {
            "day": result.summary.day,
            "run": result.run_id or "dry run",
            "verdict": result.summary.verdict,
            "matched": result.summary.figures["matched_share"],
            "breaks": result.summary.figures["breaks"],
            "resolved by rules": result.summary.figures["auto_resolved"],
            "open rows ended": result.settled.count,
            "waiting": result.waiting,
        }
        for result in results
    ]
    create_table_artifact(key=f"reconciliation-{supplier}", table=rows, description=f"Days of {supplier}")
    text = "\n".join(result.markdown() for result in results) or "no day was reconciled"
    create_markdown_artifact(key=f"reconciliation-{supplier}-report", markdown=text)
    return text
