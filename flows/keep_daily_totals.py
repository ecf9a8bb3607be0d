"""Every night: the daily totals of months that have ended, kept where they are not, or do not hold any more."""

from collections import Counter

from prefect import flow, get_run_logger
from prefect.artifacts import create_table_artifact

from config import load_settings
from flows.console import explained, finished
from flows.futures import raise_together
from flows.schedule import HOOKS
from tasks.steps import keep_daily_totals_step
from tasks.totals.keeping import TotalsOutcome, TotalsResult


@flow(name="keep-daily-totals", **HOOKS)
@explained("keep-daily-totals")
def keep_daily_totals() -> list[TotalsOutcome]:
    """Keep the totals of each month that has ended, of every table. Safe to run again at any time.

    A month that fails stops no other; the run fails at its end if one did. Until it is kept, its rows are read.
    """
    logger = get_run_logger()
    outcomes = keep_daily_totals_step(load_settings())
    changed = [outcome for outcome in outcomes if outcome.result is not TotalsResult.HELD]
    rows = [
        {
            "table": outcome.table,
            "month": str(outcome.month or ""),
            "place": outcome.place,
            "result": outcome.result,
            "rows": outcome.rows,
            "reason": str(outcome.error or ""),
        }
        for outcome in changed
    ]
    create_table_artifact(key="daily-totals", table=rows, description="Daily totals that were computed")
    counts = Counter(outcome.result for outcome in outcomes)
    line = f"daily totals: {', '.join(f'{counts[result]} {result}' for result in TotalsResult)}"
    logger.info(line)
    raise_together([outcome.error for outcome in outcomes if outcome.error is not None])
    return finished(
        outcomes, line if changed else f"daily totals: nothing to compute, {counts[TotalsResult.HELD]} held"
    )
