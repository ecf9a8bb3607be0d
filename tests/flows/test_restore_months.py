"""The flow that brings archived months back, through a real Prefect server."""

import pytest
from prefect.client.schemas.objects import State
from prefect.exceptions import ParameterTypeError

from flows.restore_months import restore_months
from ledger.errors import DataError
from tasks.archiving.to_cold import archive_month
from tests.flows.test_flows import artifacts
from tests.tasks.archiving.ledger import COLD, ROWS, Ledger

ASKED = {"first": str(COLD), "actor": "anna", "reason": "a correction"}


def test_a_run_brings_a_month_back_to_warm_and_shows_until_when(ledger: Ledger) -> None:
    ledger.warm(COLD)
    archive_month(ledger.settings, ledger.table, COLD)
    state = restore_months(to="warm", **ASKED, return_state=True)
    assert isinstance(state, State)
    assert state.is_completed(), state.message
    assert ledger.tier(COLD) == "warm"
    assert state.state_details.flow_run_id is not None
    shown = artifacts(state.state_details.flow_run_id)["returned-months"]
    assert f'"rows": {ROWS}' in shown
    failed = restore_months(**ASKED, return_state=True)
    with pytest.raises(DataError, match="is warm: its rows are in PostgreSQL already"):
        failed.result()


def test_a_place_that_is_none_is_refused() -> None:
    with pytest.raises(ParameterTypeError, match="to"):
        restore_months.validate_parameters({"to": "cold"} | ASKED)
