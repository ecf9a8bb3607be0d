"""Every port that the project opens: on this machine only, with a login, for its own names and its own pages.

The ports are found in the processes, not in a list: a server that is added is asked, or fails this test.
"""

import base64
import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import psycopg
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect
from websockets.typing import Subprotocol

from config import Settings, generated_keys, load_settings
from config.settings import Ports
from servers import prefect, stack
from tasks.admin.setup import open_for
from tests.servers import trees
from tests.servers.raw import SOCKET, exchange

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

FOREIGN = (("Host", "evil.example"),)
OPEN = (200, 201, 204, 101)
CONTROL = "prefect worker start"  # Prefect's channel from the worker to its flow runs


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Settings, stack.Up]]:
    """Everything that `treasury up` starts, for this project."""
    home = tmp_path_factory.mktemp("ports") / "home"
    own = load_settings(home=home, ports=Ports(postgres=0, redis=0, s3=0, prefect=0, api=0, suppliers=0))

    def open_doors(ready: Settings) -> None:
        open_for(ready, "ports")

    with stack.everything(own, before_api=open_doors) as up:
        yield up.settings, up


@pytest.fixture(scope="module")
def ports_by_name(running: tuple[Settings, stack.Up]) -> dict[str, int]:
    """The port of each server that has one of its own."""
    named = {one.name: urlsplit(one.url).port or 0 for one in running[1].endpoints}
    del named["worker"]  # it answers at Prefect's address
    return named


def test_every_port_is_on_this_machine_only_and_is_known(
    running: tuple[Settings, stack.Up], ports_by_name: dict[str, int]
) -> None:
    found = trees.listening(running[0].home)
    assert {address for address, _ in found} == {"127.0.0.1"}
    unknown = {port: command for (_, port), command in found.items() if port not in ports_by_name.values()}
    assert [command for command in unknown.values() if CONTROL not in command] == []
    assert set(ports_by_name.values()) <= {port for _, port in found}


def test_the_channel_to_flow_runs_says_nothing_to_strangers(running: tuple[Settings, stack.Up]) -> None:
    for (address, port), command in trees.listening(running[0].home).items():
        if CONTROL in command:
            with socket.create_connection((address, port), 30) as connection:
                connection.sendall(b"not-a-token\n")
                connection.settimeout(60)
                assert connection.recv(64) == b""


def test_postgresql_and_redis_ask_for_a_password(
    running: tuple[Settings, stack.Up], ports_by_name: dict[str, int]
) -> None:
    for role in ("treasury", "postgres", "treasury_api", "treasury_auditor"):
        for password in ("", "wrong"):
            with pytest.raises(psycopg.OperationalError, match=r"password|role"):
                psycopg.connect(host="127.0.0.1", port=ports_by_name["postgres"], user=role, password=password)
    with socket.create_connection(("127.0.0.1", ports_by_name["redis"]), 30) as connection:
        connection.sendall(b"KEYS *\r\n")
        assert connection.recv(64).startswith(b"-NOAUTH")


def _host(port: int) -> tuple[tuple[str, str], ...]:
    return (("Host", f"127.0.0.1:{port}"),)


DEPLOYMENT = json.dumps(
    {
        "name": "evil",
        "flow_id": "00000000-0000-4000-8000-000000000000",
        "work_pool_name": "treasury",
        "pull_steps": [{"prefect.deployments.steps.run_shell_script": {"script": "id"}}],
    }
).encode()
REFUSED: dict[str, tuple[tuple[str, str, bytes], ...]] = {
    "prefect": (
        ("GET", "/api/admin/version", b""),
        ("POST", "/api/deployments/filter", b"{}"),
        ("POST", "/api/flows/", b'{"name": "evil"}'),
        ("POST", "/api/deployments/", DEPLOYMENT),
        ("GET", "/api/docs", b""),
        ("GET", "/docs", b""),
    ),
    "api": (("GET", "/api/v1/transactions", b""), ("POST", "/api/v1/transactions", b"{}"), ("GET", "/metrics", b"")),
    "s3": (("GET", "/", b""), ("GET", "/treasury-archive", b""), ("PUT", "/treasury-archive/evil", b"evil")),
    "suppliers": (
        ("GET", "/flash/balance", b""),
        ("POST", "/flash/token", b"{}"),
        ("POST", "/peach/v2/checkout", b"{}"),
        ("GET", "/mobilemart/v1/products", b""),
    ),
}


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_http_without_a_login_gets_nothing(ports_by_name: dict[str, int], name: str) -> None:
    port = ports_by_name[name]
    for method, path, body in REFUSED[name]:
        assert exchange(port, _host(port), path, method, body)[0] not in OPEN, path


def test_each_server_that_speaks_http_is_asked_here(ports_by_name: dict[str, int]) -> None:
    assert set(ports_by_name) == {*REFUSED, "postgres", "redis"}


@pytest.mark.parametrize("name", sorted(REFUSED))
@pytest.mark.parametrize("path", ["/", "/health", "/api/health", "/ui-settings", "/docs", "/health/live"])
def test_http_for_another_host_gets_nothing(ports_by_name: dict[str, int], name: str, path: str) -> None:
    """A page of evil.example, whose name was pointed at 127.0.0.1."""
    is_for_load_balancers = (name, path) == ("api", "/health/live")  # they ask by any name, and learn nothing else
    assert (exchange(ports_by_name[name], FOREIGN, path)[0] in OPEN) == is_for_load_balancers


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_no_page_of_another_site_may_read_an_answer(ports_by_name: dict[str, int], name: str) -> None:
    port = ports_by_name[name]
    origin = (("Origin", "https://evil.example"), ("Access-Control-Request-Method", "POST"))
    for method, path, body in (*REFUSED[name], ("OPTIONS", REFUSED[name][0][1], b"")):
        status, head = exchange(port, (*_host(port), *origin), path, method, body)
        assert "access-control-allow-origin" not in head
        assert status not in OPEN or method == "OPTIONS"


def test_prefect_refuses_a_wrong_login_and_takes_its_own(
    running: tuple[Settings, stack.Up], ports_by_name: dict[str, int]
) -> None:
    port, own = ports_by_name["prefect"], prefect.login(running[0].home).get_secret_value()

    def status(login: str) -> int:
        given = ("Authorization", f"Basic {base64.b64encode(login.encode()).decode()}")
        return exchange(port, (*_host(port), given), "/api/admin/version")[0]

    assert [status(login) for login in ("treasury:wrong", "treasury:", ":", own[:-1], own)] == [401, 401, 401, 401, 200]


def test_prefect_opens_no_socket_for_strangers(ports_by_name: dict[str, int]) -> None:
    port = ports_by_name["prefect"]
    for path in ("/api/events/in", "/api/events/out", "/api/logs/out"):
        assert exchange(port, (*FOREIGN, *SOCKET), path)[0] == 403
        foreign_page = (*_host(port), ("Origin", "https://evil.example"), *SOCKET)
        assert exchange(port, foreign_page, path)[0] == 403


@pytest.mark.parametrize("path", ["/api/events/in", "/api/events/out", "/api/logs/out"])
def test_prefect_s_sockets_say_nothing_without_the_login(
    running: tuple[Settings, stack.Up], ports_by_name: dict[str, int], path: str
) -> None:
    """The right Host, and no page of another site: a program of this machine, by Prefect's own protocol or another."""
    port = ports_by_name["prefect"]
    assert exchange(port, (*_host(port), *SOCKET), path)[0] == 403
    for said in ({"type": "auth", "token": "treasury:wrong"}, {"type": "auth", "token": None}, {"type": "event"}):
        with connect(f"ws://127.0.0.1:{port}{path}", subprotocols=[Subprotocol("prefect")], open_timeout=60) as opened:
            opened.send(json.dumps(said))
            with pytest.raises(ConnectionClosed):
                opened.recv(60)
    with connect(f"ws://127.0.0.1:{port}{path}", subprotocols=[Subprotocol("prefect")], open_timeout=60) as opened:
        opened.send(json.dumps({"type": "auth", "token": prefect.login(running[0].home).get_secret_value()}))
        assert json.loads(opened.recv(60))["type"] == "auth_success"


def test_a_person_s_browser_gets_the_login_page_and_is_let_in_with_the_login(
    running: tuple[Settings, stack.Up], ports_by_name: dict[str, int]
) -> None:
    port = ports_by_name["prefect"]
    assert exchange(port, _host(port), "/ui-settings")[0] == 200
    assert exchange(port, _host(port), "/")[0] in (200, 307)
    login = base64.b64encode(prefect.login(running[0].home).get_secret_value().encode()).decode()
    page = (("Origin", f"http://localhost:{port}"), ("Authorization", f"Basic {login}"))
    status, head = exchange(port, (*_host(port), *page), "/api/flows/filter", "POST", b"{}")
    assert status == 200
    assert f"access-control-allow-origin: http://localhost:{port}" in head


def test_passwords_are_readable_by_their_owner_only(running: tuple[Settings, stack.Up]) -> None:
    folder = generated_keys.folder(running[0].home)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {file.name: file.stat().st_mode & 0o777 for file in folder.iterdir()} == {
        file.name: 0o600 for file in folder.iterdir()
    }


SECRETS: dict[str, Callable[[Settings], str]] = {
    "the owner's login": lambda s: s.database_dsn,
    "the API's login": lambda s: str(s.api_database_url and s.api_database_url.get_secret_value()),
    "the auditor's login": lambda s: str(s.auditor_database_url and s.auditor_database_url.get_secret_value()),
    "Prefect's login": lambda s: prefect.login(s.home).get_secret_value(),
    "the store's secret": lambda s: str(s.s3_secret_access_key and s.s3_secret_access_key.get_secret_value()),
    "the password of Redis": lambda s: str(s.redis_url and s.redis_url.get_secret_value()),
}
MAY_SEE = {
    "postgres": set[str](),
    "redis": set[str](),
    "suppliers": set[str](),
    "s3": {"the store's secret"},
    "prefect": {"Prefect's login"},
    "worker": {"the owner's login", "Prefect's login", "the store's secret", "the password of Redis"},
    "api": {"the API's login", "Prefect's login", "the store's secret", "the password of Redis"},
}


@pytest.mark.parametrize("name", sorted(MAY_SEE))
def test_each_process_sees_the_secrets_that_it_needs_and_no_command_line_shows_one(
    running: tuple[Settings, stack.Up], name: str
) -> None:
    settings = running[0]
    values = {title: read(settings) for title, read in SECRETS.items()}
    top = int((settings.home / "run" / f"{name}.alive").read_text())
    below = psutil.Process(top).children(recursive=True)
    assert below
    seen = set()
    for process in (psutil.Process(top), *below):
        environment = Path(f"/proc/{process.pid}/environ").read_text()
        seen |= {title for title, value in values.items() if value in environment}
        assert [title for title, value in values.items() if value in " ".join(process.cmdline())] == []
    assert seen == MAY_SEE[name]
