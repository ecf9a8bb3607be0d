"""Notices through apprise to a real HTTP receiver: who is told what, how often, and what if nobody takes it."""

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from config import Settings, load_settings
from ledger.errors import ConfigError
from sql.connection import Connection
from tasks.alerting.delivery import Notice, NoticeKind, deliver, invalid_targets, require_targets, send_test
from tasks.alerting.notices import Sent, send_notices
from tasks.alerting.store import Alert, Severity, acknowledge, list_alerts, raise_alert, resolve_alert
from tests.tasks.alerting.receiver import Receiver, receiving, telling

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
DOWN = Alert("health_redis", "system", Severity.CRITICAL, "Redis: ConnectionError", "Start Redis", {})
LATE = Alert("health_last_archive", "system", Severity.WARNING, "27 hours ago", "Run it", {})


def later(minutes: int) -> datetime:
    return NOON + timedelta(minutes=minutes)


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
def closed_port() -> Iterator[int]:
    """A port on which nobody listens, and which nobody else gets."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


def test_people_are_told_when_it_opens_and_when_it_is_over(
    told: Settings, receiver: Receiver, connection: Connection
) -> None:
    raise_alert(connection, DOWN, at=NOON)
    assert send_notices(told, NOON) == Sent(delivered=1)
    assert receiver.titles == ["treasury: critical: Redis: ConnectionError"]
    assert "What to do: Start Redis" in receiver.notices[0]["message"]
    resolve_alert(connection, DOWN.rule, DOWN.subject, at=later(5))
    assert send_notices(told, later(5)) == Sent(delivered=1)
    assert send_notices(told, later(10)) == Sent()
    assert receiver.titles[1:] == ["treasury: resolved: Redis: ConnectionError"]
    assert (receiver.notices[0]["type"], receiver.notices[1]["type"]) == ("failure", "success")


def test_a_target_that_only_redirects_has_not_taken_the_notice(
    told: Settings, receiver: Receiver, connection: Connection
) -> None:
    receiver.status, receiver.location = 302, receiver.url.replace("json://", "http://")
    raise_alert(connection, DOWN, at=NOON)
    assert send_notices(told, NOON).delivered == 0
    assert receiver.notices == []


def test_a_notice_is_due_at_the_very_instant_of_its_alert_whatever_its_microseconds(
    told: Settings, receiver: Receiver, connection: Connection
) -> None:
    for microseconds in (499, 500, 999):
        at = NOON + timedelta(microseconds=microseconds)
        raise_alert(connection, replace(DOWN, subject=str(microseconds)), at=at)
        assert send_notices(told, at) == Sent(delivered=1)
        resolve_alert(connection, DOWN.rule, str(microseconds), at=at)
        assert send_notices(told, at) == Sent(delivered=1)


def test_an_open_alert_is_told_again_by_the_schedule_of_its_severity(
    told: Settings, receiver: Receiver, connection: Connection
) -> None:
    raise_alert(connection, DOWN, at=NOON)
    raise_alert(connection, LATE, at=NOON)
    sent = [send_notices(told, later(minute)).delivered for minute in range(0, 1441, 30)]
    assert sent[0] == 2
    assert sum(sent) == 2 + 24 + 1  # every hour, and after a day
    assert len(receiver.notices) == sum(sent)  # both a day later, too: each severity is a message of its own


def test_an_acknowledged_alert_is_not_told_again_but_its_end_is(
    told: Settings, receiver: Receiver, connection: Connection
) -> None:
    raised = raise_alert(connection, DOWN, at=NOON)
    assert raised is not None
    send_notices(told, NOON)
    acknowledge(connection, raised.alert_id, "thandi")
    assert send_notices(told, later(600)) == Sent()
    resolve_alert(connection, DOWN.rule, DOWN.subject, at=later(601))
    assert send_notices(told, later(601)).delivered == 1
    assert receiver.titles[-1].startswith("treasury: resolved")


def test_what_comes_and_goes_all_the_time_is_told_three_times_an_hour_and_when_it_stays(
    told: Settings, receiver: Receiver, connection: Connection
) -> None:
    for minute in range(0, 60, 4):  # fifteen times in an hour, for two minutes each
        raise_alert(connection, DOWN, at=later(minute))
        send_notices(told, later(minute + 1))
        resolve_alert(connection, DOWN.rule, DOWN.subject, at=later(minute + 2))
        send_notices(told, later(minute + 3))
    opened, over = "treasury: critical: Redis: ConnectionError", "treasury: resolved: Redis: ConnectionError"
    assert receiver.titles == [opened, over] * 3
    assert len(list_alerts(connection)) == 15
    raise_alert(connection, DOWN, at=later(60))
    assert [send_notices(told, later(minute)).delivered for minute in (60, 74, 75)] == [0, 0, 1]
    resolve_alert(connection, DOWN.rule, DOWN.subject, at=later(80))
    assert send_notices(told, later(80)) == Sent(delivered=1)
    assert receiver.titles[6:] == [opened, over]
    raise_alert(connection, replace(DOWN, subject="another"), at=later(81))
    raise_alert(connection, DOWN, at=later(150))
    assert send_notices(told, later(150)).delivered == 2


def test_a_warning_that_becomes_critical_is_told_at_once(
    told: Settings, receiver: Receiver, connection: Connection
) -> None:
    raise_alert(connection, LATE, at=NOON)
    send_notices(told, NOON)
    raise_alert(connection, replace(LATE, severity=Severity.CRITICAL), at=later(5))
    assert send_notices(told, later(5)).delivered == 1
    assert receiver.titles[-1].startswith("treasury: critical")


def test_a_notice_that_is_not_taken_is_recorded_and_tried_again(
    told: Settings, receiver: Receiver, connection: Connection
) -> None:
    raise_alert(connection, DOWN, at=NOON)
    receiver.status = 503
    sent = send_notices(told, NOON)
    assert (sent.delivered, sent.failed) == (0, 1)
    [record] = list_alerts(connection)
    assert record.notified_at is None
    assert record.notice_error == "critical[0]: was not taken"
    receiver.status = 200
    assert send_notices(told, later(5)) == Sent(delivered=1)
    [record] = list_alerts(connection)
    assert (record.notified_at, record.notice_error) == (later(5), None)


def test_targets_that_took_it_are_not_told_twice_because_another_did_not(
    settings: Settings, receiver: Receiver, connection: Connection
) -> None:
    with receiving() as broken:
        broken.status = 500
        both = telling(settings, critical=(receiver.url, broken.url))
        raise_alert(connection, DOWN, at=NOON)
        assert send_notices(both, NOON).failed == 1
        broken.status = 200
        assert send_notices(both, later(5)).delivered == 1
        assert (len(receiver.notices), len(broken.notices)) == (1, 1)


def test_a_target_that_never_answers_and_one_that_is_no_url_are_given_up_in_time(
    settings: Settings, connection: Connection
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        raise_alert(connection, DOWN, at=NOON)
        urls = (f"json://user:hunter2@127.0.0.1:{port}/?rto=60", "nonsense")
        sent = send_notices(telling(settings, critical=urls).model_copy(update={"notice_timeout_s": 0.5}), NOON)
    assert sent.failed == 1
    [error] = sent.errors
    assert error == (
        "critical[0]: no answer within 0.5 s; critical[1]: must be a URL of a service that apprise knows, such as"
        " mailtos://user:password@host"
    )


def test_two_senders_at_once_tell_once(told: Settings, receiver: Receiver, connection: Connection) -> None:
    for number in range(20):
        raise_alert(connection, replace(DOWN, subject=str(number)), at=NOON)
    with ThreadPoolExecutor(4) as pool:
        sent = list(pool.map(lambda _: send_notices(told, NOON), range(4)))
    assert sum(one.delivered for one in sent) == 20
    assert "".join(notice["message"] for notice in receiver.notices).count("[opened]") == 20


def test_what_changes_while_it_is_being_told_is_told_too(
    told: Settings, receiver: Receiver, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    raise_alert(connection, DOWN, at=NOON)
    from tasks.alerting import notices
    from tasks.alerting.delivery import deliver

    def deliver_slowly(*arguments: Any) -> Any:
        resolve_alert(connection, DOWN.rule, DOWN.subject, at=later(1))
        return deliver(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(notices, "deliver", deliver_slowly)
        send_notices(told, NOON)
    send_notices(told, later(1))
    assert receiver.titles == [
        "treasury: critical: Redis: ConnectionError",
        "treasury: resolved: Redis: ConnectionError",
    ]


def test_many_alerts_are_few_messages_and_no_message_is_too_long(
    told: Settings, receiver: Receiver, connection: Connection
) -> None:
    for number in range(60):
        raise_alert(connection, replace(DOWN, subject=str(number), title="x" * 250), at=NOON)
    assert send_notices(told, NOON).delivered == 40
    assert sorted(receiver.titles) == ["treasury: 12 notices, critical"] + ["treasury: 14 notices, critical"] * 2
    assert max(len(notice["message"]) for notice in receiver.notices) < 7000
    assert sum(notice["message"].count("[opened]") for notice in receiver.notices) == 40
    assert send_notices(told, NOON).delivered == 20
    assert sum(notice["message"].count("[opened]") for notice in receiver.notices) == 60


def test_a_severity_that_nobody_wants_to_hear_of_is_sent_nowhere(
    settings: Settings, receiver: Receiver, connection: Connection
) -> None:
    raise_alert(connection, LATE, at=NOON)
    assert send_notices(settings, NOON) == Sent()
    assert send_notices(telling(settings, critical=(receiver.url,)), NOON) == Sent()
    assert receiver.notices == []


def test_what_was_over_long_ago_is_not_told_when_a_target_is_set_later(
    told: Settings, receiver: Receiver, connection: Connection
) -> None:
    raise_alert(connection, DOWN, at=NOON)
    resolve_alert(connection, DOWN.rule, DOWN.subject, at=later(1))
    assert send_notices(told, later(3 * 24 * 60)) == Sent()
    assert receiver.notices == []


def test_forty_notices_are_all_named_however_many_messages_that_takes(
    told: Settings, receiver: Receiver, connection: Connection
) -> None:
    long_text = "Look at it, and then at everything that it has touched. " * 15
    for number in range(40):
        alert = replace(DOWN, subject=f"server-{number:02}", what_to_do=long_text)
        raise_alert(connection, alert, at=NOON)
    assert send_notices(told, NOON) == Sent(delivered=40)
    assert len(receiver.notices) > 1
    named = "\n".join(notice["message"] for notice in receiver.notices)
    assert [number for number in range(40) if f"(server-{number:02})" not in named] == []
    assert "more" not in named


def test_of_several_messages_those_that_are_not_taken_stay_due(
    told: Settings, receiver: Receiver, connection: Connection
) -> None:
    long_text = "Look at it, and then at everything that it has touched. " * 15
    for number in range(20):
        raise_alert(connection, replace(DOWN, subject=f"server-{number:02}", what_to_do=long_text), at=NOON)
    receiver.refuse_after(1)
    sent = send_notices(told, NOON)
    assert sent.delivered + sent.failed == 20
    assert sent.delivered == receiver.notices[0]["message"].count("[opened]") > 0
    receiver.refuse_after(None)
    again = send_notices(told, later(1))
    assert (again.delivered, again.failed) == (sent.failed, 0)
    named = "\n".join(notice["message"] for notice in receiver.notices)
    assert [number for number in range(20) if named.count(f"(server-{number:02})") != 1] == []


def test_a_service_that_takes_little_gets_a_long_message_in_parts() -> None:
    with receiving() as receiver:
        long_text = "x" * 900
        notice = Notice(NoticeKind.OPENED, Severity.CRITICAL, "rule", "it", "title", long_text, NOON, NOON, 1)
        settings = telling(load_settings(home=Path("/tmp/none")), (f"{receiver.url}?overflow=split",))  # noqa: S108
        [delivery] = deliver(settings, [notice])
        assert delivery.error == ""
        assert long_text in "".join(one["message"] for one in receiver.notices)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("slak://token", "slak:// is not a service that apprise knows"),
        ("mailto//user@example.org", "must be a URL of a service that apprise knows"),
        ("operations@example.org", "must be a URL of a service that apprise knows"),
        ("json://", "json:// must be followed by a host"),
        ("mailto://", "mailto:// must be followed by a host"),
        ("slack://T1", "slack:// is not a service that apprise knows, or its host, address or token has a wrong form"),
    ],
)
def test_a_mistyped_target_is_named_without_its_text(settings: Settings, url: str, said: str) -> None:
    wrong = telling(settings, ("json://localhost", url), ())
    assert invalid_targets(wrong) == [f"TREASURY_ALERT_URLS critical[1]: {said}" + _rest(said)]
    with pytest.raises(ConfigError, match=r"critical\[1\]"):
        require_targets(wrong)
    assert invalid_targets(telling(settings, ("json://localhost",))) == []


def _rest(said: str) -> str:
    """The end of the line where the test names only its beginning."""
    if said.endswith("apprise knows") and "must be" in said:
        return ", such as mailtos://user:password@host"
    return ", or its host, address or token has a wrong form" if said.endswith("apprise knows") else ""


def test_a_test_notice_goes_to_every_target_and_each_result_is_told(settings: Settings, closed_port: int) -> None:
    with receiving() as receiver:
        targets = telling(settings, (receiver.url, f"json://127.0.0.1:{closed_port}/"), (receiver.url,))
        results = send_test(targets, NOON)
        assert [place for place, error in results if not error] == ["warning[0]", "critical[0]"]
        assert [place for place, error in results if error] == ["critical[1]"]
        assert len(receiver.notices) == 2
        assert "this is a test notice" in receiver.notices[0]["message"]


def test_a_test_without_a_target_is_an_error(settings: Settings) -> None:
    with pytest.raises(ConfigError, match="TREASURY_ALERT_URLS is not set"):
        send_test(settings, NOON)
