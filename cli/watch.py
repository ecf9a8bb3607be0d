"""`treasury watch run`: evaluate the rules over transactions now."""

from cli import terminal
from cli.json_output import AsJson, write_json
from cli.session import session
from tasks.alerting.notices import send_notices
from tasks.watch import TableReport, WatchReport, watch_transactions


def run(as_json: AsJson = False) -> None:
    """Evaluate the new transactions and raise alerts. Safe to run again."""
    with session() as settings:
        with terminal.working("evaluating the rules"):
            report = watch_transactions(settings)
        if as_json:
            write_json(report)
        if report.busy:
            terminal.note("another run of the watch is in progress")
            return
        if not as_json:
            _show(report)
        for error in send_notices(settings).errors:
            terminal.note(error)


def _show(report: WatchReport) -> None:
    columns = ("table", "slices", "rows", "findings", "alerts", "complete until", "behind")
    terminal.table("Watch", columns, [_cells(swept) for swept in report.tables])


def _cells(swept: TableReport) -> tuple[str, ...]:
    counts = (swept.slices, swept.rows, swept.findings, swept.alerts)
    return (
        swept.table,
        *map(str, counts),
        swept.settled_until.isoformat(timespec="seconds"),
        f"{swept.behind_s:.0f} s",
    )
