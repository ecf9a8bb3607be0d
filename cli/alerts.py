"""alert list, alert acknowledge: what somebody must look at, and who is at it."""

import getpass
from typing import Annotated

import typer

from cli import terminal
from cli.session import session
from ledger.errors import NotFoundError

AlertId = Annotated[int, typer.Argument(min=1, help="The alert's number, as `alert list` shows it")]
Everything = Annotated[bool, typer.Option("--all", help="Also what is resolved, the newest hundred")]
Who = Annotated[str | None, typer.Option("--as", help="Who is at it; default: the account that runs the command")]

alerts = typer.Typer(help="Alerts: list, acknowledge.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the commands to the application."""
    app.add_typer(alerts, name="alert")


@alerts.command("list")
def list_(everything: Everything = False) -> None:
    """Show the alerts that are open, the newest first."""
    from sql.connection import connect  # noqa: PLC0415  # the command line must answer --help at once
    from tasks.alerts import list_alerts  # noqa: PLC0415

    with session() as settings, connect(settings.database_dsn, "alerts") as connection:
        found = list_alerts(connection, state=None if everything else "open")
    rows = [
        (
            str(one.alert_id),
            str(one.severity) if one.state == "open" else one.state,
            f"{one.rule} ({one.subject}): {one.title}",
            f"{one.count} since {one.first_seen:%Y-%m-%d %H:%M}",
            one.acknowledged_by or "",
            one.what_to_do,
        )
        for one in found
    ]
    terminal.table("Alerts", ("alert", "is", "what is", "seen", "taken by", "what to do"), rows)


@alerts.command()
def acknowledge(alert_id: AlertId, who: Who = None) -> None:
    """Say that somebody is at it: its notice is not repeated any more."""
    from sql.connection import connect  # noqa: PLC0415
    from tasks import alerts as store  # noqa: PLC0415

    name = who or getpass.getuser()
    with session() as settings, connect(settings.database_dsn, "alerts") as connection:
        done = store.acknowledge(connection, alert_id, name)
    if not done:
        raise NotFoundError(f"alert {alert_id} is not open, or was acknowledged before")
    typer.echo(f"{name} is at alert {alert_id}")
