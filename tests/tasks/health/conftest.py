"""What the tests of the health checks share: a system in which all is well, and ways to break a part of it."""

import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydantic import SecretStr

from config import Settings
from config.suppliers import Suppliers
from servers import prefect
from servers.lending import running
from sql.connection import Connection, connect
from tasks.admin.setup import prepare_database
from tasks.archiving.rollover import roll_table
from tasks.prefect.access import PrefectAccess
from tasks.prefect.deployments import PROJECT, deployments
from tests.conftest import own_database
from tests.databases import Databases, make_template


@pytest.fixture(scope="session")
def prefect_url(server_settings: Settings) -> Iterator[str]:
    """The address of a real Prefect server with the project's pool, shared by the workers of the run."""
    with running(server_settings, "prefect") as settings:
        prefect.make_pool(server_settings.home, PrefectAccess.of(settings))
        yield str(settings.prefect_api_url)


# Of a system whose deployments are not made: what is expected of them has tests of its own.
NO_SCHEDULES = tuple(one["name"] for one in deployments(PROJECT, Suppliers()))


def _roll(draft: Settings) -> None:
    prepare_database(draft)
    for table in draft.registry.values():
        roll_table(draft, table, datetime.now(UTC).date())


@pytest.fixture(scope="session")
def template(server_settings: Settings, migrated: str) -> str:
    """The name of a database that is prepared and has its partitions, as after a night's work."""
    return make_template(server_settings, f"{migrated}_rolled", migrated, _roll)


@pytest.fixture
def bare(databases: Databases, server_settings: Settings, migrated: str, tmp_path: Path) -> Iterator[Settings]:
    """Settings of a database without a partition, as before any night's work."""
    with own_database(databases, server_settings, migrated, tmp_path) as own:
        yield own


@pytest.fixture
def ledger(settings: Settings) -> Settings:
    """Settings of a database of this test's own, as after a night's work."""
    return settings


@pytest.fixture
def system(ledger: Settings, redis_url: str, prefect_url: str) -> Settings:
    """Settings of a whole system: PostgreSQL, Redis, S3 and Prefect answer."""
    return ledger.model_copy(update={"redis_url": SecretStr(redis_url), "prefect_api_url": prefect_url})


@pytest.fixture
def connection(dsn: str) -> Iterator[Connection]:
    """An autocommit connection to this test's database."""
    with connect(dsn, "tests") as connection:
        yield connection


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port where connections are taken and nothing is ever answered."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as silent:
        yield int(silent.getsockname()[1])


@pytest.fixture
def closed_port() -> int:
    """A port where nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def at_port(settings: Settings, port: int) -> Settings:
    """The settings with every server at one port."""
    return settings.model_copy(
        update={
            "database_url": SecretStr(f"postgresql://treasury:hunter2@127.0.0.1:{port}/treasury"),
            "redis_url": SecretStr(f"redis://:hunter2@127.0.0.1:{port}/0"),
            "archive_url": "s3://archive/prefix",
            "s3_endpoint_url": f"http://127.0.0.1:{port}",
            "s3_access_key_id": "A" * 20,
            "s3_secret_access_key": SecretStr("B" * 40),
            "prefect_api_url": f"http://127.0.0.1:{port}/api",
        }
    )
