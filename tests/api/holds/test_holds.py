"""Legal holds over HTTP: three clients, and the deleted month that no hold kept."""

import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import httpx
import pytest

from config import Settings
from config.retention import RetentionSettings
from ledger.months import Month
from ledger.scopes import Scope
from tasks.archiving.calendar import utc_today
from tasks.retention.approvals import approve, request_deletion
from tasks.retention.deletion import DeletionOutcome, DeletionResult, delete_months
from tasks.transparency.publish import publish_log
from tests.api.conftest import MakeKey, serving
from tests.api.ledger_rows import Ledger

OLD = Month(2014, 2)
PATH = "/api/v1/holds"
Desk = dict[str, dict[str, str]]


@pytest.fixture
def aged(ready: Settings) -> Ledger:
    """A ledger with an archived month of ten years ago, whose deletions have no grace period."""
    ledger = Ledger(ready.model_copy(update={"retention": RetentionSettings(grace_days=0)}))
    table = ledger.settings.table("transactions")
    ledger.add(table, [OLD.lower + timedelta(days=day) for day in range(5)])
    ledger.cold(table, OLD)
    publish_log(ledger.settings)
    return ledger


@pytest.fixture
def http(aged: Ledger) -> Iterator[httpx.Client]:
    """A client of a running API that carries no key."""
    with serving(aged.settings) as url, httpx.Client(base_url=url, timeout=30) as client:
        yield client


@pytest.fixture
def people(make_key: MakeKey) -> Desk:
    """The headers of three clients that may work on holds."""
    return {name: make_key(name, [Scope.ARCHIVE_HOLDS]) for name in ("legal", "audit", "finance")}


def body(**changes: Any) -> dict[str, Any]:
    given = {
        "matter": "CASE 2026/17",
        "reason": "court order",
        "first_month": str(OLD),
        "review_on": (utc_today() + timedelta(days=30)).isoformat(),
    }
    return given | changes


def test_a_hold_is_placed_by_one_client_and_released_by_two_others(http: httpx.Client, people: Desk) -> None:
    placed = http.post(PATH, json=body(), headers=people["legal"])
    assert placed.status_code == 201
    one = placed.json()
    assert (one["hold"], one["actor"], one["state"], one["first_month"]) == ("HOLD-1", "legal", "open", str(OLD))
    assert one["account"].startswith("key ")
    again = http.post(PATH, json=body(), headers=people["legal"])
    assert (again.status_code, again.json()) == (201, one)
    release = f"{PATH}/HOLD-1/release"
    own = http.post(release, json={"reason": "closed"}, headers=people["legal"])
    assert (own.status_code, own.json()["detail"]) == (
        409,
        f"HOLD-1 was placed by legal under {one['account']}: two other people must release it",
    )
    proposed = http.post(release, json={"reason": "closed"}, headers=people["audit"])
    assert proposed.json()["state"] == "release proposed"
    again = http.post(release, json={"reason": "closed"}, headers=people["audit"])
    assert again.status_code == 409
    rejected = http.post(release, json={"reason": "not yet", "decision": "reject"}, headers=people["finance"])
    assert rejected.json()["state"] == "open"
    http.post(f"{PATH}/1/release", json={"reason": "closed"}, headers=people["audit"]).raise_for_status()
    done = http.post(f"{PATH}/1/release", json={"reason": "checked"}, headers=people["finance"])
    assert done.json()["state"] == "released"
    shown = http.get(f"{PATH}/1", headers=people["audit"]).json()
    assert [each["action"] for each in shown["decisions"]] == ["proposed", "rejected", "proposed", "released"]
    assert [each["hold"] for each in http.get(PATH, headers=people["audit"]).json()["items"]] == ["HOLD-1"]


@pytest.mark.sampled(3)
@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"first_month": "1999-01"}, "month 1999-01 of every table is in no tier"),
        ({"first_month": "1999-13"}, "month 1999-13 is outside"),
        ({"first_month": "january"}, "month 'january' is not of the form YYYY-MM"),
        ({"last_month": "2013-01"}, "the last month 2013-01 is before the first"),
        ({"table": "other"}, "unknown table 'other'"),
        ({"subject": "wallet", "value": "wallet-99"}, "wallet wallet-99 has no row in transactions"),
        ({"subject": "wallet"}, "wallet: must have 1 to 64 printable characters"),
        ({"subject": "person", "value": "x"}, "subject: must be one of"),
        ({"review_on": "2020-01-01"}, "review_on: must be a day to come, and 2020-01-01 is not"),
        ({"matter": "4111111111111111"}, "matter: "),
    ],
)
def test_what_no_hold_can_be_placed_on_is_named(
    http: httpx.Client, people: Desk, changes: dict[str, Any], said: str
) -> None:
    answer = http.post(PATH, json=body(**changes), headers=people["legal"])
    assert answer.status_code == 422
    assert said in answer.json()["detail"]
    assert http.get(PATH, headers=people["legal"]).json() == {"items": []}


def test_holds_need_their_scope_and_an_unknown_one_is_not_found(
    http: httpx.Client, people: Desk, make_key: MakeKey
) -> None:
    assert http.get(PATH, headers=make_key("acme")).status_code == 403
    for number in ("7", "HOLD-7", "x", "HOLD-99999999999"):
        assert http.get(f"{PATH}/{number}", headers=people["legal"]).status_code == 404
        answer = http.post(f"{PATH}/{number}/release", json={"reason": "closed"}, headers=people["legal"])
        assert answer.status_code == 404


def test_a_row_of_a_deleted_month_is_gone_and_its_certificate_is_named(
    aged: Ledger, http: httpx.Client, people: Desk, make_key: MakeKey
) -> None:
    key = make_key("acme")
    known = http.get("/api/v1/transactions?wallet_id=wallet-1", headers=key).json()["items"][0]["id"]
    http.post(PATH, json=body(subject="wallet", value="wallet-1"), headers=people["legal"]).raise_for_status()
    outcome = delete(aged)[1]  # its request has ended by itself
    assert outcome.reason == "only rows that HOLD-1 keep are left"
    assert http.get(f"/api/v1/transactions/{known}", headers=key).status_code == 200
    for client in ("audit", "finance"):
        http.post(f"{PATH}/1/release", json={"reason": "closed"}, headers=people[client]).raise_for_status()
    assert delete(aged)[1].result is DeletionResult.DELETED
    for viewer in (key, make_key("other")):
        while (gone := http.get(f"/api/v1/transactions/{known}", headers=viewer)).status_code == 200:
            time.sleep(0.5)  # cached for the bound on staleness, not for a day as other archived rows
        assert gone.status_code == 410
    assert f"The month of this id was deleted: {OLD}, certificate DEL-" in gone.json()["detail"]
    said = http.post(PATH, json=body(), headers=people["legal"])
    assert said.status_code == 409
    assert f"transactions {OLD} was deleted with certificate DEL-" in said.json()["detail"]


def delete(ledger: Ledger) -> tuple[int, DeletionOutcome]:
    """Request, approve and carry out the deletion of the one month; the request, and what became of it."""
    settings = ledger.settings
    request = request_deletion(settings, [settings.table("transactions")], "anna", "due")
    for name in ("ben", "carol"):
        approve(settings, request.request_id, name, "looked at")
    (outcome,) = delete_months(settings)
    return request.request_id, outcome
