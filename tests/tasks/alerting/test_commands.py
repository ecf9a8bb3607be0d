"""`treasury alert`, as a user types it."""

import json
from decimal import Decimal

import pytest
from rich.console import Console
from typer.testing import CliRunner

from cli import terminal
from cli.main import app
from config import Settings
from ledger.errors import ConfigError, TransientError
from sql.connection import Connection
from tasks.alerting.notices import send_notices
from tasks.alerting.store import Alert, Severity, list_alerts, raise_alert, resolve_alert
from tasks.health import CHECKS, HealthState, run_checks
from tests.tasks.alerting.receiver import receiving, telling


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
    assert said.stdout == f"alert {record.alert_id} is acknowledged by thandi\n"
    again = command.invoke(app, ["alert", "acknowledge", str(record.alert_id)])
    assert "not open, or was acknowledged before" in str(again.exception)
    assert list_alerts(connection, state="open")[0].acknowledged_by == "thandi"
    resolve = ["alert", "resolve", str(record.alert_id), "--reason", "the supplier paid back", "--as", "sipho"]
    assert command.invoke(app, resolve).output == f"alert {record.alert_id} is resolved by sipho\n"
    assert "is not open" in str(command.invoke(app, resolve).exception)
    assert list_alerts(connection, state="open") == []
    assert "resolved by sipho: the supplier paid back" in command.invoke(app, ["alert", "list", "--all"]).output
    raise_alert(connection, Alert("velocity", "mine", Severity.WARNING, "again", "Look", {}))
    assert [one.title for one in list_alerts(connection, state="open")] == ["again"]


def test_a_critical_alert_is_listed_first_however_many_warnings_are_newer(
    command: CliRunner, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.alerting.store.PAGE_LIMIT", 2)
    raise_alert(connection, Alert("disk", "the oldest", Severity.CRITICAL, "full", "Look", {}))
    for number in range(4):
        raise_alert(connection, Alert("velocity", f"w-{number}", Severity.WARNING, "41 rows", "Look", {}))
    listed = json.loads(command.invoke(app, ["alert", "list", "--json"]).stdout)
    assert [one["subject"] for one in listed] == ["the oldest", "w-3", "w-2", "w-1", "w-0"]


def test_a_test_notice_shows_the_result_of_each_target(command: CliRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    with receiving() as receiver, receiving() as broken:
        broken.status = 500
        urls = {"critical": [receiver.url, broken.url], "warning": [receiver.url]}
        monkeypatch.setenv("TREASURY_ALERT_URLS", json.dumps(urls))
        result = command.invoke(app, ["alert", "test"])
        assert [line.split("│")[1:3] for line in result.output.splitlines() if "│" in line] == [
            [" warning[0]  ", " sent          "],
            [" critical[0] ", " sent          "],
            [" critical[1] ", " was not taken "],
        ]
        assert isinstance(result.exception, TransientError)
        assert "TREASURY_ALERT_URLS critical[1]: did not take the test notice" in str(result.exception)
        assert len(receiver.notices) == 2


@pytest.mark.parametrize("command_name", [("alert", "test"), ("up",)])
def test_a_mistyped_target_is_refused_before_anything_starts(
    command: CliRunner, monkeypatch: pytest.MonkeyPatch, command_name: tuple[str, ...]
) -> None:
    monkeypatch.setenv("TREASURY_ALERT_URLS", json.dumps({"warning": ["slak://a-secret-token"]}))
    result = command.invoke(app, command_name)
    assert isinstance(result.exception, ConfigError)
    assert "TREASURY_ALERT_URLS warning[0]: slak:// is not a service" in str(result.exception)
    assert "a-secret-token" not in result.output + str(result.exception)


def test_health_reports_targets_that_are_none_or_take_nothing(settings: Settings, connection: Connection) -> None:
    check = [one for one in CHECKS if one.name == "notices"]
    assert run_checks(settings, check)[0].state is HealthState.HEALTHY
    [result] = run_checks(telling(settings, ("nonsense",)), check)
    assert (result.state, "critical[0]" in result.line) == (HealthState.CRITICAL, True)
    with receiving() as broken:
        broken.status = 500
        told = telling(settings, (broken.url,))
        raise_alert(connection, Alert("health_redis", "system", Severity.CRITICAL, "away", "Start it", {}))
        send_notices(told)
        [result] = run_checks(told, check)
        assert (result.state, result.value) == (HealthState.WARNING, Decimal(1))
        assert "critical[0]: was not taken" in result.line
