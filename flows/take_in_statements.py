"""Intake: what the suppliers' statement folders and APIs have, each file once; then what is late."""

from collections import Counter
from datetime import date, datetime, timedelta

from prefect import flow, get_run_logger
from prefect.artifacts import create_table_artifact

from config import load_settings
from config.settings import Settings
from flows.console import explained, finished, name_run
from flows.futures import raise_together, result_or_error
from flows.parameters import OneSupplier, Replace, StatementDay, StatementUrl
from flows.schedule import HOOKS
from ledger.business_days import JOHANNESBURG, require_past
from ledger.errors import DataError
from tasks.statements.intake import Intake, IntakeResult
from tasks.statements.lateness import expected_suppliers, late_statements
from tasks.steps import report_late_step, take_in_step


def _of_day(
    settings: Settings, wanted: list[str], day: date, url: str | None, replace: bool
) -> list[tuple[str, list[Intake] | Exception]]:
    """The result of each supplier's intake of a day, all of them at once."""
    futures = [(supplier, take_in_step.submit(settings, supplier, day, url, replace)) for supplier in wanted]
    outcomes: list[tuple[str, list[Intake] | Exception]] = []
    for supplier, future in futures:
        result = result_or_error(future)
        outcomes.append((supplier, result))
    return outcomes


@flow(name="take-in-statements", **HOOKS)
@explained("take-in-statements")
def take_in_statements(
    supplier: OneSupplier = None, url: StatementUrl = None, day: StatementDay = None, replace: Replace = False
) -> list[Intake]:
    """Take in supplier by supplier. One that fails stops no other, and fails the run at its end; so does a file in
    quarantine. Safe to run again.
    """
    settings = load_settings()
    now = datetime.now(JOHANNESBURG)
    wanted_day = day or now.date() - timedelta(days=1)
    require_past("day", wanted_day, now.date())
    name_run(f"statements of {wanted_day}")
    wanted = [supplier] if supplier else expected_suppliers(settings)
    outcomes = _of_day(settings, wanted, wanted_day, url, replace)
    if day is None:
        late = [
            statement
            for statement in late_statements(settings, now)
            if statement[0] in wanted and statement[1] != wanted_day
        ]
        for name, late_day in late:  # one after another: a supplier's API takes few questions at once
            outcomes += _of_day(settings, [name], late_day, url, replace)
    taken: list[tuple[str, Intake]] = []
    problems: list[Exception] = []
    for name, outcome in outcomes:
        if isinstance(outcome, Exception):
            problems.append(outcome)
        else:
            taken += [(name, intake) for intake in outcome]
            problems += [DataError(intake.error) for intake in outcome if intake.result is IntakeResult.QUARANTINED]
    late = report_late_step(settings)
    rows = [
        {
            "supplier": name,
            "file": intake.name,
            "result": str(intake.result),
            "lines": intake.line_count,
            "why": intake.why,
        }
        for name, intake in taken
    ]
    create_table_artifact(key="statements", table=rows, description=f"{wanted_day}; {len(late)} statements are late")
    awaited = ", ".join(f"{name} {late_day}" for name, late_day in late) or "none"
    get_run_logger().info("%d files of %s; late: %s", len(rows), wanted_day, awaited)
    raise_together(problems)
    counts = Counter(str(intake.result) for _, intake in taken)
    counted_results = ", ".join(f"{count} {result}" for result, count in sorted(counts.items())) or "no file"
    return finished([intake for _, intake in taken], f"statements of {wanted_day}: {counted_results}, {len(late)} late")
