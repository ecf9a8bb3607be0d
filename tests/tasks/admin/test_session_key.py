"""The key of `treasury up`: one a home, valid while it runs, revoked when it stops."""

import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from config import Settings
from tasks.admin import session_key
from tasks.admin.keys import create_key, key_id_of, list_keys
from tasks.admin.session_key import LIFE, end_session_key, kept_valid, replace_session_key
from tests.servers.test_lease import until


def valid(settings: Settings) -> list[str]:
    now = datetime.now(UTC)
    return [
        one.key_id
        for one in list_keys(settings)
        if one.revoked_at is None and one.expires_at is not None and one.expires_at > now
    ]


def test_ten_starts_leave_one_valid_key_and_a_stop_leaves_none(settings: Settings) -> None:
    tokens = [replace_session_key(settings, "local") for _ in range(10)]
    assert valid(settings) == [key_id_of(tokens[-1])]
    with kept_valid(settings, tokens[-1]):
        assert valid(settings) == [key_id_of(tokens[-1])]
    assert valid(settings) == []
    assert not end_session_key(settings)


def test_the_key_of_a_session_that_was_killed_is_valid_for_an_hour_at_most(settings: Settings) -> None:
    replace_session_key(settings, "local")
    [record] = list_keys(settings)
    assert record.expires_at is not None
    assert record.expires_at <= datetime.now(UTC) + LIFE
    assert timedelta(hours=1) >= LIFE


def test_the_key_is_extended_while_the_session_runs(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    token = replace_session_key(settings, "local")
    monkeypatch.setattr(session_key, "EXTENDED_EVERY", timedelta(milliseconds=20))
    monkeypatch.setattr(session_key, "LIFE", timedelta(hours=5))
    with kept_valid(settings, token):
        until(lambda: list_keys(settings)[0].expires_at > datetime.now(UTC) + timedelta(hours=4), 30)  # type: ignore[operator]


def test_each_home_has_a_key_of_its_own_and_keys_that_people_made_stay(settings: Settings, tmp_path: Path) -> None:
    made = key_id_of(create_key(settings, "local", ["transactions:read"], datetime.now(UTC) + timedelta(days=1)))
    here = key_id_of(replace_session_key(settings, "local"))
    elsewhere = settings.model_copy(update={"home": tmp_path / "other"})
    there = key_id_of(replace_session_key(elsewhere, "local"))
    assert sorted(valid(settings)) == sorted([made, here, there])
    end_session_key(settings)
    assert sorted(valid(settings)) == sorted([made, there])


def test_no_thread_is_left_and_the_id_alone_is_kept(settings: Settings) -> None:
    token = replace_session_key(settings, "local")
    file = settings.home / "keys" / session_key.FILE
    assert file.read_text() == key_id_of(token)
    assert file.stat().st_mode & 0o777 == 0o600
    with kept_valid(settings, token):
        pass
    until(lambda: "session key" not in {thread.name for thread in threading.enumerate()}, 10)
    assert not file.exists()
