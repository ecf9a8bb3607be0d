"""The flow that keeps daily totals, through a real Prefect server: what ended is kept, a failure fails the run."""

import pytest

from flows.keep_daily_totals import keep_daily_totals
from ledger.errors import DataError
from tasks.totals.keeping import TotalsResult
from tests.tasks.archiving.ledger import COLD, HOT, Ledger
from tests.tasks.totals.rows import check


def test_a_run_keeps_the_totals_of_months_that_have_ended_and_the_next_finds_them(ledger: Ledger) -> None:
    for month in (COLD, HOT):
        ledger.fill(month)
    ledger.night()
    for expected in (TotalsResult.KEPT, TotalsResult.HELD):
        state = keep_daily_totals(return_state=True)
        assert state.is_completed()
        results = {one.month: one.result for one in state.result() if one.table == "transactions"}
        assert (results[COLD], results[HOT]) == (expected, expected)  # months that have ended since are without rows
        check(ledger.settings, ledger.table)


def test_a_month_that_cannot_be_kept_fails_the_run_and_stops_no_other(ledger: Ledger) -> None:
    for month in (COLD, HOT):
        ledger.fill(month)
    ledger.night()
    key = ledger.catalogue(COLD)["object_key"]
    (ledger.store / key).write_bytes(bytes(one ^ 1 for one in (ledger.store / key).read_bytes()))
    state = keep_daily_totals(return_state=True)
    assert state.is_failed()
    with pytest.raises(DataError, match=str(COLD)):
        state.result()
    kept = ledger.sql("SELECT DISTINCT month::text FROM daily_totals_places WHERE month <= %s", HOT.first_day)
    assert kept == [(f"{HOT}-01",)]
