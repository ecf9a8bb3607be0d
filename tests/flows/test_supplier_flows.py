"""The suppliers' flows through a real Prefect server, against the simulators: what they show, and how they end."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

import flows.test_suppliers as supplier_flow
from config import Settings
from flows.settle_vends import settle_vends
from ledger.errors import DataError
from ledger.identifiers import truncate_ms
from suppliers.simulation.faults import Fault
from tests.flows.test_flows import artifacts
from tests.sql.ledger_rows import add_row
from tests.suppliers.conftest import Simulated, simulators
from tests.tasks.vending.test_vending import Till, ready


@pytest.fixture
def till(settings: Settings, prefect_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Till, Simulated]]:
    """A ledger and simulators that the flows find by themselves, as in a worker."""
    with simulators() as running:
        till = Till(ready(settings, running))
        for name, value in till.settings.environment().items():
            monkeypatch.setenv(name, value)
        with temporary_settings({PREFECT_API_URL: prefect_url}):
            yield till, running


def run(flow: Any, **parameters: Any) -> tuple[Any, dict[str, Any]]:
    """A flow's end state and what it has published."""
    state = flow(**parameters, return_state=True)
    return state, artifacts(state.state_details.flow_run_id)


def test_the_supplier_tests_publish_every_check_and_fail_when_one_does(till: tuple[Till, Simulated]) -> None:
    _, running = till
    state, shown = run(supplier_flow.test_suppliers, suppliers=["peach"])
    assert state.is_completed()
    assert "reversal: payment" in shown["supplier-tests"]
    running.plan("peach", *[Fault.BROKEN] * 3)
    state, shown = run(supplier_flow.test_suppliers, suppliers=["peach"])
    assert '"result": "failed"' in shown["supplier-tests"]
    with pytest.raises(DataError, match="peach authentication"):
        state.result()


def test_the_sweep_settles_what_stayed_open_and_shows_the_rest(till: tuple[Till, Simulated]) -> None:
    desk, running = till
    sold, pending = desk.rows("peach")[0], desk.rows("peach", amount="9900.07")[0]
    airtime = _claimed_long_ago(desk, "mobilemart", "airtime")
    for row_id in (sold, pending):
        desk.run(partial(_die_after_the_sale, row_id=row_id))
    _age(desk, sold, pending)
    state, shown = run(settle_vends)
    report = state.result()
    assert (report.completed, report.failed, report.open) == (1, 0, 2)
    assert desk.look(sold)["status"] == "completed"
    assert str(pending) in shown["open-vends"]
    assert str(airtime) in shown["open-vends"]
    assert "the statement decides" in shown["open-vends"]
    assert len(running.purchases("peach")) == 1


async def _die_after_the_sale(vending: Any, row_id: UUID) -> None:
    async def dead(*_: Any, **__: Any) -> None:
        raise asyncio.CancelledError

    vending._end = dead
    with pytest.raises(asyncio.CancelledError):
        await vending.vend(row_id)


def _claimed_long_ago(desk: Till, name: str, vas_type: str) -> UUID:
    """A row whose purchase was sent and never heard of again."""
    from sql.connection import connect

    moment = truncate_ms(datetime.now(UTC))
    given = {"status": "processing", "supplier": name, "vas_type": vas_type, "mobile_number": "0831234567"}
    with connect(desk.settings.database_dsn, "tests") as connection:
        row_id = add_row(connection, desk.table, moment, **given)
        connection.execute(
            "UPDATE vas_transactions_partitioned SET supplier_reference = id::text WHERE id = %s", (row_id,)
        )
    _age(desk, row_id)
    return row_id


def _age(desk: Till, *row_ids: UUID) -> None:
    """As if nobody had touched the rows for an hour."""
    import psycopg

    with psycopg.connect(desk.settings.database_dsn) as connection:
        connection.execute(
            "UPDATE vas_transactions_partitioned SET updated_at = updated_at - %s WHERE id = ANY(%s)",
            (timedelta(hours=1), list(row_ids)),
        )
