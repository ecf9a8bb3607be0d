"""Rollover: partitions exist 12 months ahead; gaps, overlaps and rows outside are reported."""

from prefect import flow, get_run_logger

from config import load_settings
from flows.artifacts import publish_rollover
from flows.console import explained, finished, name_run
from flows.futures import raise_together, result_or_error
from flows.parameters import AsOf, PlanOnly, Tables
from flows.schedule import HOOKS
from ledger.counts import counted
from ledger.errors import DataError
from tasks.admin.setup import check_clock
from tasks.archiving.calendar import utc_today
from tasks.archiving.rollover import RolloverReport
from tasks.steps import roll_table_step


@flow(name="roll-partitions", **HOOKS)
@explained("roll-partitions")
def roll_partitions(as_of: AsOf = None, tables: Tables = (), plan_only: PlanOnly = False) -> list[RolloverReport]:
    """Make the partitions ahead for every chosen table and report what is not as it should be.

    Safe to run again. One failing table does not stop the others. The run fails at the end if one did, or if there
    are problems that somebody must look into. Gaps are reported only: old history that was imported leaves some.
    """
    settings = load_settings()
    check_clock(settings)
    day, chosen = as_of or utc_today(), settings.chosen_tables(tables)
    task = f"roll partitions as of {day}"
    name_run(task)
    futures = [roll_table_step.submit(settings, table, day, plan_only) for table in chosen]
    results: list[RolloverReport | Exception] = [*map(result_or_error, futures)]
    reports = [result for result in results if not isinstance(result, Exception)]
    get_run_logger().info(publish_rollover(reports, day, plan_only))
    problems = [result for result in results if isinstance(result, Exception)]
    problems += [DataError(f"{report.table}: {problem}") for report in reports for problem in report.problems]
    raise_together(problems)
    months = sum(len(report.wanted if plan_only else report.created) for report in reports)
    line = (
        f"{counted(months, 'partition')} {'to make' if plan_only else 'made'}" if months else "all partitions are there"
    )
    return finished(reports, f"{task}: {line}")
