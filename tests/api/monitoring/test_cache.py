"""The cache seen and cleared through the monitoring, with a real Redis."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import redis
from pydantic import SecretStr

from config import Settings
from config.cache import CacheSettings
from tests.api.conftest import Headers, MakeKey, serving
from tests.api.ledger_rows import BODY, keyed
from tests.api.monitoring.conftest import PREFIX

CLEAR = f"{PREFIX}/cache/clear"


@pytest.fixture
def cached(ready: Settings, redis_url: str, make_key: MakeKey) -> Iterator[httpx.Client]:
    """A client with the key of an application, of an API with both layers of the cache."""
    calm = CacheSettings(stale_s=10, redis_timeout_ms=1000, commit_wait_ms=1000)  # a busy machine may be slow
    settings = ready.model_copy(update={"redis_url": SecretStr(redis_url), "cache": calm})
    with serving(settings) as url, httpx.Client(base_url=url, headers=make_key(), timeout=30) as client:
        yield client


def layers(client: httpx.Client, key: Headers) -> dict[str, Any]:
    """The layers of the cache by name."""
    page = client.get(f"{PREFIX}/cache", headers=key).json()
    assert page["enabled"] is True
    return {layer["layer"]: layer for layer in page["layers"]}


def hits(client: httpx.Client, key: Headers) -> int:
    return int(layers(client, key).get("local", {"hits": 0})["hits"])


def read_row(client: httpx.Client) -> str:
    """The address of a stored row that was read once, so that it is in the cache."""
    location = client.post("/api/v1/transactions", json=BODY, headers=keyed()).headers["location"]
    assert client.get(location).status_code == 200
    return location


def test_hits_are_counted_and_shared_out_by_layer(cached: httpx.Client, watcher: Headers) -> None:
    location = read_row(cached)
    before = hits(cached, watcher)
    for _ in range(4):
        cached.get(location)
    after = layers(cached, watcher)

    assert after["local"]["hits"] == before + 4
    assert 0 < after["local"]["hit_ratio"] < 1
    assert "misses" in after["redis"]
    assert after["redis"]["evictions"] >= 0  # Redis's own count
    details = cached.get(f"{PREFIX}/cache", headers=watcher).json()["details"]
    assert details["processes"] == {"count": 1}
    assert details["local"]["entries"] >= 1
    summary = cached.get(f"{PREFIX}/summary", headers=watcher).json()
    assert 0 < summary["cache_hit_ratio"] <= 1


def test_a_clear_forgets_what_fits_and_touches_nothing_else(
    cached: httpx.Client, operator: Headers, watcher: Headers, redis_url: str
) -> None:
    def clear(**what: Any) -> int:
        response = cached.post(CLEAR, json=what, headers=operator)
        assert response.status_code == 200, response.text
        assert response.json()["everywhere"] is True
        return int(response.json()["cleared"])

    with redis.Redis.from_url(redis_url) as server:
        server.set("somebody-else", "stays")
        for what in ({"pattern": "transactions:*"}, {"all": True}):
            location = read_row(cached)
            assert clear(pattern="vas_transactions:*") == 0
            assert clear(**what) >= 1
            before = hits(cached, watcher)
            cached.get(location)  # read anew
            assert hits(cached, watcher) == before
            assert clear(**what) >= 1  # and kept anew
        assert server.get("somebody-else") == b"stays"


def test_while_redis_is_away_a_clear_says_that_only_this_process_forgot(
    ready: Settings, make_key: MakeKey, operator: Headers, watcher: Headers
) -> None:
    away = ready.model_copy(update={"redis_url": SecretStr("redis://127.0.0.1:1/0")})
    with serving(away) as url, httpx.Client(base_url=url, headers=make_key(), timeout=30) as client:
        read_row(client)
        cleared = client.post(CLEAR, json={"all": True}, headers=operator).json()
        assert (cleared["everywhere"], cleared["cleared"] >= 1) == (False, True)
        found = client.get(f"{PREFIX}/cache", headers=watcher).json()["layers"]
        assert [layer["evictions"] for layer in found if layer["layer"] == "redis"] in ([], [None])


def test_with_the_cache_off_there_is_nothing_to_clear(ready: Settings, operator: Headers, watcher: Headers) -> None:
    settings = ready.model_copy(update={"cache": ready.cache.model_copy(update={"enabled": False})})
    with serving(settings) as url, httpx.Client(base_url=url) as client:
        assert client.get(f"{PREFIX}/cache", headers=watcher).json()["enabled"] is False
        assert client.post(CLEAR, json={"all": True}, headers=operator).json() == {"cleared": 0, "everywhere": True}
