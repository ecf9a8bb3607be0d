"""While PostgreSQL is away the monitoring still answers those that it knew: that is when it is needed."""

import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from shutil import rmtree

import httpx
import pytest
from pydantic import SecretStr

from api.keys.auth import REMEMBER_S
from config import Settings
from ledger.months import Month
from ledger.scopes import CLIENT_SCOPES, Scope
from servers import lease
from servers.postgres import Postgres
from sql import migrate
from sql.connection import connect
from sql.partitions import ensure_partition
from sql.preparation import prepare_table
from tasks.admin.keys import create_key
from tests.api.conftest import Headers, serving
from tests.api.ledger_rows import BODY, keyed
from tests.api.monitoring.conftest import PREFIX

WAIT_S = 30.0


@pytest.fixture
def own_server(server_settings: Settings, tmp_path: Path) -> Iterator[Settings]:
    """Settings of a database whose server belongs to this test alone."""
    home = Path(tempfile.mkdtemp(prefix="treasury-outage-"))  # pytest's own folders are closed to PostgreSQL
    with lease.lease(home, Postgres(home, fast=True)) as endpoint:
        settings = server_settings.model_copy(
            update={
                "database_url": SecretStr(endpoint.url),
                "api_database_url": None,
                "auditor_database_url": None,
                "home": home,
                "archive_url": f"file://{tmp_path}/archive",
            }
        )
        migrate.upgrade(settings.database_dsn)
        with connect(settings.database_dsn, "tests") as connection:
            for table in settings.registry.values():
                prepare_table(connection, settings, table)
                ensure_partition(connection, settings, table, Month.of(datetime.now(UTC)))
        yield settings
    rmtree(home)


def header(settings: Settings, *scopes: Scope) -> Headers:
    return {"Authorization": f"Bearer {create_key(settings, 'acme', scopes)}"}


@pytest.mark.slow
def test_an_outage_is_told_to_keys_that_were_good_before_it(own_server: Settings) -> None:
    watcher, unseen = (header(own_server, Scope.MONITORING_READ) for _ in range(2))
    client_key = header(own_server, *CLIENT_SCOPES)
    paths = [f"{PREFIX}/{page}" for page in ("health", "summary", "performance", "cache", "database")]
    with serving(own_server) as url, httpx.Client(base_url=url, timeout=60) as client, ThreadPoolExecutor(8) as pool:
        health = client.get(paths[0], headers=watcher).json()
        assert next(one for one in health["components"] if one["name"] == "postgres")["state"] == "healthy"
        assert client.post("/api/v1/transactions", json=BODY, headers={**client_key, **keyed()}).status_code == 201
        lease.stop(own_server.home, "postgres")
        lease.wait(lambda: client.get("/health/ready").status_code == 503, WAIT_S, "the outage to be seen")
        _outlast_memory(client)

        asked = {path: pool.submit(client.get, path, headers=watcher) for path in (*paths, "/metrics")}
        stranger = pool.submit(client.get, paths[0], headers=unseen)
        posted = pool.submit(client.post, "/api/v1/transactions", json=BODY, headers={**client_key, **keyed()})
        answers = {path: answer.result() for path, answer in asked.items()}

    postgres = next(one for one in answers[paths[0]].json()["components"] if one["name"] == "postgres")
    assert postgres["state"] == "critical"
    assert postgres["to_do"]
    assert answers[paths[1]].json()["state"] == "critical"
    assert answers[paths[1]].json()["database_bytes"] is None
    statuses = {path.rpartition("/")[2]: answer.status_code for path, answer in answers.items()}
    assert statuses.pop("database") == 503
    assert set(statuses.values()) == {200}
    assert stranger.result().status_code == posted.result().status_code == 503


def _outlast_memory(client: httpx.Client) -> None:
    """Wait until keys are looked up again, and the health of before is not kept any more."""
    since_s = time.monotonic()
    lease.wait(lambda: time.monotonic() - since_s > REMEMBER_S + 3, WAIT_S, "keys to be looked up again")
