"""What PostgreSQL tells: with pg_stat_statements and without, as a superuser and as a role that may do little."""

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from shutil import rmtree
from typing import Any

import httpx
import msgspec
import psycopg
import pytest
from pydantic import SecretStr

from api.monitoring.database_report import DatabaseReport
from config import Settings
from ledger.months import Month
from ledger.scopes import Scope
from servers import lease, process
from servers.postgres import Postgres
from sql import migrate
from sql.connection import connect
from sql.partitions import ensure_partition
from sql.preparation import prepare_table
from sql.roles import API, ensure_login, prepare_roles
from tasks.admin.keys import create_key
from tests.api.conftest import serving
from tests.api.ledger_rows import BODY, keyed
from tests.api.monitoring.conftest import PREFIX

BIN_DIRS = sorted(
    path
    for path in Path("/usr/lib/postgresql").glob("*/bin")
    if (path / "postgres").exists()
    and Path(f"/usr/share/postgresql/{path.parent.name}/extension/pg_stat_statements.control").exists()
)
SECRET = "xyzzy-plugh-4711"
needs_extension = pytest.mark.skipif(
    not BIN_DIRS,
    reason="NOT TESTED, pg_stat_statements: needs a distribution's PostgreSQL (apt-get install postgresql)",
)


class WithStatements(Postgres):
    """A distribution's PostgreSQL that has loaded pg_stat_statements."""

    __slots__ = ()

    def prepare(self) -> process.Launch:
        launch = super().prepare()
        loaded = ("-c", "shared_preload_libraries=pg_stat_statements")
        return replace(launch, argv=(*launch.argv, *loaded))


@pytest.fixture(scope="module")
def distribution(server_settings: Settings) -> Iterator[Settings]:
    """Settings of a migrated database on a distribution's PostgreSQL."""
    home = Path(tempfile.mkdtemp(prefix="treasury-distribution-"))  # pytest's own folders are closed to PostgreSQL
    with lease.lease(home, WithStatements(home, 0, BIN_DIRS[-1], fast=True)) as endpoint:
        settings = server_settings.model_copy(
            update={
                "database_url": SecretStr(endpoint.url),
                "api_database_url": None,
                "auditor_database_url": None,
                "home": home,
                "archive_url": f"file://{home}/archive",
            }
        )
        migrate.upgrade(settings.database_dsn)
        with connect(settings.database_dsn, "tests") as connection:
            for table in settings.registry.values():
                prepare_table(connection, settings, table)
                ensure_partition(connection, settings, table, Month.of(datetime.now(UTC)))
        yield settings
    rmtree(home)


def headers(settings: Settings) -> dict[str, str]:
    scopes = [Scope.MONITORING_READ, Scope.TRANSACTIONS_WRITE, Scope.TRANSACTIONS_READ]
    return {"Authorization": f"Bearer {create_key(settings, 'acme', scopes)}"}


def report(client: httpx.Client) -> DatabaseReport:
    response = client.get(f"{PREFIX}/database")
    assert response.status_code == 200, response.text
    return msgspec.json.decode(response.content, type=DatabaseReport)


def post_and_report(settings: Settings, key: dict[str, str]) -> DatabaseReport:
    """The database page after one post and one page of rows."""
    with serving(settings) as url, httpx.Client(base_url=url, headers=key, timeout=30) as client:
        posted = client.post("/api/v1/transactions", json={**BODY, "description": SECRET}, headers=keyed())
        assert posted.status_code == 201, posted.text
        assert client.get("/api/v1/transactions", params={"wallet_id": "wallet-1"}).status_code == 200
        return report(client)


def test_without_the_extension_the_api_tells_of_its_own_queries(ready: Settings) -> None:
    page = post_and_report(ready, headers(ready))

    assert page.slow_queries.source == "api"
    assert {"store", "page", "find_key"} <= {query.query for query in page.slow_queries.queries}
    totals = [query.total_ms for query in page.slow_queries.queries]
    assert totals == sorted(totals, reverse=True)


def test_sizes_and_connections_are_told(ready: Settings) -> None:
    page = post_and_report(ready, headers(ready))

    sizes = {table.name: table for table in page.tables}
    assert sizes["idempotency_keys"].total_bytes > 0
    assert all(table.total_bytes == table.heap_bytes + table.index_bytes for table in page.tables)
    assert len(page.tables) <= 20
    assert len(page.indexes) <= 20
    assert any(index.name == "idempotency_keys_pkey" for index in page.indexes)
    assert page.connections.total == sum(page.connections.by_state.values()) > 0
    assert page.connections.total <= page.connections.server_total <= page.connections.server_limit
    assert page.locks_waiting == []
    assert page.database_bytes > 0


def test_a_prepared_transaction_is_an_open_one(ready: Settings, database: psycopg.Connection[Any]) -> None:
    if database.execute("SHOW max_prepared_transactions").fetchone() == ("0",):
        pytest.skip("this server takes no prepared transactions")
    with database.transaction():
        database.execute("LOCK TABLE imports IN SHARE MODE")
        database.execute("PREPARE TRANSACTION 'left behind'")
    try:
        page = post_and_report(ready, headers(ready))
    finally:
        database.execute("ROLLBACK PREPARED 'left behind'")
    assert page.connections.longest_transaction_s is not None


def test_dead_rows_show_as_bloat(ready: Settings, database: psycopg.Connection[Any]) -> None:
    database.execute("CREATE TABLE bloated WITH (autovacuum_enabled = false) AS SELECT generate_series(1, 30000) AS n")
    database.execute("DELETE FROM bloated WHERE n <= 15000")
    database.execute("SELECT pg_stat_force_next_flush()")
    with serving(ready) as url, httpx.Client(base_url=url, headers=headers(ready)) as client:
        page = report(client)

    (bloated,) = [table for table in page.tables if table.name == "bloated"]
    assert bloated.dead_rows == 15000
    assert bloated.dead_share == pytest.approx(0.5)


@needs_extension
def test_the_extension_tells_the_slowest_statements_without_a_value(distribution: Settings) -> None:
    with connect(distribution.database_dsn, "tests") as connection:
        connection.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
        connection.execute("SELECT pg_stat_statements_reset()")
        connection.execute("CREATE ROLE somebody PASSWORD 'xyzzy-plugh-4711'")
        connection.execute("SELECT 'xyzzy-plugh-4711', 4711.5 FROM generate_series(1, 1000)")
        kept = connection.execute("SELECT count(*) FROM pg_stat_statements WHERE query LIKE '%xyzzy%'").fetchone()
    assert kept is not None
    assert kept[0] >= 1  # the extension has kept the password: it must not be shown
    page = post_and_report(distribution, headers(distribution))

    assert page.slow_queries.source == "pg_stat_statements"
    texts = [query.query for query in page.slow_queries.queries]
    assert 0 < len(texts) <= 20
    assert any("transactions_partitioned" in text for text in texts)
    assert not any("xyzzy" in text or "4711" in text or "PASSWORD" in text for text in texts)
    assert all(query.calls > 0 and query.total_ms >= 0 for query in page.slow_queries.queries)


@needs_extension
@pytest.mark.parametrize("sees_all", [True, False])
def test_the_role_of_the_api_sees_the_statements_of_others_while_it_may(distribution: Settings, sees_all: bool) -> None:
    login = Postgres(distribution.home).login_url(distribution.database_dsn, API)
    ensure_login(distribution.database_dsn, login)
    with connect(distribution.database_dsn, "tests") as connection:
        connection.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
        assert prepare_roles(connection, distribution) == []
        if not sees_all:
            connection.execute(f"REVOKE pg_read_all_stats FROM {API}")
        connection.execute("SELECT pg_stat_statements_reset()")
        connection.execute("SELECT count(*) AS asked_by_the_owner FROM imports")
    restricted = distribution.model_copy(update={"api_database_url": SecretStr(login)})
    with serving(restricted) as url, httpx.Client(base_url=url, headers=headers(distribution), timeout=30) as client:
        page = report(client)
        for name in ("performance", "partitions", "alerts", "cache"):
            assert client.get(f"{PREFIX}/{name}").status_code == 200
        components = client.get(f"{PREFIX}/health").json()["components"]

    assert page.slow_queries.source == "pg_stat_statements"
    assert any("asked_by_the_owner" in query.query for query in page.slow_queries.queries) is sees_all
    assert [one for one in components if "permission" in one["line"] or "failed" in one["line"]] == []
