"""Intake: what the suppliers' statement folders and APIs have, each file once; then what is late."""

from datetime import date, datetime, timedelta

from prefect import flow, get_run_logger
from prefect.artifacts import create_table_artifact
from pydantic import BaseModel, ConfigDict, Field

from config import load_settings
from config.settings import Settings
from flows.futures import raise_together, result_or_error
from flows.parameters import SupplierName, only_days, only_suppliers
from flows.schedule import HOOKS
from ledger.business_days import JOHANNESBURG, require_past
from ledger.errors import DataError
from tasks.statements.intake import Intake, IntakeResult
from tasks.statements.lateness import expected_suppliers, late_statements
from tasks.steps import report_late_step, take_in_step


class IntakeParameters(BaseModel):
    """Whose statements, of which day, from where."""

    model_config = ConfigDict(extra="forbid")

    supplier: SupplierName | None = Field(
        None,
        description="Empty: every supplier whose statements are awaited",
        json_schema_extra=only_suppliers,
    )
    url: str | None = Field(None, description="File or folder; empty: the supplier's statement_url, or its API")
    day: date | None = Field(
        None,
        description="Africa/Johannesburg day; empty: yesterday, and earlier ones whose statement is late",
        json_schema_extra=only_days,
    )
    replace: bool = Field(False, description="Take another content of a day that has a statement")


def _of_day(
    settings: Settings, parameters: IntakeParameters, wanted: list[str], day: date
) -> list[tuple[str, list[Intake] | Exception]]:
    """The result of each supplier's intake of a day, all of them at once."""
    futures = [(one, take_in_step.submit(settings, one, day, parameters.url, parameters.replace)) for one in wanted]
    outcomes: list[tuple[str, list[Intake] | Exception]] = []
    for supplier, future in futures:
        found = result_or_error(future)
        outcomes.append((supplier, found))
    return outcomes


@flow(name="take-in-statements", **HOOKS)
def take_in_statements(parameters: IntakeParameters = IntakeParameters()) -> list[Intake]:
    """Take in supplier by supplier. One that fails stops no other, and fails the run at its end; so does a file in
    quarantine. Safe to run again.
    """
    settings = load_settings()
    now = datetime.now(JOHANNESBURG)
    day = parameters.day or now.date() - timedelta(days=1)
    require_past("day", day, now.date())
    wanted = [parameters.supplier] if parameters.supplier else expected_suppliers(settings)
    outcomes = _of_day(settings, parameters, wanted, day)
    if parameters.day is None:
        late = [one for one in late_statements(settings, now) if one[0] in wanted and one[1] != day]
        for supplier, late_day in late:  # one after another: a supplier's API takes few questions at once
            outcomes += _of_day(settings, parameters, [supplier], late_day)
    taken: list[tuple[str, Intake]] = []
    problems: list[Exception] = []
    for supplier, outcome in outcomes:
        if isinstance(outcome, Exception):
            problems.append(outcome)
        else:
            taken += [(supplier, one) for one in outcome]
            problems += [DataError(one.error) for one in outcome if one.result is IntakeResult.QUARANTINED]
    late = report_late_step(settings)
    rows = [
        {"supplier": name, "file": one.name, "result": str(one.result), "lines": one.line_count, "why": one.why}
        for name, one in taken
    ]
    create_table_artifact(key="statements", table=rows, description=f"{day}; {len(late)} statements are late")
    get_run_logger().info("%d files of %s; late: %s", len(rows), day, ", ".join(f"{s} {d}" for s, d in late) or "none")
    raise_together(problems)
    return [one for _, one in taken]
