"""The cache behind the real API: over HTTP, with PostgreSQL, the archive and Redis."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import psycopg
import pytest
from pydantic import SecretStr

from config import Settings
from config.cache import CacheSettings
from ledger.months import Month
from tests.api.conftest import MakeKey, serving
from tests.api.ledger_rows import BODIES, BODY, PATHS, Ledger, keyed

PATH = "/api/v1/transactions"
Serve = Callable[..., httpx.Client]
# A busy machine may be slow; what must be forgotten is forgotten without a wait.
CALM = {"stale_s": 10, "redis_timeout_ms": 1000, "commit_wait_ms": 1000}


@pytest.fixture
def serve(ready: Settings, redis_url: str, make_key: MakeKey) -> Iterator[Serve]:
    """Starts one more API of the same database and Redis; gives a client with the key of client `acme`."""
    with ExitStack() as stack:

        def start(*, redis: bool = True, **cache: object) -> httpx.Client:
            own = {"cache": CacheSettings(**{**CALM, **cache})}
            url = SecretStr(redis_url) if redis else None
            address = stack.enter_context(serving(ready.model_copy(update={**own, "redis_url": url})))
            return stack.enter_context(httpx.Client(base_url=address, timeout=30, headers=make_key()))

        yield start


@pytest.fixture(params=["with redis", "without redis", "off"])
def api(request: pytest.FixtureRequest, serve: Serve) -> httpx.Client:
    """An API with the cache in each of the ways that it can be."""
    return serve(redis=request.param == "with redis", enabled=request.param != "off")


@pytest.mark.sampled(1)
@pytest.mark.parametrize("how", ["by a process alone that Redis does not reach", "past the API"])
def test_what_nobody_can_tell_is_seen_within_the_bound_all_the_same(
    serve: Serve, database: psycopg.Connection[Any], how: str
) -> None:
    """The readers have their link to Redis all the time, so they trust what they keep; they are just not told."""
    bound_s = 1.0
    readers = [serve(stale_s=bound_s, redis_timeout_ms=100) for _ in range(2)]
    alone = serve(redis=False)
    row = alone.post(PATH, json={**BODY, "status": "pending"}, headers=keyed()).headers["location"]
    page = f"{PATH}?wallet_id={BODY['wallet_id']}"
    for reader in readers:
        assert reader.get(row).json()["status"] == "pending"
        assert [one["status"] for one in reader.get(page).json()["items"]] == ["pending"]
    if how == "past the API":
        database.execute("UPDATE transactions_partitioned SET status = 'completed' WHERE status = 'pending'")
    else:
        assert alone.post(f"{row}/status", json={"status": "completed"}).status_code == 200
    changed_s = time.monotonic()
    for reader in readers:
        for address, seen in ((row, "status"), (page, "items")):
            while True:
                asked_s, found = time.monotonic(), reader.get(address).json()[seen]
                if "pending" not in str(found):
                    break
                assert asked_s - changed_s < bound_s, f"{address} is older than the bound"
                time.sleep(0.02)


@pytest.mark.sampled(2)
@pytest.mark.parametrize("path", PATHS)
def test_an_answer_has_a_strong_etag_and_is_not_for_others(api: httpx.Client, path: str) -> None:
    row = api.post(path, json=BODIES[path], headers=keyed()).headers["location"]
    for address in (row, f"{path}?wallet_id={BODY['wallet_id']}"):
        first, second = api.get(address), api.get(address)
        assert first.content == second.content
        assert first.headers["etag"] == second.headers["etag"]
        assert first.headers["etag"].startswith('"')
        assert first.headers["cache-control"] == "private, no-cache"
        assert first.headers["vary"] == "Authorization"
        assert first.headers["content-type"] == "application/json"


@pytest.mark.sampled(1)
def test_the_answer_that_a_client_has_is_not_sent_again(api: httpx.Client) -> None:
    row = api.post(PATH, json=BODY, headers=keyed()).headers["location"]
    etag = api.get(row).headers["etag"]
    for wanted in (etag, f"W/{etag}", f'"other", {etag}', "*"):
        for method in ("GET", "HEAD"):
            answer = api.request(method, row, headers={"If-None-Match": wanted})
            assert (answer.status_code, answer.content) == (304, b"")
            assert answer.headers["etag"] == etag
            assert answer.headers["cache-control"] == "private, no-cache"
    assert api.get(row, headers={"If-None-Match": '"other"'}).status_code == 200
    api.post(f"{row}/status", json={"status": "completed"})
    changed = api.get(row, headers={"If-None-Match": etag})
    assert (changed.status_code, changed.json()["status"]) == (200, "completed")
    assert changed.headers["etag"] != etag


@pytest.mark.sampled(1)
def test_a_head_is_answered_like_its_get_without_the_body(api: httpx.Client) -> None:
    row = api.post(PATH, json=BODY, headers=keyed()).headers["location"]
    head, get = api.head(row), api.get(row)
    assert head.content == b""
    for name in ("etag", "content-length", "content-type", "cache-control", "vary"):
        assert head.headers[name] == get.headers[name]


@pytest.mark.sampled(1)
def test_a_post_is_in_the_next_page(api: httpx.Client) -> None:
    for count in range(1, 6):
        stored = api.post(PATH, json=BODY, headers=keyed()).json()
        for name in ("wallet_id", "user_id"):
            items = api.get(PATH, params={name: BODY[name]}).json()["items"]
            assert len(items) == count
            assert items[0]["id"] == stored["id"]


@pytest.mark.sampled(1)
def test_a_batch_is_in_the_next_page(api: httpx.Client) -> None:
    for count in (3, 6):
        assert len(api.get(PATH, params={"wallet_id": BODY["wallet_id"]}).json()["items"]) == count - 3
        api.post(f"{PATH}/batch", json={"items": [BODY] * 3}, headers=keyed())
        assert len(api.get(PATH, params={"wallet_id": BODY["wallet_id"]}).json()["items"]) == count


@pytest.mark.sampled(1)
def test_a_new_status_is_in_the_next_read_of_the_row_and_of_its_pages(api: httpx.Client) -> None:
    row = api.post(PATH, json=BODY, headers=keyed()).headers["location"]
    pages = [f"{PATH}?{name}={BODY[name]}" for name in ("wallet_id", "user_id")]
    for status in ("pending", "processing", "completed"):
        api.post(f"{row}/status", json={"status": status})
        assert api.get(row).json()["status"] == status
        assert [api.get(page).json()["items"][0]["status"] for page in pages] == [status, status]


@pytest.mark.sampled(1)
def test_what_is_not_there_is_asked_for_again(api: httpx.Client, ledger: Ledger, this_month: Month) -> None:
    table = ledger.table(PATH)
    (row,) = ledger.add(table, [this_month.lower])
    unknown = str(row["id"])[:-4] + "0000"
    assert api.get(f"{PATH}/{unknown}").status_code == 404
    assert api.get(f"{PATH}/{row['id']}").status_code == 200


def test_a_refused_question_is_refused_again(api: httpx.Client) -> None:
    for _ in range(2):
        answer = api.get(PATH, params={"wallet_id": "w", "limit": "many"})
        assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "limit")
        assert "etag" not in answer.headers


@pytest.mark.sampled(1)
def test_what_one_client_was_told_is_told_to_no_other(api: httpx.Client, make_key: MakeKey) -> None:
    row = api.post(PATH, json=BODY, headers=keyed()).headers["location"]
    page = f"{PATH}?wallet_id={BODY['wallet_id']}"
    etag = api.get(row).headers["etag"]
    assert len(api.get(page).json()["items"]) == 1
    rival, auditor = make_key("rival"), make_key("auditor", ["transactions:read", "read:all"])

    assert api.get(row, headers={**rival, "If-None-Match": etag}).status_code == 404
    assert api.get(page, headers=rival).json()["items"] == []
    assert api.get(row, headers=auditor).content == api.get(row).content
    assert len(api.get(page, headers=auditor).json()["items"]) == 1
    assert api.get(row, headers={"Authorization": ""}).status_code == 401


@pytest.mark.sampled(1)
def test_a_page_over_all_clients_is_of_this_moment(api: httpx.Client, make_key: MakeKey) -> None:
    auditor = make_key("auditor", ["transactions:read", "read:all"])
    for count, client in enumerate(("one", "two", "three"), start=1):
        api.post(PATH, json=BODY, headers={**make_key(client), **keyed()})
        assert len(api.get(f"{PATH}?wallet_id={BODY['wallet_id']}", headers=auditor).json()["items"]) == count


def test_a_change_through_one_api_reaches_the_other(serve: Serve) -> None:
    one, two = serve(), serve()
    row = one.post(PATH, json=BODY, headers=keyed()).headers["location"]
    for status in ("processing", "completed"):
        assert two.get(row).status_code == 200
        one.post(f"{row}/status", json={"status": status})
        for _ in range(1000):  # told through Redis, after the answer at the latest: no time is measured
            if two.get(row).json()["status"] == status:
                break
        else:
            pytest.fail("the other API was not told")


@pytest.mark.sampled(1)
@pytest.mark.parametrize("tier", ["hot", "warm", "cold"])
def test_a_finished_row_is_answered_from_the_cache_while_its_month_moves(
    serve: Serve, ledger: Ledger, this_month: Month, tier: str
) -> None:
    api, table, month = serve(), ledger.table(PATH), this_month.plus(-5)
    (row,) = ledger.add(table, [month.lower], metadata={"b": [1, "x"]})
    if tier != "hot":
        ledger.warm(table, month)
    if tier == "cold":
        ledger.archive(table, month)
    first = api.get(f"{PATH}/{row['id']}")
    if tier == "hot":
        ledger.warm(table, month)
    if tier != "cold":
        ledger.archive(table, month)
    assert first.status_code == 200
    assert api.get(f"{PATH}/{row['id']}").content == first.content


def test_a_route_that_is_kept_for_no_time_asks_each_time(serve: Serve, ledger: Ledger, this_month: Month) -> None:
    api = serve(routes={"listTransactions": 0})
    for count in range(1, 4):
        ledger.add(ledger.table(PATH), [this_month.lower])  # past the API: nobody is told
        assert len(api.get(PATH, params={"wallet_id": BODY["wallet_id"]}).json()["items"]) == count
