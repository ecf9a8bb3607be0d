"""Connections that a process keeps: one is used again while it is what it must be, and replaced when it is not."""

import os
import signal
from collections.abc import Iterator

import psycopg
import pytest

from config import Settings
from ledger.errors import ConfigError, TransientError
from sql import kept_connections
from sql.connection import connect
from sql.kept_connections import KeptConnections
from tests.tasks.health.conftest import at_port


@pytest.fixture
def kept(settings: Settings) -> Iterator[KeptConnections]:
    made = KeptConnections(settings.database_dsn, "tests")
    yield made
    made.close()


def pid(kept: KeptConnections) -> int:
    """The server's process of the connection that is given out."""
    with kept.taken() as connection:
        return connection.info.backend_pid


def test_a_connection_is_used_again_and_two_at_once_are_two(kept: KeptConnections) -> None:
    first = pid(kept)
    assert pid(kept) == first
    with kept.taken() as one, kept.taken() as other:
        assert one.info.backend_pid == first
        assert other.info.backend_pid != first


def test_a_connection_that_was_ended_is_replaced(kept: KeptConnections, settings: Settings) -> None:
    first = pid(kept)
    with connect(settings.database_dsn, "tests") as other:
        other.execute("SELECT pg_terminate_backend(%s)", [first])
    assert pid(kept) != first


def test_a_connection_whose_server_is_silent_is_given_up(
    kept: KeptConnections, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept_connections, "CONNECT_TIMEOUT_S", 0.2)
    first = pid(kept)
    os.kill(first, signal.SIGSTOP)
    try:
        assert pid(kept) != first
    finally:
        os.kill(first, signal.SIGCONT)


def test_a_session_that_somebody_has_changed_is_not_used_again(kept: KeptConnections) -> None:
    with kept.taken() as connection:
        first = connection.info.backend_pid
        connection.execute("SET row_security = on")
    assert pid(kept) != first


def test_after_an_error_the_next_connection_is_a_new_one(kept: KeptConnections) -> None:
    first = pid(kept)
    with pytest.raises(ConfigError), kept.taken() as connection:
        connection.execute("SELECT * FROM no_such_table")
    second = pid(kept)
    assert second != first
    with pytest.raises(KeyError), kept.taken():
        raise KeyError
    assert pid(kept) != second


def test_what_is_closed_leaves_no_connection_behind(settings: Settings) -> None:
    kept = KeptConnections(settings.database_dsn, "kept and closed")
    pid(kept)
    kept.close()
    kept.close()
    with psycopg.connect(settings.database_dsn) as other:
        query = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'treasury kept and closed'"
        assert other.execute(query).fetchone() == (0,)


def test_a_server_that_is_away_is_a_transient_error(settings: Settings) -> None:
    with pytest.raises(TransientError):
        pid(KeptConnections(at_port(settings, 1).database_dsn, "tests"))
