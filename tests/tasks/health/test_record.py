"""What becomes of a run of the checks: stored, raised, told; and while PostgreSQL is away, told all the same."""

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from config import Settings
from config.health import HealthSettings
from sql.connection import Connection
from tasks.admin.housekeeping import purge_health_results
from tasks.alerting.rules import rules
from tasks.alerting.store import list_alerts
from tasks.health import CHECKS, CheckResult, HealthState, run_checks
from tasks.health.outage import notify
from tasks.health.record import alerts_of, record
from tests.dropping import dropping
from tests.tasks.alerting.receiver import Receiver, receiving, telling
from tests.tasks.health.conftest import at_port

NOW = datetime.now(UTC).replace(microsecond=0)
WELL = CheckResult("redis", HealthState.HEALTHY, Decimal(3), Decimal(250), "ms", "Redis answered", "", 3)
ILL = replace(WELL, state=HealthState.CRITICAL, value=None, line="Redis: ConnectionError", to_do="Start Redis.")
DOWN = replace(ILL, name="postgres", line="PostgreSQL: connection refused", to_do="Start PostgreSQL.")
BLOCKED = replace(DOWN, name="locks", caused_by="postgres")


def later(minutes: int) -> datetime:
    return NOW + timedelta(minutes=minutes)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A target of notices."""
    with receiving() as receiver:
        yield receiver


@pytest.fixture
def told(settings: Settings, receiver: Receiver) -> Settings:
    """Settings by which the receiver is told of everything."""
    return telling(settings, (receiver.url,), (receiver.url,))


@pytest.fixture
def away(told: Settings, closed_port: int) -> Settings:
    """The same while PostgreSQL is away."""
    return told.model_copy(update={"database_url": at_port(told, closed_port).database_url})


def test_a_run_is_stored_and_its_trouble_raised_told_and_resolved(
    told: Settings, receiver: Receiver, connection: Connection
) -> None:
    first = record(told, [ILL], NOW)
    assert (first.opened, first.resolved, first.sent.delivered, first.not_stored) == (1, 0, 1, "")
    record(told, [ILL], later(5))
    last = record(told, [WELL], later(10))
    assert (last.opened, last.resolved, last.sent.delivered) == (0, 1, 1)
    assert receiver.titles == [
        "treasury: critical: Redis: ConnectionError",
        "treasury: resolved: Redis: ConnectionError",
    ]
    [alert] = list_alerts(connection)
    assert (alert.rule, alert.count, alert.state) == ("health_redis", 2, "resolved")
    rows = connection.execute("SELECT state, value, threshold FROM health_results ORDER BY checked_at").fetchall()
    assert rows == [("critical", None, 250), ("critical", None, 250), ("healthy", 3, 250)]


def test_a_run_that_is_recorded_twice_counts_once(told: Settings, connection: Connection) -> None:
    for _ in range(2):
        record(told, [ILL], NOW)
    assert connection.execute("SELECT count(*) FROM health_results").fetchone() == (1,)
    assert [alert.count for alert in list_alerts(connection)] == [1]


def test_what_only_another_check_is_the_reason_of_raises_no_alert(told: Settings) -> None:
    assert [alert.rule for alert in alerts_of([DOWN, BLOCKED])] == ["health_postgres"]


def test_while_postgresql_is_away_people_are_told_once_and_again_by_the_schedule(
    away: Settings, receiver: Receiver
) -> None:
    runs = [record(away, [DOWN, BLOCKED], later(minute)) for minute in range(0, 66, 5)]
    assert {run.not_stored for run in runs} == {DOWN.line}
    assert [run.sent.delivered for run in runs] == [1] + [0] * 11 + [1, 0]
    assert receiver.titles == ["treasury: critical: PostgreSQL: connection refused"] * 2
    assert receiver.notices[0]["message"].startswith("[opened]")
    assert receiver.notices[1]["message"].startswith("[still open]")


def test_what_is_over_before_postgresql_is_back_is_told_as_over_once(
    told: Settings, away: Settings, receiver: Receiver, connection: Connection
) -> None:
    record(away, [DOWN, ILL], NOW)
    record(away, [DOWN, WELL], later(5))
    record(away, [DOWN, WELL], later(10))
    assert receiver.titles == ["treasury: 2 notices, critical", "treasury: resolved: Redis: ConnectionError"]
    record(told, [replace(WELL, name="postgres"), WELL], later(15))
    assert receiver.titles[2:] == ["treasury: resolved: PostgreSQL: connection refused"]
    assert {(alert.rule, alert.resolved_at) for alert in list_alerts(connection)} == {
        ("health_redis", later(5)),
        ("health_postgres", later(15)),
    }


def test_a_notice_that_was_not_taken_while_postgresql_is_away_is_tried_again(
    away: Settings, receiver: Receiver
) -> None:
    receiver.status = 500
    assert record(away, [DOWN], NOW).sent.failed == 1
    receiver.status = 200
    assert record(away, [DOWN], later(5)).sent.delivered == 1
    assert record(away, [DOWN], later(10)).sent.delivered == 0


def test_when_postgresql_is_back_the_outage_is_stored_and_its_end_told(
    told: Settings, away: Settings, receiver: Receiver, connection: Connection
) -> None:
    record(away, [DOWN, ILL], NOW)
    record(away, [DOWN, ILL], later(5))
    back = record(told, [replace(WELL, name="postgres"), ILL], later(10))
    assert (back.opened, back.resolved, back.not_stored) == (0, 1, "")
    redis, postgres = sorted(list_alerts(connection), key=lambda alert: alert.rule, reverse=True)
    assert (postgres.state, postgres.first_seen, postgres.resolved_at) == ("resolved", NOW, later(10))
    assert (redis.state, redis.first_seen, redis.last_seen, redis.count) == ("open", NOW, later(10), 3)
    # Redis was told when PostgreSQL was away: it is not told a second time before its schedule says so.
    assert receiver.titles == ["treasury: 2 notices, critical", "treasury: resolved: PostgreSQL: connection refused"]
    assert record(told, [replace(WELL, name="postgres"), ILL], later(60)).sent.delivered == 1
    assert not (told.home / "health" / "outage.json").exists()


def test_a_memory_of_an_outage_that_cannot_be_read_keeps_nobody_from_being_told(
    away: Settings, receiver: Receiver
) -> None:
    file = away.home / "health" / "outage.json"
    file.parent.mkdir(parents=True)
    file.write_text("[{")
    assert notify(away, alerts_of([DOWN]), NOW).delivered == 1
    assert file.with_suffix(".unreadable").read_text() == "[{"


def test_a_postgresql_that_never_answers_does_not_keep_anybody_from_being_told(
    told: Settings, receiver: Receiver, silent_port: int
) -> None:
    changes = {"database_url": at_port(told, silent_port).database_url, "health": HealthSettings(check_timeout_s=4)}
    silent = told.model_copy(update=changes)
    results = run_checks(silent, [check for check in CHECKS if check.asks_postgres or check.name == "postgres"])
    assert {result.name: result.caused_by for result in results if not result.caused_by} == {"postgres": ""}
    assert record(silent, results, NOW).sent.delivered == 1
    assert receiver.titles == ["treasury: critical: PostgreSQL: connection timeout expired"]


def test_a_postgresql_that_stops_answering_while_it_is_stored_does_not_either(
    told: Settings, receiver: Receiver, silent_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tasks.health.record._STORE_DEADLINE_S", 1.0)
    silent = told.model_copy(update={"database_url": at_port(told, silent_port).database_url})
    recorded = record(silent, [ILL], NOW)
    assert recorded.not_stored == "no answer within 1 s"
    assert recorded.sent.delivered == 1


def test_a_target_that_never_answers_has_only_what_is_left_of_the_run(settings: Settings, silent_port: int) -> None:
    for results in ([ILL], [DOWN]):  # stored first, or told from the file because PostgreSQL was away
        urls = (f"json://127.0.0.1:{silent_port}/{results[0].name}?rto=60",)
        patient = telling(settings, urls, urls).model_copy(update={"notice_timeout_s": 60.0})
        sent = record(patient, results, NOW, left_s=0.5).sent
        assert (sent.failed, sent.errors) == (1, ("critical[0]: no answer within 1 s",))


def test_results_past_their_time_are_deleted(told: Settings, connection: Connection) -> None:
    for days in (0, 29, 31):
        record(told, [WELL], NOW - timedelta(days=days))
    assert purge_health_results(told) == 1
    assert connection.execute("SELECT count(*) FROM health_results").fetchone() == (2,)


def test_every_check_is_a_rule_with_its_threshold(settings: Settings) -> None:
    found = {rule.name: rule for rule in rules(settings)}
    assert {f"health_{check.name}" for check in CHECKS} <= set(found)
    assert found["health_connections"].threshold == "warning >= 75 %, critical >= 90 %"
    assert found["health_disk"].threshold == "warning <= 15 %, critical <= 5 %"
    assert found["health_database_size"].threshold == "critical when not measured within 8 s"
    assert "in bytes" in found["health_database_size"].description
    health = [rule for name, rule in found.items() if name.startswith("health_")]
    assert all(re.search(r"\d+ \S", rule.threshold) for rule in health)  # a number and its unit


@pytest.mark.parametrize("table", ["health_results", "alerts"])
def test_a_result_that_postgresql_does_not_store_is_named_and_told_all_the_same(
    told: Settings, receiver: Receiver, connection: Connection, table: str
) -> None:
    with dropping(connection, table):
        recorded = record(told, [ILL], NOW)
    assert recorded.not_stored.startswith(f"{table}: 1 row was sent and PostgreSQL stored 0")
    assert (recorded.opened, recorded.sent.delivered) == (0, 1)
    assert receiver.titles == ["treasury: critical: Redis: ConnectionError"]
    assert record(told, [ILL], later(5)).not_stored == ""
