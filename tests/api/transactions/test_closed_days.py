"""A row of a closed day does not change over HTTP: 409 names the period."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from ledger.business_days import day_of
from ledger.months import Month
from tests.api.ledger_rows import Ledger
from tests.tasks.reconciliation.books import Books, closed_by_two

PATH = "/api/v1/vas-transactions"


@pytest.mark.sampled(1)
@pytest.mark.parametrize("tier", ["hot", "warm"])
def test_a_status_of_a_closed_day_is_not_moved(
    api: httpx.Client, ledger: Ledger, this_month: Month, tmp_path: Path, tier: str
) -> None:
    table, month = ledger.table(PATH), this_month.plus(-5)
    noon = month.lower + timedelta(days=3, hours=10)
    inside, outside = ledger.add(table, [noon, noon + timedelta(days=1)], status="pending", client_id="acme")
    books, day = Books(ledger.settings, tmp_path), day_of(noon)
    books.run(books.statement(day), day)
    closed_by_two(books, day, day, carry=True)
    if tier == "warm":
        ledger.warm(table, month)
    answer = api.post(f"{PATH}/{inside['id']}/status", json={"status": "completed"})
    assert (answer.status_code, answer.json()["type"]) == (409, "urn:treasury:problem:conflict")
    named = f"flash {day} is in the closed period {day} to {day}: the row does not change any more. Post a new row."
    assert answer.json()["detail"] == named
    assert api.get(f"{PATH}/{inside['id']}").json()["status"] == "pending"
    assert api.post(f"{PATH}/{outside['id']}/status", json={"status": "completed"}).status_code == 200


def test_a_row_of_today_is_moved_as_ever(api: httpx.Client, ledger: Ledger) -> None:
    (row,) = ledger.add(ledger.table(PATH), [datetime.now(UTC)], status="pending")
    assert api.post(f"{PATH}/{row['id']}/status", json={"status": "completed"}).status_code == 200
