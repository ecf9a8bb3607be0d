"""Every operation of the API against every kind of caller. A new operation is in here by itself, or fails a test."""

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import psycopg
import pytest

from api.dashboard.page import Page
from api.dashboard.pages import pages
from api.keys import auth
from api.routing.operations import Operation
from api.routing.routes import operations
from config import Settings, load_settings
from ledger.alerts import Alert, Severity
from ledger.scopes import CLIENT_SCOPES, Scope
from sql.connection import connect
from tasks.admin.keys import create_key, revoke_key
from tasks.alerting.store import raise_alert
from tests.api.dashboard.desk import opened_books, served
from tests.api.ledger_rows import BODIES, PATHS, keyed

OPERATIONS = operations(load_settings())
GUARDED = [operation for operation in OPERATIONS if operation.scope is not None]
OPEN = {operation.name for operation in OPERATIONS if operation.scope is None}
# Scopes over the rows of clients.
ROW_SCOPES = {Scope.TRANSACTIONS_READ, Scope.TRANSACTIONS_WRITE, Scope.VAS_READ, Scope.VAS_WRITE}
# What these show of other clients' rows is tested in tests/api/archive.
ARCHIVE_SCOPES = {Scope.ARCHIVE_READ}
# Scopes over the service. Those of reconciliation see the amounts, types, times and statuses of rows, and no names.
SERVICE_SCOPES = {
    Scope.MONITORING_READ,
    Scope.OPERATIONS,
    Scope.RECONCILIATION_READ,
    Scope.RECONCILIATION_RESOLVE,
    Scope.ARCHIVE_HOLDS,
}
TOTALS = "/api/v1/totals"
NO_ROW = "01a20733-cc6b-74a3-a860-71497a499eb9"

guarded = pytest.mark.parametrize("operation", GUARDED, ids=lambda operation: operation.name)


def address(operation: Operation, row_id: str) -> str:
    """The address of an operation on a row."""
    values = {"{id}": row_id, "{table}": "transactions", "{month}": "2024-03", "{tile:path}": "0/000"}
    path = operation.path
    for name, value in values.items():
        path = path.replace(name, value)
    return path


def ask(client: httpx.Client, operation: Operation, headers: dict[str, str], row_id: str = NO_ROW) -> httpx.Response:
    """A request that the operation would serve, were the caller allowed to make it."""
    path = next((path for path in PATHS if operation.path.startswith(path)), "")
    bodies = {"batch": {"items": [BODIES.get(path)]}, "status": {"status": "completed"}}
    body = bodies.get(operation.path.rpartition("/")[2], BODIES.get(path))
    query = {"wallet_id": BODIES[path]["wallet_id"]} if path and "wallet_id" in operation.query else {}
    if operation.path == TOTALS:
        query = dict.fromkeys(("from", "to"), f"{datetime.now(UTC):%Y-%m-%d}")
    return client.request(
        operation.method,
        address(operation, row_id),
        params=query,
        json=None if operation.request is None else body,
        headers=headers | keyed(),
    )


def bearer(key: str) -> dict[str, str]:
    """The header that carries a key."""
    return {"Authorization": f"Bearer {key}"}


@dataclass(frozen=True, slots=True)
class Callers:
    """Headers of keys that must not get in."""

    expired: dict[str, str]
    revoked: dict[str, str]
    forged: dict[str, str]


@pytest.fixture(scope="module")
def client(shared_url: str) -> Any:
    with httpx.Client(base_url=shared_url, timeout=30) as client:
        yield client


@pytest.fixture(scope="module")
def callers(shared: Settings) -> Callers:
    every = list(Scope)
    expired = create_key(shared, "acme", every, datetime.now(UTC) + timedelta(hours=1))
    revoked, good = create_key(shared, "acme", every), create_key(shared, "acme", every)
    revoke_key(shared, revoked.split("_")[1])
    with psycopg.connect(shared.database_dsn, autocommit=True) as connection:
        connection.execute(
            "UPDATE api_keys SET expires_at = now() - interval '1 second' WHERE key_id = %s", (expired.split("_")[1],)
        )
    forged = good[:-1] + ("a" if good[-1] != "a" else "b")
    return Callers(bearer(expired), bearer(revoked), bearer(forged))


def test_only_health_and_what_is_signed_is_open() -> None:
    """A webhook brings no key: its signature proves it, see tests/suppliers/test_webhooks.py."""
    assert {"live", "ready", "peachWebhook"} == OPEN


@guarded
def test_without_a_valid_key_the_answer_is_401(client: httpx.Client, callers: Callers, operation: Operation) -> None:
    for headers in ({}, callers.expired, callers.revoked, callers.forged, {"Authorization": "Basic YTpi"}):
        response = ask(client, operation, headers)
        assert response.status_code == 401
        assert response.headers["www-authenticate"] == "Bearer"
        assert response.json()["type"] == "urn:treasury:problem:unauthorized"


PAGES = [page for page in pages() if page.needs_session]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: f"{page.method} {page.path}")
def test_a_page_opens_for_no_caller_without_a_session(client: httpx.Client, callers: Callers, page: Page) -> None:
    """What a session may do, with every scope but that of the page too: tests/api/dashboard/test_pages.py."""
    path = page.path.replace("{id}", "1").replace("{table}", "transactions").replace("{month}", "2024-03")
    for headers in ({}, callers.expired, callers.revoked, callers.forged):
        assert client.request(page.method, path, headers=headers).status_code == 401


def test_no_such_caller_gets_a_session(client: httpx.Client, callers: Callers) -> None:
    for caller in (callers.expired, callers.revoked, callers.forged):
        key = caller["Authorization"].removeprefix("Bearer ")
        answer = client.post("/dashboard/sign-in", data={"key": key})
        assert (answer.status_code, "set-cookie" in answer.headers) == (401, False)


@guarded
def test_with_every_scope_but_its_own_the_answer_is_403(
    client: httpx.Client, shared: Settings, operation: Operation
) -> None:
    assert operation.scope is not None
    others = bearer(create_key(shared, "acme", set(Scope) - {operation.scope}))
    own = bearer(create_key(shared, "acme", [operation.scope]))

    refused = ask(client, operation, others)
    assert refused.status_code == 403
    assert operation.scope in refused.headers["www-authenticate"]
    assert ask(client, operation, own).status_code not in (401, 403)


@guarded
def test_a_key_in_the_address_is_no_key(client: httpx.Client, shared: Settings, operation: Operation) -> None:
    key = create_key(shared, "acme", list(Scope))
    path = address(operation, NO_ROW)
    for name in ("key", "api_key", "access_token", "authorization"):
        assert client.request(operation.method, path, params={name: key}).status_code == 401


@pytest.mark.parametrize(
    "operation", [one for one in GUARDED if one.scope in ROW_SCOPES], ids=lambda operation: operation.name
)
def test_the_rows_of_another_client_are_as_if_they_were_not(
    client: httpx.Client, shared: Settings, operation: Operation
) -> None:
    mine, theirs = (bearer(create_key(shared, name, CLIENT_SCOPES)) for name in (f"a{uuid4().hex}", f"b{uuid4().hex}"))
    path = next((path for path in PATHS if operation.path.startswith(path)), PATHS[0])
    row_id = client.post(path, json=BODIES[path], headers=mine | keyed()).json()["id"]

    response = ask(client, operation, theirs, row_id)
    if "{id}" in operation.path:
        nothing = ask(client, operation, theirs, NO_ROW)
        assert response.status_code == nothing.status_code == 404
        assert response.json()["detail"] == nothing.json()["detail"]
    elif operation.method == "GET":
        assert response.json()["items"] == []
    else:  # what it stores is its own, whatever it says
        assert response.status_code in (200, 201)
    assert client.get(f"{path}/{row_id}", headers=mine).json()["status"] == "pending"


def test_every_operation_on_rows_was_asked_as_another_client() -> None:
    """An operation with a scope that is not known here would slip through the test above."""
    assert {operation.scope for operation in GUARDED} <= ROW_SCOPES | SERVICE_SCOPES | ARCHIVE_SCOPES


READABLE: list[Operation | Page] = [*OPERATIONS, *PAGES]
PRIVATE = {
    "client_id": "client-of-the-row",
    "user_id": "user-of-the-row",
    "wallet_id": "wallet-of-the-row",
    "reference": "reference-of-the-row",
    "supplier_reference": "supplier-reference-of-the-row",
    "description": "description-of-the-row",
    "metadata": '{"note": "metadata-of-the-row"}',
}


@pytest.mark.parametrize("sees_all", [False, True])
def test_the_scopes_of_the_service_show_no_names_of_a_row(settings: Settings, tmp_path: Path, sees_all: bool) -> None:
    """Everything that such a key can read, by operation and by page, while a row of another client is in a break, and
    its user in an alert.
    """
    books = opened_books(settings, tmp_path)
    books.line(books.own(**PRIVATE), amount=Decimal("129.00"))
    books.run()
    with connect(settings.database_dsn, "tests") as connection:
        about = {"rows": ["row-id-of-the-row"], "table": "vas_transactions"}
        raise_alert(
            connection, Alert("transaction-daily", PRIVATE["user_id"], Severity.CRITICAL, "Much", "Look", about)
        )
    number = str(books.the_break()["break_id"])
    granted = [*SERVICE_SCOPES, *([Scope.READ_ALL] if sees_all else [])]
    with served(books) as desk:
        person = desk.sit_down("globex", granted)
        paths = [one.path for one in READABLE if one.method == "GET" and one.scope in SERVICE_SCOPES]
        answers = {path: person.client.get(path.replace("{id}", number), headers=bearer(person.key)) for path in paths}
    breaks = {f"{prefix}/reconciliation/breaks/{{id}}" for prefix in ("/api/v1", "/dashboard")}
    assert breaks <= {path for path, answer in answers.items() if answer.status_code == 200}
    shown = {path for path, answer in answers.items() if "-of-the-row" in answer.text}
    others = {"/api/v1/reconciliation/breaks", "/api/v1/monitoring/alerts", "/dashboard"}
    assert shown == (breaks | others if sees_all else set())


@pytest.mark.parametrize("path", PATHS)
def test_read_all_reads_the_rows_of_every_client_and_changes_none(
    client: httpx.Client, shared: Settings, path: str
) -> None:
    mine = bearer(create_key(shared, "acme", CLIENT_SCOPES))
    auditor = bearer(create_key(shared, "auditor", [*CLIENT_SCOPES, Scope.READ_ALL]))
    row_id = client.post(path, json=BODIES[path], headers=mine | keyed()).json()["id"]

    assert client.get(f"{path}/{row_id}", headers=auditor).status_code == 200
    assert client.post(f"{path}/{row_id}/status", json={"status": "failed"}, headers=auditor).status_code == 404
    assert client.get(f"{path}/{row_id}", headers=mine).json()["status"] == "pending"


def test_a_client_cannot_name_another_as_the_owner(client: httpx.Client, shared: Settings) -> None:
    mine = bearer(create_key(shared, "acme", CLIENT_SCOPES))
    for path in PATHS:
        for body in (BODIES[path] | {"client_id": "globex"}, BODIES[path] | {"id": NO_ROW}):
            assert client.post(path, json=body, headers=mine | keyed()).status_code == 422
        assert client.get(path, params={"wallet_id": "w", "client_id": "globex"}, headers=mine).status_code == 422


def test_the_key_of_one_client_does_not_replay_the_answer_of_another(client: httpx.Client, shared: Settings) -> None:
    one, other = (bearer(create_key(shared, name, CLIENT_SCOPES)) for name in ("acme", "globex"))
    key = keyed()
    first = client.post(PATHS[0], json=BODIES[PATHS[0]], headers=one | key)
    second = client.post(PATHS[0], json=BODIES[PATHS[0]], headers=other | key)

    assert (first.status_code, second.status_code) == (201, 201)
    assert first.json()["id"] != second.json()["id"]
    assert "idempotent-replayed" not in second.headers


def test_a_revoked_key_is_out_of_every_operation_in_time(
    client: httpx.Client, shared: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(auth, "REMEMBER_S", 0.5)  # its length is tested in tests/api
    key = create_key(shared, "acme", list(Scope))
    for operation in GUARDED:
        assert ask(client, operation, bearer(key)).status_code not in (401, 403)
    revoke_key(shared, key.split("_")[1])
    time.sleep(auth.REMEMBER_S)  # the bound that is promised
    for operation in GUARDED:
        assert ask(client, operation, bearer(key)).status_code == 401
