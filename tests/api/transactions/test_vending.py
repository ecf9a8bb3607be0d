"""Purchases through the API: stored first, bought in the background, told by the row; and Peach's webhooks."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

import httpx
import psycopg
import pytest

from config import Settings
from ledger.scopes import Scope
from suppliers.peach.webhooks import sign
from suppliers.references import short_reference
from suppliers.simulation.faults import Fault
from tests.api.conftest import MakeKey, serving
from tests.api.ledger_rows import VAS_BODY, keyed
from tests.suppliers.conftest import MOBILE, SALES, Simulated, simulators

PATH = "/api/v1/vas-transactions"
WEBHOOK = "/api/v1/webhooks/peach"


@pytest.fixture
def simulated() -> Iterator[Simulated]:
    """Simulators of this test's own."""
    with simulators() as running:
        yield running


@pytest.fixture
def shop(ready: Settings, simulated: Simulated, make_key: MakeKey) -> Iterator[httpx.Client]:
    """A client of an API that sells through the simulators."""
    settings = ready.model_copy(update={"suppliers": simulated.settings})
    with serving(settings) as url, httpx.Client(base_url=url, timeout=30, headers=make_key()) as client:
        yield client


def order(name: str, **changes: Any) -> dict[str, Any]:
    """A purchase that the supplier carries out."""
    vas_type, product, amount = SALES[name]
    given = {"supplier": name, "vas_type": vas_type.value, "supplier_product_id": product, "amount": amount}
    return {**VAS_BODY, **given, "mobile_number": MOBILE, "vend": True, **changes}


def ended(shop: httpx.Client, location: str) -> dict[str, Any]:
    """The row once it has a final status; fails after half a minute."""
    ends = time.monotonic() + 30
    while time.monotonic() < ends:
        row: dict[str, Any] = shop.get(location).raise_for_status().json()
        if row["status"] in ("completed", "failed"):
            return row
        time.sleep(0.05)
    raise AssertionError(f"still {row['status']}")


@pytest.mark.sampled(1)
@pytest.mark.parametrize("name", list(SALES))
def test_a_purchase_is_stored_pending_bought_once_and_told_by_its_row(
    shop: httpx.Client, simulated: Simulated, name: str
) -> None:
    answer = shop.post(PATH, json=order(name), headers=keyed("one"))
    assert (answer.status_code, answer.json()["status"]) == (201, "pending")

    row = ended(shop, answer.headers["location"])
    again = shop.post(PATH, json=order(name), headers=keyed("one"))
    (sale,) = simulated.purchases(name)
    assert row["status"] == "completed"
    assert (row["supplier_reference"], row["supplier_transaction_id"]) == (sale.reference, sale.transaction_id)
    assert (again.content, again.headers["idempotent-replayed"]) == (answer.content, "true")
    assert len(simulated.purchases(name)) == 1


def test_a_supplier_that_sells_but_does_not_answer_has_sold_once(shop: httpx.Client, simulated: Simulated) -> None:
    simulated.plan("flash", Fault.CUT_AFTER)
    answer = shop.post(PATH, json=order("flash"), headers=keyed())

    assert ended(shop, answer.headers["location"])["status"] == "completed"
    assert len(simulated.purchases("flash")) == 1


def test_the_client_of_a_failed_purchase_and_an_auditor_are_told_why(shop: httpx.Client, make_key: MakeKey) -> None:
    failed = shop.post(PATH, json=order("flash", mobile_number="0830000000"), headers=keyed()).headers["location"]
    sold = shop.post(PATH, json=order("flash"), headers=keyed()).headers["location"]
    row = ended(shop, failed)
    assert (row["status"], ended(shop, sold)["status"]) == ("failed", "completed")

    told = shop.get(f"{failed}/failure")
    assert told.status_code == 200
    assert told.json() == {"id": row["id"], "reason": "invalid", "failed_at": row["processed_at"]}
    other, auditor = make_key("other"), make_key("auditor", (Scope.VAS_READ, Scope.READ_ALL))
    assert shop.get(f"{failed}/failure", headers=auditor).content == told.content
    for address, headers in ((failed, other), (sold, None), (f"{PATH}/01890000-0000-7000-8000-000000000000", None)):
        assert shop.get(f"{address}/failure", headers=headers).status_code == 404
    assert shop.get(f"{PATH}/x/failure").status_code == 422


@pytest.mark.sampled(2)
@pytest.mark.parametrize(
    ("field", "changes"),
    [
        ("vend", {"vend": "yes"}),
        ("status", {"status": "completed"}),
        ("supplier_reference", {"supplier_reference": "x"}),
        ("supplier_transaction_id", {"supplier_transaction_id": "x"}),
        ("commission", {"commission": "1.00"}),
        ("supplier_product_id", {"supplier_product_id": None}),
    ],
)
def test_what_a_purchase_decides_must_not_be_given(shop: httpx.Client, field: str, changes: dict[str, Any]) -> None:
    answer = shop.post(PATH, json=order("flash", **changes), headers=keyed())
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, field)


UNSOLD: dict[str, tuple[str, dict[str, Any]]] = {
    "another kind": ("vas_type", {"vas_type": "bill_payment"}),
    "a product that is not a number": ("supplier_product_id", {"supplier_product_id": "airtime"}),
    "a product of ten digits": ("supplier_product_id", {"supplier_product_id": "1234567890"}),
    "no number": ("mobile_number", {"mobile_number": None}),
    "a number of another country": ("mobile_number", {"mobile_number": "+447700900123"}),
    "no meter": ("metadata.meter_number", {"vas_type": "electricity"}),
    "a meter that is a number": (
        "metadata.meter_number",
        {"vas_type": "electricity", "metadata": {"meter_number": 12345678901}},
    ),
    "another currency": ("currency", {"currency": "USD"}),
    "no account": ("metadata.account_number", {"supplier": "mobilemart", "vas_type": "bill_payment"}),
    "a kind that mobilemart does not sell": ("vas_type", {"supplier": "mobilemart", "vas_type": "cash_out"}),
    "a kind that peach does not sell": ("vas_type", {"supplier": "peach", "vas_type": "airtime"}),
    "more than peach takes": (
        "amount",
        {"supplier": "peach", "vas_type": "voucher_topup", "amount": "100000000.00"},
    ),
}


@pytest.mark.sampled(4)
@pytest.mark.parametrize(("field", "changes"), UNSOLD.values(), ids=UNSOLD)
def test_an_order_that_the_supplier_is_known_to_refuse_is_refused_before_it_is_stored(
    shop: httpx.Client, simulated: Simulated, database: psycopg.Connection[Any], field: str, changes: dict[str, Any]
) -> None:
    answer = shop.post(PATH, json=order("flash", **changes), headers=keyed("again"))
    (error,) = answer.json()["errors"]
    assert (answer.status_code, error["field"]) == (422, field)
    assert database.execute("SELECT count(*) FROM vas_transactions").fetchone() == (0,)
    assert simulated.purchases(changes.get("supplier", "flash")) == []
    right = shop.post(PATH, json=order("flash"), headers=keyed("again"))
    assert right.status_code == 201  # the key is free


def test_what_is_only_recorded_needs_nothing_that_a_purchase_needs(shop: httpx.Client) -> None:
    """A sale that was made elsewhere, of a kind that nobody sells here."""
    recorded = {**VAS_BODY, "vas_type": "bill_payment", "currency": "USD"}
    assert shop.post(PATH, json=recorded, headers=keyed()).status_code == 201


def test_a_supplier_that_is_not_configured_sells_nothing_and_stores_nothing(
    ready: Settings, make_key: MakeKey, database: psycopg.Connection[Any]
) -> None:
    with serving(ready) as url, httpx.Client(base_url=url, headers=make_key()) as client:
        answer = client.post(PATH, json=order("flash"), headers=keyed())
        plain = client.post(PATH, json=VAS_BODY, headers=keyed())
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "supplier")
    assert plain.status_code == 201
    assert database.execute("SELECT count(*) FROM vas_transactions").fetchone() == (1,)


def test_a_purchases_status_is_not_its_clients_to_move(shop: httpx.Client, simulated: Simulated) -> None:
    simulated.plan("flash", Fault.HANG)
    answer = shop.post(PATH, json=order("flash"), headers=keyed())
    moved = shop.post(f"{answer.headers['location']}/status", json={"status": "cancelled"})
    assert (moved.status_code, moved.json()["type"]) == (409, "urn:treasury:problem:conflict")


def signed(simulated: Simulated, **fields: str) -> dict[str, Any]:
    """The content of a genuine webhook."""
    secret = simulated.settings.peach.webhook_secret
    assert secret is not None
    fields["signature"] = sign(fields, secret.get_secret_value())
    return {"content": urlencode(fields), "headers": {"Content-Type": "application/x-www-form-urlencoded"}}


def webhook_of(reference: str, code: str = "000.000.000") -> dict[str, str]:
    """What Peach tells of a payment."""
    return {
        "merchantTransactionId": reference,
        "result.code": code,
        "timestamp": datetime.now(UTC).isoformat(),
        "amount": "120.50",
        "currency": "ZAR",
    }


def test_webhooks_may_repeat_and_name_what_nobody_knows(shop: httpx.Client, simulated: Simulated) -> None:
    location = shop.post(PATH, json=order("peach"), headers=keyed()).headers["location"]
    row = ended(shop, location)
    known = webhook_of(row["supplier_reference"])
    unknown = webhook_of(short_reference(UUID("01a20733-cc6b-74a3-a860-71497a499eb9")))
    denied = webhook_of(row["supplier_reference"], "800.100.151")
    for fields in (known, known, denied, unknown):
        assert shop.post(WEBHOOK, **signed(simulated, **fields)).json() == {"status": "taken"}
    assert shop.get(location).json() == row


def test_a_webhook_makes_an_open_purchase_known(
    ready: Settings, shop: httpx.Client, simulated: Simulated, database: psycopg.Connection[Any]
) -> None:
    location = shop.post(PATH, json=order("peach"), headers=keyed()).headers["location"]
    row = ended(shop, location)
    # As a process leaves it that was killed after the sale: only the guard of history stands in the way.
    with database.transaction():
        database.execute("SET LOCAL session_replication_role = replica")
        database.execute("ALTER TABLE vas_transactions_partitioned DISABLE TRIGGER USER")
        database.execute(
            "UPDATE vas_transactions_partitioned SET status = 'processing', supplier_transaction_id = NULL"
            " WHERE id = %s",
            (row["id"],),
        )
        database.execute("ALTER TABLE vas_transactions_partitioned ENABLE TRIGGER USER")
    shop.post(WEBHOOK, **signed(simulated, **webhook_of(row["supplier_reference"])))

    ends = time.monotonic() + 30
    stored = None
    while time.monotonic() < ends and (stored is None or stored[0] == "processing"):
        stored = database.execute("SELECT status, supplier_transaction_id FROM vas_transactions").fetchone()
        time.sleep(0.05)
    assert stored == ("completed", row["supplier_transaction_id"])


def test_a_success_that_comes_after_a_row_was_ended_as_failed_makes_one_alert(
    shop: httpx.Client, simulated: Simulated, database: psycopg.Connection[Any]
) -> None:
    location = shop.post(PATH, json=order("peach", amount="9900.04"), headers=keyed()).headers["location"]
    row = ended(shop, location)
    assert row["status"] == "failed"
    for code in ("800.100.152", "000.000.000", "000.000.000"):  # what agrees with the row is not an alert
        assert shop.post(WEBHOOK, **signed(simulated, **webhook_of(row["supplier_reference"], code))).is_success
    ends = time.monotonic() + 30
    found: list[Any] = []
    while time.monotonic() < ends and not found:
        found = database.execute("SELECT rule, subject, severity, title, count FROM alerts").fetchall()
        time.sleep(0.05)
    assert found == [
        (
            "vend-contradicted",
            f"peach/{row['supplier_reference']}",
            "critical",
            f"what peach says of a purchase contradicts its row: the row {row['id']} ended as failed",
            1,
        )
    ]
    assert shop.get(location).json() == row


def test_a_webhook_with_a_bad_signature_is_refused(shop: httpx.Client, simulated: Simulated) -> None:
    forged = signed(simulated, **webhook_of("AAAAAAAAAAAAAAAA"))
    forged["content"] = forged["content"].replace("120.50", "999.50")
    for content in (forged["content"], forged["content"].partition("&signature=")[0]):
        answer = shop.post(WEBHOOK, **forged | {"content": content})
        assert (answer.status_code, answer.headers["content-type"]) == (401, "application/problem+json")
        problem = answer.json()
        assert (problem["type"], problem["title"]) == ("urn:treasury:problem:signature", "Invalid or missing signature")


def test_a_genuine_webhook_that_cannot_be_read_names_the_field(shop: httpx.Client, simulated: Simulated) -> None:
    fields = webhook_of("AAAAAAAAAAAAAAAA") | {"timestamp": "yesterday"}
    answer = shop.post(WEBHOOK, **signed(simulated, **fields))
    assert (answer.status_code, "timestamp" in answer.json()["detail"]) == (400, True)
