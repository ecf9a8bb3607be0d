"""A deep month over HTTP: listed with its class, and rows that must be restored first are named, never left out."""

import uuid
from datetime import timedelta

import httpx
import pytest

from config import Settings
from ledger.holds import HoldScope
from ledger.months import Month
from ledger.scopes import Scope
from tasks.archiving.calendar import utc_today
from tasks.archiving.to_deep import deepen
from tasks.restoring.requests import RetrievalTier, request_restore
from tasks.retention.holds import place_hold
from tasks.transparency.publish import publish_log
from tests.api.conftest import MakeKey, serving
from tests.api.ledger_rows import Ledger
from tests.stores import Store

DEEP = Month(2016, 1)
YOUNG = Month(2024, 3)


@pytest.mark.heavy("another test reads deep months by SQL")
def test_deep_months_are_named_over_http(ready: Settings, moto_store: Store, make_key: MakeKey) -> None:
    settings = moto_store.settings(ready, moto_store.plain, uuid.uuid4().hex)
    settings = settings.model_copy(update={"deep_storage_class": "DEEP_ARCHIVE"})
    ledger, table = Ledger(settings), settings.table("transactions")
    (row,) = ledger.add(table, [DEEP.lower + timedelta(days=3)])
    ledger.add(table, [YOUNG.lower + timedelta(days=3)])
    for month in (DEEP, YOUNG):
        ledger.cold(table, month)
    deepen(settings, table, DEEP)
    publish_log(settings)
    scope = HoldScope(DEEP, DEEP)
    place_hold(settings, scope, "matter", "asked for", "anna", utc_today() + timedelta(days=9))
    key = make_key(scopes=(Scope.TRANSACTIONS_READ, Scope.ARCHIVE_READ))
    with serving(settings) as url, httpx.Client(base_url=url, timeout=30, headers=key) as client:
        young, deep = client.get("/api/v1/archive/months").json()["items"]
        assert (deep["tier"], deep["storage_class"], deep["held_by"]) == ("deep", "DEEP_ARCHIVE", ["HOLD-1"])
        assert (deep["deletion_due_on"], deep["deletion"]) == ("2026-02-01", "due")
        assert (young["storage_class"], young["held_by"], young["deletion"]) == (None, [], None)
        for path in (
            "/api/v1/transactions?wallet_id=wallet-1",
            f"/api/v1/transactions/{row['id']}",
            f"/api/v1/archive/proofs/rows/{row['id']}",
        ):
            answer = client.get(path)
            assert answer.status_code == 409, (path, answer.text)
            assert answer.json()["type"] == "urn:treasury:problem:not-yet"
            assert "`treasury restore-request transactions 2016-01`" in answer.json()["detail"]
        newer = client.get("/api/v1/transactions?wallet_id=wallet-1&from=2020-01-01T00:00:00Z")
        assert len(newer.json()["items"]) == 1
        request_restore(settings, table, DEEP, DEEP, 3, RetrievalTier.BULK)
        page = client.get("/api/v1/transactions?wallet_id=wallet-1").json()
        assert [one["id"] for one in page["items"]][-1] == str(row["id"])
