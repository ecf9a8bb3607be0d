"""The nightly verification, through a real Prefect server: what was read is published, and each step has its say."""

import pytest

from flows.verify_archive import verify_archive
from ledger.errors import DataError
from ledger.months import Month
from sql.connection import connect
from sql.locks import LockedObject, intend_retention
from storage.store import ObjectStore
from tasks.retention.locks import DIFFERING
from tasks.verifying.reverification import DAMAGED
from tests.tasks.archiving.ledger import COLD, ROWS, Ledger
from tests.tasks.transparency.test_copies import of


def open_alerts(ledger: Ledger) -> set[str]:
    return {rule for (rule,) in ledger.sql("SELECT rule FROM alerts WHERE state = 'open'")}


@pytest.fixture
def archived(ledger: Ledger) -> Ledger:
    """A ledger with an archived month, published."""
    ledger.warm(COLD)
    ledger.night()
    return ledger


def test_a_night_reads_a_month_and_publishes_that_it_did(archived: Ledger) -> None:
    state = verify_archive(return_state=True)
    assert state.is_completed()
    night = state.result()
    assert (night.parts, night.rows) == (1, ROWS)
    assert of(archived).kinds()[-1] == "reverified"
    assert open_alerts(archived) == set()


def test_a_night_names_damage_and_a_broken_promise_and_both_are_alerts(archived: Ledger) -> None:
    row = archived.catalogue(COLD)
    with connect(archived.settings.database_dsn, "tests") as connection:
        locked = LockedObject("transactions", COLD.first_day, 1, row["object_key"])
        intend_retention(connection, locked, "v1", "GOVERNANCE", Month(2090, 1).lower)
    ObjectStore(archived.settings).remove(row["tree"]["key"])
    state = verify_archive(return_state=True)
    assert state.is_failed()
    with pytest.raises(DataError) as raised:
        state.result()
    assert f"{row['tree']['key']}: is missing" in str(raised.value)
    assert "is less than the promise of the locks" in str(raised.value)
    assert open_alerts(archived) == {DAMAGED, DIFFERING}
