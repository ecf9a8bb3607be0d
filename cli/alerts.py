"""`treasury alert`: list open alerts, acknowledge or resolve one, and test where notices go."""

import getpass
from datetime import UTC, datetime
from typing import Annotated

import typer

from cli import terminal
from cli.json_output import AsJson, record, write_json
from cli.people import Reason
from cli.session import session
from config import load_settings
from ledger.errors import NotFoundError, TransientError
from sql.connection import connect
from tasks.alerting import store as alerts
from tasks.alerting.delivery import require_targets, send_test
from tasks.alerting.runbooks import runbook

AlertId = Annotated[int, typer.Argument(min=1, help="Number of the alert, as `treasury alert list` shows it")]
Everything = Annotated[bool, typer.Option("--all", help="Include resolved alerts, up to the newest hundred")]
Who = Annotated[
    str | None, typer.Option("--as", help="Person in charge of the alert  [default: the account that runs the command]")
]


def list_(everything: Everything = False, as_json: AsJson = False) -> None:
    """List the open alerts: critical ones before warnings, newest first."""
    with session() as settings, connect(settings.database_dsn, "alerts") as connection:
        records = alerts.list_alerts(connection) if everything else alerts.open_alerts(connection)
    if as_json:
        write_json([record(alert, "notice_error", runbook=runbook(settings, alert.rule)) for alert in records])
        return
    rows = [
        (
            str(alert.alert_id),
            str(alert.severity) if alert.state == "open" else alert.state,
            f"{alert.rule} ({alert.subject}): {alert.title}",
            f"{alert.count} since {alert.first_seen:%Y-%m-%d %H:%M}",
            f"resolved by {alert.closed_by}: {alert.close_reason}" if alert.closed_by else alert.acknowledged_by or "",
            f"{alert.what_to_do} Runbook: {runbook(settings, alert.rule)}",
        )
        for alert in records
    ]
    unseen = [alert.alert_id for alert in records if alert.state == "open" and alert.acknowledged_by is None]
    terminal.table("Alerts", ("alert", "state", "finding", "seen", "acknowledged by", "action"), rows)
    if unseen:
        terminal.next_step(f"take charge of one with `treasury alert acknowledge {unseen[0]}`")


def acknowledge(alert_id: AlertId, who: Who = None, as_json: AsJson = False) -> None:
    """Acknowledge an alert, which stops its repeated notices.

    Examples:
      treasury alert acknowledge 12 --as thandi
    """
    name = who or getpass.getuser()
    with session() as settings, connect(settings.database_dsn, "alerts") as connection:
        acknowledged = alerts.acknowledge(connection, alert_id, name)
    if not acknowledged:
        raise NotFoundError(f"alert {alert_id} is not open, or was acknowledged before")
    if as_json:
        write_json({"alert_id": alert_id, "acknowledged_by": name})
        return
    typer.echo(f"alert {alert_id} is acknowledged by {name}")
    terminal.next_step(
        f"remove the cause; where nothing else ends the alert, run `treasury alert resolve {alert_id} --reason TEXT`"
    )


def resolve(alert_id: AlertId, reason: Reason, who: Who = None, as_json: AsJson = False) -> None:
    """Resolve an alert whose end nothing else shows.

    Most alerts end by themselves. If the cause lasts, its next occurrence opens a new alert.

    Examples:
      treasury alert resolve 12 --reason "the supplier paid back"
    """
    name = who or getpass.getuser()
    with session() as settings, connect(settings.database_dsn, "alerts") as connection:
        resolved = alerts.close_alert(connection, alert_id, name, reason)
    if not resolved:
        raise NotFoundError(f"alert {alert_id} is not open")
    if as_json:
        write_json({"alert_id": alert_id, "state": "resolved", "closed_by": name})
    else:
        typer.echo(f"alert {alert_id} is resolved by {name}")


def test(as_json: AsJson = False) -> None:  # noqa: PT028  # a command, no test of pytest's
    """Send a test notice to each target, and report the results.

    Exits with 75 if a target did not take it, with 78 if no target is set or one is not a target.
    """
    settings = load_settings()
    require_targets(settings)
    with terminal.working("sending"):
        results = send_test(settings, datetime.now(UTC))
    rows = [(place, error.removeprefix(f"{place}: ") or "sent") for place, error in results]
    if as_json:
        write_json([{"target": place, "result": result} for place, result in rows])
    else:
        terminal.table("Test notices", ("target", "result"), rows)
    failed = [place for place, error in results if error]
    if failed:
        raise TransientError(f"TREASURY_ALERT_URLS {', '.join(failed)}: did not take the test notice")
