"""Hot to warm: a re-attachment that readers never see and writers hardly feel."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest

from config import Settings
from ledger.errors import DataError, TransientError
from ledger.months import months_between
from ledger.tables import TRANSACTIONS, VAS_TRANSACTIONS
from sql.connection import Connection, connect
from sql.partitions import ensure_partition
from sql.warm import move_to_warm
from tests.relations import hot_months, warm_months
from tests.sql.conftest import Connector
from tests.sql.ledger_rows import FEBRUARY, add_row

MONTHS = list(months_between(FEBRUARY, FEBRUARY.plus(5)))
ROWS_A_MONTH = 5
# A test machine may be busy: this bound tells a writer that is let through from one that waits for a reader to end.
SLACK_S = 1.5


@pytest.fixture
def filled(prepared: Settings, connection: Connection) -> Settings:
    """A database with a few rows in each of six hot months."""
    for month in MONTHS:
        ensure_partition(connection, prepared, TRANSACTIONS, month)
        for _ in range(ROWS_A_MONTH):
            add_row(connection, TRANSACTIONS, month.lower)
    return prepared


@contextmanager
def hammering(work: Callable[[], object]) -> Iterator[list[float]]:
    """Do ``work`` over and over at the side; yields the seconds each took. What it raises is raised at the end."""
    stop, durations_s = threading.Event(), list[float]()

    def loop() -> None:
        while not stop.is_set():
            started = time.monotonic()
            work()
            durations_s.append(time.monotonic() - started)

    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(loop)
        try:
            while not durations_s and not running.done():
                time.sleep(0.001)
            yield durations_s
        finally:
            stop.set()
        running.result()


def _moved(settings: Settings, month: Any, **changes: Any) -> bool:
    with connect(settings.database_dsn, "tests") as own:
        return move_to_warm(own, settings.model_copy(update=changes), TRANSACTIONS, month)


def test_a_month_moves_with_its_rows_and_the_catalogue_says_so(filled: Settings, connection: Connection) -> None:
    assert move_to_warm(connection, filled, TRANSACTIONS, FEBRUARY)
    assert FEBRUARY not in hot_months(connection, TRANSACTIONS)
    assert warm_months(connection, TRANSACTIONS) == {FEBRUARY: "transactions_2026_02"}
    counts = connection.execute("SELECT tier, count(*) FROM transactions GROUP BY 1 ORDER BY 1").fetchall()
    assert counts == [("hot", 5 * ROWS_A_MONTH), ("warm", ROWS_A_MONTH)]
    place = "SELECT tier, warm_at IS NOT NULL FROM archive_months WHERE table_name = 'transactions' AND month = %s"
    assert connection.execute(place, (FEBRUARY.first_day,)).fetchone() == ("warm", True)


def test_no_row_is_copied(filled: Settings, connection: Connection) -> None:
    file = "SELECT pg_relation_filenode('transactions_2026_02'), (SELECT min(xmin::text) FROM transactions_2026_02)"
    before = connection.execute(file).fetchone()
    move_to_warm(connection, filled, TRANSACTIONS, FEBRUARY)
    assert connection.execute(file).fetchone() == before


def test_moving_again_and_moving_what_is_unknown_does_nothing(filled: Settings, connection: Connection) -> None:
    assert move_to_warm(connection, filled, TRANSACTIONS, FEBRUARY)
    assert not move_to_warm(connection, filled, TRANSACTIONS, FEBRUARY)
    assert not move_to_warm(connection, filled, TRANSACTIONS, FEBRUARY.plus(50))


def test_of_two_callers_at_once_one_moves_it(filled: Settings) -> None:
    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(lambda _: _moved(filled, FEBRUARY), range(2))) == [False, True]


def test_the_two_tables_do_not_touch_each_other(filled: Settings, connection: Connection) -> None:
    add_row(connection, VAS_TRANSACTIONS, FEBRUARY.lower)
    move_to_warm(connection, filled, TRANSACTIONS, FEBRUARY)
    assert connection.execute("SELECT tier FROM vas_transactions").fetchall() == [("hot",)]


def test_a_catalogue_that_disagrees_with_the_database_is_told(filled: Settings, connection: Connection) -> None:
    connection.execute("ALTER TABLE transactions_partitioned DETACH PARTITION transactions_2026_02")
    with pytest.raises(DataError, match="transactions 2026-02: the catalogue says hot, but transactions_partitioned"):
        move_to_warm(connection, filled, TRANSACTIONS, FEBRUARY)


@pytest.mark.parametrize("prepare", [False, True], ids=["planned anew", "prepared"])
def test_every_reader_sees_every_row_exactly_once_while_months_move(
    filled: Settings, connection: Connection, another: Connector, prepare: bool
) -> None:
    reader, seen = another(), set[tuple[int, int, int]]()

    def read() -> None:
        query = "SELECT count(*), count(DISTINCT id), count(DISTINCT tier) FROM transactions"
        seen.update(reader.execute(query, prepare=prepare).fetchall())

    with hammering(read):
        for month in MONTHS:
            assert move_to_warm(connection, filled, TRANSACTIONS, month)
            time.sleep(0.01)
    total = ROWS_A_MONTH * len(MONTHS)
    assert {(rows, ids) for rows, ids, _ in seen} == {(total, total)}
    assert {tiers for _, _, tiers in seen} == {1, 2}  # it did read before, between and after


def test_writers_of_hot_and_warm_neither_fail_nor_stall_while_months_move(
    filled: Settings, connection: Connection, another: Connector
) -> None:
    move_to_warm(connection, filled, TRANSACTIONS, FEBRUARY)
    writer = another()

    def write() -> None:
        add_row(writer, TRANSACTIONS, MONTHS[-1].lower)
        add_row(writer, TRANSACTIONS, FEBRUARY.lower, relation=TRANSACTIONS.warm_parent)

    with hammering(write) as durations_s:
        for month in MONTHS[1:-1]:
            assert move_to_warm(connection, filled, TRANSACTIONS, month)
    assert max(durations_s) < SLACK_S
    rows = connection.execute("SELECT count(*) FROM transactions").fetchone()
    assert rows == (ROWS_A_MONTH * len(MONTHS) + 2 * len(durations_s),)


def _wait_for_tries(connection: Connection, count: int, moving: Future[bool]) -> None:
    """Until a mover was refused its lock ``count`` times: each try that waits shows as a lock not granted."""
    # Copies of one template have the same oids, and other tests' databases are on this server.
    query = (
        "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'transactions_partitioned'::regclass"
        " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    )
    waiting = False
    deadline = time.monotonic() + 10
    while count and not moving.done() and time.monotonic() < deadline:
        now_waiting = connection.execute(query).fetchone() != (0,)
        count -= waiting and not now_waiting
        waiting = now_waiting
    assert count == 0


def test_an_open_reader_makes_it_back_off_and_then_it_succeeds_while_writers_go_on(
    filled: Settings, connection: Connection, another: Connector
) -> None:
    reader, writer = another(), another()
    with ThreadPoolExecutor(1) as pool:
        with reader.transaction():
            reader.execute("SELECT count(*) FROM transactions")
            moving = pool.submit(_moved, filled, FEBRUARY, lock_timeout_ms=30)
            with hammering(lambda: add_row(writer, TRANSACTIONS, MONTHS[-1].lower)) as durations_s:
                _wait_for_tries(connection, 3, moving)
            assert not moving.done()
            assert max(durations_s) < SLACK_S
        assert moving.result() is True
    assert FEBRUARY in warm_months(connection, TRANSACTIONS)


def test_it_gives_up_when_the_locks_are_never_to_be_had_and_nothing_has_moved(
    filled: Settings, connection: Connection, another: Connector
) -> None:
    reader = another()
    with reader.transaction():
        reader.execute("SELECT count(*) FROM transactions")
        with pytest.raises(TransientError, match="no lock within 2 tries"):
            _moved(filled, FEBRUARY, lock_timeout_ms=10, lock_attempts=2)
    assert FEBRUARY in hot_months(connection, TRANSACTIONS)
    assert _moved(filled, FEBRUARY)
