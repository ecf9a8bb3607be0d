"""This machine's clock against PostgreSQL's: a slow answer is not a wrong clock, and a wrong one is refused by name."""

import time
from decimal import Decimal

import psycopg
import pytest

from config import Settings
from ledger.errors import ClockError, ConfigError
from servers import stack
from sql import clock
from sql.clock import difference_s, least_difference_s, require_clock
from sql.connection import connect
from tasks.admin.setup import prepare_database
from tasks.health import CHECKS, HealthState, run_checks

OFF = {"an hour ahead": 3600.0, "an hour behind": -3600.0, "two days ahead": 172_800.0, "two days behind": -172_800.0}


@pytest.mark.parametrize(
    ("before", "server", "after", "ahead"),
    [
        (10.0, 10.5, 11.0, 0.0),
        (10.0, 10.0, 10.0, 0.0),
        (10.0, 9.0, 11.0, 1.0),
        (10.0, 12.5, 11.0, -1.5),
        (10.0, 40.0, 70.0, 0.0),  # an answer that took a minute
    ],
)
def test_the_server_read_its_clock_at_some_moment_of_the_question(
    before: float, server: float, after: float, ahead: float
) -> None:
    assert least_difference_s(before, server, after) == ahead


@pytest.mark.parametrize("off_s", OFF.values(), ids=OFF)
def test_a_wrong_clock_is_refused_with_the_difference_and_the_setting(dsn: str, off_s: float) -> None:
    with connect(dsn, "tests") as connection:
        found = difference_s(connection, lambda: time.time() + off_s)
        assert abs(found - off_s) < 600  # what an answer may take on a very busy machine
        require_clock(connection, 5.0)
        with pytest.raises(ClockError, match=r"the clock of this machine is .* TREASURY_CLOCK_TOLERANCE_S allows 5 s"):
            clock.check_difference(found, 5.0)


@pytest.mark.parametrize("off_s", OFF.values(), ids=OFF)
def test_nothing_is_prepared_or_started_under_a_wrong_clock(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, off_s: float
) -> None:
    monkeypatch.setattr(clock, "wall_clock_s", lambda: time.time() + off_s)
    for start in (prepare_database, stack._migrate):
        with pytest.raises(ConfigError, match="the clock of this machine is"):
            start(settings)


def test_health_says_how_far_the_clock_is_off(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    check = [one for one in CHECKS if one.name == "clock"]
    [result] = run_checks(settings, check)
    assert (result.state, result.value) == (HealthState.HEALTHY, Decimal(0))
    monkeypatch.setattr(clock, "wall_clock_s", lambda: time.time() + 172_800)
    [result] = run_checks(settings, check)
    assert result.state is HealthState.CRITICAL
    assert "s ahead of PostgreSQL's" in result.line
    assert result.value is not None
    assert abs(float(result.value) - 172_800) < 600


def test_the_clock_of_the_ledger_is_postgresql_s_own(dsn: str) -> None:
    """Not the start of the session's transaction, which may be long ago."""
    with psycopg.connect(dsn) as connection:
        connection.execute("SELECT 1")
        time.sleep(0.2)
        assert difference_s(connection) == 0
