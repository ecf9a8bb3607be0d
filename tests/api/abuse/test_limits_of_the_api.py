"""The limits as a client meets them: headers, 429, who is counted together and who is not."""

import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import psycopg
import pytest
from pydantic import SecretStr

from api.abuse.rate_limits import RatePolicy
from api.routing.routes import operations
from config import Settings
from config.limits import RateLimits
from servers.api import Api
from servers.lease import lease, wait
from servers.stack import PROJECT
from tasks.admin.keys import LIMITED
from tests.api.conftest import MakeKey, serving
from tests.api.ledger_rows import BODY, keyed

PATH, VAS = "/api/v1/transactions", "/api/v1/vas-transactions"
QUERY = {"wallet_id": "w"}
WEBHOOK = "/api/v1/webhooks/peach"  # without a key, and not configured here: 404


def with_rates(settings: Settings, **rates: Any) -> Settings:
    return settings.model_copy(update={"rate_limits": RateLimits(redis_timeout_ms=5000, **rates)})


def client(url: str, address: str = "203.0.113.9", **headers: str) -> httpx.Client:
    return httpx.Client(base_url=url, timeout=30, headers={"X-Forwarded-For": address, **headers})


def statuses(client: httpx.Client, path: str, times: int, **headers: str) -> list[int]:
    return [client.get(path, params=QUERY, headers=headers).status_code for _ in range(times)]


def test_every_operation_has_the_policy_of_its_resource(ready: Settings) -> None:
    by_path = {operation.path: operation.policy for operation in operations(ready)}
    for path, policy in by_path.items():
        if path.startswith(VAS):
            assert policy is RatePolicy.VAS
        elif path.startswith(PATH):
            assert policy is RatePolicy.TRANSACTIONS
        elif path.startswith("/health"):
            assert policy is None
        elif path.startswith(("/api/v1/monitoring", "/api/v1/reconciliation", "/api/v1/holds", "/metrics")):
            assert policy is RatePolicy.OPERATIONS
        elif path.startswith(("/api/v1/archive", "/api/v1/totals", "/log")):
            assert policy is RatePolicy.GENERAL
        else:
            assert (path, policy) == (WEBHOOK, RatePolicy.GENERAL)


def test_operations_have_a_limit_of_their_own(ready: Settings, make_key: MakeKey) -> None:
    key = make_key(scopes=["monitoring:read", "operations", "transactions:read"])
    with serving(with_rates(ready, operations="2/hour")) as url, client(url, **key) as api:
        answers = [api.get("/api/v1/monitoring/performance"), api.post("/api/v1/monitoring/cache/clear", json={})]
        assert [answer.status_code for answer in answers] == [200, 422]
        assert [answer.headers["ratelimit"][:16] for answer in answers] == ['"operations";r=1', '"operations";r=0']
        refused = [api.get("/metrics"), api.get("/api/v1/monitoring/cache")]
        assert [answer.status_code for answer in refused] == [429, 429]
        assert refused[0].headers["ratelimit-policy"] == '"operations";q=2;w=3600'
        assert api.get(PATH, params=QUERY).status_code == 200  # a policy of its own


def test_a_key_can_be_given_limits_of_every_policy_that_counts_keys() -> None:
    assert set(LIMITED) == set(RatePolicy) - {RatePolicy.AUTH, RatePolicy.DDOS}


def test_each_answer_says_what_is_left_and_the_last_one_when_to_come_back(
    behind_a_proxy: Settings, make_key: MakeKey
) -> None:
    with serving(with_rates(behind_a_proxy, transactions="3/hour")) as url, client(url, **make_key()) as api:
        answers = [api.get(PATH, params=QUERY) for _ in range(3)]
        left = [answer.headers["ratelimit"].split(";")[1] for answer in answers]
        assert [answer.status_code for answer in answers] == [200, 200, 200]
        assert left == ["r=2", "r=1", "r=0"]
        assert answers[0].headers["ratelimit-policy"] == '"transactions";q=3;w=3600'

        refused = api.post(PATH, json=BODY, headers=keyed())
        assert (refused.status_code, refused.headers["content-type"]) == (429, "application/problem+json")
        assert refused.json()["type"] == "urn:treasury:problem:too-many-requests"
        assert refused.headers["ratelimit"].startswith('"transactions";r=0;t=')
        assert refused.headers["ratelimit"].endswith(f"={refused.headers['retry-after']}")
        assert 1 <= int(refused.headers["retry-after"]) <= 3600
        assert len(refused.headers.get_list("ratelimit")) == 1

        assert api.get(VAS, params=QUERY).status_code == 200  # a policy of its own
        assert api.post(WEBHOOK).headers["ratelimit-policy"] == '"general";q=1200;w=60'


def test_a_refused_request_stores_nothing_and_its_idempotency_key_is_not_used_up(
    behind_a_proxy: Settings, make_key: MakeKey
) -> None:
    with serving(with_rates(behind_a_proxy, transactions="1/hour")) as url, client(url, **make_key()) as api:
        assert api.post(PATH, json=BODY, headers=keyed("first")).status_code == 201
        assert api.post(PATH, json=BODY, headers=keyed("second")).status_code == 429
    with psycopg.connect(behind_a_proxy.database_dsn) as connection:
        assert connection.execute("SELECT key FROM idempotency_keys").fetchall() == [("first",)]


def test_keys_are_counted_each_for_itself_also_at_one_address(behind_a_proxy: Settings, make_key: MakeKey) -> None:
    with serving(with_rates(behind_a_proxy, transactions="2/hour")) as url, client(url) as api:
        one, other = make_key(), make_key()
        assert statuses(api, PATH, 3, **one) == [200, 200, 429]
        assert statuses(api, PATH, 3, **other) == [200, 200, 429]


def test_two_processes_count_together(behind_a_proxy: Settings, make_key: MakeKey) -> None:
    settings = with_rates(behind_a_proxy, transactions="6/hour")
    with serving(settings) as first, serving(settings) as second:
        key = make_key()
        with client(first, **key) as one, client(second, **key) as other:
            answered = [status for api in (one, other, one, other) for status in statuses(api, PATH, 2)]
    assert answered == [200] * 6 + [429] * 2


@pytest.mark.heavy("one process is tested beside it")
def test_two_worker_processes_admit_exactly_the_limit_between_them(behind_a_proxy: Settings, make_key: MakeKey) -> None:
    settings = with_rates(behind_a_proxy, transactions="150/day")
    key = make_key()
    log = settings.home / "log" / "api.log"
    with lease(
        settings.home, Api(settings.home, 0, settings.model_copy(update={"api_workers": 2}).environment(), PROJECT)
    ) as found:
        # One of them answers already; what is counted is what both have admitted.
        wait(lambda: len(re.findall("Application startup complete", log.read_text())) == 2, 60, "both workers")
        with ThreadPoolExecutor(8) as pool:  # eight connections, which the kernel spreads over the workers
            answered = list(pool.map(lambda _: one_connection(found.url, key), range(8)))
    assert sorted(status for each in answered for status in each) == [200] * 150 + [429] * 50


def one_connection(url: str, key: dict[str, str]) -> list[int]:
    with client(url, **key) as api:
        return statuses(api, PATH, 25)


def test_a_key_may_be_given_its_own_limit(behind_a_proxy: Settings, make_key: MakeKey) -> None:
    key = make_key()
    key_id = key["Authorization"].split("_")[1]
    with psycopg.connect(behind_a_proxy.database_dsn, autocommit=True) as connection:
        connection.execute(
            "UPDATE api_keys SET limits = %s WHERE key_id = %s", ('{"transactions": "2/hour", "vas": 7}', key_id)
        )
    with serving(behind_a_proxy) as url, client(url, **key) as api:
        assert statuses(api, PATH, 3) == [200, 200, 429]
        assert api.get(VAS, params=QUERY).headers["ratelimit-policy"] == '"vas";q=300000;w=60'


def test_without_a_key_addresses_are_counted(behind_a_proxy: Settings) -> None:
    with serving(with_rates(behind_a_proxy, general="2/hour")) as url:
        with client(url, "2001:db8:0:1::1") as one, client(url, "2001:db8:0:1:ffff::2") as neighbour:
            assert [one.post(WEBHOOK).status_code for _ in range(2)] == [404, 404]
            assert neighbour.post(WEBHOOK).status_code == 429
        with client(url, "2001:db8:0:2::1") as other:
            assert other.post(WEBHOOK).status_code == 404


def test_nobody_can_use_up_the_limit_of_the_probes(behind_a_proxy: Settings) -> None:
    """Behind a proxy that nobody named a load balancer has the address of everybody."""
    with serving(with_rates(behind_a_proxy, general="2/hour")) as url, client(url) as everybody:
        assert [everybody.post(WEBHOOK).status_code for _ in range(3)] == [404, 404, 429]
        for probe in ("/health/live", "/health/ready"):
            assert statuses_of(everybody, probe, 5) == [200] * 5
    with serving(with_rates(behind_a_proxy, ddos="4/hour")) as url, client(url) as everybody:
        assert statuses_of(everybody, "/health/live", 5) == [200] * 4 + [429]


def statuses_of(client: httpx.Client, path: str, times: int) -> list[int]:
    return [client.get(path).status_code for _ in range(times)]


def test_one_address_may_not_ask_for_everything_at_once_whatever_it_asks_for(behind_a_proxy: Settings) -> None:
    with serving(with_rates(behind_a_proxy, ddos="4/hour")) as url:
        with client(url) as api:
            asked = [statuses_of(api, path, 1) for path in ("/docs", "/nowhere", PATH, "/openapi.json")]
            assert asked == [[200], [404], [401], [200]]
            refused = api.get("/health/live")
            assert (refused.status_code, refused.headers["ratelimit-policy"]) == (429, '"ddos";q=4;w=3600')
            assert refused.json()["request_id"] == refused.headers["x-request-id"]
        with client(url, "198.51.100.7") as other:
            assert other.get("/health/live").status_code == 200


def test_an_application_with_a_wrong_key_stops_itself_and_nobody_beside_it(
    behind_a_proxy: Settings, make_key: MakeKey
) -> None:
    with serving(with_rates(behind_a_proxy, auth="3/hour")) as url, client(url) as api:
        wrong = {"Authorization": "Bearer trk_000000000000_not-a-key"}
        assert statuses(api, PATH, 5, **wrong) == [401, 401, 401, 429, 429]
        assert statuses(api, PATH, 5) == [401, 401, 401, 429, 429]
        fresh = make_key()
        assert statuses(api, PATH, 1, **fresh) == [200]


def test_who_tries_many_keys_is_refused_before_they_are_looked_up_and_known_keys_go_on(
    behind_a_proxy: Settings, make_key: MakeKey
) -> None:
    with serving(with_rates(behind_a_proxy, auth="5/hour")) as url, client(url) as api:
        known = make_key()
        assert statuses(api, PATH, 1, **known) == [200]
        tried = [statuses(api, PATH, 1, Authorization=f"Bearer trk_{number:012x}_guess")[0] for number in range(1, 9)]
        assert tried == [401] * 5 + [429] * 3
        assert statuses(api, PATH, 1, **known) == [200]
        assert statuses(api, PATH, 1, **make_key()) == [429]
        with client(url, "198.51.100.7", **make_key()) as other:
            assert statuses(other, PATH, 1) == [200]


def test_with_the_limits_off_nothing_is_counted_and_no_header_is_sent(
    behind_a_proxy: Settings, make_key: MakeKey
) -> None:
    rates = {"general": "1/day", "auth": "1/day", "transactions": "1/day", "ddos": "1/day"}
    with serving(with_rates(behind_a_proxy, enabled=False, **rates)) as url, client(url, **make_key()) as api:
        answers = [api.get(PATH, params=QUERY) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [200] * 3
        assert "ratelimit" not in answers[0].headers
        assert statuses(api, PATH, 3, Authorization="Bearer nothing") == [401] * 3


@pytest.mark.parametrize("redis", [None, "redis://127.0.0.1:1/0"])
def test_without_redis_the_limits_hold_in_the_process(ready: Settings, make_key: MakeKey, redis: str | None) -> None:
    url = None if redis is None else SecretStr(redis)
    settings = with_rates(ready.model_copy(update={"redis_url": url}), transactions="3/hour")
    with serving(settings) as address, client(address, **make_key()) as api:
        assert statuses(api, PATH, 5) == [200] * 3 + [429] * 2


def test_the_document_tells_of_429_and_of_the_headers(behind_a_proxy: Settings) -> None:
    with serving(behind_a_proxy) as url, client(url) as api:
        paths = api.get("/openapi.json").json()["paths"]
    for methods in paths.values():
        for operation in methods.values():
            responses = operation["responses"]
            assert {"Retry-After", "RateLimit", "RateLimit-Policy"} <= set(responses["429"]["headers"])
            for status in responses:
                assert status == "401" or {"RateLimit", "RateLimit-Policy"} <= set(responses[status]["headers"])
