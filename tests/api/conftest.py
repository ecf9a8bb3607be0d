"""An API on a database of its own, with months in several tiers, and keys to ask it with."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
import uvicorn

from api.serve import HOW, make_limits
from api.server.app import create_app
from api.server.protocol import LimitedConfig
from config import Settings
from ledger.months import Month
from ledger.scopes import CLIENT_SCOPES
from sql.connection import connect
from sql.partitions import ensure_partition
from sql.preparation import prepare_table
from tasks.admin.keys import create_key
from tests.api.ledger_rows import Ledger
from tests.conftest import own_database
from tests.databases import Databases, make_template

Headers = dict[str, str]
MakeKey = Callable[..., Headers]


@pytest.fixture
def this_month() -> Month:
    """The month that the server's clock is in."""
    return Month.of(datetime.now(UTC))


def with_partitions(settings: Settings) -> Settings:
    """``settings``, once their database has partitions for this month and the next."""
    with connect(settings.database_dsn, "tests") as connection:
        for table in settings.registry.values():
            prepare_table(connection, settings, table)
            for distance in (0, 1):
                ensure_partition(connection, settings, table, Month.of(datetime.now(UTC)).plus(distance))
    return settings


@pytest.fixture(scope="session")
def template(server_settings: Settings, migrated: str) -> str:
    """The name of a database with partitions for this month and the next."""
    return make_template(server_settings, f"{migrated}_ready", migrated, with_partitions)


@pytest.fixture
def ready(settings: Settings, tmp_path: Path) -> Settings:
    """Settings of a database with partitions for this month and the next, and an archive in a folder."""
    return settings.model_copy(update={"archive_url": f"file://{tmp_path / 'archive'}"})


@pytest.fixture
def ledger(ready: Settings) -> Ledger:
    """Puts rows into any month, and months into any tier."""
    return Ledger(ready)


@pytest.fixture
def make_key(ready: Settings) -> MakeKey:
    """Makes a key and gives the header that carries it."""

    return partial(_make_key, ready)


def _make_key(
    settings: Settings, client_id: str = "acme", scopes: Any = CLIENT_SCOPES, expires_in: timedelta | None = None
) -> Headers:
    expires_at = None if expires_in is None else datetime.now(UTC) + expires_in
    return {"Authorization": f"Bearer {create_key(settings, client_id, scopes, expires_at)}"}


def unlimited(settings: Settings) -> Settings:
    """``settings`` without limits of requests and without the watch: for tests that ask more than a client does."""
    changes = {"enabled": False}
    return settings.model_copy(
        update={
            "rate_limits": settings.rate_limits.model_copy(update=changes),
            "watch": settings.watch.model_copy(update=changes),
        }
    )


@contextmanager
def serving(settings: Settings) -> Iterator[str]:
    """The API with its own protocol and limits, as in production, on a free port; yields its address."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        config = LimitedConfig(create_app(settings), make_limits(settings), log_config=None, **HOW)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, args=([listening],), name="api under test")
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


@pytest.fixture
def http(ready: Settings) -> Iterator[httpx.Client]:
    """A client of a running API that carries no key."""
    with serving(ready) as url, httpx.Client(base_url=url, timeout=30) as client:
        yield client


@pytest.fixture
def api(http: httpx.Client, make_key: MakeKey) -> httpx.Client:
    """A client of a running API with the key of client `acme`."""
    http.headers.update(make_key())
    return http


@pytest.fixture(scope="module")
def shared(
    databases: Databases, server_settings: Settings, template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Settings]:
    """Settings of a database that the tests of a module share: they look at answers and change no rows of others."""
    with own_database(databases, server_settings, template, tmp_path_factory.mktemp("shared")) as settings:
        yield unlimited(settings)


@pytest.fixture(scope="module")
def shared_url(shared: Settings) -> Iterator[str]:
    """The address of an API on it, with its default limits of the protocol."""
    with serving(shared) as url:
        yield url


@pytest.fixture
def shared_http(shared_url: str) -> Iterator[httpx.Client]:
    """A client of that API that carries no key."""
    with httpx.Client(base_url=shared_url, timeout=30) as client:
        yield client


@pytest.fixture(scope="module")
def make_shared_key(shared: Settings) -> MakeKey:
    """Makes a key for that API and gives the header that carries it."""
    return partial(_make_key, shared)


@pytest.fixture
def shared_api(shared_http: httpx.Client, make_shared_key: MakeKey) -> httpx.Client:
    """A client of that API with the key of client `acme`: for requests that are refused."""
    shared_http.headers.update(make_shared_key())
    return shared_http


@pytest.fixture
def shared_database(shared: Settings) -> Iterator[psycopg.Connection[Any]]:
    """A connection to look behind that API."""
    with psycopg.connect(shared.database_dsn, autocommit=True) as connection:
        yield connection


@pytest.fixture
def database(ready: Settings) -> Iterator[psycopg.Connection[Any]]:
    """A connection to look behind the API."""
    with psycopg.connect(ready.database_dsn, autocommit=True) as connection:
        yield connection
