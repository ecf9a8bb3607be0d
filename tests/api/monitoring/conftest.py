"""An API to watch: the fixtures of the API's tests, and keys that may look and operate."""

import httpx
import pytest

from ledger.scopes import Scope
from tests.api.conftest import (
    Headers,
    MakeKey,
    api,
    database,
    http,
    ledger,
    make_key,
    make_shared_key,
    ready,
    shared,
    shared_http,
    shared_url,
    template,
    this_month,
)

__all__ = [
    "api",
    "database",
    "http",
    "ledger",
    "make_key",
    "make_shared_key",
    "ready",
    "shared",
    "shared_http",
    "shared_url",
    "template",
    "this_month",
]

PREFIX = "/api/v1/monitoring"


@pytest.fixture
def watcher(make_key: MakeKey) -> Headers:
    """The header of a key that may look."""
    return make_key("watcher", [Scope.MONITORING_READ])


@pytest.fixture
def operator(make_key: MakeKey) -> Headers:
    """The header of a key that may operate."""
    return make_key("operator", [Scope.OPERATIONS])


@pytest.fixture
def watched(http: httpx.Client, watcher: Headers) -> httpx.Client:
    """A client of a running API with a key that may look."""
    http.headers.update(watcher)
    return http


@pytest.fixture
def shared_watched(shared_http: httpx.Client, make_shared_key: MakeKey) -> httpx.Client:
    """The same of the API that the tests of a module share."""
    shared_http.headers.update(make_shared_key("watcher", [Scope.MONITORING_READ]))
    return shared_http
