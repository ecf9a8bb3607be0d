"""Bounds of time are exact to the microsecond, and a row is found by its id whatever the id tells."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx
import psycopg
import pytest

from ledger.identifiers import new_id
from ledger.months import Month
from tests.api.ledger_rows import BODY, Ledger
from tests.api.transactions.test_reading import ids, pages

PATH = "/api/v1/transactions"
WALLET = {"wallet_id": "wallet-1"}


def _asked(api: httpx.Client, **query: str) -> int:
    response = api.get(PATH, params={**WALLET, **query})
    assert response.status_code == 200, response.text
    return len(response.json()["items"])


@pytest.mark.sampled(1)
@pytest.mark.parametrize("tier", ["hot", "warm", "cold"])
def test_bounds_are_compared_exactly(api: httpx.Client, ledger: Ledger, this_month: Month, tier: str) -> None:
    table, month = ledger.table(PATH), this_month.plus(-5)
    row_at = month.upper - timedelta(milliseconds=1)  # .999
    ledger.add(table, [row_at])
    if tier != "hot":
        ledger.warm(table, month)
    if tier == "cold":
        ledger.archive(table, month)
    day = f"{row_at:%Y-%m-%dT%H:%M:%S}"

    assert _asked(api, to=f"{day}.999999Z") == 1
    assert _asked(api, to=f"{day}.999001Z") == 1
    assert _asked(api, to=f"{day}.999Z") == 0
    assert _asked(api, **{"from": f"{day}.999Z"}) == 1
    assert _asked(api, **{"from": f"{day}.9995Z"}) == 0
    assert _asked(api, **{"from": f"{day}.9985Z"}) == 1
    assert _asked(api, **{"from": f"{day}.998999Z", "to": f"{day}.999001Z"}) == 1


class Strangers:
    """Rows whose ids are none of their month, in a partition that has no CHECK on them."""

    def __init__(self, ledger: Ledger, month: Month) -> None:
        self.ledger, self.month = ledger, month
        self.table = ledger.table(PATH)
        ledger.add(self.table, [month.lower])
        name = self.table.partition(month)
        with psycopg.connect(ledger.settings.database_dsn, autocommit=True) as connection:
            connection.execute(f"ALTER TABLE {name} DROP CONSTRAINT {name}_bounds")

    def add(self, row_id: UUID, at: datetime, **changes: Any) -> None:
        """A row with an id of its own."""
        (row,) = self.ledger.add(self.table, [at], **changes)
        with psycopg.connect(self.ledger.settings.database_dsn, autocommit=True) as connection:
            connection.execute("SET session_replication_role = replica")  # past the guard of history
            connection.execute("UPDATE transactions_partitioned SET id = %s WHERE id = %s", (row_id, row["id"]))


@pytest.mark.sampled(1)
@pytest.mark.parametrize("tier", ["hot", "warm", "cold"])
def test_a_row_is_found_by_an_id_that_does_not_tell_its_time(
    api: httpx.Client, ledger: Ledger, this_month: Month, tier: str
) -> None:
    month = this_month.plus(-5)
    strangers = Strangers(ledger, month)
    at = month.lower + timedelta(days=2)
    row_ids = [
        uuid4(),  # tells no time
        new_id(at + timedelta(milliseconds=5), lambda _: 1),  # of its month, but of another millisecond
        new_id(this_month.plus(-1).lower, lambda _: 2),  # of another month
        UUID("ffffffff-ffff-7fff-bfff-ffffffffffff"),  # of a time beyond the calendar
    ]
    for row_id in row_ids:
        strangers.add(row_id, at)
    if tier != "hot":
        ledger.warm(strangers.table, month)
    if tier == "cold":
        ledger.archive(strangers.table, month)

    answers = [api.get(f"{PATH}/{row_id}") for row_id in row_ids]
    assert [answer.status_code for answer in answers] == [200] * 4
    assert [answer.json()["id"] for answer in answers] == [str(row_id) for row_id in row_ids]
    assert api.get(f"{PATH}/{uuid4()}").status_code == 404
    found = [row_id for page in pages(api, **WALLET, limit=2) for row_id in ids(page)]
    assert (len(found), len(set(found))) == (5, 5)
    assert {str(row_id) for row_id in row_ids} < set(found)


def test_the_status_of_a_row_changes_whatever_its_id_tells(
    api: httpx.Client, ledger: Ledger, this_month: Month
) -> None:
    month, row_id = this_month.plus(-1), uuid4()
    Strangers(ledger, month).add(row_id, month.lower + timedelta(days=1), status="pending")
    answer = api.post(f"{PATH}/{row_id}/status", json={"status": "completed"})
    assert (answer.status_code, answer.json()["status"]) == (200, "completed")


def test_rows_of_a_month_that_somebody_took_away_are_refused(
    api: httpx.Client, ledger: Ledger, this_month: Month
) -> None:
    table, month = ledger.table(PATH), this_month.plus(-5)
    (row,) = ledger.add(table, [month.lower])
    (other,) = ledger.add(table, [this_month.lower])
    with psycopg.connect(ledger.settings.database_dsn, autocommit=True) as connection:
        connection.execute(f"ALTER TABLE transactions_partitioned DETACH PARTITION {table.partition(month)}")

    for answer in (api.get(PATH, params=WALLET), api.get(f"{PATH}/{row['id']}")):
        assert (answer.status_code, str(month) in answer.json()["detail"]) == (503, True)
    assert api.get(f"{PATH}/{other['id']}").status_code == 200
    since = {**WALLET, "from": this_month.lower.isoformat()}
    assert ids(api.get(PATH, params=since).json()["items"]) == [str(other["id"])]


def test_a_column_made_again_shows_nothing_of_the_one_that_was_dropped(
    api: httpx.Client, ledger: Ledger, this_month: Month
) -> None:
    table, month = ledger.table(PATH), this_month.plus(-5)
    (row,) = ledger.add(table, [month.lower], description="of the dropped column")
    ledger.cold(table, month)
    with psycopg.connect(ledger.settings.database_dsn, autocommit=True) as connection:
        connection.execute("DROP VIEW transactions")
        for parent in (table.hot_parent, table.warm_parent):
            connection.execute(f"ALTER TABLE {parent} DROP COLUMN description")
            connection.execute(f"ALTER TABLE {parent} ADD COLUMN description varchar(512)")

    assert api.get(f"{PATH}/{row['id']}").json()["description"] is None
    (listed,) = api.get(PATH, params=WALLET).json()["items"]
    assert (listed["description"], listed["amount"]) == (None, BODY["amount"])
