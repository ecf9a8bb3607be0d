"""Restoring: archived months as tables of a schema of their own, for some days."""

from datetime import timedelta

from prefect import flow, get_run_logger
from prefect.artifacts import create_table_artifact
from pydantic import BaseModel, ConfigDict, Field

from config import load_settings
from flows.futures import raise_together, result_or_error
from ledger.errors import ConfigError
from ledger.months import Month, months_between
from sql.restored import Request
from tasks.admin.setup import check_clock
from tasks.restoring.restore import RestoredPart, publish
from tasks.steps import restore_month_step

_MONTH = r"^[0-9]{4}-(0[1-9]|1[0-2])$"
MOST_DAYS = 366


class RestoreParameters(BaseModel):
    """The months to restore, for whom, why, and for how long."""

    model_config = ConfigDict(extra="forbid")

    table: str = Field("transactions", description="The table")
    first: str = Field(..., pattern=_MONTH, description="The first month, YYYY-MM")
    last: str | None = Field(None, pattern=_MONTH, description="The last month, included; empty: the first")
    ttl_days: int = Field(30, ge=1, le=MOST_DAYS, description="Days after which the copies are dropped")
    actor: str = Field(..., min_length=1, max_length=128, description="Who wants the copies; recorded")
    reason: str = Field(..., min_length=1, max_length=1000, description="Why; recorded")


@flow(name="restore-months")
def restore_months(parameters: RestoreParameters) -> list[RestoredPart]:
    """Copy archived months into the schema of restored months, each compared with the archive.

    A month that fails stops no other; the run fails at its end if one did. Safe to run again at any time: a copy that
    is there is kept for longer.
    """
    settings, logger = load_settings(), get_run_logger()
    check_clock(settings)
    table = settings.table(parameters.table)
    first, last = Month.parse(parameters.first), Month.parse(parameters.last or parameters.first)
    if last < first:
        raise ConfigError(f"last: {last} is before {first}")
    account = f"prefect: {parameters.actor}"
    who = Request(parameters.actor, account, parameters.reason, timedelta(days=parameters.ttl_days))
    futures = [restore_month_step.submit(settings, table, month, who) for month in months_between(first, last)]
    results: list[list[RestoredPart] | Exception] = [*map(result_or_error, futures)]
    parts = [part for found in results if not isinstance(found, Exception) for part in found]
    if said := publish(settings):
        logger.warning(said)
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
        logger.info("%s: %d rows, dropped on %s", one.relation, one.rows, f"{one.expires_at:%Y-%m-%d}")
    raise_together([found for found in results if isinstance(found, Exception)])
    return parts
