"""Daily totals over HTTP: of the key's client only, equal to the rows, from every tier."""

from datetime import timedelta
from typing import Any

import httpx
import psycopg
import pytest

from ledger.months import Month
from ledger.scopes import Scope
from tasks.totals.keeping import keep_daily_totals
from tests.api.conftest import MakeKey
from tests.api.ledger_rows import Ledger

URL = "/api/v1/totals"
COLD, WARM, HOT = Month(2024, 3), Month(2025, 3), Month(2026, 10)
RANGE = {"from": "2024-01-01", "to": "2026-12-31"}
BOTH = (Scope.TRANSACTIONS_READ, Scope.VAS_READ)


@pytest.fixture
def tiers(ledger: Ledger) -> Ledger:
    """Two rows of `acme` and one of `other` in each tier of both tables, at 21:59 and at 22:00 UTC."""
    for name in ("transactions", "vas_transactions"):
        table = ledger.settings.table(name)
        for month in (COLD, WARM, HOT):
            late = month.lower + timedelta(days=4, hours=22)
            ledger.add(table, [late - timedelta(minutes=1), late])
            ledger.add(table, [late], client_id="other", amount="7.00")
        ledger.cold(table, COLD)
        ledger.warm(table, WARM)
    return ledger


def items(http: httpx.Client, key: dict[str, str], **query: str) -> list[dict[str, Any]]:
    answer = http.get(URL, params=RANGE | query, headers=key)
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["items"]
    return found


def test_a_key_sees_its_own_clients_totals_and_an_auditors_key_all(
    http: httpx.Client, make_key: MakeKey, tiers: Ledger
) -> None:
    mine, all_ = make_key(scopes=BOTH), make_key(scopes=[*BOTH, Scope.READ_ALL])
    for _ in range(2):
        for table in ("transactions", "vas_transactions"):
            (own,) = items(http, mine, table=table, group_by="client_id")
            assert (own["client_id"], own["rows"], own["sums"]["amount"]) == ("acme", 6, "723.00")
            found = {one["client_id"]: one for one in items(http, all_, table=table, group_by="client_id")}
            assert {name: (one["rows"], one["sums"]["amount"]) for name, one in found.items()} == {
                "acme": (6, "723.00"),
                "other": (3, "21.00"),
            }
        assert {one.error for one in keep_daily_totals(tiers.settings)} == {None}


def test_rows_that_the_archive_has_with_other_values_are_refused_in_their_range_and_to_their_client(
    http: httpx.Client, make_key: MakeKey, ledger: Ledger
) -> None:
    table = ledger.settings.table("transactions")
    rows = ledger.add(table, [COLD.lower + timedelta(days=day) for day in (3, 9)])
    ledger.cold(table, COLD)
    with psycopg.connect(ledger.settings.database_dsn, autocommit=True) as connection:
        connection.execute(
            f"CREATE TABLE again PARTITION OF {table.hot_parent}"
            f" FOR VALUES FROM ('{COLD}-01 00:00+00') TO ('{COLD.plus(1)}-01 00:00+00')"
        )
    ledger.store(table, [rows[0], rows[1] | {"amount": "1.00"}])
    mine, other = make_key(scopes=BOTH), make_key("other", scopes=BOTH)
    assert http.get(URL, params=RANGE, headers=mine).status_code == 503
    until = {"from": "2024-03-01", "to": "2024-03-08"}
    assert [one["rows"] for one in items(http, mine, **until)] == [1]
    assert items(http, other) == []


def test_days_are_those_of_the_zone(http: httpx.Client, make_key: MakeKey, tiers: Ledger) -> None:
    key, day = make_key(scopes=BOTH), {"from": "2026-10-05", "to": "2026-10-06"}
    for _ in range(2):
        (utc,) = items(http, key, **day)
        assert (utc["day"], utc["rows"], utc["currency"], utc["status"]) == ("2026-10-05", 2, "ZAR", None)
        found = items(http, key, **day, zone="Africa/Johannesburg", group_by="day,status")
        assert [(one["day"], one["rows"], one["status"]) for one in found] == [
            ("2026-10-05", 1, "completed"),
            ("2026-10-06", 1, "completed"),
        ]
        keep_daily_totals(tiers.settings)


def test_what_is_not_right_is_refused_by_name(http: httpx.Client, make_key: MakeKey, tiers: Ledger) -> None:
    key = make_key(scopes=[Scope.TRANSACTIONS_READ])
    for query, detail in (
        ({}, "from: is required"),
        ({"from": "2026-02-30", "to": "2026-03-01"}, "from: must be a day of the calendar, written as YYYY-MM-DD"),
        ({"from": "2026-03-02", "to": "2026-03-01"}, "to: must not be before `from`, 2026-03-02"),
        (RANGE | {"zone": "Europe/Paris"}, "zone: must be one of UTC, Africa/Johannesburg"),
        (RANGE | {"group_by": "wallet_id"}, "group_by: must be one of day, client_id, type, status, supplier"),
        (RANGE | {"group_by": "supplier"}, "group_by: transactions has no column for supplier"),
        (RANGE | {"table": "alerts"}, "table: must be one of transactions, vas_transactions"),
    ):
        answer = http.get(URL, params=query, headers=key)
        assert (answer.status_code, answer.json()["detail"]) == (422, detail)
    assert http.get(URL, params=RANGE | {"table": "vas_transactions"}, headers=key).status_code == 403


def test_a_month_that_somebody_took_away_is_a_503(http: httpx.Client, make_key: MakeKey, tiers: Ledger) -> None:
    with_rows = tiers.settings.table("transactions")
    with psycopg.connect(tiers.settings.database_dsn, autocommit=True) as connection:
        connection.execute(f"ALTER TABLE {with_rows.hot_parent} DETACH PARTITION {with_rows.partition(HOT)}")
    assert http.get(URL, params=RANGE, headers=make_key(scopes=BOTH)).status_code == 503
    until = RANGE | {"to": "2026-09-30"}
    assert http.get(URL, params=until, headers=make_key(scopes=BOTH)).status_code == 200
