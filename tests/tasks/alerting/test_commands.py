"""`treasury alert`, as a user types it."""

import pytest
from rich.console import Console
from typer.testing import CliRunner

from cli import terminal
from cli.main import app
from config import Settings
from sql.connection import Connection
from tasks.alerting.store import Alert, Severity, list_alerts, raise_alert, resolve_alert


@pytest.fixture
def command(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    """Runs commands with this test's database."""
    for name, value in settings.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(terminal, "console", Console(width=250))
    return CliRunner()


def test_open_alerts_are_listed_and_acknowledged_once(command: CliRunner, connection: Connection) -> None:
    for subject in ("mine", "over"):
        raise_alert(connection, Alert("velocity", subject, Severity.WARNING, "41 rows [in] a minute", "Look", {}))
    resolve_alert(connection, "velocity", "over")
    listed = command.invoke(app, ["alert", "list"]).output
    assert "velocity (mine)" in listed
    assert "41 rows [in] a minute" in listed
    assert "over" not in listed
    assert "velocity (over)" in command.invoke(app, ["alert", "list", "--all"]).output
    [record] = list_alerts(connection, state="open")
    said = command.invoke(app, ["alert", "acknowledge", str(record.alert_id), "--as", "thandi"])
    assert said.output == f"alert {record.alert_id} is acknowledged by thandi\n"
    again = command.invoke(app, ["alert", "acknowledge", str(record.alert_id)])
    assert "not open, or was acknowledged before" in str(again.exception)
    assert list_alerts(connection, state="open")[0].acknowledged_by == "thandi"
