"""Each embedded server: what it promises to who uses it."""

import os
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
import s3fs
from pydantic import SecretStr

from config import Settings, generated_keys, load_settings
from config.settings import LOGINS, Ports
from ledger.errors import ConfigError, DataError, TransientError
from servers import lending, ports, process, stack
from servers.api import Api
from servers.lease import lease
from servers.postgres import Postgres, embedded_bin_dir
from servers.redis import Redis
from servers.s3 import BUCKET
from sql import connection as sql_connection
from sql.roles import API
from tasks.admin.setup import prepare_database
from tasks.prefect.access import PrefectAccess
from tests.cli.broken_servers import slow_port

ANY_PORT = Ports(postgres=0, redis=0, s3=0, prefect=0, api=0, suppliers=0)


@pytest.fixture
def bin_dir() -> Path | None:
    """The PostgreSQL that this test run is about; None: the embedded one."""
    named = os.environ.get("TREASURY_TEST_PG_BIN")
    return Path(named) if named else None


@pytest.fixture
def own(home: Path) -> Settings:
    """Settings of a home where nothing runs yet."""
    return load_settings(home=home, ports=ANY_PORT)


@pytest.fixture
def store(own: Settings) -> Iterator[tuple[Settings, s3fs.S3FileSystem]]:
    """A running S3 server and a client of it."""
    with lending.running(own, "s3") as settings:
        assert settings.s3_secret_access_key is not None
        yield settings, client(settings, settings.s3_secret_access_key.get_secret_value())


def client(settings: Settings, secret: str) -> s3fs.S3FileSystem:
    checks = {"request_checksum_calculation": "when_required", "response_checksum_validation": "when_required"}
    return s3fs.S3FileSystem(
        key=settings.s3_access_key_id,
        secret=secret,
        endpoint_url=settings.s3_endpoint_url,
        client_kwargs={"region_name": settings.s3_region},
        config_kwargs=checks,
        use_listings_cache=False,
        skip_instance_cache=True,
    )


@pytest.mark.heavy("its logins are tested beside it")
def test_postgresql_is_safe_by_default(home: Path, bin_dir: Path | None) -> None:
    expected = {
        "fsync": "on",
        "synchronous_commit": "on",
        "full_page_writes": "on",
        "data_checksums": "on",
        "TimeZone": "UTC",
        "server_encoding": "UTF8",
        "password_encryption": "scram-sha-256",
        "scram_iterations": "4096",
        "listen_addresses": "127.0.0.1",
        "unix_socket_directories": "",
        "jit": "off",
    }
    with lease(home, Postgres(home, bin_dir=bin_dir)) as endpoint, psycopg.connect(endpoint.url) as connection:
        for name, value in expected.items():
            row = connection.execute("SELECT current_setting(%s, true)", (name,)).fetchone()
            assert row == (value,) or (name, row) == ("scram_iterations", (None,)), name  # 15 has no such setting
        order = connection.execute("SELECT array_agg(x ORDER BY x) FROM unnest(ARRAY['b', 'a', 'B', 'é']) x").fetchone()
        assert order == (["B", "a", "b", "é"],)


def test_postgresql_refuses_a_wrong_password(home: Path, bin_dir: Path | None) -> None:
    with lease(home, Postgres(home, bin_dir=bin_dir, fast=True)) as endpoint:
        password = generated_keys.key(home, "postgres", 32)
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(endpoint.url.replace(password, "wrong"))


def test_postgresql_keeps_its_data_and_password_from_one_start_to_the_next(home: Path, bin_dir: Path | None) -> None:
    server = Postgres(home, bin_dir=bin_dir, fast=True)
    with lease(home, server) as first, psycopg.connect(first.url) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    with lease(home, server) as second, psycopg.connect(second.url) as connection:
        assert connection.execute("SELECT answer FROM kept").fetchone() == (42,)


@pytest.mark.heavy("a whole one is tested beside it")
def test_a_cluster_whose_making_was_broken_off_is_made_again(home: Path, bin_dir: Path | None) -> None:
    version = 15 if bin_dir and "15" in str(bin_dir) else 18
    draft = home / "postgres" / f"{version}.draft"
    draft.mkdir(parents=True)
    (draft / "PG_VERSION").write_text("half")
    with lease(home, Postgres(home, bin_dir=bin_dir, fast=True)) as endpoint:
        assert Postgres(home).answers(endpoint.url)
    assert not draft.exists()


def test_nothing_is_made_in_the_place_of_a_cluster_that_is_gone(home: Path, bin_dir: Path | None) -> None:
    data = home / "postgres" / ("15" if bin_dir and "15" in str(bin_dir) else "18")
    data.mkdir(parents=True)
    with pytest.raises(ConfigError, match="holds no PostgreSQL: mount or restore it"):
        Postgres(home, bin_dir=bin_dir, fast=True).prepare()
    assert list(data.iterdir()) == []


@pytest.mark.heavy("a cluster is kept in the test beside it")
def test_a_home_that_was_used_gets_no_new_cluster(home: Path, bin_dir: Path | None) -> None:
    server = Postgres(home, bin_dir=bin_dir, fast=True)
    with lease(home, server) as endpoint:
        server.login_url(endpoint.url, API)
    (home / "postgres").rename(home / "elsewhere")
    with pytest.raises(ConfigError, match=r"was used, and .* does not hold the data of this PostgreSQL\. Mount or"):
        server.prepare()
    assert list((home / "postgres").iterdir()) == []
    (home / "postgres").rmdir()
    (home / "elsewhere").rename(home / "postgres")
    with lease(home, server) as endpoint:
        assert server.answers(endpoint.url)


def test_a_folder_without_postgresql_is_named(home: Path) -> None:
    with pytest.raises(ConfigError, match="has no PostgreSQL server"), lease(home, Postgres(home, bin_dir=home)):
        pytest.fail("it was lent")


def test_pgbench_is_there() -> None:
    assert os.access(embedded_bin_dir() / "pgbench", os.X_OK)


def test_redis_asks_for_the_password(home: Path) -> None:
    with lease(home, Redis(home)) as endpoint:
        assert Redis(home).answers(endpoint.url)
        assert not Redis(home).answers(endpoint.url.replace(generated_keys.key(home, "redis", 32), "wrong"))


def test_s3_stores_lists_and_gives_back(store: tuple[Settings, s3fs.S3FileSystem]) -> None:
    _, files = store
    content = os.urandom(7 << 20)  # above s3fs's part size: a multipart upload
    files.pipe(f"{BUCKET}/transactions/month=2026-01/a.parquet", content)
    assert files.find(BUCKET) == [f"{BUCKET}/transactions/month=2026-01/a.parquet"]
    assert files.cat(f"{BUCKET}/transactions/month=2026-01/a.parquet") == content


def test_s3_refuses_a_wrong_secret(store: tuple[Settings, s3fs.S3FileSystem]) -> None:
    settings, _ = store
    with pytest.raises(PermissionError):
        client(settings, "0" * 40).ls(BUCKET)


def test_a_port_that_is_taken_gives_way_to_a_free_one() -> None:
    with socket.socket() as taken:
        taken.bind((ports.HOST, 0))
        taken.listen()
        wanted = taken.getsockname()[1]
        assert ports.choose(wanted) not in (0, wanted)
    assert ports.choose(wanted) == wanted


def test_a_url_that_is_set_is_used_as_it_is_and_nothing_is_started(own: Settings) -> None:
    given = own.model_copy(update={"archive_url": "file:///somewhere"})
    with lending.running(given, "s3") as settings:
        assert settings == given
    assert stack.endpoints(own.home) == []


def test_keys_are_readable_by_their_owner_only_and_stay_the_same(home: Path) -> None:
    first = generated_keys.key(home, "one", 40)
    assert len(first) == 40
    assert generated_keys.key(home, "one", 40) == first
    assert (home / "keys").stat().st_mode & 0o777 == 0o700
    assert (home / "keys" / "one").stat().st_mode & 0o777 == 0o600


def test_a_child_process_loads_the_same_settings(
    store: tuple[Settings, s3fs.S3FileSystem], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    settings, _ = store
    given = settings.model_copy(update={"tables": {"transactions": {"policy": {"hot_months": 2}}}, "api_workers": 3})
    monkeypatch.chdir(tmp_path)
    for name, value in given.environment().items():
        monkeypatch.setenv(name, value)
    assert load_settings().model_dump() == given.model_dump()


def test_the_api_s_process_gets_no_other_login_to_postgresql(own: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither from the settings nor from the shell of whoever starts it."""
    url = "postgresql://{}:secret-of-{}@127.0.0.1:5432/treasury"
    logins = {field: url.format(field, field) for field in LOGINS}
    for field, login in logins.items():
        monkeypatch.setenv(f"TREASURY_{field.upper()}", login)
    settings = own.model_copy(update={field: SecretStr(login) for field, login in logins.items()})
    launch = Api(own.home, 0, settings.for_api().environment()).prepare()
    given = " ".join(launch.env.values())
    assert "secret-of-api_database_url" in given
    assert "secret-of-database_url" not in given
    assert "secret-of-auditor_database_url" not in given


NEEDED = {
    "PATH": "/bin",
    "HOME": "/home/op",
    "LANG": "C.UTF-8",
    "LC_TIME": "C",
    "TZ": "Africa/Johannesburg",
    "https_proxy": "http://proxy:1",
    "NO_PROXY": "db",
    "SSL_CERT_FILE": "/ca.pem",
}
OTHERS = {
    "TREASURY_DATABASE_URL": "postgresql://owner:hunter2@db/x",
    "TREASURY_API_KEY_PEPPER": "hunter2" * 5,
    "GITHUB_TOKEN": "hunter2",
    "AWS_SESSION_TOKEN": "hunter2",
    "PREFECT_API_KEY": "hunter2",
    "LD_PRELOAD": "/opt/hunter2.so",
    "PYTHONSTARTUP": "/opt/hunter2.py",
    "SSH_AUTH_SOCK": "/opt/hunter2",
}


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch) -> None:
    """The shell of an operator, full of things."""
    for name in list(os.environ):
        monkeypatch.delenv(name)
    for name, value in (NEEDED | OTHERS).items():
        monkeypatch.setenv(name, value)


@pytest.mark.usefixtures("shell")
def test_a_child_gets_of_the_shell_what_it_needs_and_nothing_else() -> None:
    given = process.own_environment({"TREASURY_HOME": "/h", "AWS_ACCESS_KEY_ID": "k", "TREASURY_ARCHIVE_URL": "s3://b"})
    assert given == NEEDED | {
        "TREASURY_CONFIG": "",
        "TREASURY_HOME": "/h",
        "AWS_ACCESS_KEY_ID": "k",
        "TREASURY_ARCHIVE_URL": "s3://b",
    }
    assert process.plain_environment().keys() == {"PATH", "LC_ALL", "TZ", "HOME"}


@pytest.mark.usefixtures("shell")
def test_how_a_server_elsewhere_is_reached_goes_along_where_there_is_one() -> None:
    store = process.own_environment({"TREASURY_ARCHIVE_URL": "s3://b"})
    assert store.keys() - NEEDED.keys() == {"TREASURY_CONFIG", "TREASURY_ARCHIVE_URL", "AWS_SESSION_TOKEN"}
    scheduler = process.own_environment({}, prefect_is_elsewhere=True)
    assert scheduler.keys() - NEEDED.keys() == {"TREASURY_CONFIG", "PREFECT_API_KEY"}


def test_a_child_reads_no_file_of_settings(own: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It would bring back what its environment leaves out."""
    (tmp_path / "treasury.toml").write_text('api_key_pepper = "0123456789012345678901234567890123456789"\n')
    monkeypatch.chdir(tmp_path)
    assert load_settings().api_key_pepper is not None
    for name, value in process.own_environment(own.environment()).items():
        monkeypatch.setenv(name, value)
    assert load_settings().api_key_pepper is None


def test_an_embedded_postgresql_has_three_logins_with_passwords_of_their_own(own: Settings, bin_dir: Path) -> None:
    for _ in range(2):  # the second time they are there already
        with lending.running(own, "postgres", fast=True, bin_dir=bin_dir) as settings:
            users = {}
            for url in (settings.database_url, settings.api_database_url, settings.auditor_database_url):
                assert url is not None
                with psycopg.connect(url.get_secret_value()) as connection:
                    users[connection.info.user] = connection.info.password
    assert sorted(users) == ["treasury", "treasury_api", "treasury_auditor"]
    assert len(set(users.values())) == 3
    log = (own.home / "log" / "postgres.log").read_text()
    assert [words for words in ("authentication failed", "is starting up") if words in log] == []


@pytest.mark.heavy("a plain home is tested beside it")
def test_a_home_with_marks_that_mean_something_elsewhere_works(home: Path, bin_dir: Path | None) -> None:
    strange = load_settings(home=home / "a %d {b} ä'c", ports=ANY_PORT)
    with lending.running(strange, "postgres", "redis", "s3", fast=True, bin_dir=bin_dir) as settings:
        assert prepare_database(settings) == []


@pytest.mark.heavy("four sessions of more than two seconds; a slow Prefect is tested beside it")
def test_a_postgresql_that_is_slow_to_take_a_session_does_not_end_a_start(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A command gives up after ten seconds, here after two; a start has as long as a server has to come up."""
    monkeypatch.setitem(sql_connection._PARAMETERS, "connect_timeout", "2")
    port = urlsplit(settings.database_dsn).port
    assert port is not None
    with slow_port(port, 2.5) as slow:
        url = settings.database_dsn.replace(f":{port}/", f":{slow}/")
        behind = settings.model_copy(update={"database_url": SecretStr(url)})
        with pytest.raises(TransientError, match="timeout"):
            stack._migrate(behind)
        stack._migrate(stack._patient(behind))


def test_a_text_that_is_no_address_of_postgresql_is_refused_at_the_start(own: Settings) -> None:
    wrong = own.model_copy(update={"database_url": SecretStr("postgresql://u@h:port/d?x")})
    with pytest.raises((ConfigError, DataError)):
        stack._migrate(stack._patient(wrong))


class _Versioned(BaseHTTPRequestHandler):
    """A server that knows its version, and says nothing in its log."""

    def do_GET(self) -> None:  # the name is the library's
        body = b'"3.9.1"'
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Nothing."""


def test_a_prefect_that_answers_after_some_seconds_is_no_failure() -> None:
    """A start-up probe gives up after two seconds; whoever needs an answer waits for it."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Versioned) as server, ThreadPoolExecutor(1) as pool:
        pool.submit(server.serve_forever, 0.05)
        try:
            with slow_port(server.server_port, 2.5) as slow:
                assert PrefectAccess(f"http://127.0.0.1:{slow}/api").ask("/admin/version") == "3.9.1"
        finally:
            server.shutdown()
