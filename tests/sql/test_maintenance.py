"""DDL asks for its locks briefly, and again, and one piece of it runs at a time."""

import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor

import psycopg
import pytest

from config import Settings
from ledger.errors import TransientError
from sql.connection import Connection, connect
from sql.maintenance import run_ddl
from tests.sql.conftest import Connector


def test_work_runs_in_one_transaction_and_its_result_comes_back(settings: Settings, connection: Connection) -> None:
    def work() -> str:
        connection.execute("CREATE TABLE made (i int)")
        assert connection.info.transaction_status is psycopg.pq.TransactionStatus.INTRANS
        return "done"

    assert run_ddl(connection, settings, work) == "done"
    assert connection.execute("SELECT count(*) FROM made").fetchone() == (0,)


def test_what_fails_half_way_leaves_nothing_and_is_not_tried_again(settings: Settings, connection: Connection) -> None:
    tries = []

    def work() -> None:
        tries.append(1)
        connection.execute("CREATE TABLE made (i int)")
        connection.execute("SELECT 1 / 0")

    with pytest.raises(psycopg.errors.DivisionByZero):
        run_ddl(connection, settings, work)
    assert len(tries) == 1
    assert connection.execute("SELECT to_regclass('made')").fetchone() == (None,)


def test_a_lock_that_comes_late_is_waited_for_by_trying_again_from_the_start(
    settings: Settings, connection: Connection, another: Connector
) -> None:
    holder = another()
    holder.execute("CREATE TABLE busy (i int)")
    settings = settings.model_copy(update={"lock_timeout_ms": 10})
    tries = []

    def work() -> None:
        tries.append(1)
        connection.execute("INSERT INTO archive_events (table_name, month, event) VALUES ('t', '2026-02-01', 'tried')")
        if len(tries) == 3:
            holder.rollback()
        connection.execute("ALTER TABLE busy ADD COLUMN j int")

    holder.execute("BEGIN; SELECT * FROM busy")
    run_ddl(connection, settings, work)
    assert len(tries) == 3
    assert connection.execute("SELECT count(*) FROM archive_events").fetchone() == (1,)


def test_a_lock_that_never_comes_ends_in_an_error_that_may_be_tried_again(
    settings: Settings, connection: Connection, another: Connector
) -> None:
    holder = another()
    holder.execute("CREATE TABLE busy (i int)")
    holder.execute("BEGIN; SELECT * FROM busy")
    settings = settings.model_copy(update={"lock_timeout_ms": 10, "lock_attempts": 3})
    with pytest.raises(TransientError, match="no lock within 3 tries"):
        run_ddl(connection, settings, lambda: connection.execute("DROP TABLE busy"))


def test_each_statement_waits_no_longer_than_the_setting_and_the_session_is_left_as_it_was(
    settings: Settings, connection: Connection
) -> None:
    settings = settings.model_copy(update={"lock_timeout_ms": 123})
    query = "SELECT current_setting('lock_timeout')"
    assert run_ddl(connection, settings, lambda: connection.execute(query).fetchone()) == ("123ms",)
    assert connection.execute(query).fetchone() == ("0",)


def test_only_one_piece_of_maintenance_runs_at_a_time(settings: Settings) -> None:
    inside, most = threading.Semaphore(1), []

    def caller(_: int) -> None:
        with connect(settings.database_dsn, "tests") as connection:

            def work() -> None:
                most.append(inside.acquire(blocking=False))
                time.sleep(0.05)
                inside.release()

            run_ddl(connection, settings, work)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(caller, range(4)))
    assert most == [True] * 4


def test_two_that_lock_each_other_out_both_end(settings: Settings, connection: Connection, another: Connector) -> None:
    """A deadlock with a session that is not ours: PostgreSQL ends one of the two, and ours comes again."""
    other = another()
    other.execute("CREATE TABLE one (i int); CREATE TABLE two (i int); SET deadlock_timeout = '50ms'")
    settings = settings.model_copy(update={"lock_timeout_ms": 200})
    other.execute("BEGIN; LOCK TABLE two")
    with ThreadPoolExecutor(1) as pool:
        waiting: list[Future[object]] = []

        def work() -> None:
            connection.execute("LOCK TABLE one")
            if not waiting:
                waiting.append(pool.submit(other.execute, "LOCK TABLE one; COMMIT"))
            connection.execute("LOCK TABLE two")

        try:
            run_ddl(connection, settings, work)
        finally:
            error = waiting[0].exception()
    assert error is None or isinstance(error, psycopg.errors.DeadlockDetected)
