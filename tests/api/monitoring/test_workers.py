"""The numbers of several worker processes are one: whichever of them is asked, and whichever of them dies."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from config import Settings
from servers import lease, stack
from servers.api import METRICS_FOLDER, Api
from tests.api.conftest import Headers
from tests.api.ledger_rows import BODY, keyed
from tests.api.monitoring.conftest import PREFIX

WAIT_S = 60.0


@pytest.fixture
def url(ready: Settings) -> Iterator[str]:
    """The address of an API with two workers, started as `treasury up` does."""
    server = Api(ready.home, 0, ready.model_copy(update={"api_workers": 2}).environment(), stack.PROJECT)
    with lease.lease(ready.home, server) as endpoint:
        yield endpoint.url


def ask(url: str, path: str, headers: Headers) -> httpx.Response:
    """One request on a connection of its own: the kernel gives it to either worker."""
    return httpx.get(url + path, headers=headers, timeout=30)


def performance(url: str, headers: Headers) -> Any:
    return ask(url, f"{PREFIX}/performance", headers).json()


def requests_of(page: Any, route: str) -> int:
    return sum(found["since_start"]["requests"] for found in page["routes"] if found["route"] == route)


def workers(home: Path) -> set[int]:
    """The processes that serve, by the locks that they hold."""
    files = (home / "run" / METRICS_FOLDER).glob("*.alive")
    return {int(path.stem) for path in files if lease.is_held(path)}


@pytest.mark.heavy("test_exposition.py tests the counters of one")
def test_two_workers_count_together_and_a_dead_one_loses_nothing(
    url: str, ready: Settings, watcher: Headers, make_key: Any
) -> None:
    size = 2 * ready.api_pool_size
    lease.wait(lambda: performance(url, watcher)["pool"]["size"] == size, WAIT_S, "both workers")
    for _ in range(20):
        assert ask(url, "/health/live", {}).status_code == 200
    httpx.post(f"{url}/api/v1/transactions", json=BODY, headers={**make_key(), **keyed()})

    pages = [performance(url, watcher) for _ in range(6)]  # by either worker
    assert {requests_of(page, "/health/live") for page in pages} == {20}
    assert {page["workers"] for page in pages} == {2}
    assert [flush["rows"] for flush in pages[0]["flushes"] if flush["table"] == "transactions"] == [1]

    before = workers(ready.home)
    os.kill(min(before), signal.SIGKILL)
    lease.wait(lambda: len(workers(ready.home) - before) == 1, WAIT_S, "another worker")
    lease.wait(lambda: performance(url, watcher)["pool"]["size"] == size, WAIT_S, "its connections")
    pages = [performance(url, watcher) for _ in range(6)]
    assert {requests_of(page, "/health/live") for page in pages} == {20}
    assert {page["workers"] for page in pages} == {2}
    assert {page["since"] for page in pages} == {pages[0]["since"]}
    assert not list((ready.home / "run" / METRICS_FOLDER).glob(f"*{min(before)}*"))

    exposed = ask(url, "/metrics", watcher).text
    assert 'treasury_api_requests_total{method="GET",route="/health/live",status="2xx"} 20.0' in exposed
    assert "treasury_api_workers 2.0" in exposed


@pytest.mark.slow
def test_workers_that_take_long_to_load_are_waited_for(
    ready: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """uvicorn kills a worker that does not answer within 5 s, and the next one, too: the API never starts."""
    delay = "import sys, time\nif '--multiprocessing-fork' in sys.orig_argv:\n    time.sleep(6)\n"
    (tmp_path / "sitecustomize.py").write_text(delay)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    two = ready.model_copy(update={"api_workers": 2})
    with lease.lease(ready.home, Api(ready.home, 0, two.environment(), stack.PROJECT)) as endpoint:
        assert ask(endpoint.url, "/health/live", {}).status_code == 200
        lease.wait(lambda: len(workers(ready.home)) == 2, WAIT_S, "both workers")
    assert "died" not in (ready.home / "log" / "api.log").read_text(encoding="utf-8")


@pytest.mark.heavy("two workers count together, and a dead one loses nothing")
def test_a_new_start_counts_from_nothing(ready: Settings, watcher: Headers) -> None:
    for _ in range(2):
        with lease.lease(ready.home, Api(ready.home, 0, ready.environment(), stack.PROJECT)) as endpoint:
            ask(endpoint.url, "/health/live", {})
            assert requests_of(performance(endpoint.url, watcher), "/health/live") == 1
