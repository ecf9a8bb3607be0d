"""The real servers that the tests run on: one PostgreSQL, Redis and S3 for a whole run, whatever the number of workers.

``TREASURY_TEST_DATABASE_URL`` points the run at any PostgreSQL (a superuser's URL); ``TREASURY_TEST_PG_BIN`` at a
folder of its binaries; else it is the embedded 18. A test gets a database of its own, copied from a migrated template;
a folder of tests that needs more than the migrations in it, such as partitions, overrides `template`.
"""

import logging
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import certifi
import hypothesis
import psycopg
import pytest
from psycopg import sql
from pydantic import SecretStr

from bench.databases import on_database
from config import Settings, load_settings
from config.settings import Ports
from ledger.tables import BUILT_IN
from servers import prefect
from servers.lending import running
from sql import migrate
from sql.connection import connect
from sql.ledger_tables import make_hot_parent
from sql.preparation import prepare_table
from sql.roles import API, AUDITOR, ensure_login, prepare_roles
from tests import costs, coverage_report, figures, sampling, stores
from tests.archives import Archives
from tests.databases import Databases, drop_like, make_template

HOME = "TREASURY_TEST_HOME"
DATABASE_URL = "TREASURY_TEST_DATABASE_URL"
PG_BIN = "TREASURY_TEST_PG_BIN"
_SPEAKERS = ("treasury.api", "uvicorn", "uvicorn.error")
_LOGINS_LOCK = 0x7472_6561_7E58
_MEMORY = Path("/dev/shm")  # noqa: S108  # where there is such a folder, its files are kept in memory
_ROOM_BYTES = 3 << 30
hypothesis.settings.register_profile("project", deadline=None)  # no test is failed by a slow machine
hypothesis.settings.load_profile("project")
_ANY_PORT = Ports(postgres=0, redis=0, s3=0, prefect=0, api=0, suppliers=0)


def pytest_configure(config: pytest.Config) -> None:
    """Make the run's home, once for all workers, and forget what the developer's shell has set.

    The home is not one of pytest's own folders: those are closed to the account that PostgreSQL needs under root. It is
    in memory where there is room: a database is 400 files, which most tests make and drop.
    """
    if not hasattr(config, "workerinput"):
        os.environ[HOME] = tempfile.mkdtemp(prefix="treasury-tests-", dir=_MEMORY if _has_room(_MEMORY) else None)
        os.environ["SSL_CERT_FILE"] = str(_one_certificate(_home()))
        if costs.KEPT in os.environ:
            config.pluginmanager.register(costs.CostKeeper())
    for name in list(os.environ):
        if name.startswith(("TREASURY_", "AWS_", "PREFECT_")) and not name.startswith(("TREASURY_TEST_", "AWS_CA_")):
            del os.environ[name]
    # Prefect reads these when it is imported.
    os.environ["PREFECT_HOME"] = str(_home() / "prefect")
    os.environ["PREFECT_API_AUTH_STRING"] = prefect.login(_home()).get_secret_value()
    os.environ["PREFECT_SERVER_ANALYTICS_ENABLED"] = "false"
    os.environ["DO_NOT_TRACK"] = "1"


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove the home, and the template where the server is not ours, after the last worker has ended."""
    if not hasattr(config, "workerinput"):
        if DATABASE_URL in os.environ:
            drop_like(os.environ[DATABASE_URL], _run_name())
            _drop_logins(os.environ[DATABASE_URL])
        shutil.rmtree(os.environ.pop(HOME), ignore_errors=True)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Choose the samples, and what costs too much, before pytest leaves out what `-m` does not name."""
    sampling.mark_unsampled(items)
    costs.mark_costly(items, costs.read())


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print what the tests measured, and the files that they run too little of."""
    figures.show(terminalreporter)
    coverage_report.show(terminalreporter, config)


def _home() -> Path:
    return Path(os.environ[HOME])


def _one_certificate(folder: Path) -> Path:
    """A file with one authority: httpx reads all of them for each client, 25 ms, and no test talks to the world."""
    first, end, _ = Path(certifi.where()).read_text(encoding="utf-8").partition("-----END CERTIFICATE-----")
    file = folder / "authority.pem"
    file.write_text(f"{first}{end}\n", encoding="utf-8")
    return file


def _has_room(folder: Path) -> bool:
    return os.access(folder, os.W_OK | os.X_OK) and shutil.disk_usage(folder).free > _ROOM_BYTES


def _run_name() -> str:
    return _home().name.replace("-", "_")


@pytest.fixture(scope="session")
def server_settings(request: pytest.FixtureRequest) -> Iterator[Settings]:
    """Settings that point at the run's servers; the database is the one of the superuser's URL."""
    external = os.environ.get(DATABASE_URL)
    base = load_settings(home=_home(), ports=_ANY_PORT, database_url=SecretStr(external) if external else None)
    bin_dir = os.environ.get(PG_BIN)
    with (
        running(base, "postgres", "s3", fast=True, bin_dir=Path(bin_dir) if bin_dir else None) as settings,
        _prefect_begun(settings, request.session.items),
    ):
        yield _with_logins(settings) if external else settings


@contextmanager
def _prefect_begun(settings: Settings, items: list[pytest.Item]) -> Iterator[None]:
    """Prefect's server, begun behind the tests' back when one of them will ask for it: it takes many seconds."""
    with ExitStack() as stack, ThreadPoolExecutor(1, "prefect") as pool:
        if any("prefect_url" in getattr(item, "fixturenames", ()) for item in items):
            pool.submit(stack.enter_context, running(settings, "prefect"))  # who asks for it is told when it fails
        yield


@pytest.fixture(scope="session")
def migrated(server_settings: Settings) -> str:
    """The name of a migrated database to copy from, made by whichever worker comes first."""
    return make_template(server_settings, _run_name(), None, _migrate)


@pytest.fixture(scope="session")
def prepared(server_settings: Settings, migrated: str) -> str:
    """The name of a migrated database in which both ledger tables have their parents and views."""
    return make_template(server_settings, f"{migrated}_prepared", migrated, _prepare)


@pytest.fixture(scope="session")
def template(migrated: str) -> str:
    """The name of the database that those of the tests are copies of."""
    return migrated


@pytest.fixture(scope="session")
def databases(server_settings: Settings) -> Iterator[Databases]:
    """Makes the databases of this worker's tests."""
    in_memory = DATABASE_URL not in os.environ and _home().is_relative_to(_MEMORY)
    databases = Databases(server_settings.database_dsn, copied_as_files=in_memory)
    yield databases
    databases.close()


@pytest.fixture
def archives(server_settings: Settings, template: str) -> Archives:
    """Archives that are made once for a run and copied for each test."""
    return Archives(server_settings, template, _home() / "made")


@contextmanager
def own_database(databases: Databases, server_settings: Settings, template: str, folder: Path) -> Iterator[Settings]:
    """Settings with a copy of ``template`` and an empty archive; the database is dropped at the end."""
    name = databases.take(template)
    own = {"home": folder / "home", "archive_url": f"{server_settings.archive_url}/{name}"}
    yield on_database(server_settings, name).model_copy(update=own)
    databases.give_back(name)


@pytest.fixture
def settings(databases: Databases, server_settings: Settings, template: str, tmp_path: Path) -> Iterator[Settings]:
    """Settings with a migrated, empty database and an empty archive, both for this test alone."""
    with own_database(databases, server_settings, template, tmp_path) as own:
        yield own


@pytest.fixture
def empty(server_settings: Settings) -> Iterator[Settings]:
    """Settings of an empty database: a company's, before the product came."""
    name = f"company_{uuid.uuid4().hex}"
    with psycopg.connect(server_settings.database_dsn, autocommit=True) as server:
        server.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        yield on_database(server_settings, name)
        server.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture
def dsn(settings: Settings) -> str:
    """The URL of this test's database."""
    return settings.database_dsn


@pytest.fixture
def heard(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> pytest.LogCaptureFixture:
    """What the API and its server say, whatever an earlier test's API or Prefect has made of their loggers.

    Loggers are the process's: one that no longer hands its records on would leave a test nothing to look at.
    """
    listen(caplog, monkeypatch)
    return caplog


def listen(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    """Capture the records of these loggers from now on. A starting API configures them again, so call this after it."""
    for name in _SPEAKERS:
        monkeypatch.setattr(logging.getLogger(name), "propagate", True)
        caplog.set_level(logging.INFO, logger=name)


@pytest.fixture(scope="session")
def seaweed_store(server_settings: Settings, worker_id: str) -> Iterator[stores.Store]:
    """SeaweedFS: a store with versions and Object Lock, one a worker, started for the first test that asks for it."""
    with stores.seaweed(server_settings, _home() / f"seaweed-{worker_id}") as store:
        yield store


@pytest.fixture(scope="session")
def moto_store(server_settings: Settings, worker_id: str) -> Iterator[stores.Store]:
    """moto: a store whose deep objects must be restored before they are read; as `seaweed_store`."""
    with stores.moto(server_settings, _home() / f"moto-{worker_id}") as store:
        yield store


@pytest.fixture(scope="session")
def _redis_server(server_settings: Settings) -> Iterator[str]:
    with running(server_settings, "redis") as settings:
        assert settings.redis_url is not None
        yield settings.redis_url.get_secret_value()


@pytest.fixture
def redis_url(_redis_server: str, worker_id: str) -> str:
    """The URL of an empty Redis database, one a worker."""
    import redis

    number = int(worker_id.removeprefix("gw")) if worker_id.startswith("gw") else 0
    url = f"{_redis_server.rpartition('/')[0]}/{number}"
    with redis.Redis.from_url(url) as client:
        client.flushdb()
    return url


def _migrate(draft: Settings) -> None:
    migrate.upgrade(draft.database_dsn)
    with connect(draft.database_dsn, "tests") as owner:
        for table in BUILT_IN:
            make_hot_parent(owner, draft, table)
        assert prepare_roles(owner, draft) == []


def _prepare(draft: Settings) -> None:
    with connect(draft.database_dsn, "tests") as owner:
        for table in BUILT_IN:
            prepare_table(owner, draft, table)


def _with_logins(settings: Settings) -> Settings:
    """Logins of the run's own on a server that is not ours: members of the roles, as an administrator makes them."""
    found = {}
    with psycopg.connect(settings.database_dsn, autocommit=True) as connection:
        connection.execute("SELECT pg_advisory_lock(%s)", (_LOGINS_LOCK,))
        for field, role in (("api_database_url", API), ("auditor_database_url", AUDITOR)):
            login = f"{_run_name()}_{role}"
            parts = urlsplit(settings.database_dsn)
            url = parts._replace(netloc=f"{login}:{login}@{parts.netloc.rpartition('@')[2]}").geturl()
            ensure_login(settings.database_dsn, url)
            if connection.execute("SELECT FROM pg_roles WHERE rolname = %s", (role,)).fetchone() is None:
                connection.execute(sql.SQL("CREATE ROLE {}").format(sql.Identifier(role)))
            connection.execute(sql.SQL("GRANT {} TO {}").format(sql.Identifier(role), sql.Identifier(login)))
            found[field] = SecretStr(url)
    return settings.model_copy(update=found)


def _drop_logins(server: str) -> None:
    with psycopg.connect(server, autocommit=True) as connection:
        for role in (API, AUDITOR):
            connection.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(f"{_run_name()}_{role}")))
