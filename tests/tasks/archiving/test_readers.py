"""Who reads while months move: PostgreSQL's views and the auditor's SQL, asked without pause."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from decimal import Decimal

import psycopg
import pytest
from psycopg import IsolationLevel

from ledger.months import Month, months_between
from sql.restored import Request
from tasks.archiving.to_cold import archive_month
from tasks.archiving.to_warm import warm_month
from tasks.querying.query import run_query
from tasks.restoring.back_to_warm import return_month
from tests.tasks.archiving.ledger import COLD, HOT, ROWS, Ledger

MONTHS = list(months_between(COLD, COLD.plus(3)))
TOTAL = "SELECT count(*), sum(amount) FROM transactions"

Total = tuple[int, Decimal]


class Asking:
    """One question asked again and again in threads of its own; what was answered, and what went wrong."""

    def __init__(self, ask: Callable[[], Total]) -> None:
        self.answers: list[Total] = []
        self.errors: list[Exception] = []
        self._ask = ask
        self._stop = threading.Event()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self.answers.append(self._ask())
            except Exception as error:  # noqa: BLE001  # shown by the test that has started the thread
                self.errors.append(error)
                return

    @contextmanager
    def going_on(self, threads: int = 2) -> Iterator["Asking"]:
        """Ask until the block is left, at least once in it."""
        running = [threading.Thread(target=self._run) for _ in range(threads)]
        for thread in running:
            thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            for thread in running:
                thread.join()


def total_of(ledger: Ledger, isolation: IsolationLevel) -> Callable[[], Total]:
    """The view's count and sum, each time in a transaction of two statements that must agree."""

    def ask() -> Total:
        with psycopg.connect(ledger.settings.database_dsn) as connection:
            connection.isolation_level = isolation
            first = connection.execute(TOTAL).fetchone()
            again = connection.execute(TOTAL).fetchone()
        assert first is not None
        assert first == again
        return first[0], first[1]

    return ask


def month_totals(ledger: Ledger) -> dict[Month, Total]:
    return {Month.parse(name): value for name, value in ledger.content().items()}


@pytest.mark.sampled(1)
@pytest.mark.parametrize("isolation", [IsolationLevel.READ_COMMITTED, IsolationLevel.REPEATABLE_READ])
def test_the_view_shows_every_row_once_while_months_become_warm(ledger: Ledger, isolation: IsolationLevel) -> None:
    for month in MONTHS:
        ledger.fill(month)
    whole = total_of(ledger, isolation)()
    assert whole[0] == len(MONTHS) * ROWS
    with Asking(total_of(ledger, isolation)).going_on() as asking:
        for month in MONTHS:
            assert warm_month(ledger.settings, ledger.table, month)
    assert asking.errors == []
    assert len(asking.answers) > len(MONTHS)
    assert set(asking.answers) == {whole}


@pytest.mark.heavy("the auditor sees the whole at every moment")
def test_the_view_loses_a_month_only_as_a_whole_when_it_leaves_postgresql(ledger: Ledger) -> None:
    """The view is PostgreSQL's part alone; a month in it is all there or not at all."""
    ledger.warm(*MONTHS)
    totals = month_totals(ledger)
    left = [
        (sum(totals[month][0] for month in MONTHS[gone:]), sum(totals[month][1] for month in MONTHS[gone:]) or None)
        for gone in range(len(MONTHS) + 1)
    ]

    def ask() -> Total:
        with psycopg.connect(ledger.settings.database_dsn) as connection:
            row = connection.execute(TOTAL).fetchone()
        assert row is not None
        return row[0], row[1]

    with Asking(ask).going_on(threads=1) as asking:
        for month in MONTHS:
            archive_month(ledger.settings, ledger.table, month)
    assert asking.errors == []
    assert set(asking.answers) <= set(left)
    assert len(set(asking.answers)) > 1


@pytest.mark.heavy("single steps are tested beside it")
def test_the_auditor_sees_the_whole_at_every_moment(ledger: Ledger) -> None:
    for month in MONTHS:
        ledger.fill(month)
    ledger.fill(HOT)

    def ask() -> Total:
        (row,) = ledger.ask("SELECT count(*) AS n, sum(amount) AS total FROM transactions")
        return row["n"], row["total"]

    whole = ask()
    assert whole[0] == (len(MONTHS) + 1) * ROWS
    with Asking(ask).going_on(threads=1) as asking:
        outcomes = ledger.night()
    assert len(outcomes) == 2 * len(MONTHS)
    assert {tier for _, tier in ledger.whole()} == {"cold", "hot"}
    assert asking.errors == []
    assert set(asking.answers) == {whole}


def test_a_month_does_not_leave_under_a_running_question(ledger: Ledger) -> None:
    """The mover waits, gives up, and comes back: the reader is not disturbed."""
    ledger.warm(COLD)
    impatient = ledger.settings.model_copy(update={"lock_timeout_ms": 20, "lock_attempts": 3})
    before = ledger.content()
    with run_query(ledger.settings, "SELECT count(*) AS n FROM transactions") as answer:
        (failed,) = Ledger(impatient, ledger.store).night()
        assert (failed.transient, "no lock" in failed.reason) == (True, True)
        assert answer.batches.read_all().to_pylist() == [{"n": ROWS}]
    ledger.night()
    assert ledger.tier(COLD) == "cold"
    assert ledger.content() == before
    ledger.check_archive()


def test_a_question_to_the_archive_alone_holds_nobody_up(ledger: Ledger) -> None:
    newer = COLD.plus(1)
    ledger.warm(COLD, newer)
    archive_month(ledger.settings, ledger.table, COLD)
    with run_query(ledger.settings, "SELECT count(*) AS n FROM transactions WHERE tier = 'cold'") as answer:
        archive_month(ledger.settings, ledger.table, newer)
        assert answer.batches.read_all().to_pylist() == [{"n": ROWS}]


@pytest.mark.sampled(1)
@pytest.mark.parametrize("is_auditor", [True, False])
def test_every_row_is_seen_once_while_months_go_back_to_warm(ledger: Ledger, is_auditor: bool) -> None:
    """The auditor over all tiers has the whole at every moment; PostgreSQL's view gains each month as a whole."""
    ledger.warm(*MONTHS)
    totals = month_totals(ledger)
    for month in MONTHS:
        archive_month(ledger.settings, ledger.table, month)
    back = [
        (sum(totals[month][0] for month in MONTHS[:done]), sum(totals[month][1] for month in MONTHS[:done]) or None)
        for done in range(len(MONTHS) + 1)
    ]

    def ask() -> Total:
        (row,) = ledger.ask("SELECT count(*) AS n, sum(amount) AS total FROM transactions")
        return row["n"], row["total"]

    asked = ask if is_auditor else total_of(ledger, IsolationLevel.REPEATABLE_READ)
    who = Request("anna", "os anna", "to be corrected", timedelta(days=1))
    with Asking(asked).going_on(threads=1) as asking:
        for month in MONTHS:
            return_month(ledger.settings, ledger.table, month, who)
    assert asking.errors == []
    assert set(asking.answers) <= ({back[-1]} if is_auditor else set(back))
    assert ask() == back[-1]
    assert {tier for _, tier in ledger.whole()} == {"warm"}
