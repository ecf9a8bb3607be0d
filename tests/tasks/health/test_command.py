"""`treasury health`, as a user types it: with everything up, with everything down, with servers that say nothing."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydantic import SecretStr
from typer.testing import CliRunner

from cli.main import app
from config import Settings
from config.health import HealthSettings
from sql.connection import Connection, connect
from tasks.health import CHECKS, CheckResult, run_checks
from tasks.health.record import RUN_S, record
from tests.tasks.alerting.receiver import telling
from tests.tasks.archiving.ledger import PROJECT
from tests.tasks.health.conftest import NO_SCHEDULES, at_port


def treasury(settings: Settings, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "cli.main", *arguments],
        env=dict(os.environ) | settings.environment(),
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.heavy("test_record.py tests the states")
def test_the_exit_code_is_the_worst_state_and_each_check_is_in_the_json(system: Settings, closed_port: int) -> None:
    changes = {
        "health": HealthSettings(disk_warning_percent=1, disk_critical_percent=1, schedules_off=NO_SCHEDULES),
        "redis_url": SecretStr(f"redis://127.0.0.1:{closed_port}/0"),
    }
    answer = treasury(system.model_copy(update=changes), "health", "--json")
    report = json.loads(answer.stdout)
    assert [check["name"] for check in report["checks"]] == [check.name for check in CHECKS]
    assert report["state"] == "critical"
    assert answer.returncode == 2
    # Another test may have a worker of its own at the same Prefect just now.
    unhealthy = {check["name"] for check in report["checks"] if check["state"] != "healthy"}
    assert unhealthy - {"prefect_workers"} == {"redis"}
    assert sum(check["took_ms"] for check in report["checks"]) > 0


def test_a_warning_alone_ends_with_one(ledger: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    def only_connections(settings: Settings, now: datetime) -> list[CheckResult]:
        return run_checks(settings, [check for check in CHECKS if check.name == "connections"], now)

    for name, value in ledger.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("TREASURY_HEALTH__CONNECTIONS_WARNING_PERCENT", "1")
    monkeypatch.setattr("cli.health.run_checks", only_connections)
    with connect(ledger.database_dsn, "tests"):  # 2 of 197 are 1 %, whatever else is open
        answer = CliRunner().invoke(app, ["health"])
    assert answer.exit_code == 1, answer.output
    assert "warning" in answer.output
    assert "next: follow docs/runbooks.md#health_connections\n" in answer.output


def test_a_home_whose_servers_are_stopped_is_led_to_their_start(tmp_path: Path) -> None:
    data = tmp_path / "home" / "postgres" / "18"  # by what a home with a database is known
    data.mkdir(parents=True)
    (data / "PG_VERSION").write_text("18\n")
    environment = {"PATH": os.environ["PATH"], "TREASURY_HOME": str(tmp_path / "home"), "PYTHONPATH": str(PROJECT)}
    answer = subprocess.run(
        [sys.executable, "-m", "cli.main", "health"], capture_output=True, text=True, check=False, env=environment
    )
    assert answer.returncode == 2, answer.stderr
    assert answer.stderr == "next: start the servers with `treasury up`\n"


@pytest.mark.heavy("a run of the flow stores its results and raises alerts")
def test_recording_stores_the_results_and_opens_the_alerts(ledger: Settings, connection: Connection) -> None:
    answer = treasury(ledger, "health", "--record")
    assert answer.returncode == 2
    assert "Start Redis" in answer.stdout
    assert connection.execute("SELECT count(*) FROM health_results").fetchone() == (len(CHECKS),)
    rules = {row[0] for row in connection.execute("SELECT rule FROM alerts WHERE state = 'open'").fetchall()}
    assert {"health_redis", "health_prefect"} <= rules


def test_with_everything_down_it_still_answers(ledger: Settings, closed_port: int) -> None:
    answer = treasury(at_port(ledger, closed_port), "health", "--json", "--record")
    assert answer.returncode == 2
    report = {check["name"]: check for check in json.loads(answer.stdout)["checks"]}
    away = {"postgres", "redis", "object_store", "prefect", "prefect_workers"}
    assert all(report[name]["state"] == "critical" and not report[name]["caused_by"] for name in away)
    assert report["locks"]["caused_by"] == "postgres"
    assert "not stored: PostgreSQL" in answer.stderr


@pytest.mark.slow
def test_a_recorded_run_ends_in_time_when_no_server_and_no_target_of_notices_ever_answers(
    ledger: Settings, silent_port: int, record_property: Callable[[str, object], None]
) -> None:
    """All that a run waits for is under its deadlines; how long the program takes to load is measured by the bench."""
    url = f"json://127.0.0.1:{silent_port}/?rto=60"
    silent = telling(at_port(ledger, silent_port), (url,), (url,)).model_copy(update={"notice_timeout_s": 60.0})
    begun_s = time.monotonic()
    recorded = record(silent, run_checks(silent), datetime.now(UTC), RUN_S - (time.monotonic() - begun_s))
    took_s = time.monotonic() - begun_s
    record_property("health --record, all silent", f"{took_s:.1f} s, at most 15 s")
    assert (recorded.sent.delivered, recorded.sent.failed > 0) == (0, True)
    assert took_s < 15


@pytest.mark.heavy("everything down is tested beside it")
def test_servers_that_take_the_connection_and_say_nothing_do_not_hang_it(ledger: Settings, silent_port: int) -> None:
    """That it takes less than 15 s is measured by `python -m bench health`; here it need only end."""
    silent = at_port(ledger, silent_port).model_copy(update={"health": HealthSettings(check_timeout_s=4)})
    answer = treasury(silent, "health", "--json")
    assert answer.returncode == 2
    report = {check["name"]: check for check in json.loads(answer.stdout)["checks"]}
    assert {name for name, check in report.items() if check["state"] == "healthy"} <= {"disk", "processes", "notices"}
    assert {check["line"] for check in report.values()} & {"no answer within 4 s"}
