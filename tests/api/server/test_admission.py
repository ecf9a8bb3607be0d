"""What is refused before any route: other hosts, headers said twice; and that nobody is trusted about who he is."""

import json
import logging
from typing import Any

import httpx
import pytest
from pydantic import ValidationError

from api.logs.access_log import network
from api.server.admission import allowed_hosts
from config import Settings
from config.settings import load_settings
from ledger.errors import ConfigError
from tests.api.conftest import MakeKey, serving
from tests.api.ledger_rows import BODIES, BODY, PATHS, keyed
from tests.api.server.conftest import Connect, Connection, Log, line_of

LIVE = "/health/live"
PATH = "/api/v1/transactions"


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:1", "localhost", "LOCALHOST:8400", "[::1]", "[::1]:8400"])
def test_a_host_of_the_list_is_served_at_any_port(shared_url: str, host: str) -> None:
    assert httpx.get(f"{shared_url}/openapi.json", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "localhost.", "127.0.0.2", "[::2]", "a@localhost"]
)
def test_another_host_is_misdirected(shared_url: str, host: str) -> None:
    for path in (f"{LIVE}/", "/health", "/openapi.json", "/docs", "/nowhere", PATH):
        response = httpx.get(f"{shared_url}{path}", headers={"Host": host, "X-Forwarded-Host": "localhost"})
        assert (response.status_code, response.json()["type"]) == (421, "urn:treasury:problem:misdirected")
        assert host not in response.text


@pytest.mark.parametrize("fields", [[], ["Host: "], ["Host: localhost", "Host: localhost"]])
def test_no_host_and_two_hosts_are_refused(connect: Connect, fields: list[str]) -> None:
    connection = connect()
    connection.send("\r\n".join((f"GET {LIVE} HTTP/1.1", *fields, "", "")).encode())
    assert connection.answer().problem["status"] == 400


@pytest.mark.parametrize("path", [LIVE, "/health/ready"])
@pytest.mark.parametrize("host", ["203.0.113.7", "203.0.113.7:8400", "[2001:db8::7]", "evil.example"])
def test_a_load_balancer_may_ask_for_health_by_any_host(connect: Connect, path: str, host: str) -> None:
    for version, fields in (("1.1", [f"Host: {host}"]), ("1.0", [f"Host: {host}"]), ("1.0", [])):
        for method in ("GET", "HEAD"):
            connection = connect()
            connection.send("\r\n".join((f"{method} {path} HTTP/{version}", *fields, "", "")).encode())
            assert connection.answer(head=method == "HEAD").status == 200


@pytest.mark.parametrize(
    ("line", "fields", "status"),
    [
        (f"GET {LIVE} HTTP/1.1", [], 400),
        (f"GET {LIVE} HTTP/1.0", ["Host: a", "Host: a"], 400),
        ("GET /openapi.json HTTP/1.0", [], 400),
        ("GET /openapi.json HTTP/1.0", ["Host: 203.0.113.7"], 421),
        ("GET /health/live%2F HTTP/1.0", [], 400),
        ("GET /health/../docs HTTP/1.0", [], 400),
        (f"GET http://elsewhere{LIVE} HTTP/1.1", ["Host: 127.0.0.1"], 400),
    ],
)
def test_every_other_request_names_its_host(connect: Connect, line: str, fields: list[str], status: int) -> None:
    connection = connect()
    connection.send("\r\n".join((line, *fields, "", "")).encode())
    assert connection.answer().problem["status"] == status


def test_the_address_that_is_listened_at_is_served(ready: Settings) -> None:
    assert allowed_hosts(["api.example"], "10.0.0.5") == {b"api.example", b"10.0.0.5"}
    assert allowed_hosts(["api.example"], "::1") == {b"api.example", b"[::1]"}
    assert allowed_hosts(["api.example"], "0.0.0.0") == {b"api.example"}  # noqa: S104


def test_hosts_are_set_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TREASURY_API_HOSTS", "API.example, 10.0.0.5,[::1]")
    settings = load_settings()
    assert settings.api_hosts == ("api.example", "10.0.0.5", "[::1]")
    assert settings.environment()["TREASURY_API_HOSTS"] == "api.example,10.0.0.5,[::1]"
    for wrong in ("http://a", "a:80", "", "a,,b", "a b"):
        monkeypatch.setenv("TREASURY_API_HOSTS", wrong)
        with pytest.raises((ConfigError, ValidationError), match="TREASURY_API_HOSTS"):
            load_settings()


@pytest.mark.parametrize("name", ["Authorization", "Content-Type", "Idempotency-Key", "Expect"])
def test_a_header_that_is_sent_twice_is_refused(connect: Connect, shared_key: str, name: str) -> None:
    values = {
        "Authorization": shared_key.partition(": ")[2],
        "Content-Type": "application/json",
        "Idempotency-Key": keyed()["Idempotency-Key"],
        "Expect": "100-continue",
    }
    body = json.dumps(BODY).encode()
    fields = [f"{field}: {value}" for field, value in values.items() if field != "Expect"]
    connection = connect()
    connection.request(
        f"POST {PATH} HTTP/1.1", *fields, *([f"{name}: {values[name]}"] * (2 if name == "Expect" else 1)),
        f"Content-Length: {len(body)}", body=body,
    )  # fmt: skip
    assert connection.answer().problem["status"] == 400


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate", "gzip, identity", "x"])
def test_a_packed_body_is_refused(shared_api: httpx.Client, encoding: str) -> None:
    for path in PATHS:
        response = shared_api.post(path, json=BODIES[path], headers=keyed() | {"Content-Encoding": encoding})
        assert response.status_code == 415


def test_nothing_is_shared_with_other_origins(shared_api: httpx.Client) -> None:
    origin = {"Origin": "https://evil.example"}
    preflight = shared_api.options(PATH, headers=origin | {"Access-Control-Request-Method": "POST"})
    assert preflight.status_code == 405
    for response in (
        preflight,
        shared_api.get(LIVE, headers=origin),
        shared_api.get(PATH, params={"wallet_id": "w"}, headers=origin),
    ):
        assert not [name for name in response.headers if name.startswith("access-control-")]
    for simple in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
        refused = shared_api.post(PATH, content=json.dumps(BODY), headers=keyed() | origin | {"Content-Type": simple})
        assert refused.status_code == 415


@pytest.mark.parametrize("method", ["TRACE", "OPTIONS", "PUT", "PATCH", "DELETE", "PROPFIND"])
def test_a_method_that_is_not_served_is_refused_everywhere(shared_api: httpx.Client, method: str) -> None:
    for path in (*PATHS, f"{PATHS[0]}/batch", LIVE, "/docs", "/openapi.json"):
        response = shared_api.request(method, path, headers={"X-Echo": "hunter2"})
        assert response.status_code == 405
        assert "hunter2" not in response.text


@pytest.mark.parametrize(
    "path", ["/docs/", f"{PATH}/", "/openapi.json/", "/.git/config", "/docs/../api", "//evil.example"]
)
def test_no_address_redirects_or_lists_anything(shared_api: httpx.Client, path: str) -> None:
    response = shared_api.get(httpx.URL(str(shared_api.base_url).rstrip("/") + path))
    assert response.status_code == 404
    assert "location" not in response.headers


def test_the_request_log_tells_what_happened_and_to_whom_roughly(
    api: httpx.Client, make_key: MakeKey, log: Log
) -> None:
    secret = make_key()["Authorization"]
    forged = {"X-Forwarded-For": "203.0.113.9", "X-Request-ID": "mine-1"}
    api.get(PATH, params={"wallet_id": "0821234567"}, headers={"Authorization": secret, **forged})
    line = line_of("mine-1", log)

    assert {name: line[name] for name in ("method", "route", "status", "address")} == {
        "method": "GET",
        "route": PATH,
        "status": 200,
        "address": "127.0.0.0/24",  # the peer's: nobody was named as a proxy to be believed
    }
    assert line["time"].endswith("Z")
    assert line["bytes"] > 0
    assert line["duration_ms"] > 0
    assert line["key_id"] == secret.split("_")[1]
    for hidden in (secret, "0821234567", "203.0.113.9"):
        assert hidden not in json.dumps(log())


def test_a_request_refused_by_the_protocol_is_logged_too(ready: Settings, log: Log) -> None:
    with serving(ready) as url:
        connection = Connection(url)
        connection.send(b"rubbish hunter2\r\n\r\n")
        request_id = connection.answer().headers["x-request-id"]
        connection.close()
    line = line_of(request_id, log)
    assert (line["message"], line["status"], line["address"]) == ("refused", 400, "127.0.0.0/24")
    assert "hunter2" not in json.dumps(line)


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("203.0.113.9", "203.0.113.0/24"),
        ("2001:db8:1:2::3", "2001:db8:1::/48"),
        ("2001:db8:1:2::/64", "2001:db8:1::/48"),
        ("::1", "::/48"),
        ("unix", ""),
    ],
)
def test_an_address_is_logged_as_its_network(address: str, shown: str) -> None:
    assert network(address) == shown


def test_log_lines_cannot_be_forged(api: httpx.Client, log: Log) -> None:
    answers = []
    for value in ('a"}\\n{"level":"ERROR', "a%0a{}", "é"):
        answers.append(api.get(LIVE, headers={b"X-Request-ID": value.encode()}))
        answers.append(api.get(f"/{value}"))
    requests = [line_of(answer.headers["x-request-id"], log) for answer in answers]
    assert all(line["level"] == "INFO" and "é" not in line["request_id"] for line in requests)
    lines = log()
    assert not any(line["level"] == "ERROR" for line in lines)
    assert len([line for line in lines if "request_id" in line]) == len(answers)
    assert logging.getLogger("treasury.api").propagate is False


def test_a_card_number_is_refused_by_name_and_stored_nowhere(api: httpx.Client, database: Any) -> None:
    for path in PATHS:
        for changed in ({"description": "4111 1111 1111 1111"}, {"metadata": {"card": ["5555555555554444"]}}):
            response = api.post(path, json=BODIES[path] | changed, headers=keyed())
            assert (response.status_code, response.json()["errors"][0]["field"]) == (422, next(iter(changed)))
        item = api.post(
            f"{path}/batch", json={"items": [BODIES[path] | {"description": "378282246310005"}]}, headers=keyed()
        )
        assert item.json()["rejected"] == 1
        assert api.post(path, json=BODIES[path] | {"reference": "4111111111111111"}, headers=keyed()).status_code == 201
    assert database.execute("SELECT count(*) FROM transactions").fetchone() == (1,)


def test_every_refusal_of_a_key_is_in_the_log(http: httpx.Client, make_key: MakeKey, log: Log) -> None:
    reader = make_key(scopes=["transactions:read"])
    good = http.get(PATH, params={"wallet_id": "w"}, headers=reader | {"X-Request-ID": "good"})
    none = http.get(PATH, params={"wallet_id": "w"}, headers={"X-Request-ID": "none"})
    other = http.post(PATH, json=BODY, headers=reader | keyed() | {"X-Request-ID": "other"})

    key_id = reader["Authorization"].split("_")[1]
    for response, status, named in ((good, 200, key_id), (none, 401, ""), (other, 403, key_id)):
        line = line_of(response.headers["x-request-id"], log)
        assert (response.status_code, line["status"], line["key_id"]) == (status, status, named)
        assert line["address"] == "127.0.0.0/24"


def test_a_secret_sent_as_a_request_id_is_not_taken_for_one(api: httpx.Client, log: Log) -> None:
    for secret in ("trk_3f9e54ac4ec1_nXDZ4H", "4111111111111111", "0821234567"):
        taken = api.get(LIVE, headers={"X-Request-ID": secret}).headers["x-request-id"]
        assert line_of(taken, log)["status"] == 200
        assert secret not in json.dumps(log())
