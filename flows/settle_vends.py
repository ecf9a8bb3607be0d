"""The sweep: what became of purchases that stayed open, by each supplier's own status rule. Never a second purchase."""

from prefect import flow
from prefect.artifacts import create_table_artifact

from config import load_settings
from flows.console import explained, finished
from flows.schedule import HOOKS
from tasks.steps import settle_vends_step
from tasks.vending.purchase import SettleReport


@flow(name="settle-vends", **HOOKS)
@explained("settle-vends")
def settle_vends() -> SettleReport:
    """Settle every vend that has been open for longer than ``settle_after_s``. Safe to run again at any time."""
    report = settle_vends_step(load_settings())
    rows = [{"row": str(row_id), "supplier": supplier, "why": why} for row_id, supplier, why in report.still_open]
    create_table_artifact(key="open-vends", table=rows, description="Vends whose outcome is still not known")
    if not (report.completed or report.failed or report.open):
        return finished(report, "vends: nothing to settle")
    return finished(report, f"vends: {report.completed} completed, {report.failed} failed, {report.open} still open")
