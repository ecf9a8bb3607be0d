"""The flow that checks the health, through a real Prefect server: what it stores, shows and tells, and how it ends."""

import json
import socket
from datetime import UTC, datetime
from typing import Any

import pytest
from prefect.client.schemas.objects import State

from flows.check_health import check_health
from flows.run_archiving_operations import run_archiving_operations
from ledger.errors import DataError, TransientError
from sql.connection import connect
from tasks.alerting.store import list_alerts
from tasks.health import CHECKS, HealthState, run_checks
from tests.flows.test_flows import artifacts
from tests.tasks.alerting.receiver import receiving
from tests.tasks.archiving.ledger import COLD, TODAY, Ledger


def run() -> State[Any]:
    return check_health(return_state=True)


def test_a_run_stores_what_it_found_shows_it_and_raises_alerts(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    with receiving() as receiver:
        monkeypatch.setenv("TREASURY_ALERT_URLS__CRITICAL", json.dumps([receiver.url]))
        state = run()
    assert state.is_completed()
    assert state.message is not None
    assert state.message.startswith("health: critical: ")
    assert state.state_details.flow_run_id is not None
    rows = json.loads(artifacts(state.state_details.flow_run_id)["health"])
    assert [row["check"] for row in rows] == [check.name for check in CHECKS]
    redis = next(row for row in rows if row["check"] == "redis")
    assert (redis["state"], redis["what is"]) == (
        "critical",
        "TREASURY_REDIS_URL is not set and no embedded Redis runs",
    )
    with connect(ledger.settings.database_dsn, "tests") as connection:
        assert connection.execute("SELECT count(*) FROM health_results").fetchone() == (len(CHECKS),)
        assert "health_redis" in {alert.rule for alert in list_alerts(connection, state="open")}
    assert len(receiver.notices) == 1
    assert "health_redis" in receiver.notices[0]["message"]


def test_a_run_that_cannot_store_fails_after_it_has_told(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        monkeypatch.setenv("TREASURY_DATABASE_URL", f"postgresql://x:x@127.0.0.1:{probe.getsockname()[1]}/x")
    with receiving() as receiver:
        monkeypatch.setenv("TREASURY_ALERT_URLS__CRITICAL", json.dumps([receiver.url]))
        state = run()
    assert state.is_failed()
    with pytest.raises(TransientError, match="could not be stored"):
        state.result()
    assert "health_postgres" in receiver.notices[0]["message"]


@pytest.mark.slow
def test_a_night_that_ended_well_is_known_to_the_checks(ledger: Ledger) -> None:
    run_archiving_operations(as_of=TODAY, plan_only=True)
    assert "never ran" in last_archive(ledger)
    run_archiving_operations(as_of=TODAY)
    assert last_archive(ledger) == "the night's work last ended well 0 hours ago"


def last_archive(ledger: Ledger) -> str:
    checks = [check for check in CHECKS if check.name == "last_archive"]
    [result] = run_checks(ledger.settings, checks, datetime.now(UTC))
    assert result.state is HealthState.HEALTHY
    return result.line


@pytest.mark.slow
def test_a_night_that_failed_is_known_too(ledger: Ledger) -> None:
    ledger.fill(COLD, description="a unit separator \x1f in a text")
    with pytest.raises(DataError, match="the archive cannot keep"):
        run_archiving_operations(as_of=TODAY)
    assert "its last run failed: " in last_archive(ledger)
