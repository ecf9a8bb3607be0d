"""PostgreSQL goes away in the middle: a transient failure, nothing lost or doubled, and the next run completes."""

import shutil
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict
from pydantic import SecretStr

from config import Settings
from config.settings import LOGINS
from ledger.errors import DataError, TransientError
from servers.lending import running
from tasks.admin.setup import prepare_database
from tasks.archiving.move_month import move_month
from tasks.archiving.outcome import MoveResult
from tasks.archiving.plan import plan_table
from tasks.archiving.to_cold import Step, archive_month
from tasks.querying.query import run_query
from tests.tasks.archiving.ledger import COLD, TODAY, WARM, Ledger

EVERY_SESSION = """
    SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
"""
SCANS = f"{EVERY_SESSION} AND application_name = 'treasury archive scan' AND state = 'active' AND query LIKE 'COPY %'"
BEFORE_THE_END = [step for step in Step if step is not Step.CLEANED]


@pytest.mark.sampled(1)
@pytest.mark.parametrize("step", BEFORE_THE_END)
def test_sessions_that_are_ended_at_any_step_are_a_transient_failure(ledger: Ledger, step: Step) -> None:
    ledger.warm(COLD)
    before = ledger.content()

    def end_sessions(at: Step) -> None:
        if at is step:
            assert ledger.sql(EVERY_SESSION) == [(True,)]

    with pytest.raises(TransientError, match="PostgreSQL"):
        archive_month(ledger.settings, ledger.table, COLD, end_sessions)
    assert ledger.content() == before
    assert ledger.tier(COLD) == ("cold" if step is Step.FLIPPED else "warm")
    ledger.night()
    assert ledger.tier(COLD) == "cold"
    assert ledger.content() == before
    ledger.check_no_partition(COLD)
    ledger.check_archive()


def test_a_drop_that_postgresql_refuses_leaves_objects_like_those_of_any_attempt(ledger: Ledger) -> None:
    """It was rolled back for sure: objects that count as perhaps in use would stay for good, and stop the deletion."""
    ledger.warm(COLD)

    def depend(at: Step) -> None:
        if at is Step.LOCKED:
            ledger.sql("CREATE VIEW watched AS SELECT id FROM transactions_2024_03")

    with pytest.raises(DataError, match="PostgreSQL 2BP01"):
        archive_month(ledger.settings, ledger.table, COLD, depend)
    assert ledger.sql("SELECT DISTINCT state FROM archive_uploads") == [("intended",)]
    ledger.sql("DROP VIEW watched")
    ledger.night()
    assert ledger.tier(COLD) == "cold"
    ledger.check_archive()


@pytest.mark.heavy("sessions are ended at each step")
def test_a_scan_that_is_ended_half_way_is_a_transient_failure(ledger: Ledger) -> None:
    """The sessions that the set-based engine reads through, while they read."""
    ledger.warm(COLD, rows=20_000)
    before = ledger.content()
    ended: list[tuple[Any, ...]] = []
    stop = threading.Event()

    def hunt() -> None:
        with psycopg.connect(ledger.settings.database_dsn, autocommit=True) as connection:
            while not ended and not stop.is_set():
                ended.extend(connection.execute(SCANS).fetchall())

    hunter = threading.Thread(target=hunt)
    hunter.start()
    try:
        with pytest.raises(TransientError, match="PostgreSQL"):
            archive_month(ledger.settings, ledger.table, COLD)
    finally:
        stop.set()
        hunter.join()
    assert ended
    assert ledger.content() == before
    assert [outcome.result for outcome in ledger.night()] == [MoveResult.MOVED]
    assert ledger.content() == before
    ledger.check_archive()


def test_a_database_that_is_away_gives_a_failed_outcome_and_not_an_exception(ledger: Ledger) -> None:
    ledger.warm(COLD)
    (move,) = plan_table(ledger.settings, ledger.table, TODAY, TODAY)
    parts = conninfo_to_dict(ledger.settings.database_dsn)
    nowhere = f"postgresql://{parts['user']}:{parts['password']}@127.0.0.1:9/{parts['dbname']}"
    away = ledger.settings.model_copy(update={"database_url": SecretStr(nowhere)})
    (outcome,) = move_month(away, move)
    assert (outcome.result, outcome.transient) == (MoveResult.FAILED, True)
    assert outcome.reason.startswith("TransientError: PostgreSQL")
    assert str(parts["password"]) not in outcome.reason


@pytest.fixture
def own_home() -> Iterator[Path]:
    """A home that PostgreSQL's account can reach."""
    path = Path(tempfile.mkdtemp(prefix="treasury-archive-"))
    yield path
    shutil.rmtree(path)


@pytest.mark.slow
@pytest.mark.parametrize("step", [Step.SEALED, Step.UPLOADED, Step.DESCRIBED])
def test_a_server_that_is_stopped_and_started_again_loses_nothing(
    server_settings: Settings, own_home: Path, step: Step
) -> None:
    """A server of the test's own, as a user's would run: durable, and on the same data afterwards."""
    base = server_settings.model_copy(update=dict.fromkeys(LOGINS) | {"home": own_home})
    base = base.model_copy(update={"archive_url": f"file://{own_home / 'archive'}"})
    first = ExitStack()
    settings = first.enter_context(running(base, "postgres"))
    prepare_database(settings)
    ledger = Ledger(settings, own_home / "archive")
    ledger.warm(COLD)
    ledger.fill(WARM)
    before = ledger.content()

    def stop_server(at: Step) -> None:
        if at is step:
            first.close()

    with pytest.raises(TransientError, match="PostgreSQL"):
        archive_month(settings, ledger.table, COLD, stop_server)
    with pytest.raises(TransientError), run_query(settings, "SELECT count(*) FROM transactions"):
        pass

    with running(base, "postgres") as again:
        ledger = Ledger(again, own_home / "archive")
        assert ledger.content() == before
        assert {outcome.result for outcome in ledger.night()} == {MoveResult.MOVED}
        assert (ledger.tier(COLD), ledger.tier(WARM)) == ("cold", "warm")
        assert ledger.content() == before
        ledger.check_archive()
