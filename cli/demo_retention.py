"""The end of a month's life in the demo: one month of ten years ago is deleted with its certificate, one is held."""

from datetime import date, timedelta

from cli import terminal
from config import Settings
from ledger.holds import HoldScope
from ledger.months import Month
from ledger.policy import Tier
from sql.connection import connect
from tasks.archiving.calendar import utc_today
from tasks.archiving.catalogue import month_states
from tasks.archiving.to_cold import archive_month
from tasks.archiving.to_warm import warm_month
from tasks.retention.approvals import approve, request_deletion
from tasks.retention.certificate_checks import verify_certificate
from tasks.retention.deletion import DeletionOutcome, delete_months
from tasks.retention.deletion_plan import plan_deletion
from tasks.retention.holds import holds, place_hold
from tasks.synthetic.generate import GenerateParameters, generate
from tasks.transparency.publish import publish_log

ROWS = 200
_REVIEW = timedelta(days=180)


def end_of_life(settings: Settings, seed: int) -> None:
    """Hold the younger of two months that are past their policy, and delete the other one. Safe to run again."""
    table = settings.table("transactions")
    held = Month.of(utc_today()).plus(-table.policy.retention_months - 1)
    _make(settings, held, seed)
    if not holds(settings):
        scope = HoldScope(held, held, table.name)
        reason = "order of the court"
        placed = place_hold(settings, scope, "CASE 2026/17", reason, "legal counsel", utc_today() + _REVIEW)
        terminal.console.print(f"{placed.hold.name} keeps {placed.hold.scope}")
    plan = plan_deletion(settings, [table])
    for month in plan.kept:
        terminal.console.print(f"kept: {month.table} {month.month}, {month.reason}")
    if not plan.months:
        terminal.console.print("the other month was deleted by an earlier demo")
        return
    for outcome in _delete(settings):
        for line in verify_certificate(settings, outcome.certificate):
            terminal.console.print(line, markup=False, soft_wrap=True)
        page = f"treasury certificate show {outcome.certificate} -o certificate.html"
        terminal.console.print(f"as a page for people: {page}", markup=False, soft_wrap=True)


def _make(settings: Settings, last: Month, seed: int) -> None:
    """Two archived months, published."""
    table, until = settings.table("transactions"), last.upper
    day = date(until.year, until.month, 1)
    generate(settings, GenerateParameters(months=2, rows_per_month=ROWS, until=day, seed=seed), lambda *_: None)
    for month in (last.plus(-1), last):
        warm_month(settings, table, month)
        with connect(settings.database_dsn, "demo") as connection:
            tiers = {state.tier for state in month_states(connection, table) if state.month == month}
        if Tier.WARM in tiers:
            archive_month(settings, table, month)
    publish_log(settings)


def _delete(settings: Settings) -> list[DeletionOutcome]:
    """Request, approve by two people, and delete: without the grace period, which nobody waits for in a demo."""
    rules = settings.retention.model_copy(update={"grace_days": 0})
    quick = settings.model_copy(update={"retention": rules})
    request = request_deletion(quick, [quick.table("transactions")], "data engineer", "past the policy")
    for name in ("head of finance", "data protection officer"):
        approve(quick, request.request_id, name, "looked at the plan")
    return delete_months(quick, request.request_id)
