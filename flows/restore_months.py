"""Restoring: archived months as tables of a schema of their own for some days, or back in warm."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Literal

from prefect import flow, get_run_logger
from prefect.artifacts import create_table_artifact
from pydantic import BaseModel, ConfigDict, Field

from config import Settings, load_settings
from flows.futures import raise_together, result_or_error
from ledger.errors import ConfigError
from ledger.months import Month, months_between
from ledger.tables import TieredTable
from sql.restored import Request
from tasks.admin.setup import check_clock
from tasks.restoring.back_to_warm import WORK_DAYS, ReturnedMonth
from tasks.restoring.restore import RestoredPart, publish
from tasks.steps import restore_month_step, return_month_step

_MONTH = r"^[0-9]{4}-(0[1-9]|1[0-2])$"
MOST_DAYS = 366
COPY_DAYS = 30


class RestoreParameters(BaseModel):
    """The months to restore, where to, for whom, why, and for how long."""

    model_config = ConfigDict(extra="forbid")

    table: str = Field("transactions", description="The table")
    first: str = Field(..., pattern=_MONTH, description="The first month, YYYY-MM")
    last: str | None = Field(None, pattern=_MONTH, description="The last month, included; empty: the first")
    to: Literal["copy", "warm"] = Field(
        "copy", description="copy: into the schema of restored months; warm: back into the table, to be worked on"
    )
    ttl_days: int | None = Field(
        None,
        ge=1,
        le=MOST_DAYS,
        description="Days after which copies are dropped, or a month in warm is archived again; empty: "
        f"{COPY_DAYS}, with warm {WORK_DAYS}",
    )
    actor: str = Field(..., min_length=1, max_length=128, description="Who wants the months; recorded")
    reason: str = Field(..., min_length=1, max_length=1000, description="Why; recorded")


@flow(name="restore-months")
def restore_months(parameters: RestoreParameters) -> list[RestoredPart]:
    """Bring archived months back, each compared with the archive: as copies in a schema of their own, or into warm.

    Returns the copies. A month that fails stops no other; the run fails at its end if one did. Safe to run again at any
    time: a copy that is there is kept for longer, and a month that is in warm gets more days.
    """
    settings, logger = load_settings(), get_run_logger()
    check_clock(settings)
    table = settings.table(parameters.table)
    first, last = Month.parse(parameters.first), Month.parse(parameters.last or parameters.first)
    if last < first:
        raise ConfigError(f"last: {last} is before {first}")
    is_copy, months = parameters.to == "copy", months_between(first, last)
    lasting = timedelta(days=parameters.ttl_days or (COPY_DAYS if is_copy else WORK_DAYS))
    who = Request(parameters.actor, f"prefect: {parameters.actor}", parameters.reason, lasting)
    copies, problems = (_copied if is_copy else _returned)(settings, table, list(months), who)
    if said := publish(settings):
        logger.warning(said)
    raise_together(problems)
    return copies


def _copied(
    settings: Settings, table: TieredTable, months: Sequence[Month], who: Request
) -> tuple[list[RestoredPart], list[Exception]]:
    """Copy the months; returns the copies, and the errors of the others."""
    futures = [restore_month_step.submit(settings, table, month, who) for month in months]
    results: list[list[RestoredPart] | Exception] = [*map(result_or_error, futures)]
    parts = [part for found in results if not isinstance(found, Exception) for part in found]
    rows = [
        {
            "table": one.relation,
            "rows": one.rows,
            "dropped on": f"{one.expires_at:%Y-%m-%d}",
            "was there": one.was_there,
        }
        for one in parts
    ]
    create_table_artifact(key="restored-months", table=rows, description="Copies of archived months")
    for one in parts:
        get_run_logger().info("%s: %d rows, dropped on %s", one.relation, one.rows, f"{one.expires_at:%Y-%m-%d}")
    return parts, [found for found in results if isinstance(found, Exception)]


def _returned(
    settings: Settings, table: TieredTable, months: Sequence[Month], who: Request
) -> tuple[list[RestoredPart], list[Exception]]:
    """Bring the months back to warm; returns no copy, and the errors of those that stay where they are."""
    futures = [return_month_step.submit(settings, table, month, who) for month in months]
    results: list[ReturnedMonth | Exception] = [*map(result_or_error, futures)]
    made = [found for found in results if not isinstance(found, Exception)]
    rows = [
        {"table": one.relation, "rows": one.rows, "in work until": str(one.until), "was there": one.was_there}
        for one in made
    ]
    create_table_artifact(key="returned-months", table=rows, description="Archived months that are back in warm")
    for one in made:
        get_run_logger().info("%s: %d rows, in work until %s", one.relation, one.rows, one.until)
    return [], [found for found in results if isinstance(found, Exception)]
