"""API keys: who gets in, what each scope opens, how soon a revoked key is out; and what answers tell of the inside."""

import socket
import stat
import time
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from api.keys import auth
from config import Settings
from ledger.errors import ConfigError
from ledger.scopes import Scope
from tasks.admin.keys import create_key, list_keys, pepper, revoke_key
from tests.api.conftest import serving
from tests.api.ledger_rows import BODIES, BODY, PATHS, keyed

PATH = "/api/v1/transactions"
ANY_ID = "01a20733-cc6b-74a3-a860-71497a499eb9"


def calls(path: str) -> dict[str, tuple[str, str, Any]]:
    """Every operation of a resource: method, address and body."""
    return {
        "create": ("POST", path, BODIES[path]),
        "batch": ("POST", f"{path}/batch", {"items": [BODIES[path]]}),
        "list": ("GET", f"{path}?wallet_id=w", None),
        "get": ("GET", f"{path}/{ANY_ID}", None),
        "status": ("POST", f"{path}/{ANY_ID}/status", {"status": "failed"}),
    }


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "Bearer",
        "Basic dXNlcjpwYXNz",
        "Bearer trk_",
        "Bearer trk_000000000000_secret",
        "Bearer xyz_000000000000_secret",
        "Bearer trk_0' OR '1'='1_secret",
    ],
)
def test_without_a_valid_key_nothing_opens(shared_http: httpx.Client, header: str | None) -> None:
    headers = {} if header is None else {"Authorization": header}
    for path in PATHS:
        for method, address, body in calls(path).values():
            response = shared_http.request(method, address, json=body, headers=headers | keyed())
            assert (response.status_code, response.headers["www-authenticate"]) == (401, "Bearer")


def test_a_key_with_another_secret_is_refused(shared_http: httpx.Client, make_shared_key: Any) -> None:
    authorization = make_shared_key()["Authorization"]
    for wrong in (authorization[:-1], authorization + "x", authorization[:-4] + "AAAA"):
        assert shared_http.get(f"{PATH}?wallet_id=w", headers={"Authorization": wrong}).status_code == 401
    assert shared_http.get(f"{PATH}?wallet_id=w", headers={"Authorization": authorization}).status_code == 200


@pytest.mark.parametrize("scope", list(Scope))
def test_a_scope_opens_its_own_operations_only(shared_http: httpx.Client, make_shared_key: Any, scope: Scope) -> None:
    headers = make_shared_key(scopes=[scope])
    for path, prefix in zip(PATHS, ("transactions", "vas"), strict=True):
        for name, (method, address, body) in calls(path).items():
            needed = f"{prefix}:{'read' if name in ('list', 'get') else 'write'}"
            response = shared_http.request(method, address, json=body, headers=headers | keyed())
            assert (response.status_code == 403) == (scope != needed), (scope, address)
            if response.status_code == 403:
                assert needed in response.headers["www-authenticate"]


def test_a_revoked_key_is_out_once_it_is_no_longer_remembered(
    http: httpx.Client, ready: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert auth.REMEMBER_S <= 3, "a revoked key is out within seconds"
    monkeypatch.setattr(auth, "REMEMBER_S", 0.5)
    key = create_key(ready, "acme", [Scope.TRANSACTIONS_READ])
    headers = {"Authorization": f"Bearer {key}"}
    assert http.get(f"{PATH}?wallet_id=w", headers=headers).status_code == 200

    assert revoke_key(ready, key.split("_")[1])
    assert not revoke_key(ready, key.split("_")[1])
    time.sleep(auth.REMEMBER_S)
    assert http.get(f"{PATH}?wallet_id=w", headers=headers).status_code == 401


def test_a_key_expires_while_it_is_remembered(
    http: httpx.Client, make_key: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Later(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> "Later":
            return cls.fromtimestamp(time.time() + 60, tz)

    headers = make_key(expires_in=timedelta(minutes=1))
    assert http.get(f"{PATH}?wallet_id=w", headers=headers).status_code == 200
    monkeypatch.setattr(auth, "datetime", Later)
    assert http.get(f"{PATH}?wallet_id=w", headers=headers).status_code == 401


def test_the_secret_of_a_key_is_stored_nowhere(ready: Settings, database: Any) -> None:
    key = create_key(ready, "acme", [Scope.OPERATIONS])
    (record,) = list_keys(ready)

    assert (record.client_id, record.scopes, record.revoked_at) == ("acme", ("operations",), None)
    assert key.split("_", 2)[2] not in str(database.execute("SELECT * FROM api_keys").fetchall())
    file = ready.home / "keys" / "api-key-pepper"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert pepper(ready) == file.read_bytes()


def test_the_pepper_can_be_set(ready: Settings) -> None:
    secret = "p" * 32
    assert pepper(ready.model_copy(update={"api_key_pepper": SecretStr(secret)})) == secret.encode()


@pytest.mark.parametrize(
    ("client_id", "scopes", "expires_at", "named"),
    [
        ("", ["operations"], None, "client_id"),
        ("a b", ["operations"], None, "client_id"),
        ("c" * 65, ["operations"], None, "client_id"),
        ("acme", [], None, "scopes"),
        ("acme", ["everything"], None, "scopes"),
        ("acme", ["operations"], datetime(2020, 1, 1, tzinfo=UTC), "expires_at"),
        ("acme", ["operations"], datetime(2090, 1, 1), "expires_at"),  # noqa: DTZ001  # a time without an offset
    ],
)
def test_a_key_that_makes_no_sense_is_not_made(
    ready: Settings, client_id: str, scopes: list[str], expires_at: datetime | None, named: str
) -> None:
    with pytest.raises(ConfigError, match=named):
        create_key(ready, client_id, scopes, expires_at)
    assert list_keys(ready) == []


def test_every_answer_carries_a_request_id(shared_api: httpx.Client) -> None:
    made = shared_api.get("/health/live").headers["x-request-id"]
    assert len(made) == 32
    assert shared_api.get("/health/live", headers={"X-Request-ID": "mine-1"}).headers["x-request-id"] == "mine-1"
    for bad in ("two words", "x" * 65, "a;b"):
        assert shared_api.get("/health/live", headers={"X-Request-ID": bad}).headers["x-request-id"] != bad
    refused = shared_api.post(PATH, json={**BODY, "amount": 1}, headers=keyed() | {"X-Request-ID": "mine-2"})
    assert refused.json()["request_id"] == "mine-2"


def test_an_unknown_address_and_a_wrong_method_are_problems(shared_api: httpx.Client) -> None:
    nowhere, wrong = shared_api.get("/api/v2/x"), shared_api.put(PATH)

    assert (nowhere.status_code, wrong.status_code) == (404, 405)
    assert {part.strip() for part in wrong.headers["allow"].split(",")} == {"GET", "HEAD", "POST"}
    for response in (nowhere, wrong):
        assert response.headers["content-type"] == "application/problem+json"
        assert response.json()["request_id"] == response.headers["x-request-id"]


def test_an_unknown_query_parameter_is_refused_everywhere(shared_api: httpx.Client) -> None:
    for path in PATHS:
        for method, address, body in calls(path).values():
            response = shared_api.request(
                method, httpx.URL(address).copy_add_param("debug", "1"), json=body, headers=keyed()
            )
            assert (response.status_code, response.json()["errors"][0]["field"]) == (422, "debug")


def test_health_needs_no_key(shared_http: httpx.Client) -> None:
    assert shared_http.get("/health/live").json() == {"status": "live"}
    assert shared_http.get("/health/ready").json() == {"status": "ready"}


def test_a_slash_at_the_end_is_another_address_and_no_redirect(shared_api: httpx.Client) -> None:
    answer = shared_api.get(f"{PATH}/", follow_redirects=False)
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")
    assert "location" not in answer.headers


@pytest.mark.parametrize("method", ["PROPFIND", "TRACE", "OPTIONS", "DELETE"])
def test_a_method_that_no_address_takes_is_a_problem(shared_api: httpx.Client, method: str) -> None:
    for path in (PATH, "/docs", "/openapi.json", "/health/live"):
        answer = shared_api.request(method, path)
        assert (answer.status_code, answer.headers["content-type"]) == (405, "application/problem+json")
        assert "GET" in answer.headers["allow"]


def test_a_method_that_is_no_http_gets_no_server_error(shared_http: httpx.Client) -> None:
    """The parser below the application answers those: it must not tell of the inside either."""
    with socket.create_connection((shared_http.base_url.host, shared_http.base_url.port or 0), 5) as raw:
        raw.sendall(b"N0NSENSE / HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = raw.recv(4096)
    assert answer.startswith(b"HTTP/1.1 4")
    assert b"Traceback" not in answer


def test_the_api_works_with_the_rights_of_its_own_role(shared_api: httpx.Client, shared_database: Any) -> None:
    assert shared_api.get(f"{PATH}?wallet_id=w").status_code == 200
    users = shared_database.execute(
        "SELECT DISTINCT usesuper FROM pg_stat_activity JOIN pg_user USING (usename)"
        " WHERE datname = current_database() AND application_name = 'treasury api'"
    ).fetchall()
    assert users == [(False,)]


def test_the_api_needs_no_login_but_its_own(ready: Settings, make_key: Any) -> None:
    headers = make_key()
    with serving(ready.model_copy(update={"database_url": None, "auditor_database_url": None})) as url:
        stored = httpx.post(f"{url}{PATH}", json=BODY, headers=headers | keyed())
        assert stored.status_code == 201
        moved = f"{url}{stored.headers['location']}/status"
        assert httpx.post(moved, json={"status": "completed"}, headers=headers).status_code == 200
