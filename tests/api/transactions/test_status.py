"""Moving a status: forward only, once, and only while the month takes changes."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from ledger.months import Month
from ledger.transactions import NEXT_STATUSES, Status
from sql.connection import connect
from sql.seal import seal
from tests.api.ledger_rows import BODIES, PATHS, Ledger, keyed
from tests.relations import relation

PATH = "/api/v1/transactions"


def post(api: httpx.Client, status: str, path: str = PATH) -> str:
    response = api.post(path, json={**BODIES[path], "status": status}, headers=keyed())
    assert response.status_code == 201
    return str(response.headers["location"])


@pytest.mark.sampled(1)
@pytest.mark.parametrize("path", PATHS)
def test_every_pair_of_statuses_follows_the_state_machine(api: httpx.Client, path: str) -> None:
    for current in Status:
        for wanted in Status:
            address = post(api, current, path)
            response = api.post(f"{address}/status", json={"status": wanted})
            allowed = wanted is current or wanted in NEXT_STATUSES[current]
            assert response.status_code == (200 if allowed else 409), (current, wanted)
            assert api.get(address).json()["status"] == (wanted if allowed else current)


def test_a_change_touches_the_status_and_updated_at_alone(api: httpx.Client) -> None:
    address = post(api, "pending")
    before = api.get(address).json()
    after = api.post(f"{address}/status", json={"status": "completed"}).json()

    assert after.pop("status") == "completed"
    assert after.pop("updated_at") >= before.pop("updated_at")
    assert after == {name: value for name, value in before.items() if name != "status"}
    assert (
        api.post(f"{address}/status", json={"status": "completed"}).json()["updated_at"]
        == (api.get(address).json()["updated_at"])
    )


def test_of_many_who_finish_a_transaction_differently_one_wins(api: httpx.Client) -> None:
    address = post(api, "processing")
    wanted = ["completed", "failed", "cancelled", "reversed"] * 4
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda status: api.post(f"{address}/status", json={"status": status}), wanted))

    final = api.get(address).json()["status"]
    assert {status for status, answer in zip(wanted, answers, strict=True) if answer.status_code == 200} == {final}
    assert {answer.status_code for answer in answers} == {200, 409}


def test_a_warm_row_changes_and_a_cold_one_does_not(api: httpx.Client, ledger: Ledger, this_month: Month) -> None:
    table = ledger.table(PATH)
    month = this_month.plus(-5)
    (row,) = ledger.add(table, [month.lower], status="pending")
    ledger.warm(table, month)
    address = f"{PATH}/{row['id']}/status"

    assert api.post(address, json={"status": "completed"}).status_code == 200
    ledger.archive(table, month)
    assert api.post(address, json={"status": "failed"}).status_code == 409
    assert api.post(address, json={"status": "completed"}).json()["status"] == "completed"


def test_a_sealed_month_takes_no_change(api: httpx.Client, ledger: Ledger, this_month: Month) -> None:
    table, month = ledger.table(PATH), this_month.plus(-5)
    (row,) = ledger.add(table, [month.lower], status="pending")
    ledger.warm(table, month)
    with connect(ledger.settings.database_dsn, "tests") as connection:
        seal(connection, relation(connection, table.partition(month)))
    response = api.post(f"{PATH}/{row['id']}/status", json={"status": "completed"})

    assert (response.status_code, response.json()["type"]) == (409, "urn:treasury:problem:conflict")
    assert "TR002" not in response.text


@pytest.mark.parametrize(
    ("body", "field"),
    [({}, "status"), ({"status": "done"}, "status"), ({"status": None}, "status"), ({"status": 1}, "status"),
     ({"status": "failed", "why": "x"}, "why")],
)  # fmt: skip
def test_a_change_that_is_none_is_refused(api: httpx.Client, body: dict[str, Any], field: str) -> None:
    response = api.post(f"{post(api, 'pending')}/status", json=body)
    assert (response.status_code, response.json()["errors"][0]["field"]) == (422, field)


def test_the_rows_of_others_are_not_there_even_for_an_auditor(api: httpx.Client, make_key: Any) -> None:
    address = post(api, "pending")
    auditor = make_key("auditor", ["transactions:read", "transactions:write", "read:all"])

    assert api.get(address, headers=auditor).status_code == 200
    assert api.post(f"{address}/status", json={"status": "failed"}, headers=auditor).status_code == 404
    assert api.get(address).json()["status"] == "pending"
