"""Alerts about processes of `treasury up` that ended: raised, sent and resolved without the worker's flows."""

from config import Settings
from sql.connection import Connection
from tasks.admin.processes import Incident, ProcessState
from tasks.alerting.incidents import PROCESS_ENDED, end_incidents, incident_alerts, note_incident
from tasks.alerting.rules import rules
from tasks.alerting.store import Severity, list_alerts
from tests.servers.test_lease import until
from tests.tasks.alerting.receiver import receiving, telling

ENDED = Incident("worker", ProcessState.RESTARTING, 1, "worker has ended by itself; it is started again in 1 s")
AGAIN = Incident("worker", ProcessState.RUNNING, 1, "worker runs again")
DOWN = Incident("worker", ProcessState.DOWN, 6, "worker has ended by itself, 6 times in 600 s; it is left down")
OVER = Incident("worker", ProcessState.RUNNING, 0, "worker has run for 600 s again", is_over=True)


def test_an_ended_process_is_a_warning_and_one_that_is_left_down_is_critical(
    settings: Settings, connection: Connection
) -> None:
    note_incident(settings, ENDED)
    note_incident(settings, AGAIN)
    [alert] = list_alerts(connection)
    assert (alert.rule, alert.subject, alert.severity, alert.state) == (
        PROCESS_ENDED,
        "worker",
        Severity.WARNING,
        "open",
    )
    note_incident(settings, DOWN)
    [alert] = list_alerts(connection)
    assert (alert.severity, alert.count, alert.title) == (Severity.CRITICAL, 2, DOWN.text)
    note_incident(settings, OVER)
    assert [one.state for one in list_alerts(connection)] == ["resolved"]


def test_people_are_told_by_up_itself_and_nothing_waits_for_it(settings: Settings) -> None:
    with receiving() as receiver:
        with incident_alerts(telling(settings, (), (receiver.url,))) as take:
            take(ENDED)
            until(lambda: len(receiver.notices) == 1, 60)
        assert ENDED.text in receiver.notices[0]["message"]


def test_what_was_reported_last_is_stored_before_up_ends(settings: Settings, connection: Connection) -> None:
    with incident_alerts(settings) as take:
        for incident in (ENDED, AGAIN, DOWN):
            take(incident)
    [alert] = list_alerts(connection)
    assert (alert.severity, alert.count) == (Severity.CRITICAL, 2)


def test_a_new_start_resolves_what_an_earlier_one_left_open(settings: Settings, connection: Connection) -> None:
    note_incident(settings, DOWN)
    end_incidents(settings, ["api"])
    assert [one.state for one in list_alerts(connection)] == ["open"]
    with receiving() as receiver:
        end_incidents(telling(settings, (receiver.url,), ()), ["api", "worker"])
        assert "resolved" in receiver.notices[0]["message"]
    assert [one.state for one in list_alerts(connection)] == ["resolved"]


def test_the_rule_is_listed(settings: Settings) -> None:
    assert PROCESS_ENDED in {rule.name for rule in rules(settings)}
