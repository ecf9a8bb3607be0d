"""Restoring: archived months as tables of a schema of their own for some days, or back in warm."""

from collections.abc import Sequence
from datetime import timedelta

from prefect import flow, get_run_logger
from prefect.artifacts import create_table_artifact

from config import Settings, load_settings
from flows.console import explained, finished, name_run
from flows.futures import raise_together, result_or_error
from flows.parameters import Actor, DaysKept, FirstMonth, LastMonth, Place, Reason, Table
from ledger.counts import counted
from ledger.errors import ConfigError
from ledger.months import Month, months_between
from ledger.tables import TieredTable
from sql.restored import Request
from tasks.admin.setup import check_clock
from tasks.restoring.back_to_warm import WORK_DAYS, ReturnedMonth
from tasks.restoring.restore import COPY_DAYS, RestoredPart
from tasks.steps import restore_month_step, return_month_step
from tasks.transparency.at_once import publish_at_once


@flow(name="restore-months")
@explained("restore-months")
def restore_months(
    *,
    table: Table = "transactions",
    first: FirstMonth,
    last: LastMonth = None,
    to: Place = "copy",
    ttl_days: DaysKept = None,
    actor: Actor,
    reason: Reason,
) -> list[RestoredPart]:
    """Bring archived months back, each compared with the archive: as copies in a schema of their own, or into warm.

    Returns the copies. A month that fails stops no other; the run fails at its end if one did. Safe to run again at any
    time. A copy that is there is kept for longer, and a month that is in warm gets more days.
    """
    settings, logger = load_settings(), get_run_logger()
    check_clock(settings)
    known = settings.table(table)
    if (last or first) < first:
        raise ConfigError(f"last: {last} is before {first}")
    months = list(months_between(Month.parse(first), Month.parse(last or first)))
    task = f"restore {table} {first if len(months) == 1 else f'{first} to {last}'} -> {to}"
    name_run(task)
    lasting = timedelta(days=ttl_days or (COPY_DAYS if to == "copy" else WORK_DAYS))
    who = Request(actor, f"prefect: {actor}", reason, lasting)
    copies, problems = (_copied if to == "copy" else _returned)(settings, known, months, who)
    if said := publish_at_once(settings, "restored"):
        logger.warning(said)
    raise_together(problems)
    return finished(copies, f"{task}: {counted(len(months), 'month')}")


def _copied(
    settings: Settings, table: TieredTable, months: Sequence[Month], who: Request
) -> tuple[list[RestoredPart], list[Exception]]:
    """Copy the months; returns the copies, and the errors of the others."""
    futures = [restore_month_step.submit(settings, table, month, who) for month in months]
    results: list[list[RestoredPart] | Exception] = [*map(result_or_error, futures)]
    parts = [part for result in results if not isinstance(result, Exception) for part in result]
    rows = [
        {
            "table": part.relation,
            "rows": part.rows,
            "dropped on": f"{part.expires_at:%Y-%m-%d}",
            "was there": part.was_there,
        }
        for part in parts
    ]
    create_table_artifact(key="restored-months", table=rows, description="Copies of archived months")
    for part in parts:
        get_run_logger().info("%s: %d rows, dropped on %s", part.relation, part.rows, f"{part.expires_at:%Y-%m-%d}")
    return parts, [result for result in results if isinstance(result, Exception)]


def _returned(
    settings: Settings, table: TieredTable, months: Sequence[Month], who: Request
) -> tuple[list[RestoredPart], list[Exception]]:
    """Bring the months back to warm; returns no copy, and the errors of those that stay where they are."""
    futures = [return_month_step.submit(settings, table, month, who) for month in months]
    results: list[ReturnedMonth | Exception] = [*map(result_or_error, futures)]
    made = [result for result in results if not isinstance(result, Exception)]
    rows = [
        {
            "table": returned.relation,
            "rows": returned.rows,
            "in work until": str(returned.until),
            "was there": returned.was_there,
        }
        for returned in made
    ]
    create_table_artifact(key="returned-months", table=rows, description="Archived months that are back in warm")
    for returned in made:
        get_run_logger().info("%s: %d rows, in work until %s", returned.relation, returned.rows, returned.until)
    return [], [result for result in results if isinstance(result, Exception)]
