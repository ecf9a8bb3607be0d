"""Rollover: partitions exist 12 months ahead; gaps, overlaps and rows outside are reported."""

from prefect import flow, get_run_logger

from config import load_settings
from flows.artifacts import publish_rollover
from flows.futures import raise_together, result_or_error
from flows.parameters import TableParameters
from flows.schedule import HOOKS
from ledger.errors import DataError
from tasks.admin.setup import check_clock
from tasks.archiving.calendar import utc_today
from tasks.archiving.rollover import RolloverReport
from tasks.steps import roll_table_step


@flow(name="roll-partitions", **HOOKS)
def roll_partitions(parameters: TableParameters = TableParameters()) -> list[RolloverReport]:
    """Make the partitions ahead for every chosen table and report what is not as it should be.

    Safe to run again. One failing table does not stop the others; the run fails at the end if one did, or if there
    are problems that somebody must look into. Gaps are reported only: old history that was imported leaves some.
    """
    settings = load_settings()
    check_clock(settings)
    as_of = parameters.as_of or utc_today()
    futures = [
        roll_table_step.submit(settings, table, as_of, parameters.plan_only) for table in parameters.chosen(settings)
    ]
    results: list[RolloverReport | Exception] = [*map(result_or_error, futures)]
    reports = [result for result in results if not isinstance(result, Exception)]
    get_run_logger().info(publish_rollover(reports, as_of, parameters.plan_only))
    problems = [result for result in results if isinstance(result, Exception)]
    problems += [DataError(f"{report.table}: {problem}") for report in reports for problem in report.problems]
    raise_together(problems)
    return reports
