"""`treasury watch run`: evaluate the rules over transactions now."""

from cli import terminal
from cli.session import session
from tasks.alerting.notices import send_notices
from tasks.watch import TableReport, watch_transactions


def run() -> None:
    """Evaluate the new transactions and raise alerts. Safe to run again."""
    with session() as settings:
        with terminal.working("evaluating the rules"):
            report = watch_transactions(settings)
        if report.busy:
            terminal.note("another run of the watch is in progress")
            return
        columns = ("table", "slices", "rows", "findings", "alerts", "complete until", "behind")
        terminal.table("Watch", columns, [_cells(swept) for swept in report.tables])
        for error in send_notices(settings).errors:
            terminal.note(error)


def _cells(swept: TableReport) -> tuple[str, ...]:
    counts = (swept.slices, swept.rows, swept.findings, swept.alerts)
    return (
        swept.table,
        *map(str, counts),
        swept.settled_until.isoformat(timespec="seconds"),
        f"{swept.behind_s:.0f} s",
    )
