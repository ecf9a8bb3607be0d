"""Every minute: rules over the transactions that are new. What they find becomes alerts; nothing is blocked."""

from prefect import flow, get_run_logger

from config import load_settings
from flows.console import explained, finished
from flows.schedule import HOOKS
from ledger.counts import counted
from ledger.errors import ConflictError
from tasks.steps import send_notices_step, watch_transactions_step
from tasks.watch import WatchReport

_TIMEOUT_S = 300


@flow(name="watch-transactions", timeout_seconds=_TIMEOUT_S, **HOOKS)
@explained("watch-transactions")
def watch_transactions() -> WatchReport:
    """Evaluate what is new and raise alerts for the findings. Safe to run again at any time. Raises ConflictError while
    another run is in progress: one that hangs must not look like success.
    """
    settings = load_settings()
    report = watch_transactions_step(settings)
    if report.busy:
        raise ConflictError("watch: nothing was evaluated, another run of the watch is in progress")
    logger = get_run_logger()
    for table in report.tables:
        logger.info("%s: %d rows in %d slices, %d findings", table.table, table.rows, table.slices, table.findings)
        if table.behind_s:
            logger.warning("%s: %.0f s of rows are left to the next run", table.table, table.behind_s)
    for error in send_notices_step(settings).errors:
        logger.warning("a notice was not taken and will be tried again: %s", error)
    rows, findings = sum(table.rows for table in report.tables), sum(table.findings for table in report.tables)
    return finished(
        report, f"watch: {counted(rows, 'row')}, {counted(findings, 'finding')}" if rows else "watch: no new rows"
    )
