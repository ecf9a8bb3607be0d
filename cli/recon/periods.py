"""`treasury recon close-period` and `periods`: close days for good, with two people."""

from datetime import datetime
from typing import Annotated

import typer

from cli import terminal
from cli.days import DAY
from cli.json_output import AsJson, record, write_json
from cli.names import OneSupplier, SupplierName
from cli.people import Actor, Reason, account_of_process
from cli.recon.options import Limit
from cli.session import session
from ledger.counts import counted
from tasks.reconciliation.closing import periods as closing
from tasks.reconciliation.closing.periods import PeriodRecord


def close_period(
    supplier: SupplierName,
    first: Annotated[datetime, typer.Argument(**DAY, help="First day")],
    last: Annotated[datetime, typer.Argument(**DAY, help="Last day, included")],
    reason: Reason,
    actor: Actor = None,
    carry: Annotated[bool, typer.Option(help="Carry undecided breaks into the next open day")] = False,
    reject: Annotated[bool, typer.Option(help="Withdraw the proposal instead")] = False,
    as_json: AsJson = False,
) -> None:
    """Propose to close a period, or confirm its closing.

    The first call proposes. The same call by a second person closes the period for good.

    Examples:
      treasury recon close-period flash 2026-11-01 2026-11-30 --reason "month end"
      treasury recon close-period flash 2026-11-01 2026-11-30 --reason "too early" --reject
    """
    account = account_of_process()
    who, days = actor or account, (first.date(), last.date())
    with session("s3") as settings:
        if reject:
            done = closing.reject_closing(settings, supplier, *days, who, reason, account=account)
        else:
            done = closing.close_period(settings, supplier, *days, who, reason, account=account, carry=carry)
    if as_json:
        write_json({"supplier": supplier, "first_day": days[0], "last_day": days[1], **record(done)})
        return
    if done.under_way:
        terminal.note(f"{done.under_way} internal rows of these days are unfinished; in closed days only vends can end")
    waits = counted(done.waiting, "break waits", "breaks wait")
    results = {
        closing.PeriodState.CLOSED: f"is closed; {counted(done.waiting, 'break')} carried over",
        closing.PeriodState.PROPOSED: f"is proposed for closing; {waits} (a second person confirms)",
        closing.PeriodState.REJECTED: "is no longer proposed for closing",
    }
    typer.echo(f"{supplier} {days[0]} to {days[1]} {results[done.state]}")
    if done.state is closing.PeriodState.PROPOSED:
        same = f"treasury recon close-period {supplier} {days[0]} {days[1]} --reason TEXT{' --carry' if carry else ''}"
        terminal.next_step(f"let a second person run `{same}`")


def periods(supplier: OneSupplier = None, limit: Limit = 50, as_json: AsJson = False) -> None:
    """List the closed periods and the proposed ones."""
    with session() as settings:
        records = closing.list_periods(settings, supplier, limit=limit)
    if as_json:
        write_json(records)
        return
    columns = (
        *("supplier", "first day", "last day", "state", "internal rows", "value", "digest"),
        *("proposed by", "decided by", "time (UTC)", "reason"),
    )
    terminal.table("Periods", columns, list(map(_period_cells, records)))


def _period_cells(period: PeriodRecord) -> tuple[str, ...]:
    days = (str(period.first_day), str(period.last_day))
    state = (
        f"{period.state}, {counted(period.days_changed, 'day')} changed since" if period.days_changed else period.state
    )
    money = ", ".join(f"{sums['value']} {currency}" for currency, sums in (period.own_sums or {}).items())
    own = ("" if period.own_rows is None else str(period.own_rows), money, (period.own_digest or "")[:8])
    people = (period.proposed_by or "", period.actor, f"{period.at:%Y-%m-%d %H:%M}", period.reason)
    return (period.supplier, *days, state, *own, *people)
