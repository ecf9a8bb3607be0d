"""A run computed again comes to the same, or says what differs; and what lies in the archive is what was recorded."""

from datetime import timedelta
from decimal import Decimal

import pytest

from ledger.errors import ConfigError, VerificationError
from sql.connection import connect
from storage.store import ObjectStore
from tasks.reconciliation.audit.objects import verify_objects
from tasks.reconciliation.runs.replay import replay_run
from tests.tasks.reconciliation.books import DAY, NOON, PARENT, Books, closed_by_two, prefix_of

NEXT = DAY + timedelta(days=1)


@pytest.mark.heavy("a replay says what differs")
def test_a_run_over_a_superseded_statement_in_a_closed_period_is_replayed(books: Books) -> None:
    row = books.own()
    books.run()
    books.line(row, occurred_at=NOON + timedelta(hours=20))
    books.both(created_at=NOON + timedelta(days=1))
    first = books.run(books.statement(NEXT), NEXT, movement=None)
    books.run(books.statement(NEXT), NEXT)  # replaced
    closed_by_two(books, DAY, NEXT, carry=True)
    books.rules(pass_variance=Decimal("1.00"))  # the rules of today are not those of the run
    assert first.run_id is not None
    found = replay_run(books.settings, first.run_id)
    assert (found.is_same, found.digest, found.differences) == (True, first.summary.digest, ())
    assert len(books.sql("SELECT * FROM recon_runs")) == 3


def test_a_replay_says_what_differs(books: Books) -> None:
    books.both()
    pending = books.own(status="pending")
    books.line(pending)
    first = books.run()
    books.sql(f"UPDATE {PARENT} SET status = 'completed' WHERE id = %s", pending["id"])
    assert first.run_id is not None
    found = replay_run(books.settings, first.run_id)
    assert not found.is_same
    assert "currencies.ZAR.own.value: was 100.00, is 200.00" in found.differences
    assert any(one.startswith("break that was not found then: class status") for one in found.differences)
    assert books.sql("SELECT * FROM recon_breaks") == []


def test_a_run_that_there_is_not_or_whose_statement_was_changed_is_not_replayed(books: Books) -> None:
    with pytest.raises(ConfigError, match="run 7 does not exist"):
        replay_run(books.settings, 7)
    result = books.run()
    assert result.run_id is not None
    (run,) = books.sql("SELECT figures FROM recon_runs")
    ObjectStore(books.settings).replace_bytes(b"other", run["figures"]["statement"]["key"])
    with pytest.raises(VerificationError, match=f"run {result.run_id}: .*parquet was changed"):
        replay_run(books.settings, result.run_id)


def test_objects_that_are_changed_or_gone_are_named(books: Books) -> None:
    books.both()
    statement = books.statement()
    result, _ = books.run(statement), books.run(statement)
    store = ObjectStore(books.settings)
    prefix = prefix_of(books, result)
    with connect(books.settings.database_dsn, "tests") as connection:
        assert verify_objects(books.settings, connection) >= 6  # five reports, the inputs, the statement
        store.replace_bytes(b"{}", f"{prefix}/report.json")
        store.remove(f"{prefix}/breaks.csv")
        with pytest.raises(VerificationError, match=r"breaks\.csv is gone; .*report\.json was changed"):
            verify_objects(books.settings, connection)
