"""Reconciliation: a supplier's day, or a range of days, each against its statement."""

from datetime import date, datetime, timedelta

from prefect import flow, get_run_logger
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from pydantic import BaseModel, ConfigDict, Field

from config import load_settings
from flows.futures import raise_together, result_or_error
from flows.parameters import SupplierName, only_days, only_suppliers
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


class ReconciliationParameters(BaseModel):
    """Whose days are reconciled, which, and whether anything is written down."""

    model_config = ConfigDict(extra="forbid")

    supplier: SupplierName = Field(description="Whose statement", json_schema_extra=only_suppliers)
    day: date | None = Field(
        None,
        description="Africa/Johannesburg day; empty: yesterday, and earlier ones whose statement no run has seen",
        json_schema_extra=only_days,
    )
    last_day: date | None = Field(None, description="Of a range; empty: one day only", json_schema_extra=only_days)
    statement: str | None = Field(
        None, description="Path or archive key of the canonical statement; empty: the one taken in for the day"
    )
    float_movement: FloatMovement | None = Field(None, description="The supplier's float on the day, for a single day")
    dry_run: bool = Field(False, description="Show what would be found, and write nothing down")

    @property
    def is_open(self) -> bool:
        """Whether nobody said which days, or what they are to be compared with."""
        return not (self.day or self.last_day or self.statement or self.float_movement)

    def days(self, today: date) -> list[date]:
        """The days that are named, or yesterday. Raises ConfigError for a range that is none, or a statement or a float
        for many days.
        """
        first = self.day or today - timedelta(days=1)
        require_past("day", first, today)
        require_past("last_day", self.last_day or first, today)
        days = days_between(first, self.last_day or first)
        if len(days) > 1 and (self.statement or self.float_movement):
            raise ConfigError("statement and float_movement are of one day; leave last_day empty")
        return days


@flow(name="reconcile-supplier", **HOOKS)
def reconcile_supplier(parameters: ReconciliationParameters) -> list[RunResult]:
    """Reconcile day by day, in order: without a day yesterday, and what came late or was replaced. A day that fails
    stops no other, and fails the run at its end; so does a verdict of critical. Safe to run again: a day done again
    supersedes its former run and doubles no break.
    """
    settings = load_settings()
    results: list[RunResult] = []
    problems: list[Exception] = []
    days = parameters.days(datetime.now(JOHANNESBURG).date())
    if parameters.is_open:
        days = sorted({*days, *days_to_reconcile(settings, parameters.supplier, days[-1])})
    for day in days:
        try:
            request = RunRequest(
                parameters.supplier,
                day,
                parameters.statement or statement_of(settings, parameters.supplier, day),
                movement=parameters.float_movement,
                dry_run=parameters.dry_run,
            )
        except TreasuryError as error:
            problems.append(error)
            continue
        # One after another: a day needs to know which of its neighbours' rows are matched.
        found = result_or_error(reconcile_day_step.submit(settings, request))
        if isinstance(found, Exception):
            problems.append(found)
        else:
            results.append(found)
            if found.verdict is Verdict.CRITICAL:
                problems.append(DataError(f"{parameters.supplier} {day}: critical, see the run's report"))
    get_run_logger().info(_publish(parameters.supplier, results))
    raise_together(problems)
    return results


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
