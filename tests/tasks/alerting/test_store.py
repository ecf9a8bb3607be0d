"""The alert store on a real PostgreSQL: opened once, counted, resolved, acknowledged."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from config import Settings
from ledger.errors import ConfigError, NotStoredError
from sql.connection import Connection, connect, connection_parameters
from tasks.alerting.store import (
    Alert,
    Severity,
    acknowledge,
    count_by_rule,
    list_alerts,
    raise_alert,
    raise_alerts,
    raise_parameters,
    resolve_alert,
)
from tests.dropping import dropping

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
LATE = Alert("last_archive", "transactions", Severity.WARNING, "late", "Run archive_months", {"hours": 30})


def later(minutes: int) -> datetime:
    return NOON + timedelta(minutes=minutes)


def test_an_alert_opens_once_and_counts_its_occurrences(connection: Connection) -> None:
    first, second = (raise_alert(connection, LATE, at=later(minute)) for minute in (0, 5))
    assert first is not None
    assert second is not None
    assert (first.opened, second.opened) == (True, False)
    assert first.alert_id == second.alert_id
    [record] = list_alerts(connection)
    assert (record.count, record.first_seen, record.last_seen, record.state) == (2, later(0), later(5), "open")
    assert (record.rule, record.subject, record.what_to_do) == ("last_archive", "transactions", "Run archive_months")
    assert record.evidence == {"hours": 30}


def test_each_subject_has_an_alert_of_its_own(connection: Connection) -> None:
    for subject in ("transactions", "vas_transactions"):
        raise_alert(connection, replace(LATE, subject=subject), at=NOON)
    assert [record.subject for record in list_alerts(connection)] == ["vas_transactions", "transactions"]


def test_subjects_that_are_alike_for_longer_than_is_kept_are_still_two(connection: Connection) -> None:
    for end in "ab":
        raise_alert(connection, replace(LATE, subject="x" * 300 + end), at=NOON)
    assert len(list_alerts(connection)) == 2


def test_an_event_is_counted_once_however_often_it_is_raised(connection: Connection) -> None:
    for minute in range(3):
        raised = raise_alert(connection, LATE, at=later(minute), event_id="file-7")
        assert raised is not None
        assert raised.count == 1
    assert raise_alert(connection, LATE, at=later(9), event_id="file-8").count == 2  # type: ignore[union-attr]


def test_without_an_event_the_instant_stands_for_it(connection: Connection) -> None:
    raise_alert(connection, LATE, at=NOON)
    raised = raise_alert(connection, LATE, at=NOON)
    assert raised is not None
    assert raised.count == 1


def test_an_event_of_a_resolved_alert_does_not_open_it_again(connection: Connection) -> None:
    raise_alert(connection, LATE, at=NOON, event_id="file-7")
    resolve_alert(connection, LATE.rule, LATE.subject, at=later(1))
    assert raise_alert(connection, LATE, at=later(2), event_id="file-7") is None
    assert [record.state for record in list_alerts(connection)] == ["resolved"]


def test_the_hundredth_event_and_more_are_counted(connection: Connection) -> None:
    for number in range(130):
        raise_alert(connection, LATE, at=NOON, event_id=str(number))
    raised = raise_alert(connection, LATE, at=NOON, event_id="129")
    assert raised is not None
    assert raised.count == 130


def test_callers_at_once_open_one_alert(connection: Connection, dsn: str) -> None:
    def call(number: int) -> bool:
        with connect(dsn, "tests") as own:
            raised = raise_alert(own, LATE, event_id=str(number))
        assert raised is not None
        return raised.opened

    with ThreadPoolExecutor(4) as pool:
        opened = list(pool.map(call, range(12)))
    assert opened.count(True) == 1
    assert [record.count for record in list_alerts(connection)] == [12]


def test_what_is_over_is_resolved_once_and_opens_anew_when_it_comes_back(connection: Connection) -> None:
    raise_alert(connection, LATE, at=NOON)
    assert resolve_alert(connection, LATE.rule, LATE.subject, at=later(5))
    assert not resolve_alert(connection, LATE.rule, LATE.subject, at=later(6))
    again = raise_alert(connection, LATE, at=later(10))
    assert again is not None
    assert again.opened
    assert [(one.state, one.resolved_at) for one in list_alerts(connection)] == [("open", None), ("resolved", later(5))]


def test_a_late_healthy_result_does_not_close_what_was_seen_after_it(connection: Connection) -> None:
    raise_alert(connection, LATE, at=later(5))
    assert not resolve_alert(connection, LATE.rule, LATE.subject, at=NOON)
    assert [record.state for record in list_alerts(connection)] == ["open"]


def test_the_first_acknowledgement_counts(connection: Connection) -> None:
    raised = raise_alert(connection, LATE, at=NOON)
    assert raised is not None
    assert acknowledge(connection, raised.alert_id, "thandi")
    assert not acknowledge(connection, raised.alert_id, "sipho")
    assert not acknowledge(connection, raised.alert_id + 1, "thandi")
    assert [record.acknowledged_by for record in list_alerts(connection)] == ["thandi"]
    with pytest.raises(ConfigError, match="who"):
        acknowledge(connection, raised.alert_id, " ")


def test_an_acknowledged_warning_that_becomes_critical_is_not_acknowledged(connection: Connection) -> None:
    raised = raise_alert(connection, LATE, at=NOON)
    assert raised is not None
    acknowledge(connection, raised.alert_id, "thandi")
    raise_alert(connection, LATE, at=later(1))
    assert list_alerts(connection)[0].acknowledged_by == "thandi"
    raise_alert(connection, replace(LATE, severity=Severity.CRITICAL), at=later(2))
    [record] = list_alerts(connection)
    assert (record.severity, record.acknowledged_by) == (Severity.CRITICAL, None)


def test_alerts_are_listed_by_state_rule_severity_and_page(connection: Connection) -> None:
    for number in range(5):
        raise_alert(connection, replace(LATE, subject=str(number)), at=NOON)
    raise_alert(connection, replace(LATE, rule="disk", severity=Severity.CRITICAL), at=NOON)
    resolve_alert(connection, LATE.rule, "0", at=later(1))
    assert len(list_alerts(connection, state="open")) == 5
    assert [one.subject for one in list_alerts(connection, state="resolved")] == ["0"]
    assert [one.rule for one in list_alerts(connection, severity=Severity.CRITICAL)] == ["disk"]
    page = list_alerts(connection, rule=LATE.rule, limit=2)
    assert [one.subject for one in page] == ["4", "3"]
    assert [one.subject for one in list_alerts(connection, rule=LATE.rule, before=page[-1].alert_id)] == ["2", "1", "0"]
    with pytest.raises(ConfigError, match="limit"):
        list_alerts(connection, limit=0)


def test_the_rules_that_were_met_are_counted(connection: Connection) -> None:
    for minute in range(3):
        raise_alert(connection, LATE, at=later(minute))
    found = count_by_rule(connection)["last_archive"]
    assert (found.open, found.alerts, found.occurrences) == (1, 1, 3)
    assert (found.first_seen, found.last_seen) == (later(0), later(2))


def test_secrets_and_what_postgresql_cannot_hold_are_never_stored(connection: Connection) -> None:
    nasty = Alert(
        "injection",
        "10.0.0.1\x00\ud800",
        Severity.WARNING,
        "trk_3f9e54ac4ec1_nXDZ4H sent 4111 1111 1111 1111\x00",
        "Look",
        {"authorization": "Bearer abc", "path": "/x\x00", "body": {"pin": "1234", "card_number": "4111111111111111"}},
    )
    raise_alert(connection, nasty, at=NOON)
    [record] = list_alerts(connection)
    assert record.title == "*** sent ***\ufffd"
    assert record.evidence == {"authorization": "***", "path": "/x\ufffd", "body": {"pin": "***", "card_number": "***"}}


def test_evidence_of_any_size_is_cut_to_what_is_kept(connection: Connection) -> None:
    huge = {str(number): ["é" * 10_000] * 100 for number in range(100)}
    raise_alert(connection, replace(LATE, evidence=huge, title="t" * 5000, what_to_do="w" * 5000), at=NOON)
    [record] = list_alerts(connection)
    assert len(str(record.evidence)) < 16 << 10
    assert record.title.endswith("…")


def test_an_instant_without_an_offset_is_refused() -> None:
    with pytest.raises(ValueError, match="offset"):
        raise_parameters(LATE, at=datetime(2026, 11, 23))  # noqa: DTZ001  # the point of the test


def test_an_alert_that_postgresql_does_not_store_is_an_error_by_name(connection: Connection) -> None:
    with dropping(connection, "alerts"), pytest.raises(NotStoredError, match="alerts: 1 row was sent"):
        raise_alert(connection, LATE, at=NOON, event_id="file-7")
    assert list_alerts(connection) == []


def test_the_alerts_of_the_api_are_stored_all_together_or_not_at_all(
    settings: Settings, connection: Connection
) -> None:
    """An event of an alert that was resolved since gives no row either, and is none that was dropped."""
    known = raise_parameters(LATE, at=NOON, event_id="file-7")
    raise_alert(connection, LATE, at=NOON, event_id="file-7")
    resolve_alert(connection, LATE.rule, LATE.subject, at=later(1))
    other = raise_parameters(replace(LATE, subject="other"), at=later(2))

    async def raise_both() -> None:
        parameters = connection_parameters(settings.database_dsn, "tests")
        opening = psycopg.AsyncConnection.connect(settings.database_dsn, **parameters, autocommit=True)
        async with await opening as asynchronous:
            await raise_alerts(asynchronous, [other, known])

    with dropping(connection, "alerts"), pytest.raises(NotStoredError, match="alerts: 1 row was sent"):
        asyncio.run(raise_both())
    asyncio.run(raise_both())
    assert [record.subject for record in list_alerts(connection, state="open")] == ["other"]
